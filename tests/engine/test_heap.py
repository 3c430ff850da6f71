"""When garbage is looked for, and that nobody notices otherwise."""

from __future__ import annotations

import gc

import anyio
import anyio.lowlevel
import pytest

from tallystick.engine import heap
from tallystick.engine.errors import Unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_everything_is_looked_at_once_in_a_while(monkeypatch: pytest.MonkeyPatch):
    before, looks, thrice = gc.get_threshold(), [], anyio.Event()

    def look() -> int:
        looks.append(gc.get_threshold())
        if len(looks) == 3:
            thrice.set()
        return 0

    monkeypatch.setattr(gc, "collect", look)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heap.tidy, 0.0, 0.0)
        with anyio.fail_after(60):
            await thrice.wait()
        assert gc.get_freeze_count() > 0, "what lives since the start is passed over"
        tasks.cancel_scope.cancel()
    assert all(young == looks[0] and young[2] > 1_000 for young in looks)
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


async def test_a_mistake_is_raised_as_it_is():
    async def service(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        raise Unavailable(name)

    with pytest.raises(Unavailable, match="the chain"):
        await heap.tidied(service)("the chain")
