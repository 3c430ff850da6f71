"""A pool of the shipped programs, lived through in virtual time by one seed."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
from eth_hash.auto import keccak

from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Unavailable
from tallystick.lifecycle.evidence import Policy
from tallystick.poco.escrow import Emit
from tallystick.poco.ledger import ChainStatus, Ledger
from tallystick.poco.values import TaskId, Wei
from tallystick.sim import market, report
from tallystick.sim.accounts import REQUESTER
from tallystick.sim.agreement import Broken
from tallystick.sim.odds import Character, Nature
from tallystick.sim.odds import Machine as Spec
from tallystick.sim.whole import loop
from tallystick.sim.whole.audits import Opinions, Terms
from tallystick.sim.whole.blocks import GWEI, Blocks
from tallystick.sim.whole.copies import Copies
from tallystick.sim.whole.edges import Caller, Letter, Machine, Reply, Weather
from tallystick.sim.whole.faults import Faults, WholePlan
from tallystick.sim.whole.keeper import Keeper
from tallystick.sim.whole.lies import Lie
from tallystick.sim.whole.life import Life, Mistake, edges
from tallystick.sim.whole.node import Node
from tallystick.sim.whole.promises import Promises
from tallystick.worker.config import WorkerConfig

BLOCK: Final = 2.0
"""Seconds between two blocks."""
_EPILOGUE, _AFTERMATH = 6, 200
"""Seconds for which it goes on as unkind when every task has ended; and calm ones in which
everything must be settled."""
_SPIKE: Final = 60 * GWEI
"""Above the cap of a vote, below that of a reveal."""
_NOTICED: Final = 20
"""Seconds after which who has an honest node as well is not misled by the other one."""
_CALL: Final = 600_000 * 3 * GWEI // 2
"""What must be in a wallet for a vote and its reveal while gas is not dear."""
_FILLS: Final = 0.05
"""Per second: an owner sees that a wallet is empty."""
_SHM = Path("/dev/shm")


class Whole:
    """One life of a pool. The same plan gives the same life."""

    def __init__(self, plan: WholePlan, folder: Path) -> None:
        self.plan, self.faults, self.folder = plan, plan.faults, folder
        self.random = Random(plan.plan.seed)
        self.blocks = Blocks(
            Random(f"chain {plan.plan.seed}"), self._genesis, start=int(loop.EPOCH)
        )
        self.blocks.forgets, self.blocks.latency = self.faults.forgets, self.faults.latency
        self.stored: dict[TaskId, str] = {}
        self.told: list[tuple[int, str, object]] = []
        self._purchases = market.possible_deals(plan.plan)
        self.begin = int(loop.EPOCH)
        """The chain's time at the first second."""
        self.dear_until = 0
        """Until when gas is, or was last, dear."""
        wallet = Wallet(keccak(b"the scheduler of a simulated pool"))
        self.scheduler = self._keeper("scheduler", wallet, self._scheduler)
        self.workers = {
            f"worker {n}": self._keeper(
                f"worker {n}", _wallet(n), partial(self._worker, machine)
            )
            for n, machine in enumerate(plan.plan.machines, start=1)
        }
        self.specs = {
            self.workers[f"worker {n}"].address: machine
            for n, machine in enumerate(plan.plan.machines, start=1)
        }
        self.copies = Copies(folder, self._chance)
        self.lies: list[Lie] = []
        """All that were told, whether they made a difference or not."""
        for party in self.workers.values():
            if self._chance(self.faults.poor):
                self.blocks.purses[party.address] = self._little()
        audit, own = plan.plan.audit, list(self.specs)[: plan.plan.auditors]
        policy = Policy(audit, plan.audit_trust) if audit else None
        self.terms = Terms(policy, tuple(own), Random(f"draws {plan.plan.seed}"))
        self.opinions = Opinions(self)
        self.promises = Promises(self)

    @property
    def parties(self) -> list[Keeper]:
        """Scheduler and workers."""
        return [self.scheduler, *self.workers.values()]

    @property
    def now(self) -> int:
        """Seconds since the beginning."""
        return int(anyio.current_time() - loop.EPOCH)

    @property
    def over(self) -> bool:
        """Whether everything was bought and has ended."""
        ledger = self.blocks.ledger
        ended = all(
            task.status in (ChainStatus.COMPLETED, ChainStatus.FAILED)
            for task in ledger.tasks.values()
        )
        return ended and len(ledger.tasks) == sum(p.volume for p in self.plan.plan.purchases)

    def story(self) -> str:
        """Everything that happened."""
        names = {party.address: party.name for party in self.parties}
        told = report.story(self.plan.plan, self.told, names)
        return f"{self.plan.faults}\n{self.plan.kills}\n{told}"

    def tell(self, who: str, what: object) -> None:
        """Keep it for the story."""
        self.told.append((self.now, who, what))

    async def live(self) -> None:
        """From the first second to the last, every promise watched. Raises Broken."""
        try:
            async with anyio.create_task_group() as tasks:
                for party in self.parties:
                    tasks.start_soon(party.keep)
                for purchase, match in market.matches(self.plan.plan):
                    tasks.start_soon(self._buy, purchase.at, match)
                await self._pass()
                tasks.cancel_scope.cancel()
        finally:
            for party in self.parties:
                party.bury()

    async def _pass(self) -> None:
        late = max(p.at + 10 * p.time_unit for p in self.plan.plan.purchases) + 60
        since = 0
        while self.now < late and since < _EPILOGUE:
            await self._second()
            since = since + 1 if self.over else 0
        self._calm()
        for _ in range(_AFTERMATH):
            await self._second()
            if self.now % 5 == 0 and self.promises.settled:
                break
        self.promises.check_end()

    async def _second(self) -> None:
        await anyio.sleep(1.0)
        if self.now % BLOCK == 0:
            self._mine()
        for party in self.parties:
            self._fate(party)
        self.promises.check()

    async def _buy(self, at: int, match: Any) -> None:
        await anyio.sleep(at)
        self.blocks.buy(REQUESTER, match)

    def _mine(self) -> None:
        faults, blocks = self.faults, self.blocks
        if faults.reorg and self.random.random() < faults.reorg:
            depth = blocks.reorg(self.random.randint(1, faults.depth), self.now)
            self.tell("chain", f"takes back {depth} blocks")
        if faults.spike and self.random.random() < faults.spike:
            self.dear_until = self.now + self.random.randint(4, 20)
            self.tell("chain", "gas is dear")
        blocks.base = _SPIKE if self.now < self.dear_until else GWEI
        block = blocks.mine(int(loop.EPOCH) + self.now)
        for sent in block.mined:
            status = block.receipts[sent.hash]["status"]
            self.tell(f"block {block.number}", f"{sent.sender} nonce {sent.nonce}: {status}")

    def _fate(self, party: Keeper) -> None:
        faults, chance = self.faults, self._chance
        weather, soon = party.weather, anyio.current_time()
        if chance(faults.crash):
            party.crash()
        if chance(faults.cut):
            weather.cut_until = soon + self.random.randint(2, 25)
        if chance(faults.dark):
            weather.dark_until = soon + self.random.randint(2, 20)
            party.disturbed = self.now + 20
        self._lies(party)
        self._fill(party)
        if chance(faults.lag) and party.misled < self.now:
            node = self.random.choice(list(party.nodes.values())[1:])
            node.lag, node.nonsense = self.random.randint(0, 8), self._chance(0.3)
        if chance(faults.full) and party.life is not None:
            party.life.full = True
            party.disturbed = self.now + 30
        elif party.life is not None and party.life.full and chance(0.1):
            party.life.full = False
        if chance(faults.skew) and party.life is not None:
            party.life.skew += self.random.uniform(-60, 60)
        own = party is self.scheduler
        self.copies.fate(party, faults.restore if own else faults.aged, self.now)
        if own and chance(faults.replaced):
            self.copies.replace(party)

    def _lies(self, party: Keeper) -> None:
        """One of its nodes lies for a while, and the other one is in order meanwhile."""
        nodes = list(party.nodes.values())
        if party.misled < self.now:
            for node in nodes:
                node.lie = None
            if self._chance(self.faults.lies):
                party.misled = self.now + self.random.randint(10, 60)
                party.disturbed = max(party.disturbed, self.now + _NOTICED)
                lie = self._liar(nodes).lie = Lie.any(self.random)
                self.lies.append(lie)
                self.tell(party.name, f"a node tells {lie.kind} ({lie.size})")
                for node in nodes:
                    node.lag, node.nonsense = 0, False

    def _liar(self, nodes: list[Node]) -> Node:
        return self.random.choice(nodes)

    def _fill(self, party: Keeper) -> None:
        """Owners fill up wallets in which there is nothing for a vote any more."""
        blocks, who = self.blocks, party.address
        if who in blocks.purses and blocks.balance(who) < _CALL and self._chance(_FILLS):
            blocks.purses[who] += self._little()
            self.tell(party.name, "its wallet is filled up")

    def _little(self) -> Wei:
        """Coin for a few votes and reveals."""
        return int(self.random.uniform(0.5, 4.0) * _CALL)

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def _calm(self) -> None:
        """Nothing bad happens any more."""
        self.faults = Faults()
        self.blocks.forgets, self.dear_until = 0.0, min(self.dear_until, self.now)
        self.blocks.purses.clear()
        for party in self.parties:
            party.calm()

    def _genesis(self, emit: Emit) -> Ledger:
        ledger = market.genesis(self.plan.plan, emit)
        for n, machine in enumerate(self.plan.plan.machines, start=1):
            me = _wallet(n).address
            ledger.escrow.deposit(me, machine.deposit)
            ledger.scores[me] = machine.score
        return ledger

    def nature(self, task: TaskId) -> Nature:
        """What becomes of the task on an honest machine."""
        known = self.blocks.ledger.tasks.get(task)
        if known is None:
            return Nature.WORKS
        return self._purchases[known.deal.id].nature(known.index)

    def _keeper(self, name: str, wallet: Wallet, make: Callable[[Keeper, Life], Any]) -> Keeper:
        faults, seed = self.faults, self.plan.plan.seed
        weather = Weather(
            Random(f"{name} {seed}"), loss=faults.loss, doubled=faults.doubled, slow=faults.slow
        )
        kills = {life: at for who, life, at in self.plan.kills if who == name}
        return Keeper(
            name=name,
            wallet=wallet,
            home=self.folder / name.replace(" ", "-"),
            make=make,
            nodes={f"http://127.0.0.1:{n}": Node(self.blocks) for n in (8545, 8546)},
            weather=weather,
            tell=partial(self.tell, name),
            outage=faults.outage,
            kills=kills,
            reads=self.plan.reads,
        )

    def _around(self, keeper: Keeper, life: Life) -> Any:
        return _programs().Around(
            life,
            keeper.home,
            keeper.wallet,
            keeper.nodes,
            keeper.weather,
            self.stored,
            keeper.teller(life),
        )

    def _scheduler(self, keeper: Keeper, life: Life) -> Any:
        around = self._around(keeper, life)
        process = _programs().SchedulerProcess(around, self.terms, self.opinions.begins)
        self.opinions.attend(process)
        self.promises.attend(process)
        return process

    def _worker(self, spec: Spec, keeper: Keeper, life: Life) -> Any:
        (keeper.home / "images").mkdir(parents=True, exist_ok=True)
        config = WorkerConfig(
            scheduler_url="http://127.0.0.1:1",
            wallet=keeper.home / "wallet",
            base_dir=keeper.home,
            name="worker",
            slots=spec.slots,
            contribute_and_finalize=spec.at_once,
        )
        me, weather = keeper.address, keeper.weather
        machine = Machine(life, me, spec.character, self.nature, weather.random)
        machine.flake = self.faults.flake
        caller = Caller(life, me, str(me), self._deliver, weather)
        caller.mute, caller.classic = spec.character is Character.SILENT, spec.classic
        around = self._around(keeper, life)
        return _programs().WorkerProcess(around, machine, caller, config)

    async def _deliver(self, letter: Letter) -> Reply:
        process = self.scheduler.process
        if process is None:
            raise Unavailable("The scheduler is away.")
        reply: Reply = await process.deliver(letter)
        return reply


