"""`tally worker top` before a real control socket, in a terminal of 80 x 24."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tallystick.cli import worker_top
from tallystick.cli.failure import Mistake
from tallystick.worker import control, remote
from tallystick.worker.control import Control

pytest.importorskip("textual")

from textual.widgets import DataTable, Static

from tallystick.cli.dashboard import Dashboard, progress, resources

pytestmark = pytest.mark.anyio

TASK = "0x" + "ab" * 32
STATUS: dict[str, Any] = {
    "name": "my-worker",
    "state": "working",
    "now": 1_000_000.0,
    "began": 990_000.0,
    "pid": 7,
    "pool": "0x" + "90" * 20,
    "scheduler_url": "http://pool",
    "slots": {"busy": 1, "total": 3},
    "money": {
        "eth": 2 * 10**17,
        "stake": 5 * 10**9,
        "locked": 3 * 10**8,
        "free_gas": False,
        "age": 3.0,
        "more_tasks": 12,
    },
    "scheduler": {"heard_at": 999_996.0, "broken": False, "answer_sentence": None},
    "chain": {"block": 4242, "age": 1.0},
    "running": [
        {
            "task": TASK,
            "step": "compute",
            "since": 999_930.0,
            "seconds_left": 1234,
            "stake": 3 * 10**8,
        }
    ],
    "closed": [],
    "decisions": [
        {
            "at": 999_000.0,
            "kind": "declined",
            "task": TASK,
            "code": "APP_DENIED",
            "sentence": "The app [bold]x[/bold] \x1b[31mis denied.",
        }
    ],
}
USE = {
    "worker_memory": 45 << 20,
    "worker_cpu": 10.0,
    "jobs_memory": 300 << 20,
    "jobs_cpu": 99.0,
    "jobs_disk": 12 << 20,
    "machine_memory": 16 << 30,
    "machine_free_memory": 9 << 30,
    "machine_load": 1.5,
    "machine_cpus": 4,
    "free_disk": 100 << 30,
}
SUMS = {"total": {"reward": 99 * 10**7, "lost": 0, "paid": 1, "tasks": 2}}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def worker(home: Path) -> AsyncIterator[list[str]]:
    """A control socket that tells the above, and the orders that it got."""
    made, orders = Control(), list[str]()

    def telling(answer: Any) -> control.Handler:
        async def tell(request: control.Request) -> control.Answer:
            return answer

        return tell

    def obeying(word: str) -> control.Handler:
        async def obey(request: control.Request) -> control.Answer:
            orders.append(word)
            return {"state": word, "obeyed": True}

        return obey

    for word, answer in (("status", STATUS), ("usage", USE), ("earnings", SUMS)):
        made.on(word, telling(answer))
    for word in ("pause", "resume", "drain"):
        made.on(word, obeying(word))
    with control.address(home) as path:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run, home)
            while not path.exists():
                await anyio.lowlevel.checkpoint()
            yield orders
            tasks.cancel_scope.cancel()


def shown(app: Dashboard) -> str:
    texts = [str(each.render()) for each in app.query(Static)]
    table = app.query_one("#tasks", DataTable)
    rows = [" ".join(map(str, table.get_row_at(n))) for n in range(table.row_count)]
    return "\n".join(texts + rows)


async def test_everything_is_on_the_screen_and_keys_reach_the_worker(tmp_path: Path):
    async with worker(tmp_path) as orders:
        app = Dashboard(partial(remote.ask, tmp_path))
        async with app.run_test(size=(80, 24)) as pilot:
            text = shown(app)
            for part in (
                "my-worker is working, up 2 h 46 min",
                "slots 1/3, last ping 4 s ago, block 4242",
                "0.20 ETH, deposit 5.00 RLC, locked 0.30 RLC",
                "earned 0.99 RLC with 1 of 2 tasks, lost 0.00 RLC",
                "0xababababab…",
                "compute",
                "20 min 34 s",
                "worker 45 MiB",
                "pool 0x9090909090909090909090909090909090909090",
                "free: 9.0 GiB of 16.0 GiB, disk 100.0 GiB",
                "declined 0xababababab…",
            ):
                assert part in text
            assert "[bold]x[/bold]" in text, "strangers' words are no markup"
            assert "\x1b" not in text
            for key in ("p", "r", "d"):
                await pilot.press(key)
            assert orders == ["pause", "resume", "drain"]
            for each in app.query(Static):
                assert each.region.bottom <= 24
                lines = str(each.render()).splitlines()
                assert len(lines) <= each.region.height
                assert each.id == "why" or max(map(len, lines)) <= 78
            assert app.query_one("#tasks").region.height >= 4


async def test_a_worker_that_went_away_is_said_and_looked_for_again(tmp_path: Path):
    async with worker(tmp_path):
        app = Dashboard(partial(remote.ask, tmp_path))
        async with app.run_test(size=(80, 24)):
            app._ask = partial(remote.ask, tmp_path / "nowhere")
            await app.look()
            assert "No worker runs in" in shown(app)
            app._ask = partial(remote.ask, tmp_path)
            await app.look()
            assert "my-worker is working" in shown(app)


def test_processor_time_is_told_between_two_looks():
    later = {**USE, "worker_cpu": 10.5, "jobs_cpu": 101.0}
    line = next(iter(resources(later, {**USE, "now": 100.0}, 101.0)))
    assert "45 MiB 50%" in line
    assert "300 MiB 200%" in line


def test_progress_grows_with_the_steps():
    assert progress("start").count("█") < progress("compute").count("█")
    assert progress("complete") == "█" * 10
    assert progress("something else") == "░" * 10


async def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with worker(tmp_path / "w" if (tmp_path / "w").mkdir() is None else tmp_path):
        monkeypatch.delitem(sys.modules, "tallystick.cli.dashboard")
        monkeypatch.setitem(sys.modules, "textual.app", None)
        monkeypatch.setitem(sys.modules, "textual", None)
        top = partial(worker_top.top, name="w", base_dir=tmp_path)
        with pytest.raises(Mistake, match=r"pip install 'tallystick\[top\]'"):
            await anyio.to_thread.run_sync(top)
