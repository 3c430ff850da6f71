"""Keeps the world in step with the agenda.

    fact ──▶ advance ──▶ journal ──▶ state ──▶ agenda ──▶ start / cancel ──▶ perform ──▶ fact

Nothing is queued and nothing is retried by hand: a command runs for as long as the agenda
holds it. Recovery is replaying the journal; abort is a command that left the agenda.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from tallystick.engine import timing
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import DiskTrouble, Refused, Unavailable
from tallystick.engine.fence import Fenced
from tallystick.engine.journal import ChainRef, Entry

log = logging.getLogger(__name__)

S = TypeVar("S")
F = TypeVar("F")
C = TypeVar("C", bound=Hashable)


class Facts(Protocol[F]):
    """Where accepted facts are kept."""

    def append(
        self, stream: str, fact: F, *, at: float, ref: ChainRef | None = None
    ) -> int | None:
        """Write a fact durably: its number, None when it is there already."""
        ...

    def read(self, after: int = 0, stream: str | None = None) -> Iterable[Entry[F]]:
        """Facts past `after` in their order, of all streams or one."""
        ...

    def void_above(self, block: int) -> tuple[str, ...]:
        """Take back what blocks above `block` told; names the streams."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """All that is written inside is durable at once, or not at all."""
        ...

    def timing(self, what: str, stream: str, due: float, sent: float) -> None:
        """Keep when something was due and when it was sent, in seconds."""
        ...

    def timings(self, stream: str) -> list[tuple[str, float, float]]:
        """What was kept so of a stream."""
        ...


class Rules(Protocol[S, F, C]):
    """What a fact changes and what the result demands. Pure."""

    def fold(self, facts: Iterable[F]) -> S | None:
        """The state after all of `facts`; None when none of them began one."""
        ...

    def advance(self, state: S | None, fact: F) -> S:
        """The state after one more fact."""
        ...

    def agenda(self, state: S) -> Iterable[C]:
        """What has to be done now."""
        ...

    def begins(self, state: S, command: C) -> F | None:
        """The fact that work on `command` is under way, if that is worth telling."""


class Engine(Generic[S, F, C]):
    """Owns the state of every stream. All mutation goes through `record` and `roll_back`."""

    def __init__(
        self,
        *,
        journal: Facts[F],
        rules: Rules[S, F, C],
        perform: Callable[[C], Awaitable[F | None]],
        patience: float = 1.0,
        relook: float = 10.0,
    ) -> None:
        """`patience`: seconds before a step that met `Unavailable` begins again. `relook`:
        seconds after which a step whose effect nobody has reported looks again."""
        self._journal, self._rules, self._perform = journal, rules, perform
        self._patience, self._relook = patience, relook
        self._running: dict[str, dict[C, anyio.CancelScope]] = {}
        self._tasks: TaskGroup | None = None
        self._listeners: list[Callable[[Entry[F]], None]] = []
        self._watchers: list[Callable[[str], None]] = []
        self._unsaved: list[str] | None = None
        """In `together`: what has to be undone if nothing can be written."""
        self._changed: dict[str, float] = {}
        self._newest = 0
        self._complaints = Complaints(log)
        self.owns: Callable[[str], bool] = lambda stream: True
        """Whether this process records facts of a stream and works on it; the others it only
        knows. Of streams for which this becomes another answer `adopt` or `drop` is told."""
        self.states: dict[str, S] = {}
        streams: dict[str, list[F]] = defaultdict(list)
        for entry in journal.read():
            streams[entry.stream].append(entry.fact)
            self._newest = max(self._newest, entry.seq)
        for stream, facts in streams.items():
            self._fold(stream, facts)

    def listen(self, listener: Callable[[Entry[F]], None]) -> None:
        """Call `listener` with every fact that is accepted from now on."""
        self._listeners.append(listener)

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Call `watcher` with every stream whose state is another one, for whatever reason."""
        self._watchers.append(watcher)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is recorded in this block is made durable at its end, at once: nothing of it may
        be told before. When it cannot be written nothing has happened. Nothing may be awaited
        in it, since nobody else may record meanwhile."""
        unsaved, saved = list[str](), False
        self._unsaved = unsaved
        try:
            with self._journal.together():
                yield
            saved = True
        finally:
            self._unsaved = None
            for stream in () if saved else dict.fromkeys(unsaved):
                self._refold(stream)

    def record(self, stream: str, fact: F, ref: ChainRef | None = None) -> S:
        """Accept `fact`, or raise and change nothing. A log that is known changes nothing.
        Raises Fenced for a stream of another process."""
        if not self.owns(stream):
            raise Fenced(f"{stream} belongs to another process.")
        arrived = time.time()
        state = self._rules.advance(self.states.get(stream), fact)
        seq = self._journal.append(stream, fact, at=arrived, ref=ref)
        if seq is None:
            return self.states[stream]
        if stream in self.states and seq > self._newest:
            self.states[stream] = state
        else:  # told again after a reorg: what rests on it may hold once more
            self._fold(stream, [entry.fact for entry in self._journal.read(stream=stream)])
        self._newest = max(self._newest, seq)
        self._changed[stream] = arrived
        if self._unsaved is not None:
            self._unsaved.append(stream)
        self._tell(stream)
        for listener in self._listeners:
            listener(Entry(seq, stream, fact, arrived, ref))
        self.review(stream, arrived)
        return self.states[stream]

    def learn(self, entry: Entry[F]) -> None:
        """Take over what another process has recorded; it is in the journal already."""
        self.states[entry.stream] = self._rules.advance(
            self.states.get(entry.stream), entry.fact
        )
        self._newest = max(self._newest, entry.seq)
        self._tell(entry.stream)
        self.announce(entry)

    def announce(self, entry: Entry[F]) -> None:
        """Tell those who listen of a fact of another process that is in the states already."""
        self._changed[entry.stream] = time.time()
        for listener in self._listeners:
            listener(entry)

    def adopt(self, streams: Iterable[str], entries: Iterable[Entry[F]]) -> None:
        """Fold these streams, and all that `entries` tell of, anew, since others may have
        changed what holds of them; and work on those that are ours."""
        told: dict[str, list[Entry[F]]] = {stream: [] for stream in streams}
        for entry in entries:
            told.setdefault(entry.stream, []).append(entry)
            self._newest = max(self._newest, entry.seq)
        for stream, facts in told.items():
            self._fold(stream, [entry.fact for entry in facts])
            self._tell(stream)
            self.review(stream)

    def drop(self, streams: Iterable[str]) -> None:
        """Stop all work on streams that are not ours any more; their states stay known."""
        for stream in streams:
            self.review(stream)

    def changed(self, stream: str) -> float:
        """When the last fact of `stream` arrived here; 0 if none did since the start."""
        return self._changed.get(stream, 0.0)

    def acted(self, what: str, stream: str, due: float) -> None:
        """Keep that `what` leaves now: for acts that are answers to requests, not steps."""
        self._journal.timing(what, stream, due, time.time())

    def timings(self, stream: str) -> list[tuple[str, float, float]]:
        """What was sent for `stream`, when it became due and when it left."""
        return self._journal.timings(stream)

    def roll_back(self, block: int) -> tuple[str, ...]:
        """Undo what the chain took back: everything above `block`. The streams concerned."""
        streams = self._journal.void_above(block)
        for stream in streams:
            self._refold(stream)
        return streams

    def _refold(self, stream: str) -> None:
        self._fold(stream, [entry.fact for entry in self._journal.read(stream=stream)])
        self._tell(stream)
        self.review(stream)

    def _tell(self, stream: str) -> None:
        for watcher in self._watchers:
            watcher(stream)

    def review(self, stream: str, since: float | None = None) -> None:
        """Start what became due, cancel what no longer is. Call it when time has passed."""
        if self._tasks is None:
            return
        running = self._running.setdefault(stream, {})
        state = self.states.get(stream)
        mine = state is not None and self.owns(stream)
        due = dict.fromkeys(self._rules.agenda(state) if state is not None and mine else ())
        for command in [each for each in running if each not in due]:
            running[command].cancel()
        for command in [each for each in due if each not in running]:  # in the agenda's order
            running[command] = anyio.CancelScope()
            at = time.time() if since is None else since
            self._tasks.start_soon(self._run, stream, command, at)
        if not running:
            del self._running[stream]

    def review_all(self) -> None:
        """Time has passed for everybody."""
        for stream in list(self.states):
            self.review(stream)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work on every stream until the block is left."""
        async with anyio.create_task_group() as self._tasks:
            self.review_all()
            yield
            self._tasks.cancel_scope.cancel()
        self._tasks = None

    def _fold(self, stream: str, facts: list[F]) -> None:
        state = self._rules.fold(facts)
        if state is None:
            self.states.pop(stream, None)
        else:
            self.states[stream] = state

    async def _run(self, stream: str, command: C, due: float) -> None:
        scope, kept = self._running[stream][command], False
        timing.due(
            due, lambda what, at, sent: self._journal.timing(what, stream, at, sent), stream
        )
        with scope:
            if not scope.cancel_called:  # else it left the agenda before it could begin
                await self._announce(stream, command)
                fact = await self._insist(command)
                kept = await self._keep(stream, command, fact)
        if not kept:
            self._ended(stream, command)
            self.review(stream)

    async def _keep(self, stream: str, command: C, fact: F) -> bool:
        """Record what a command led to, unless it left the agenda. While that cannot be
        written it counts as not done, so nobody is told; and it is not begun again either."""
        scope = self._running[stream][command]
        while not scope.cancel_called:
            self._ended(stream, command)
            if self._wrote(stream, fact):
                return True
            self._running.setdefault(stream, {})[command] = scope
            await anyio.sleep(self._patience)
        return False

    def _wrote(self, stream: str, fact: F) -> bool:
        try:
            self.record(stream, fact)
        except (DiskTrouble, Fenced) as trouble:
            self._complaints.about("The journal", trouble)
            return False
        self._complaints.over("The journal")
        return True

    def _ended(self, stream: str, command: C) -> None:
        running = self._running.get(stream, {})
        running.pop(command, None)

    async def _announce(self, stream: str, command: C) -> None:
        while True:
            state = self.states.get(stream)
            begins = self._rules.begins(state, command) if state is not None else None
            if begins is None or self._wrote(stream, begins):
                return
            await anyio.sleep(self._patience)

    async def _insist(self, command: C) -> F:
        what = str(command)
        while True:
            pause = self._relook
            try:
                fact = await self._perform(command)
            except Unavailable as trouble:
                self._complaints.about(what, trouble)
                pause = self._patience
            except Refused as refusal:
                self._complaints.about(what, f"refused, looking again: {refusal}")
            else:
                self._complaints.over(what)
                if fact is not None:
                    return fact
            await anyio.sleep(pause)