def _programs() -> Any:
    """The shipped programs, loaded when a world begins: `parties`."""
    return import_module("tallystick.sim.whole.parties")


def _wallet(number: int) -> Wallet:
    return Wallet(keccak(f"worker {number}".encode()))


@contextmanager
def _place() -> Iterator[Path]:
    """A folder in memory, where the machine has one."""
    with TemporaryDirectory(prefix="tally-sim-", dir=_SHM if _SHM.is_dir() else None) as place:
        yield Path(place)


def live(plan: WholePlan) -> Whole:
    """Live through a world. Raises Broken, with its seed and its story."""
    found: list[Whole] = []

    async def main() -> None:
        with edges():
            found.append(Whole(plan, folder))
            await found[0].live()

    was, dice = logging.root.manager.disable, random.getstate()
    random.seed(plan.plan.seed)  # programs throw these dice, to spread what they ask
    logging.disable(logging.CRITICAL)
    try:
        with _place() as folder:
            loop.run(main)
    except BaseException as trouble:
        broken = _broken_in(trouble)
        if broken is None or not found:
            raise
        world = found[0]
        when = world.told[-1][0] if world.told else 0
        raise Broken(
            f"whole seed {plan.plan.seed}, second {when}: {broken}\n{world.story()}"
        ) from None
    finally:
        logging.disable(was)
        random.setstate(dice)
    return found[0]


def _broken_in(trouble: BaseException) -> Broken | Mistake | None:
    if isinstance(trouble, Broken | Mistake):
        return trouble
    if isinstance(trouble, BaseExceptionGroup):
        found = map(_broken_in, trouble.exceptions)
        return next((each for each in found if each is not None), None)
    return None
