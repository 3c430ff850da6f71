"""What the worker decided about tasks and about asking for them, and why."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tallystick.engine.journal import Journal
from tallystick.poco.values import TaskId
from tallystick.worker.reason import Reason

log = logging.getLogger(__name__)

_KEY = "decision "
_RECENT = 200
"""Decisions that are remembered while the worker runs ..."""
_KEPT = 500
"""... and tasks whose last decision outlives it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that was decided."""

    at: float
    """Seconds since the epoch, by this machine's clock."""
    kind: str
    """`idle`: no work is asked for; `asking`: it is again; `declined`: a task was dropped."""
    task: TaskId | None
    reason: Reason


class Decisions:
    """The recent decisions, and the last one about each task."""

    def __init__(self, journal: Journal[Any], clock: Callable[[], float] = time.time) -> None:
        self._journal, self._clock = journal, clock
        kept = (_read(TaskId(key.removeprefix(_KEY)), text) for key, text in _notes(journal))
        known = sorted(kept, key=lambda decision: decision.at)
        self._recent = deque(known, maxlen=_RECENT)
        self._of = {str(each.task): each for each in known}

    def note(self, kind: str, task: TaskId | None, reason: Reason) -> None:
        """Remember a decision, and say it once: the same about the same thing is not news."""
        decision = Decision(self._clock(), kind, task, reason)
        if task is None and self._says_nothing_new(decision):
            return
        self._recent.append(decision)
        log.info("%s: %s", f"{kind} {task}" if task else kind, reason.sentence)
        if task is not None:
            self._keep(str(task), decision)

    def recent(self) -> tuple[Decision, ...]:
        """The last decisions, the oldest first."""
        return tuple(self._recent)

    def about(self, task: TaskId) -> Decision | None:
        """The last decision about `task`, also one of an earlier run."""
        return self._of.get(str(task))

    @property
    def present(self) -> Decision | None:
        """Why the worker asks for work or does not; None when it never had to decide."""
        return next((each for each in reversed(self._recent) if each.task is None), None)

    def _says_nothing_new(self, decision: Decision) -> bool:
        last = self.present
        known = last is not None and (last.kind, last.reason.code)
        return known == (decision.kind, decision.reason.code)

    def _keep(self, stream: str, decision: Decision) -> None:
        self._of.pop(stream, None)
        self._of[stream] = decision
        self._journal.note(_KEY + stream, _written(decision))
        while len(self._of) > _KEPT:
            oldest = next(iter(self._of))
            del self._of[oldest]
            self._journal.forget(_KEY + oldest)


def _notes(journal: Journal[Any]) -> Iterator[tuple[str, str]]:
    yield from journal.notes(_KEY).items()


def _written(decision: Decision) -> str:
    return json.dumps(
        [decision.at, decision.kind, decision.reason.code, decision.reason.sentence]
    )


def _read(task: TaskId, text: str) -> Decision:
    at, kind, code, sentence = json.loads(text)
    return Decision(at, kind, task, Reason(code, sentence))
