"""Two schedulers of one pool whose database hangs or dies, or whose chain goes back."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from anyio import to_thread
from market_lab import Lab, market_lab, wallet_of
from postgres_lab import Server, why_not
from several_lab import Books, consistent, port_of, several, until_paid

from tallystick.devnet.console import Console
from tallystick.requester.buy import Purchase
from tallystick.wire.auth import login_digest

pytestmark = [pytest.mark.anyio, pytest.mark.long]

WORKERS = ("worker-1", "worker-2")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that nobody else needs."""
    if reason := why_not():
        pytest.skip(reason)
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def books(server: Server) -> Iterator[Books]:
    found = Books(server.database())
    yield found
    found.close()


@pytest.fixture(scope="module")
async def lab(
    books: Books, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    children = several(2, books.url)
    options: dict[str, Any] = {"workers": 2, "executor": executor, "children": children}
    async with market_lab(tmp_path_factory.mktemp("out"), alive=2, **options) as found:
        await books.until_held_by(2)
        yield found


async def begun(lab: Lab, count: int) -> Purchase:
    """A bag of tasks of which one is being computed."""
    bag = await lab.buy("digits", count=count)
    await lab.until(bag.tasks[0], lambda story: bool(story["replicates"]))
    return bag


async def test_a_database_that_hangs_stops_nobody_from_answering(
    lab: Lab, books: Books, server: Server
) -> None:
    """Liveness and signs of life are answered, readiness says no; then all goes on."""
    tokens = {number: await logged_in(lab, number) for number in (1, 2)}
    bag = await begun(lab, 6)
    before = {name: lab.pid(name) for name in WORKERS}
    with server.frozen():
        for number in (1, 2):
            await until_ready(lab, number, 503)
            assert (await lab.http.get(at(lab, number, "/health"))).status_code == 200
            ping = at(lab, number, "/workers/ping")
            answer = await lab.http.post(ping, headers=tokens[number])
            assert answer.status_code == 200
            metrics = await lab.http.get(at(lab, number, "/prometheus"))
            assert "tally_ready 0.0" in metrics.text
            fresh = {"walletAddress": f"0x{'5' * 40}"}
            challenge = await lab.http.get(at(lab, number, "/workers/challenge"), params=fresh)
            assert challenge.status_code == 503, "what needs the database is for later"
            assert challenge.headers["retry-after"] == "1"
    for number in (1, 2):
        await until_ready(lab, number, 200)
    await until_paid(lab, bag.tasks)
    await consistent(lab, books)
    assert {name: lab.pid(name) for name in WORKERS} == before


async def test_a_database_that_dies_under_load_loses_and_doubles_nothing(
    lab: Lab, books: Books, server: Server
) -> None:
    bags = []
    for how in (signal.SIGQUIT, signal.SIGINT, signal.SIGQUIT):
        bags.append(await begun(lab, 4))
        books.close()
        await to_thread.run_sync(server.stop, how)
        for number in (1, 2):
            await until_ready(lab, number, 503)
        server.start()  # it ends with the thread that starts it
        books.open()
    await until_paid(lab, [task for bag in bags for task in bag.tasks])
    await consistent(lab, books)
    assert not [said for said in lab.sayings if "scheduler" in said and "ended" in said]


async def test_a_chain_that_goes_back_ends_tasks_of_both_right(lab: Lab, books: Books) -> None:
    """Blocks with votes, reveals and ends of tasks are taken back, of tasks of both."""
    await books.until_held_by(2)
    bag = await lab.buy("digits", count=8)
    height = await ask(lab, "eth_blockNumber")
    for further in (3, 7, 12):
        await until_height(lab, int(height, 16) + further)
        await ask(lab, "anvil_reorg", 2, [])
        await ask(lab, "anvil_mine", "0x1")
    await until_paid(lab, bag.tasks)
    await consistent(lab, books)
    ends = books.facts_of_the_chain()
    ((last,),) = books.rows("SELECT max(block) FROM facts WHERE kind = 'Finalized'")
    depth = int(await ask(lab, "eth_blockNumber"), 16) - last + 1
    await ask(lab, "anvil_reorg", depth, [])
    await ask(lab, "anvil_mine", "0x3")
    await until_paid(lab, bag.tasks)
    await consistent(lab, books)
    assert books.facts_of_the_chain() != ends, "the last end of a task was not taken back"
    owners = books.rows(
        "SELECT DISTINCT holder FROM facts JOIN shard ON number = shard WHERE stream = ANY(%s)",
        [str(task) for task in bag.tasks],
    )
    assert len(owners) == 2, "one process had all the tasks"


def at(lab: Lab, number: int, path: str) -> str:
    return f"http://127.0.0.1:{port_of(lab, number)}{path}"


async def logged_in(lab: Lab, number: int) -> dict[str, str]:
    """What one scheduler knows a worker by."""
    wallet = wallet_of(lab.market, "worker-1")
    who = {"walletAddress": str(wallet.address)}
    challenge = await lab.http.get(at(lab, number, "/workers/challenge"), params=who)
    signature = wallet.sign_hash(login_digest(challenge.text))
    body = {"value": "0x" + signature.hex()}
    token = await lab.http.post(at(lab, number, "/workers/login"), params=who, json=body)
    assert token.status_code == 200
    return {"authorization": f"Bearer {token.text}"}


async def until_ready(lab: Lab, number: int, status: int) -> None:
    with anyio.fail_after(120):
        while True:
            answer = await lab.http.get(at(lab, number, "/ready"))
            if answer.status_code == status:
                return
            await anyio.sleep(0.1)


async def until_height(lab: Lab, height: int) -> None:
    with anyio.fail_after(120):
        while int(await ask(lab, "eth_blockNumber"), 16) < height:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def ask(lab: Lab, method: str, *params: Any) -> Any:
    """What the node answers to its operator."""

    def call() -> Any:
        with Console(lab.market.rpc_url) as console:
            return console.call(method, *params)

    return await to_thread.run_sync(call)
