"""A request that is held open: whoever hangs up gets nothing, everybody else an answer."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tallystick.engine.errors import Unavailable
from tallystick.scheduler.hanging import unless_hung_up

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

    with anyio.fail_after(5):
        assert await unless_hung_up(asked, work) is None
    assert ended == ["given up"]


async def test_who_waits_gets_the_answer():
    asked: Any = Asked()

    async def work() -> str:
        await checkpoint()
        return "a task"

    assert await unless_hung_up(asked, work) == "a task"


async def test_a_trouble_reaches_who_asked_as_it_is():
    asked: Any = Asked()

    async def work() -> str:
        raise Unavailable("no node")

    with pytest.raises(Unavailable, match="no node"):
        await unless_hung_up(asked, work)
