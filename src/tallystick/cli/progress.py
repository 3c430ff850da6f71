"""Showing how tasks go: lines for a pipe or a log, live bars for a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import TracebackType
from typing import Final, Protocol, Self

from tallystick.cli.terminal import Voice
from tallystick.lifecycle.facts import Step
from tallystick.lifecycle.views import STEP_NAMES
from tallystick.poco.values import TaskId
from tallystick.requester.news import Happened, News, OnChain, Silent, Told

_AT_ONCE: Final = STEP_NAMES[Step.FINISH]
LADDER: Final = (
    "CREATED",
    *(n for names in STEP_NAMES.values() if names != _AT_ONCE for n in names[:2]),
)
"""The v9 statuses of a replicate that goes well, in order."""


_STANDS_FOR: Final = {failed: begun for begun, _, failed in STEP_NAMES.values()} | {
    "RESULT_UPLOAD_REQUESTED": "REVEALED",
    **dict(zip(_AT_ONCE, ("CONTRIBUTING", "RESULT_UPLOADED", "CONTRIBUTING"), strict=True)),
}


class Progress(Protocol):
    """Somebody who shows the news of tasks while they run."""

    def tell(self, news: News) -> None:
        """Show what happened."""
        ...

    def say(self, text: str) -> None:
        """A line between the news."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def progress(voice: Voice, names: Mapping[str, str]) -> Progress:
    """What suits where `voice` speaks. `names`: what to call addresses (lower case)."""
    if not voice.lively:
        return Lines(voice, names)
    bars: Callable[[Mapping[str, str]], Progress] = import_module(
        "tallystick.cli.bars"
    ).Bars  # only for who looks
    return bars(names)


def short(task: TaskId) -> str:
    """The first digits of a task, enough for a person."""
    return f"{str(task)[:10]}…"


@dataclass(slots=True)
class Lines:
    """One line for everything that happens."""

    voice: Voice
    names: Mapping[str, str]
    start: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def say(self, text: str) -> None:
        """A line between the news."""
        self.voice.say(text)

    def tell(self, news: News) -> None:
        """A line for each fact, and for each state on chain."""
        match news:
            case OnChain(task=task, status=status, block=block):
                self._line(task, "chain", f"{on_chain(status)} in block {block}")
            case Told(task=task, story=story):
                for fact in story.facts:
                    if fact.by != "chain" or fact.worker is not None:
                        self._line(task, self._who(fact), sentence(fact))
            case Silent(task=task, why=why):
                self._line(task, "", why)

    def _who(self, fact: Happened) -> str:
        return called(fact.worker, self.names) if fact.worker else fact.by

    def _line(self, task: TaskId, who: str, what: str) -> None:
        passed = time.monotonic() - self.start
        self.voice.say(f"{passed:7.2f} s  {short(task)}  {who:<12}  {what}")


def on_chain(status: str) -> str:
    """A task's status on chain, in its own word where a person understands that."""
    return "bought, waits for the scheduler" if status == "UNSET" else status


def fraction(status: str) -> float:
    """How far a replicate of this v9 status is: 0 to 1."""
    status = _STANDS_FOR.get(status, status)
    return LADDER.index(status) / (len(LADDER) - 1) if status in LADDER else 0.0


def called(address: str, names: Mapping[str, str]) -> str:
    """The name of a known account; else its address, shortened."""
    return names.get(address.lower()) or f"{address[:8]}…"


def sentence(fact: Happened) -> str:
    """A fact in words: "computed (exit code: 0)"."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in fact.kind).strip()
    return f"{words} ({fact.text})" if fact.text else words
