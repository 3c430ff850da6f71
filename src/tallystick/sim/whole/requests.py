"""A letter, as the shipped handlers of the scheduler's routes read it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio
from fastapi import Request

from tallystick.sim.whole.edges import Letter


def request_of(letter: Letter, desk: Any, gone: anyio.Event) -> Request:
    """The request of `letter`, whose sender hangs up when it is `gone`."""

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return cast(
        "Request",
        SimpleNamespace(
            headers={"x-tallystick-instance": letter.instance},
            app=SimpleNamespace(state=SimpleNamespace(desk=desk)),
            url=SimpleNamespace(path=letter.path),
            client=None,
            receive=receive,
        ),
    )
