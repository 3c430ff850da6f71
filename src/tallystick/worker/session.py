"""A worker's dealings with its scheduler: log in, ping, ask for work, listen, tell."""

from __future__ import annotations

import logging
import platform
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import anyio

from tallystick.chain.follow import Follower
from tallystick.chain.hub import Hub
from tallystick.engine.complaints import Complaints
from tallystick.engine.engine import Engine
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.journal import Entry, Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.agenda import OwnCommand
from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Audited,
    Authorized,
    Computed,
    Fact,
    Failed,
    IllegalFact,
    Ordered,
    Scrutiny,
    UploadRequested,
    WorkerFact,
)
from tallystick.lifecycle.pool import busy_slots
from tallystick.lifecycle.replicate import OVER, Replicate
from tallystick.lifecycle.task import Task, advance
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, TaskId
from tallystick.wire.authorization import UNSIGNED, WorkerpoolAuthorization
from tallystick.wire.dialect import to_update
from tallystick.wire.news import PoolNews
from tallystick.wire.scheduler import (
    PATIENCE,
    NotRegistered,
    NotYet,
    OwnOffer,
    SchedulerClient,
    Unwelcome,
    WorkerModel,
)
from tallystick.worker import permits
from tallystick.worker.config import WorkerConfig
from tallystick.worker.contact import Contact
from tallystick.worker.decisions import Decisions
from tallystick.worker.folder import TaskFolder
from tallystick.worker.gate import Gate, Judge, Reason
from tallystick.worker.grace import Grace
from tallystick.worker.owed import Owed

log = logging.getLogger(__name__)

PING = 10.0
"""Seconds between signs of life."""
_PAUSE = 1.0
"""Seconds before a scheduler that did not answer is asked again."""
_AGAIN = 2.0
"""Seconds after which a report that was too early is told again, if nothing else happens."""
_LOOK = 5.0
"""Seconds after which gates are looked at again: money, load and the hour tell nobody."""
OPEN = Reason("ASKING", "Nothing speaks against new work: the scheduler is asked for it.")
_TELLABLE = get_args(WorkerFact)

WorkerEngine = Engine[Task, Fact, OwnCommand]
Duty = Callable[[], Awaitable[None]]
_DUTIES = {
    "_ping": "sign of life",
    "_ask": "asking for work",
    "_listen": "news of the scheduler",
    "_place": "decisions of the scheduler",
    "_tell": "reports to the scheduler",
}


