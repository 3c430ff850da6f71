"""What each of the worker's commands does to the world: look, then act."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from anyio import to_thread

from tallystick.chain.hub import Hub
from tallystick.engine.clock import ChainClock
from tallystick.engine.errors import NoRoom, Refused, Unavailable
from tallystick.execution.executor import ImageNotForUs, ImageUnavailable
from tallystick.lifecycle.agenda import (
    Abort,
    Claim,
    Do,
    OwnCommand,
    owed_by_worker,
    stake_to_claim,
)
from tallystick.lifecycle.facts import (
    Aborted,
    AppFetched,
    Began,
    Completed,
    DataFetched,
    Fact,
    Failed,
    Published,
    Started,
    Step,
    Uploaded,
)
from tallystick.lifecycle.margins import headroom
from tallystick.lifecycle.replicate import Replicate
from tallystick.lifecycle.task import Task, advance, fold
from tallystick.poco.contribution import result_hash
from tallystick.poco.params import parse_params
from tallystick.poco.values import Address, Hash
from tallystick.storage.addresses import AddressRefused, host_and_port, require_public
from tallystick.storage.digest import OutputFolder, callback_data
from tallystick.wire.authorization import SignatureBody, WorkerpoolAuthorization
from tallystick.wire.results import ResultsClient, result_link
from tallystick.worker.compute import Computer
from tallystick.worker.folder import TaskFolder
from tallystick.worker.room import Room
from tallystick.worker.supplies import NoData, Supplies, pull_time
from tallystick.worker.votes import Votes

log = logging.getLogger(__name__)

_FILLING = (Step.START, Step.FETCH_APP, Step.FETCH_DATA, Step.COMPUTE)
"""Steps that write what strangers choose; nothing is at stake yet when they fail."""


@dataclass(frozen=True, slots=True)
class WorkerRules:
    """The worker's side of the lifecycle."""

    me: Address
    clock: ChainClock

    def fold(self, facts: Iterable[Fact]) -> Task | None:
        """The task that `facts` tell of."""
        return fold(facts)

    def advance(self, task: Task | None, fact: Fact) -> Task:
        """The task after `fact`."""
        return advance(task, fact)

    def agenda(self, task: Task) -> Iterator[OwnCommand]:
        """What is due, by the chain's clock; nothing while the chain was never seen."""
        if not self.clock.known:
            return
        yield from owed_by_worker(task, self.me, self.clock.now())
        yield from stake_to_claim(task, self.me, self.clock.now())

    def begins(self, task: Task, command: OwnCommand) -> Fact | None:
        """Every step is announced, unless it was before a restart, or cannot be done."""
        if isinstance(command, Abort | Claim):
            return None
        mine = task.replicates[self.me]
        if mine.doing is command.step or not _can_begin(task, mine, command):
            return None
        return Began(self.me, command.step)


def _can_begin(task: Task, mine: Replicate, command: Do) -> bool:
    """Whether a reveal would prove the vote; nothing else can be seen beforehand."""
    if command.step is not Step.REVEAL:
        return True
    return command.digest is not None and result_hash(task.id, command.digest) == mine.vote


