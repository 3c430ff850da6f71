"""Giving work to workers that ask for it: at once, or as soon as a task wants somebody.

A worker that waits costs nothing until a task opens; then one of those that wait is called for
each opening, and no more. What was decided together is made durable together, before anybody
is told.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from tallystick.engine.bells import HangUp
from tallystick.engine.rounds import Rounds
from tallystick.lifecycle.agenda import may_finish
from tallystick.lifecycle.audit import is_second_opinion
from tallystick.lifecycle.facts import Assigned
from tallystick.lifecycle.fitness import (
    Applicant,
    NoWork,
    meets_kin,
    needs_of,
    suits,
    unable,
)
from tallystick.lifecycle.margins import too_late
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import weight
from tallystick.poco.tags import GPU, GRAMINE, SCONE, TDX, TEE, tag_of
from tallystick.poco.values import Address, Tag, TaskId
from tallystick.scheduler.hanging import HungUp, unless_hung_up
from tallystick.scheduler.line import Line, Machine, Place
from tallystick.scheduler.purses import Purse, Purses
from tallystick.wire.authorization import UNSIGNED, WorkerpoolAuthorization
from tallystick.wire.scheduler import WorkerModel

if TYPE_CHECKING:
    from tallystick.scheduler.inside import Inside


@dataclass(frozen=True, slots=True)
class _Ask:
    """A worker that may be given work now."""

    worker: Address
    instance: str
    purse: Purse
    since: float
    """When it asked, in seconds since the epoch."""


_Given = tuple[WorkerpoolAuthorization | None, bool]
Elsewhere = Callable[[TaskId, Address, str], Awaitable[WorkerpoolAuthorization | None]]
"""Has the process that owns a task give it to a worker, of this instance; None: it does not."""


def nobody(worker: Address) -> bool:
    """No worker is blocked."""
    return False


class Giving:
    """Who is given what, and who waits. Assignments of one moment share a commit."""

    def __init__(self, pool: Inside) -> None:
        self._pool, self._openings = pool, pool.openings
        self.purses = Purses(pool.hub, pool.clock)
        self.line = Line()
        self.is_blocked: Callable[[Address], bool] = nobody
        """Workers that are given nothing."""
        self.enclaves = False
        """Whether the pool can give an enclave its challenge; if not, nobody can serve one."""
        self.unstaked = False
        """Whether workers of ours contribute and finalize at once where one vote decides, and
        so need no stake for it."""
        self.elsewhere: Elsewhere | None = None
        """Gives away the tasks of other processes of the pool, when there are any."""
        self._asked: dict[Address, float] = {}
        """When each worker last asked, by the event loop's clock."""
        self._newest = 0
        self._opened: dict[TaskId, int] = {}
        """The tasks that want somebody, by a count of openings."""
        self._second = set[TaskId]()
        """Of these, the ones that want a second opinion."""
        self._called: dict[TaskId, Place] = {}
        """Who is to look at an opening now."""
        self._round = Rounds[_Ask, WorkerpoolAuthorization | TaskId | None](self._give)
        for task in self._openings.live():
            self._open(task.id)

    async def demand(
        self, worker: Address, patience: float, instance: str, hung_up: HangUp
    ) -> WorkerpoolAuthorization | None:
        """A replicate for `worker` as soon as there is one, within `patience` seconds."""
        asked, began = time.time(), anyio.current_time()
        self._asked[worker], ends = began, began + patience
        place = Place(worker, unstaked=bool(instance))
        try:
            while self._pool.roster.speaks(worker, instance):
                ask = partial(self._ask, place, instance, asked)
                if (permission := await self._try(place, hung_up, ask)) is not None:
                    return permission
                self._settle(place)
                if self.line.closed or anyio.current_time() >= ends:
                    return None
                if not await self.line.wait(place, self._machine(place), ends, hung_up):
                    return None
        except HungUp:
            pass
        finally:
            self._settle(place)
            self._asked[worker] = anyio.current_time()
        return None

    def asked(self, worker: Address) -> float | None:
        """Seconds since `worker` last asked for work: none while it waits in line; None when
        it never did."""
        if self.line.has(worker):
            return 0.0
        last = self._asked.get(worker)
        return None if last is None else anyio.current_time() - last

    async def _try(
        self, place: Place, hung_up: HangUp, ask: Callable[[], Awaitable[_Given]]
    ) -> WorkerpoolAuthorization | None:
        """A replicate; None when there is none, and then nothing was awaited since that was
        seen, so that whoever stands in line now misses no opening. Raises HungUp."""
        while self._may_have_some(place):
            permission, goes_on = await unless_hung_up(hung_up, ask)
            if permission is not None or not goes_on:
                return permission
        return None

    async def _ask(self, place: Place, instance: str, asked: float) -> _Given:
        """A replicate, if there still is one, and whether to ask again if not."""
        purse = await self.purses.of(place.worker)
        permission = await self._given(_Ask(place.worker, instance, purse, asked))
        return permission, self._pool.roster.speaks(place.worker, instance)

    async def assign(
        self, task: TaskId, worker: Address, instance: str
    ) -> WorkerpoolAuthorization | None:
        """Give this task to a worker that asks at another process, if it may have it."""
        known = self._pool.engine.states.get(str(task))
        ask = _Ask(worker, instance, await self.purses.of(worker), time.time())
        applicant = self._applicant(worker, bool(instance), ask.purse)
        if known is None or applicant is None or not self._openings.wants(task):
            return None
        if not self._pool.clock.known:
            return None  # it may have ended long ago, in blocks that this process did not read
        free = self._openings.busy(worker) < applicant.slots
        late = worker in known.replicates or too_late(known.deal, self._pool.clock.now())
        able = suits(applicant, known) and unable(applicant, needs_of(known.deal)) is None
        fit = free and not late and able
        return self._record(known, ask, applicant) if fit else None

    def why_none(self, worker: Address, instance: str) -> NoWork:
        """Why `worker` is given nothing now."""
        if self._pool.roster.model(worker) is None:
            return NoWork.NOT_REGISTERED
        applicant = self._applicant(worker, bool(instance), self.purses.known(worker))
        if applicant is None:
            return NoWork.BLOCKED if self.is_blocked(worker) else NoWork.DISTRUSTED
        if not self._openings.begins_new:
            return NoWork.POOL_DRAINS
        return self._openings.why_none(applicant, self._pool.clock.now())

    def tell(self, id: TaskId, task: Task | None) -> None:
        """A task changed: who waits for it is called, and whom it freed looks again."""
        freed = self._openings.tell(id, task)
        if not self._openings.wants(id):
            self._opened.pop(id, None)
            self._second.discard(id)
        else:
            self._open(id)
            self._call(id)
        for worker in freed:
            self.line.ring(worker)

    def begin_new(self, wanted: bool) -> None:
        """Whether tasks that nobody has begun are given away too: not while a pool ends."""
        self._openings.begins_new = wanted
        for task in self._openings.live():
            self.tell(task.id, task)

    def look_again(self) -> None:
        """There is a new block: those who were short of stake or gas may have it by now."""
        if self._opened:
            self.line.ring_short()

    def _open(self, id: TaskId) -> None:
        if not self._openings.wants(id):
            return
        task = self._pool.engine.states.get(str(id))
        second = task is not None and is_second_opinion(task)
        if id in self._opened and second == (id in self._second):
            return
        # What a task wants now others may give than those who have looked.
        self._newest += 1
        self._opened[id] = self._newest
        (self._second.add if second else self._second.discard)(id)

    def _may_have_some(self, place: Place) -> bool:
        """Whether there is something, as far as is known without asking the chain. What is seen
        here is the same when it then stands in line: nothing is awaited in between."""
        place.looked, place.short = self._newest, False
        if not self._opened:
            return False
        purse = self.purses.known(place.worker)
        applicant = self._applicant(place.worker, place.unstaked, purse)
        if applicant is None:
            return False
        now = self._pool.clock.now()
        if self._openings.task_for(applicant, now) is not None:
            return True
        rich = replace(applicant, stake=None, gas=True)
        place.short = purse is not None and self._openings.task_for(rich, now) is not None
        return False

    def _settle(self, place: Place) -> None:
        """Whoever was called has looked: if the task still wants somebody, the next one may."""
        if (id := place.called_for) is None:
            return
        place.called_for = None
        self._called.pop(id, None)
        if self._openings.wants(id):
            self._call(id)

    def _call(self, id: TaskId) -> None:
        task = self._pool.engine.states.get(str(id))
        if id in self._called or task is None or too_late(task.deal, self._pool.clock.now()):
            return
        place = self._next_for(task, self._opened.get(id, 0))
        if place is not None:
            place.called_for = id
            self._called[id] = place
            self.line.call(place)

    def _next_for(self, task: Task, opened: int) -> Place | None:
        """Who is called for a task: if possible somebody whose owner has no replicate of it."""
        kin = None
        for place in self._unlooked(task, opened):
            applicant = self._applicant(
                place.worker, place.unstaked, self.purses.known(place.worker)
            )
            if applicant is None or self._openings.busy(place.worker) >= applicant.slots:
                continue
            if unable(applicant, needs_of(task.deal)) is not None:
                place.short = True
            elif not suits(applicant, task):
                continue
            elif not meets_kin(applicant, task):
                return place
            else:
                kin = kin or place
        return kin

    def _unlooked(self, task: Task, opened: int) -> Iterator[Place]:
        """Who waits since before the task opened, with a machine that could serve it."""
        needs = needs_of(task.deal)

        def able(machine: Machine) -> bool:
            sample = Applicant(
                wallet=self._pool.wallet.address, offers=machine.offers, memory=machine.memory
            )
            return unable(sample, needs) is None

        for place in self.line.waiting(able):
            if place.called_for or place.looked >= opened or place.worker in task.replicates:
                continue
            yield place

    async def _given(self, ask: _Ask) -> WorkerpoolAuthorization | None:
        found = await self._round.ask(ask)
        if not isinstance(found, TaskId):
            return found
        assert self.elsewhere is not None
        return await self.elsewhere(found, ask.worker, ask.instance)

    async def _give(
        self, asks: Sequence[_Ask]
    ) -> list[WorkerpoolAuthorization | TaskId | None]:
        """What each gets, or a task that its owner, another process, may give it. Nobody is
        told before all of it is durable."""
        with self._pool.engine.together():
            return [self._assign(ask) for ask in asks]

    def _assign(self, ask: _Ask) -> WorkerpoolAuthorization | TaskId | None:
        pool, worker = self._pool, ask.worker
        applicant = self._applicant(worker, bool(ask.instance), ask.purse)
        if applicant is None or not pool.roster.speaks(worker, ask.instance):
            return None
        task = self._openings.task_for(applicant, pool.clock.now())
        if task is None:
            return None
        mine = self.elsewhere is None or pool.engine.owns(str(task.id))
        return self._record(task, ask, applicant) if mine else task.id

    def _record(self, task: Task, ask: _Ask, applicant: Applicant) -> WorkerpoolAuthorization:
        pool, worker = self._pool, ask.worker
        power, alone = weight(ask.purse.score), applicant.unstaked and may_finish(task)
        first = self._hands_in(worker, ask.instance)
        terms = pool.audits.terms(task, worker, power, digest_first=first)
        later = terms is not None and terms.digest_first
        permission = pool.authorization(task, worker, UNSIGNED if later else None)
        signed = None if later else permission.signature.value
        stream = str(task.id)
        due = max(ask.since, pool.engine.changed(stream))
        fact = Assigned(worker, power, signed, alone, terms)
        pool.engine.record(stream, fact)
        pool.engine.acted("assign", stream, due)
        self._openings.served(task.deal.id)
        return permission

    def _applicant(
        self, worker: Address, unstaked: bool, purse: Purse | None
    ) -> Applicant | None:
        """The worker as far as it is known; None for one that gets no work at all."""
        model = self._pool.roster.model(worker)
        audits = self._pool.audits
        if model is None or self.is_blocked(worker) or audits.distrusts(worker):
            return None
        # Who votes and finalizes at once could vote for something else than it has handed in.
        believed = audits.policy is None or (model.digest_first and audits.believes(worker))
        owed = self._openings.owed(worker)
        return Applicant(
            wallet=worker,
            slots=model.slots,
            offers=self._offers(model),
            memory=max(0, model.memory_size),
            stake=None if purse is None else purse.stake - owed,
            gas=purse is None or purse.gas,
            unstaked=(
                unstaked and self.unstaked and model.contribute_and_finalize and believed
            ),
            kin=self._pool.roster.kin(worker),
            # Who may vote from the start would decide the task with its second opinion.
            audits=unstaked and model.digest_first and audits.may_audit(worker),
            trusted=worker in audits.auditors,
        )

    def _hands_in(self, worker: Address, instance: str) -> bool:
        """Whether this worker can hand in its digest before it may vote."""
        model = self._pool.roster.model(worker)
        return bool(instance) and model is not None and model.digest_first

    def _offers(self, model: WorkerModel) -> Tag:
        return _OFFERS[
            model.gpu_enabled,
            self.enclaves and model.tee_enabled,
            self.enclaves and model.tdx_enabled,
        ]

    def _machine(self, place: Place) -> Machine:
        model = self._pool.roster.model(place.worker)
        if model is None:
            return Machine(tag_of(), 0, unstaked=False)
        return Machine(self._offers(model), max(0, model.memory_size), place.unstaked)


_OFFERS = {
    (gpu, tee, tdx): tag_of(GPU * gpu, TEE * (tee or tdx), (SCONE | GRAMINE) * tee, TDX * tdx)
    for gpu in (False, True)
    for tee in (False, True)
    for tdx in (False, True)
}
"""What a machine offers: with a GPU, with SGX, with TDX."""
