"""An operator before his own pool: a whole market of real processes, ruled by `tally pool`."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from market_lab import TINY, XS, Lab, market_lab

from tallystick.cli.main import run
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service
from tallystick.poco.orders import WorkerpoolOrder
from tallystick.poco.values import Address, TaskId
from tallystick.requester.book import publish
from tallystick.scheduler.admin_backup import MEMORY
from tallystick.wire.orders import from_json

pytestmark = [pytest.mark.anyio, pytest.mark.long]

PRICE = 900_000_000
"""nRLC: less than the market's own order, so that requesters take the pool's."""
ETHER = 10**18


def selling(plan: Plan, console: Any, memory: Any) -> list[Service]:
    """The usual processes; the pool sells one task an order, and knows what RLC is worth."""
    found = services(plan, console, memory)
    path = plan.places.config("scheduler")
    order = f"[[orders]]\ncategory = {XS}\nprice = {PRICE}\nvolume = 1\ntrust = 1\n"
    path.write_text(f"eth_per_rlc = 1000\n{path.read_text()}{order}")
    return found


@dataclass
class Operator:
    """Types commands about the market's pool."""

    lab: Lab
    capture: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return Places(self.lab.market.data).config("scheduler")

    async def types(self, *words: str, config: Path | None = None) -> tuple[int, str, str]:
        """Exit code, and what is on stdout and stderr."""
        where = () if words[0] == "create" else ("--config", str(config or self.config))
        self.capture.readouterr()
        code = await to_thread.run_sync(run, ["pool", *words, *where])
        return code, *self.capture.readouterr()

    async def asks(self, *words: str) -> dict[str, Any]:
        code, out, err = await self.types(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    async def until(self, met: Callable[[dict[str, Any]], bool], *words: str) -> dict[str, Any]:
        with anyio.fail_after(60):
            while not met(told := await self.asks(*words)):  # noqa: ASYNC110 (another process)
                await anyio.sleep(0.1)
            return told

    def elsewhere(self, folder: Path, **settings: object) -> Path:
        """The same settings, but for these."""
        text = self.config.read_text()
        for name, value in settings.items():
            text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {json.dumps(str(value))}", text)
        path = folder / "pool.toml"
        path.write_text(text)
        return path


@pytest.fixture(scope="module")
async def lab(
    poco_packages: PocoPackages, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("pool")
    async with market_lab(folder, workers=2, executor=executor, children=selling) as found:
        await found.workers_are_back(2)
        yield found


@pytest.fixture
def operator(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(lab, capsys)


async def offer(operator: Operator) -> WorkerpoolOrder:
    """The pool's own order, as its scheduler shows it to everybody."""
    await operator.until(lambda told: len(told["orders"]) == 1, "orders", "list")
    shown = await operator.lab.http.get(f"{operator.lab.market.scheduler_url}/orders")
    (listed,) = shown.json()
    return from_json(WorkerpoolOrder, listed["order"])


async def test_an_order_is_renewed_and_its_money_is_the_chains(operator: Operator, lab: Lab):
    first = await offer(operator)
    assert (first.price, first.volume) == (PRICE, 1)
    publish(lab.market.orders, first)
    ending = await lab.see(await lab.buy("digits"))
    assert ending.paid
    assert lab.gains(ending)["scheduler"] == PRICE // 100
    told = await operator.until(
        lambda told: [each["standing"] for each in told["orders"]] == ["used up", "offered"],
        *("orders", "list", "--all"),
    )
    assert len({each["hash"] for each in told["orders"]}) == 2
    second = await offer(operator)
    assert second.salt != first.salt
    deals = await operator.until(lambda told: told["total"]["settled"] == 1, "deals")
    (deal,) = deals["deals"]
    assert deal["reward_nrlc"] == PRICE // 100
    assert (deal["tasks"], deal["completed"], deal["stake_locked_nrlc"]) == (1, 1, 0)
    owner = lab.market.accounts["scheduler"]
    spent = 1_000 * ETHER - await lab.session.hub.balance(owner)
    assert deal["gas_wei"] == spent > 0, "all that the wallet ever paid was for this task"
    assert deal["profit_nrlc"] == PRICE // 100 - -(-spent // (1_000 * 10**9))
    code, out, _ = await operator.types("deals")
    assert code == 0
    assert "0.009 RLC" in out


async def test_what_an_operator_sees(operator: Operator, lab: Lab):
    told = await operator.asks("status")
    assert told["state"] == "working"
    assert told["workers"] == {"alive": 2, "known": 2}
    account = await lab.session.hub.account(lab.market.accounts["scheduler"])
    assert told["money"]["free_nrlc"] == account.stake
    exposed = (await lab.http.get(f"{lab.market.scheduler_url}/prometheus")).text
    figures = dict(re.findall(r"(?m)^tally_pool_(\w+) (\S+)$", exposed))
    assert float(figures["deposit_free_nrlc"]) == account.stake
    assert float(figures["reward_nrlc"]) == PRICE // 100
    code, out, _ = await operator.types("status")
    assert code == 0
    for line in ("workerpool", "workers", "deposit, free", "for gas", "earned", "orders"):
        assert line in out
    for words in (("workers",), ("tasks",), ("tasks", "--unfinished"), ("orders", "list")):
        code, out, err = await operator.types(*words)
        assert (code, err) == (0, "")
        assert out


async def test_a_blocked_worker_gets_no_more_work(operator: Operator, lab: Lab):
    one = str(lab.market.accounts["worker-1"])
    told = await operator.asks("block", one, "--why", "it smells")
    assert told["why"] == "it smells"
    for _ in range(2):
        ending = await lab.see(await lab.buy("digits"))
        assert ending.paid
        assert "worker-2" in lab.gains(ending)
    code, out, _ = await operator.types("workers")
    assert code == 0
    assert "blocked: it smells" in out
    assert (await operator.asks("unblock", one))["was_blocked"]
    assert not (await operator.asks("unblock", one))["was_blocked"]


async def test_the_policy_is_changed_while_the_pool_runs(operator: Operator, lab: Lab):
    before = await offer(operator)
    ratios = ("--worker-stake-ratio", "40", "--scheduler-reward-ratio", "5")
    code, _, err = await operator.types("policy", *ratios)
    assert code == 1
    assert "--yes" in err
    told = await operator.asks("policy", *ratios, "--yes")
    (preview,) = told["preview"]
    assert preview["before"]["scheduler_nrlc"] == PRICE // 100
    assert preview["after"]["scheduler_nrlc"] == PRICE * 5 // 100
    pool = await lab.session.hub.workerpool(lab.market.workerpool)
    assert (pool.stake_ratio, pool.reward_ratio) == (40, 5)
    await operator.until(
        lambda told: "replaced" in [each["standing"] for each in told["orders"]],
        *("orders", "list", "--all"),
    )
    after = await offer(operator)
    assert after.salt != before.salt
    publish(lab.market.orders, after)
    bought = await lab.buy("digits")
    assert bought.deal.worker_stake == PRICE * 40 // 100
    ending = await lab.see(bought)
    assert lab.gains(ending)["scheduler"] == PRICE * 5 // 100


async def test_an_order_is_closed_on_the_chain(operator: Operator, lab: Lab):
    await offer(operator)
    (listed,) = (await operator.asks("orders", "list"))["orders"]
    told = await operator.asks("orders", "cancel", listed["hash"])
    assert told["standing"] == "closed"
    assert (await operator.asks("orders", "list"))["orders"] == []
    again = await operator.asks("orders", "publish", "--category", "1", "--price", "2 RLC")
    (other,) = again["orders"]
    assert (other["category"], other["price_nrlc"]) == (1, 2 * 10**9)
    told = await operator.asks("orders", "publish")
    assert {each["category"] for each in told["orders"]} == {XS, 1}
    assert listed["hash"] not in [each["hash"] for each in told["orders"]]


async def test_a_backup_of_a_running_pool_can_be_restored(
    operator: Operator, lab: Lab, tmp_path: Path
):
    told = await operator.asks("backup", str(tmp_path / "pool.backup"))
    assert told["facts"] > 10
    code, _, err = await operator.types("restore", str(tmp_path / "pool.backup"))
    assert code == 1
    assert "runs: stop it first" in err
    other = operator.elsewhere(tmp_path, data_dir=tmp_path / "other")
    code, out, err = await operator.types(
        "restore", str(tmp_path / "pool.backup"), config=other
    )
    assert (code, err) == (0, "")
    assert str(told["facts"]) in out
    assert MEMORY.backup(tmp_path / "other", tmp_path / "again").facts == told["facts"]


async def test_the_owner_gets_a_token(operator: Operator, lab: Lab):
    told = await operator.asks("login")
    assert told["wallet"] == str(lab.market.accounts["scheduler"])
    url = f"{lab.market.scheduler_url}/workers/computing"
    answer = await lab.http.get(url, headers={"authorization": f"Bearer {told['token']}"})
    assert (answer.status_code, answer.json()) == (200, [])


async def test_a_workerpool_is_created(operator: Operator, lab: Lab):
    market = lab.market
    chain = ("--rpc-url", market.rpc_url, "--hub", str(market.hub))
    owner = ("--wallet", str(market.keystores["owner"]))
    words = ("create", "another pool", *chain, *owner)
    password = ("--password-file", str(market.password_file))
    told = await operator.asks(*words, *password, "--yes")
    pool = await lab.session.hub.workerpool(Address(told["workerpool"]))
    assert (pool.owner, pool.description) == (market.accounts["owner"], "another pool")
    assert (pool.stake_ratio, pool.reward_ratio) == (30, 1)


async def test_mistakes_are_told(operator: Operator, lab: Lab, tmp_path: Path):
    nowhere = operator.elsewhere(tmp_path, data_dir=tmp_path / "nothing")
    code, _, err = await operator.types("status", config=nowhere)
    assert code == 1
    assert "No pool runs in" in err
    assert "tally pool start" in err
    code, _, err = await operator.types("status", config=tmp_path / "missing.toml")
    assert code == 1
    assert "There is no configuration file" in err
    foreign = operator.elsewhere(tmp_path, wallet=lab.market.keystores["worker-1"])
    ratios = ("--worker-stake-ratio", "30", "--scheduler-reward-ratio", "1", "--yes")
    code, _, err = await operator.types("policy", *ratios, config=foreign)
    assert code == 1
    assert "belongs to" in err
    code, _, err = await operator.types("orders", "cancel", "0x" + "00" * 32)
    assert code == 1
    assert "has signed no order" in err


async def test_a_drained_pool_finishes_what_it_began_and_ends(operator: Operator, lab: Lab):
    """Two workers cannot decide a task at trust 5: it ends by claim, and is waited for."""
    begun = await lab.buy("corpus", "generator", trust=5, category=TINY)
    (task,) = begun.tasks
    await lab.until(task, lambda story: story["replicates"])
    told = await operator.asks("drain")
    assert (told["state"], told["waits_for"]) == ("draining", 1)
    assert (await operator.asks("orders", "list"))["orders"] == []
    late = await lab.buy("digits")
    ended = "scheduler ended (exit code 0) and is started again."
    with anyio.fail_after(120):
        while ended not in lab.sayings:  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.1)
    ending = await lab.see(late)
    assert ending.paid
    given = await at(lab, ending.task, "Assigned")
    assert await at(lab, task, "Claimed") < given, "the new task had to wait"


async def at(lab: Lab, task: TaskId, kind: str) -> float:
    """When the first fact of this kind was written."""
    story = await lab.story(task)
    return next(fact["at"] for fact in story["facts"] if fact["kind"] == kind)
