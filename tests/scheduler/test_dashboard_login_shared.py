"""Sessions at the pages of a pool of two processes, on a real PostgreSQL."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from postgres_lab import ready_postgres
from shared_lab import OWNER, Process, both, expire
from starlette.requests import Request
from starlette.responses import Response

from tallystick.engine.fence import Fenced
from tallystick.poco.values import Address
from tallystick.scheduler.dashboard.acts import Acts
from tallystick.scheduler.dashboard.sessions import BadLink, Sessions

__all__ = ["both", "ready_postgres"]

POOL = Address(bytes([5]) * 20)


def door(process: Process) -> Sessions:
    return Sessions(key=b"k" * 32, pool=POOL, owner=OWNER, journal=process.journal)


def request(cookie: str = "") -> Request:
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/dashboard",
        "query_string": b"",
        "server": ("pool", 80),
        "headers": [(b"cookie", cookie.encode())] if cookie else [],
    }
    return Request(scope)


def opened(at: Sessions, code: str) -> str:
    """The cookie that a browser then sends."""
    answer = Response()
    at.open(code, request(), answer)
    ((name, each),) = SimpleCookie(answer.headers["set-cookie"]).items()
    return f"{name}={each.value}"


def test_a_session_is_one_at_both_and_so_is_its_end(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    b.comes()
    one, two = door(a), door(b)
    code = one.link(OWNER)
    cookie = opened(two, code)  # a balancer sends the browser elsewhere
    assert one.viewer(request(cookie)) == two.viewer(request(cookie))
    assert one.viewer(request(cookie)).operator
    with pytest.raises(BadLink, match="used already"):
        one.open(code, request(), Response())
    one.end(request(cookie), Response())
    assert not two.viewer(request(cookie)).session


def test_who_slept_opens_and_ends_nothing(both: tuple[Process, Process]) -> None:
    """It may not know what was used meanwhile; the others do it."""
    a, b = both
    a.comes()
    b.comes()
    one, two = door(a), door(b)
    code = one.link(OWNER)
    expire(a)
    with pytest.raises(Fenced):
        one.open(code, request(), Response())
    cookie = opened(two, code)
    with pytest.raises(Fenced):
        one.end(request(cookie), Response())
    assert two.viewer(request(cookie)).operator


def test_what_was_done_at_one_is_told_at_both(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    b.comes()
    Acts(a.journal).note(by=str(OWNER), what="blocked", worker=str(POOL), why="it lies")
    assert [act.why for act in Acts(b.journal).newest()] == ["it lies"]
