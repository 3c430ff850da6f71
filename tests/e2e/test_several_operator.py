"""The operator of a pool of two schedulers: what is told to one counts for both."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio import to_thread
from market_lab import Lab, market_lab, wallet_of
from postgres_lab import Server, why_not
from prometheus_client.parser import text_string_to_metric_families
from several_lab import Books, consistent, kill, port_of, scheduler, several, until_paid

from tallystick.cli.main import run
from tallystick.devnet.places import Places
from tallystick.poco.values import TaskId

pytestmark = [pytest.mark.anyio, pytest.mark.long]

Ask = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="module")
def books() -> Iterator[Books]:
    if reason := why_not():
        pytest.skip(reason)
    with Server() as server:
        found = Books(server.database())
        yield found
        found.close()


@pytest.fixture(scope="module")
async def lab(
    books: Books, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    children = several(2, books.url)
    options: dict[str, Any] = {"workers": 2, "executor": executor, "children": children}
    async with market_lab(tmp_path_factory.mktemp("office"), alive=2, **options) as found:
        await books.until_held_by(2)
        yield found


@pytest.fixture
def ask(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Types a command about one of the two."""

    async def typed(number: int, *words: str, config: Path | None = None) -> dict[str, Any]:
        config = config or config_of(lab, number)
        capsys.readouterr()
        line = ["pool", *words, "--config", str(config), "--json"]
        code = await to_thread.run_sync(run, line)
        out, err = capsys.readouterr()
        assert code == 0, err
        told: dict[str, Any] = json.loads(out)
        return told

    return typed


def config_of(lab: Lab, number: int) -> Path:
    whole = Places(lab.market.data).config("scheduler")
    return whole.with_name(f"scheduler-{number}.toml")


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(120):
        while not await met():  # noqa: ASYNC110 (other processes)
            await anyio.sleep(0.1)


async def test_a_block_counts_at_both_and_outlives_them(lab: Lab, ask: Ask) -> None:
    worker = str(wallet_of(lab.market, "worker-2").address)

    async def blocked(number: int, count: int) -> bool:
        return (await ask(number, "status"))["blocked"] == count

    assert (await ask(1, "status"))["others"] == 1
    await ask(1, "block", worker, "--why", "it smells")
    await until(lambda: blocked(2, 1))
    before = scheduler(lab, 2)
    kill(lab, 2)
    await until(lambda: restarted(lab, 2, before))
    await until(lambda: blocked(2, 1))
    bag = await lab.buy("digits", count=4)
    await until_paid(lab, bag.tasks)
    assert await workers_of(lab, bag.tasks) == {str(wallet_of(lab.market, "worker-1").address)}
    await ask(2, "unblock", worker)
    await until(lambda: blocked(1, 0))


async def test_an_order_of_one_is_on_offer_at_both(lab: Lab, ask: Ask) -> None:
    async def offered(number: int, wanted: list[str]) -> bool:
        shown = await lab.http.get(f"http://127.0.0.1:{port_of(lab, number)}/orders")
        return [each["orderHash"] for each in shown.json()] == wanted

    words = ("--category", "0", "--price", "900 nRLC", "--volume", "5")
    (order,) = (await ask(1, "orders", "publish", *words))["orders"]
    await until(lambda: offered(2, [order["hash"]]))
    await ask(2, "orders", "cancel", order["hash"], "--unpublish")
    await until(lambda: offered(1, []))


async def test_both_tell_the_same_of_the_pool(lab: Lab, books: Books) -> None:
    bag = await lab.buy("digits", count=3)
    await until_paid(lab, bag.tasks)
    await consistent(lab, books)

    async def same() -> bool:
        here, there = [await figures(lab, number) for number in (1, 2)]
        return here == there

    await until(same)
    told = await figures(lab, 1)
    assert len(told["tasks"]) == told["tallied"] >= 3
    assert set(map(str, bag.tasks)) <= set(told["tasks"])
    assert told["deals"] >= 1