@dataclass(slots=True)
class WorkerSteps:
    """The worker's hands."""

    me: Address
    hub: Hub
    votes: Votes
    supplies: Supplies
    computer: Computer
    store: ResultsClient
    """Where the pool keeps results."""
    sign: Callable[[Hash], bytes]
    """The wallet's signature of a personal message of 32 bytes."""
    clock: ChainClock
    room: Room
    states: Mapping[str, Task] = field(default_factory=dict[str, Task])
    """The engine's, once it is there."""
    before_vote: Callable[[Task], Awaitable[None]] | None = None
    """Returns when the scheduler has had its say about what was computed."""
    _since: dict[tuple[str, Step], float] = field(default_factory=dict[tuple[str, Step], float])

    async def perform(self, command: OwnCommand) -> Fact | None:
        """Do `command`, unless its effect is there already."""
        task = self.states[str(command.task)]
        if isinstance(command, Abort):
            return await self._abort(task, command.cause)
        if isinstance(command, Claim):
            await self.votes.claim(task)
            return None
        work = partial(self._steps[command.step], task, command)
        if command.step in _FILLING:
            return await self._fill(task, command.step, work)
        return await work()

    async def _fill(
        self, task: Task, step: Step, work: Callable[[], Awaitable[Fact | None]]
    ) -> Fact | None:
        """Do what needs room. A full disk is waited for while the vote can still be in time."""
        try:
            with self.room.used(task.id, step):
                return await work()
        except NoRoom as full:
            deal = task.deal
            last = deal.contribution_deadline - headroom(deal) - deal.time_unit
            if self.clock.now() < last:
                raise
            log.error("%s: given up, since no time is left to wait. %s", task.id, full)
            return Failed(self.me, step, "UNKNOWN")

    @property
    def _steps(self) -> dict[Step, Callable[[Task, Do], Awaitable[Fact | None]]]:
        return {
            Step.START: self._start,
            Step.FETCH_APP: self._fetch_app,
            Step.FETCH_DATA: self._fetch_data,
            Step.COMPUTE: self._compute,
            Step.CHECK: self._check,
            Step.PUBLISH: self._publish,
            Step.FINISH: lambda task, do: self.votes.finish(task, do.digest),
            Step.CONTRIBUTE: lambda task, do: self.votes.contribute(task, do.digest),
            Step.REVEAL: self._reveal,
            Step.UPLOAD: self._upload,
            Step.COMPLETE: self._complete,
        }

    async def _start(self, task: Task, command: Do) -> Fact:
        """Look at everything that would make the work worthless."""
        account = await self.hub.account(self.me)
        alone = task.replicates[self.me].alone
        if not alone and (short := self.votes.funds.short_of(task, account.stake)) is not None:
            log.warning("%s: %s", task.id, short.sentence)
            return Failed(self.me, Step.START, "STAKE_TOO_LOW")
        self._folder(task).make()
        return Started(self.me)

    async def _fetch_app(self, task: Task, command: Do) -> Fact:
        try:
            await self.supplies.fetch_image(task)
        except ImageNotForUs as problem:
            # Our own rules: others may have the image, so there is nothing to vote about.
            log.warning("%s: %s", task.id, problem)
            return Failed(self.me, Step.FETCH_APP, "APP_NOT_FOUND_LOCALLY")
        except ImageUnavailable as problem:
            return await self._voted_failure(task, Step.FETCH_APP, problem)
        except NoRoom:
            raise  # our own trouble, so nothing to vote about
        except Unavailable as trouble:
            if self._waited(task, Step.FETCH_APP) < pull_time(task, self.supplies.config):
                raise
            return await self._voted_failure(task, Step.FETCH_APP, trouble)
        return AppFetched(self.me)

    async def _voted_failure(self, task: Task, step: Step, problem: Exception) -> Failed:
        log.warning("%s: %s", task.id, problem)
        return await self.computer.explain_failure(task, step, "APP_IMAGE_DOWNLOAD_FAILED")

    async def _fetch_data(self, task: Task, command: Do) -> Fact:
        try:
            await self.supplies.fetch_data(task, parse_params(task.deal.params))
        except NoData as problem:
            log.warning("%s: %s", task.id, problem)
            return await self.computer.explain_failure(task, Step.FETCH_DATA, problem.cause)
        return DataFetched(self.me)

    async def _compute(self, task: Task, command: Do) -> Fact:
        image = await self.supplies.image(task)
        return await self.computer.compute(task, image, parse_params(task.deal.params))

    async def _reveal(self, task: Task, command: Do) -> Fact | None:
        """The digest may be known from the result alone, when an older journal was restored."""
        kept = self._folder(task).kept()
        return await self.votes.reveal(task, command.digest or (kept[0] if kept else None))

    async def _check(self, task: Task, command: Do) -> Fact | None:
        if self.before_vote is not None:
            await self.before_vote(task)
        return await self.votes.check(self.states[str(task.id)])

    async def _publish(self, task: Task, command: Do) -> Fact:
        """Bring the result where the vote will say that it is. The link is what the content
        says, whatever the store answers."""
        mine, folder = task.replicates[self.me], self._folder(task)
        try:
            if task.deal.has_callback:
                return Published(self.me, *await self._told(task))
            permission = self._authorization(task, mine)
            location = await self.store.publish(permission, self.sign, folder.zip)
        except (Refused, FileNotFoundError) as refusal:
            log.warning("%s: the result cannot be published: %s", task.id, refusal)
            return Failed(self.me, Step.PUBLISH, "RESULT_LINK_MISSING")
        return Published(self.me, result_link("ipfs", location).decode())

    async def _upload(self, task: Task, command: Do) -> Fact:
        mine, folder = task.replicates[self.me], self._folder(task)
        if mine.digest is None or not folder.zip.exists():
            return Failed(self.me, Step.UPLOAD, "RESULT_LINK_MISSING")
        try:
            if task.deal.has_callback:
                return Uploaded(self.me, *await self._told(task))
            location = await self._store(task, self._authorization(task, mine))
        except (Refused, AddressRefused) as refusal:
            log.warning("%s: the result store refuses the result: %s", task.id, refusal)
            return Failed(self.me, Step.UPLOAD, "RESULT_LINK_MISSING")
        return Uploaded(self.me, result_link("ipfs", location).decode())

    async def _told(self, task: Task) -> tuple[str, str]:
        """Link and bytes, in hex, of a result that no store gets: the contract that the deal
        names is told it. Raises BadOutput."""
        output = OutputFolder(self._folder(task).output)
        data = await to_thread.run_sync(callback_data, output)
        return result_link("ethereum", str(task.deal.callback)).decode(), "0x" + data.hex()

    async def _store(self, task: Task, permission: WorkerpoolAuthorization) -> str:
        """Bring the result to the store that the deal names, else to the pool's."""
        archive, elsewhere = (
            self._folder(task).zip,
            parse_params(task.deal.params).storage_proxy,
        )
        if not elsewhere or elsewhere.rstrip("/") == self.store.url:
            return await self.store.deliver(permission, self.sign, archive)
        if self.computer.config.private_downloads:
            host_and_port(elsewhere)
        else:
            await require_public(elsewhere)
        async with ResultsClient(elsewhere) as store:
            return await store.deliver(permission, self.sign, archive)

    async def _complete(self, task: Task, command: Do) -> Fact:
        if await self._folder(task).tidied():
            return Completed(self.me)
        return Failed(self.me, Step.COMPLETE, "UNKNOWN")

    async def _abort(self, task: Task, cause: str) -> Fact:
        """What ran was cancelled when it left the agenda; the digest stays in the journal."""
        if task.status.over or task.replicates[self.me].digest is None:
            await self._folder(task).tidied()
        # Else a vote for it may be on its way: the result is kept until the task is over.
        return Aborted(self.me, cause)

    def _waited(self, task: Task, step: Step) -> float:
        """Seconds since this step of the task first met trouble."""
        now = time.monotonic()
        return now - self._since.setdefault((str(task.id), step), now)

    def _folder(self, task: Task) -> TaskFolder:
        return TaskFolder(self.computer.config.home, task.id)

    def _authorization(self, task: Task, mine: Replicate) -> WorkerpoolAuthorization:
        if mine.authorization is None:
            raise Refused(f"There is no authorization for {task.id}.")
        return WorkerpoolAuthorization(
            chain_task_id=task.id,
            deal_id=task.deal.id,
            task_index=task.index,
            worker_wallet=self.me,
            signature=SignatureBody(value=mine.authorization),
        )
