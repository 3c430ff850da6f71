"""Pages are made for many at once, at most once a second, and within bounds."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.requests import Request

from tallystick.engine.pulse import Pulse
from tallystick.scheduler.dashboard import kept as module
from tallystick.scheduler.dashboard.budget import Budget
from tallystick.scheduler.dashboard.kept import Kept
from tallystick.scheduler.dashboard.pace import Pace
from tallystick.scheduler.dashboard.samples import Ring, Sample
from tallystick.scheduler.dashboard.viewer import PUBLIC, Viewer

pytestmark = pytest.mark.anyio


class World:
    """Pages of a number, and time by hand."""

    def __init__(self) -> None:
        self.pulse, self.now, self.made = Pulse(), 100.0, 0
        self.kept = Kept(Still(self.pulse), clock=lambda: self.now)  # type: ignore[arg-type]  # no time

    async def ask(self, path: str = "/a", viewer: Viewer = PUBLIC, **headers: str) -> Any:
        return await self.kept.answer(request(path, headers), viewer, self.make)

    async def make(self) -> str:
        self.made += 1
        await anyio.lowlevel.checkpoint()
        return f"page {self.made}"


class Still:
    """Changes alone: no seconds pass."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    @property
    def count(self) -> int:
        return self._pulse.count


def request(path: str, headers: dict[str, str]) -> Request:
    named = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    ]
    path, _, query = path.partition("?")
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": named,
            "server": ("pool", 80),
            "scheme": "http",
        }
    )


async def test_a_page_is_made_again_only_after_a_change_and_a_second():
    world = World()
    assert (await world.ask()).body == b"page 1"
    world.now += 50
    assert (await world.ask()).body == b"page 1"  # nothing changed
    world.pulse.beat()
    assert (await world.ask()).body == b"page 2"
    world.pulse.beat()
    assert (await world.ask()).body == b"page 2"  # not twice within a second
    world.now += 1
    assert (await world.ask()).body == b"page 3"
    assert (await world.ask("/a?x=1")).body == b"page 4"
    assert (await world.ask("/b")).body == b"page 5"


async def test_many_who_look_at_once_cost_one_page():
    world = World()
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(world.ask)
    assert world.made == 1
    assert world.kept._making == {}


async def test_who_signed_in_sees_pages_of_its_own_that_are_not_packed():
    world = World()
    owner = Viewer(wallet="0x1", operator=True)
    assert (await world.ask()).body == b"page 1"
    mine = await world.ask(viewer=owner, accept_encoding="gzip")
    assert mine.body == b"page 2"
    assert "private" in mine.headers["cache-control"]
    assert "content-encoding" not in mine.headers
    assert (await world.ask()).body == b"page 1"


async def test_what_a_browser_has_is_not_sent_again():
    world = World()
    first = await world.ask()
    again = await world.ask(if_none_match=first.headers["etag"])
    assert (again.status_code, again.body) == (304, b"")
    world.pulse.beat()
    world.now += 2
    other = await world.ask(if_none_match=first.headers["etag"])
    assert (other.status_code, other.body) == (200, b"page 2")


async def test_pages_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch):
    world = World()
    for number in range(300):
        await world.ask(f"/a?page={number}")
    assert len(world.kept._leaves) == 200
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    await world.ask("/z")
    assert world.kept._bytes <= 100
    assert world.kept._bytes == sum(leaf.size for leaf in world.kept._leaves.values())


async def test_a_page_that_cannot_be_made_is_asked_for_again():
    world = World()

    async def fail() -> str:
        raise ValueError("no chain")

    with pytest.raises(ValueError, match="no chain"):
        await world.kept.answer(request("/a", {}), PUBLIC, fail)
    assert (await world.ask()).body == b"page 1"


async def test_the_pace_tells_of_changes_and_of_seconds(monkeypatch: pytest.MonkeyPatch):
    pulse = Pulse()
    pace = Pace(pulse)
    before = pace.count
    assert await pace.next(before, 0) >= before
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pace.next, pace.count, 60)
        pulse.beat()
    assert pace.count > before
    monkeypatch.setattr("tallystick.scheduler.dashboard.pace._BEAT", 0.01)
    assert await pace.next(pace.count, 60) > before  # without any change
    pulse.close()
    assert pace.closed
    await pace.next(pace.count, 60)


async def test_the_last_hour_is_drawn_with_few_points():
    ring = Ring()
    for number in range(2_000):
        price = None if number % 2 else 7
        ring.add(Sample(at=float(number), alive=number, gas_price=price))
    drawn = ring.points(lambda each: each.alive)
    assert drawn[-1] == (1999.0, 1999.0)
    assert drawn[0][0] >= 1280
    assert len(drawn) <= 120
    assert ring.last is not None
    assert all(price == 7 for _, price in ring.points(lambda each: each.gas_price))


async def test_pages_take_no_more_than_their_share_of_time(monkeypatch: pytest.MonkeyPatch):
    now, slept = [0.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("tallystick.scheduler.dashboard.budget.anyio.sleep", sleep)
    ticks = iter(range(10**6))
    thread = "tallystick.scheduler.dashboard.budget.time.thread_time"
    monkeypatch.setattr(thread, lambda: next(ticks) * 0.1)
    budget = Budget(clock=lambda: now[0])
    for _ in range(10):
        async with budget.turn():
            pass  # which takes 0.1 s
    assert slept == []  # after a rest there is a store
    for _ in range(100):
        async with budget.turn():
            pass
    assert now[0] == pytest.approx((11.0 - 1.5) / 0.25, rel=0.05)


async def test_who_would_wait_too_long_is_sent_away(monkeypatch: pytest.MonkeyPatch):
    world, goes_on = World(), anyio.Event()
    monkeypatch.setattr(module, "_WAITING", 3)

    async def slowly() -> str:
        await goes_on.wait()
        return "page"

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            asked = request(f"/a?n={number}", {})
            tasks.start_soon(world.kept.answer, asked, PUBLIC, slowly)
        await anyio.wait_all_tasks_blocked()
        refused = await world.ask("/a?n=9")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        goes_on.set()
    assert (await world.ask("/a?n=9")).status_code == 200
