"""Answering together what is asked at about the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from tallystick.engine.errors import Unavailable

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(slots=True)
class _Round(Generic[Q, A]):
    questions: list[Q] = field(default_factory=list[Q])
    answers: Sequence[A] = ()
    trouble: Unavailable | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class Rounds(Generic[Q, A]):
    """Gathers questions and has them answered at once: one round trip, or one commit, for
    whatever comes while the loop goes round once.

    Who asks first does it for all, and is not cancelled meanwhile. What is asked while others
    are being answered waits for its turn together: slow answers make large rounds.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        """`answer` gives one answer a question, in order; its Unavailable goes to all."""
        self._answer = answer
        self._open: _Round[Q, A] | None = None
        self._turn = anyio.Lock()

    async def ask(self, question: Q) -> A:
        """The answer. Raises Unavailable."""
        mine, place = self._open, 0
        if mine is None:
            mine = self._open = _Round[Q, A]()
            mine.questions.append(question)
            await self._settle(mine)
        else:
            place = len(mine.questions)
            mine.questions.append(question)
            await mine.done.wait()
        if mine.trouble is not None:
            raise mine.trouble
        return mine.answers[place]

    async def _settle(self, mine: _Round[Q, A]) -> None:
        with anyio.CancelScope(shield=True):
            async with self._turn:
                await checkpoint()
                self._open = None
                try:
                    mine.answers = await self._answer(mine.questions)
                except Unavailable as trouble:
                    mine.trouble = trouble
                finally:
                    mine.done.set()