async def test_gas_is_that_of_the_shared_book(lab: Lab, books: Books) -> None:
    """Whichever process sent it."""
    bag = await lab.buy("digits", count=3)
    await until_paid(lab, bag.tasks)
    await consistent(lab, books)
    receipts = books.rows("SELECT receipt FROM entry WHERE state = 'mined'")
    spent = sum(
        int(told["gasUsed"], 16) * int(told["effectiveGasPrice"], 16)
        for told in (json.loads(text) for (text,) in receipts)
    )
    assert spent > 0

    async def told(number: int) -> bool:
        return await metric(lab, number, "tally_gas_spent_wei") >= spent

    for number in (1, 2):
        await until(lambda number=number: told(number))


async def test_the_policy_is_changed_from_where_no_scheduler_runs(
    lab: Lab, books: Books, ask: Ask, tmp_path: Path
) -> None:
    """The process that has the wallet's lease sends it, between its own transactions."""
    text = config_of(lab, 1).read_text()
    elsewhere = tmp_path / "pool.toml"
    elsewhere.write_text(
        re.sub(r"(?m)^data_dir = .*$", f"data_dir = {json.dumps(str(tmp_path / 'x'))}", text)
    )
    bag = await lab.buy("digits", count=3)
    words = ("--worker-stake-ratio", "33", "--scheduler-reward-ratio", "4", "--yes")
    told = await ask(0, "policy", *words, config=elsewhere)
    assert (told["worker_stake_ratio"], told["scheduler_reward_ratio"]) == (33, 4)
    await until_paid(lab, bag.tasks)
    await consistent(lab, books)
    assert not (tmp_path / "x" / "transactions.db").exists()


async def test_one_is_drained_and_the_other_goes_on(lab: Lab, books: Books, ask: Ask) -> None:
    bag = await lab.buy("digits", count=4)
    before = scheduler(lab, 1)
    told = await ask(1, "drain")
    assert (told["state"], told["others"]) == ("leaving", 1)
    await until(lambda: restarted(lab, 1, before))  # by the market, as another process
    await until_paid(lab, bag.tasks)
    assert (await ask(2, "status"))["state"] == "working"
    await consistent(lab, books)


async def test_the_whole_pool_is_drained(lab: Lab, books: Books, ask: Ask) -> None:
    """Two workers cannot decide a task at trust 5: both wait for its end, by claim."""
    await books.until_held_by(2)
    begun = await lab.buy("digits", trust=5)
    (task,) = begun.tasks
    await lab.until(task, lambda story: len(story["replicates"]) == 2)
    told = await ask(1, "drain", "--whole-pool")
    assert (told["state"], told["others"]) == ("draining", 1)

    async def state(number: int, wanted: str) -> bool:
        return (await ask(number, "status"))["state"] == wanted

    await until(lambda: state(2, "draining"))
    await ask(2, "drain", "--off")
    await until(lambda: state(1, "working"))


async def restarted(lab: Lab, number: int, before: int) -> bool:
    try:
        now = scheduler(lab, number)
        answer = await lab.http.get(f"http://127.0.0.1:{port_of(lab, number)}/ready")
    except (OSError, httpx2.TransportError):
        return False
    return now != before and answer.status_code == 200


async def workers_of(lab: Lab, tasks: tuple[TaskId, ...]) -> set[str]:
    stories = [await lab.story(task) for task in tasks]
    return {replicate["worker"] for story in stories for replicate in story["replicates"]}


async def figures(lab: Lab, number: int) -> dict[str, Any]:
    """What one process tells everybody, read in pages of two that both serve in turn."""
    tasks: list[str] = []
    after, turn = "", number
    while True:
        query = {"limit": 2, **({"after": after} if after else {})}
        url = f"http://127.0.0.1:{port_of(lab, turn)}/tasks"
        answer = await lab.http.get(url, params=query)
        found = [each["chainTaskId"] for each in answer.json()]
        tasks += found
        if "next" not in answer.links:
            break
        after, turn = found[-1], 3 - turn
    deals = (await lab.http.get(f"http://127.0.0.1:{port_of(lab, number)}/deals")).json()
    return {
        "tasks": tasks,
        "deals": len(deals),
        "tallied": sum(sum(deal["tasks"].values()) for deal in deals),
    }


async def metric(lab: Lab, number: int, name: str) -> float:
    url = f"http://127.0.0.1:{port_of(lab, number)}/prometheus"
    answer = await lab.http.get(url)
    for family in text_string_to_metric_families(answer.text):
        if family.name == name:
            return float(family.samples[0].value)
    return 0.0
