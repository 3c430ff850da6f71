"""A request that is held open: whoever hangs up gets nothing, everybody else an answer."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tallystick.engine.errors import Unavailable
from tallystick.scheduler.hanging import HungUp, hang_up_of, spread, unless_hung_up

pytestmark = pytest.mark.anyio


class Asked:
    """A request whose sender goes away when told to."""

    def __init__(self) -> None:
        self.gone, self.begun = anyio.Event(), False

    async def receive(self) -> dict[str, Any]:
        if not self.begun:
            self.begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_work_for_somebody_who_hung_up_is_given_up():
    asked: Any = Asked()
    ended = []

    async def work() -> str:
        asked.gone.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("given up")
        return "a task"

    with anyio.fail_after(60), pytest.raises(HungUp):
        await unless_hung_up(hang_up_of(asked), work)
    assert ended == ["given up"]


async def test_who_waits_gets_the_answer():
    asked: Any = Asked()

    async def work() -> str:
        await checkpoint()
        return "a task"

    assert await unless_hung_up(hang_up_of(asked), work) == "a task"


async def test_a_trouble_reaches_who_asked_as_it_is():
    asked: Any = Asked()

    async def work() -> str:
        raise Unavailable("no node")

    with pytest.raises(Unavailable, match="no node"):
        await unless_hung_up(hang_up_of(asked), work)


def test_who_came_at_once_does_not_come_again_at_once():
    waits = [spread(25.0) for _ in range(1000)]
    assert 20.0 <= min(waits) < 21.0
    assert 24.0 < max(waits) <= 25.0
    assert spread(1.5) == 1.5