@dataclass(slots=True)
class Session:
    """Everything goes through cursors: what was not acknowledged is told and heard again."""

    me: Address
    config: WorkerConfig
    client: SchedulerClient
    hub: Hub
    engine: WorkerEngine
    journal: Journal[Fact]
    follower: Follower
    gates: list[Gate] = field(default_factory=list[Gate])
    """No work is asked for while one of them is closed."""
    judges: list[Judge] = field(default_factory=list[Judge])
    """A task that one of them objects to is handed back at once."""
    decisions: Decisions = field(init=False)
    owed: Owed = field(init=False)
    contact: Contact = field(default_factory=Contact)
    changes: Pulse = field(default_factory=Pulse)
    quiet: Pulse = field(default_factory=Pulse)
    """Beats when the scheduler was told everything."""
    _told_at: int = -1
    """The `changes` after which it had been."""
    _asking: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _complaints: Complaints = field(default_factory=lambda: Complaints(log))
    _word: str = ""
    """What the scheduler last answered to a ping."""
    _heard: int = 0
    _feed: str = ""
    _grace: Grace = field(default_factory=Grace)
    _early: list[tuple[str, Fact]] = field(default_factory=list[tuple[str, Fact]])

    def __post_init__(self) -> None:
        self.decisions, self.owed = Decisions(self.journal), Owed(self.journal)
        self.engine.listen(lambda entry: self.changes.beat())

    async def register(self, *, takeover: bool = False) -> None:
        """Tell who we are, as often as it takes. Raises Refused when we are not wanted, and
        while another worker with our wallet is alive, unless `takeover`."""
        model = WorkerModel(
            name=self.config.name,
            wallet_address=self.me,
            os=platform.system(),
            cpu=platform.machine(),
            cpu_nb=self.config.slots,
            memory_size=self.config.max_memory >> 30,
            contribute_and_finalize=self.config.contribute_and_finalize,
            digest_first=True,
        )
        while True:
            try:
                return await self.client.register(model, takeover=takeover)
            except Unavailable as trouble:
                self._complaints.about("Registration", trouble)
                self.contact.met(trouble)
                await anyio.sleep(_PAUSE)

    async def run(self) -> None:
        """Keep up the session until cancelled."""
        async with anyio.create_task_group() as tasks:
            for duty in (
                self._ping,
                self._ask,
                self._hang_up,
                self._listen,
                self._place,
                self._tell,
            ):
                tasks.start_soon(self._insist, duty)

    async def refresh_deals(self) -> None:
        """After a reorg a deal may stand in another block, with other deadlines."""
        for stream, task in list(self.engine.states.items()):
            if task.status.over:
                continue
            deal = await self.hub.deal(task.deal.id)
            if deal is not None and deal != task.deal:
                self.engine.record(stream, Ordered(deal, task.index))

    async def _insist(self, duty: Duty) -> None:
        """Do one duty again and again, whatever the scheduler or the disk do."""
        what = f"{self.config.name}, {_DUTIES.get(duty.__name__, duty.__name__)}"
        while True:
            try:
                await duty()
            except (Unavailable, Refused) as trouble:
                self._complaints.about(what, trouble)
                self.contact.met(trouble)
                await anyio.sleep(_PAUSE)
            else:
                self._complaints.over(what)

    async def _ping(self) -> None:
        word = await self.client.ping()
        if self._word not in ("", word):
            log.warning("The scheduler began anew or has other settings: registering again.")
            await self.register()
        self._word = word
        self.contact.heard()
        await anyio.sleep(PING)

    def why_idle(self) -> Reason | None:
        """Why no work is asked for; None when it is."""
        busy = busy_slots(self.me, self.engine.states.values())
        if busy >= self.config.slots:
            return Reason("SLOTS_FULL", f"All {self.config.slots} slots are busy.")
        return next((reason for gate in self.gates if (reason := gate.closed())), None)

    async def _ask(self) -> None:
        """One demand at a time, held open by the scheduler until a task wants us."""
        seen, reason = self.changes.count, self.why_idle()
        self.decisions.note("idle" if reason else "asking", None, reason or OPEN)
        if reason is None:
            await self._demand(max(1, self.follower.head))
        else:
            await self.changes.next(seen, _LOOK)

    async def _hang_up(self) -> None:
        """A demand that is held open is given up as soon as a gate closes."""
        seen = self.changes.count
        if self.why_idle() is not None:
            self._asking.cancel()
        await self.changes.next(seen, _LOOK)

    async def _demand(self, block: int) -> None:
        asked, offer, answered = anyio.current_time(), None, False
        self.contact.asked()
        try:
            with anyio.CancelScope() as self._asking:
                offer = await self.client.demand(block, wait=PATIENCE)
                answered = True
        except NotRegistered as news:
            log.warning("%s", news)
            await self.register()
            return
        if answered:
            self.contact.answered(None if offer else self.client.why_none)
        if offer is not None:
            await self._take(offer.workerpool_authorization, offer)
        elif anyio.current_time() - asked < _PAUSE:
            # A scheduler that does not hold demands open must not be asked without end.
            await anyio.sleep(_PAUSE)

    async def _listen(self) -> None:
        feed = await self.client.news(self._heard, of=self._feed, wait=PATIENCE)
        for news in feed.news:
            await self._hear(news)
        # Only now: what could not be taken up, for want of a node, is heard again.
        self._heard, self._feed = feed.next, feed.of
        states = self.engine.states.items()
        if self.owed.meet(feed.of, [s for s, task in states if not task.status.over]):
            self.changes.beat()

    async def _hear(self, news: PoolNews) -> None:
        stream, permission = str((news.authorization or news).chain_task_id), news.authorization
        if news.kind == "Authorized" and permission is not None:
            task = self.engine.states.get(stream)
            if task is not None and self._is_good(permission, task.deal):
                self._record(stream, Authorized(self.me, permission.signature.value))
        elif permission is not None:
            await self._take(permission, news)
        elif news.kind == "Refuted":
            self._record(stream, Audited(self.me, agreed=False))
        elif news.kind == "UploadRequested":
            self._early.append((stream, UploadRequested(self.me, news.deadline)))
            self._place_early()

    async def _place(self) -> None:
        seen = self.changes.count
        self._place_early()
        await self.changes.next(seen)

    def _place_early(self) -> None:
        """Record decisions as soon as we know enough of the chain for them to follow."""
        waiting, self._early = self._early, []
        for stream, fact in waiting:
            task = self.engine.states.get(stream)
            if not self._record(stream, fact) and (task is None or not task.status.over):
                self._early.append((stream, fact))

    async def _take(
        self, permission: WorkerpoolAuthorization, told: OwnOffer | PoolNews
    ) -> None:
        """Accept a replicate: the chain is asked about its deal, and about all since."""
        stream, signature = str(permission.chain_task_id), permission.signature.value
        if (
            known := self.engine.states.get(stream)
        ) is not None and self.me in known.replicates:
            return
        deal = await self.hub.deal(permission.deal_id)
        if deal is None:
            raise Unavailable(f"The node does not know deal {permission.deal_id} yet.")
        if not self._is_good(permission, deal, unsigned=told.digest_first):
            return
        born = Ordered(deal, permission.task_index)
        await self.follower.catch_up(born, told.from_block)
        signed = None if signature == UNSIGNED else signature
        terms = Scrutiny(audits=told.goes_on, digest_first=True) if told.digest_first else None
        assigned = Assigned(self.me, told.weight or 2, signed, told.alone, terms)
        objection = await self._objection(self.engine.states[stream], assigned)
        self._record(stream, assigned)
        if objection is not None:
            self.hand_back(self.engine.states[stream], objection)

    def _is_good(
        self, permission: WorkerpoolAuthorization, deal: Deal, *, unsigned: bool = False
    ) -> bool:
        mistake = permits.mistake(
            permission, deal, me=self.me, pool=self.config.pool, unsigned=unsigned
        )
        if mistake:
            log.error("%s", mistake)
        return not mistake

    async def _objection(self, task: Task, assigned: Assigned) -> Reason | None:
        """Why we do not want a task that was offered; one that has our vote is wanted."""
        if self.me in task.replicates:
            return None
        for judge in self.judges:
            if (reason := await judge.objection(advance(task, assigned))) is not None:
                return reason
        return None

    def hand_back(self, task: Task, reason: Reason) -> None:
        """Give up our replicate of `task`, so that the scheduler asks somebody else."""
        self.decisions.note("declined", task.id, reason)
        self._record(str(task.id), Aborted(self.me, "ABORTED_BY_WORKER"))

    async def _tell(self) -> None:
        """Our own facts, in the order they happened, until each is acknowledged. What the
        scheduler cannot place yet is told again when something has changed."""
        while True:
            seen = self.changes.count
            await self.owed.tell(self._tell_one)
            self._grace.only(self.owed.left)
            if not self.owed.left and self.changes.count == seen:
                await self.told_all(seen)
            await self.changes.next(seen, _AGAIN if self.owed.left else float("inf"))

    async def all_told(self) -> None:
        """Return when the scheduler knows every fact of ours."""
        while True:
            seen = self.quiet.count
            if self._told_at == self.changes.count:
                return
            await self.quiet.next(seen)

    async def farewell(self) -> None:
        """Tell the scheduler that this process ends, so that nobody waits for it."""
        with suppress(Unavailable):
            await self.client.leave()

    async def told_all(self, seen: int) -> None:
        """All up to this change was told, and the logs: what nobody will ask for can go."""
        self._told_at = seen
        self._complaints.over(f"{self.config.name}, {_DUTIES['_tell']}")
        self.quiet.beat()
        for folder in ended_folders(self.config.home, self.engine, self.me):
            await folder.tidied()

    async def _tell_one(self, entry: Entry[Fact]) -> bool:
        """Whether the scheduler has it now, or never will."""
        task, fact = self.engine.states.get(entry.stream), entry.fact
        if task is None or not isinstance(fact, _TELLABLE):
            return True
        folder = TaskFolder(self.config.home, task.id)
        logs = folder.logs() if isinstance(fact, Computed | Failed) else None
        mine = task.replicates.get(self.me)
        alone, first = bool(mine and mine.alone), bool(mine and mine.digest_first)
        if (update := to_update(fact, logs, alone=alone, digest_first=first)) is None:
            return True
        try:
            await self.client.tell(task.id, update)
        except Unwelcome:
            raise
        except NotYet:
            over = task.status.over and mine is not None and mine.status in OVER
            return mine is None or (over and self._grace.is_over(entry.seq))
        except Refused as refusal:
            log.warning("The scheduler does not take %s of %s: %s", fact, task.id, refusal)
        return True

    def _record(self, stream: str, fact: Fact) -> bool:
        """Whether the fact could be accepted."""
        try:
            self.engine.record(stream, fact)
        except IllegalFact as known:
            log.debug("%s: %s", stream, known)
            return False
        return True

    async def before_vote(self, task: Task) -> None:
        """Nothing has to be asked: what a scheduler of ours wants is known from the start."""


def ended_folders(home: Path, engine: WorkerEngine, me: Address) -> list[TaskFolder]:
    """Folders that nobody will ask for again: what we held there is over, or never was ours."""
    folders = []
    for path in home.glob("0x" + 64 * "[0-9a-f]"):
        task = engine.states.get(path.name)
        if task is None or _ended(task, task.replicates.get(me)):
            folders.append(TaskFolder(home, TaskId(path.name)))
    return folders


def _ended(task: Task, mine: Replicate | None) -> bool:
    """Nothing is deleted while the chain may still ask for it: a replicate that voted, or
    could have, keeps its result until the task is over."""
    if mine is None or mine.status not in OVER:
        return mine is None and task.status.over
    never_voted = mine.digest is None and mine.vote is None
    return task.status.over or never_voted
