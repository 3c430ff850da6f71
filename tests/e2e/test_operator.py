"""An operator before a real market: policies that change while it runs, and every command."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from market_lab import Lab, market_lab, more_workers, only

from tallystick.cli.main import run
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places
from tallystick.worker.control import SOCKET

pytestmark = [pytest.mark.anyio, pytest.mark.long]


class Operator:
    """Types commands about one worker of a market."""

    def __init__(self, lab: Lab, name: str, capture: pytest.CaptureFixture[str]) -> None:
        self.places, self.name, self._capture = Places(lab.market.data), name, capture

    @property
    def home(self) -> Path:
        return self.places.data("workers") / self.name

    async def types(self, *words: str) -> tuple[int, str, str]:
        """Exit code, and what is on stdout and stderr."""
        config = ("--config", str(self.places.config(self.name)))
        self._capture.readouterr()
        code = await to_thread.run_sync(run, ["worker", *words, *config])
        return code, *self._capture.readouterr()

    async def asks(self, *words: str) -> dict[str, Any]:
        code, out, err = await self.types(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    async def until(self, met: Any, *words: str) -> dict[str, Any]:
        with anyio.fail_after(100):
            while not met(told := await self.asks(*words)):  # noqa: ASYNC110 (another process)
                await anyio.sleep(0.1)
            return told

    def decides(self, policies: str) -> None:
        path = self.places.config(self.name)
        plain = path.read_text().partition("[policies")[0]
        fresh = path.with_suffix(".new")
        fresh.write_text(plain + policies)
        fresh.replace(path)


async def test_a_denied_app_is_left_to_others_until_the_file_says_otherwise(
    poco_packages: PocoPackages,
    executor: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    async with market_lab(tmp_path, workers=2, executor=executor, children=only(1)) as lab:
        one, two = Operator(lab, "worker-1", capsys), Operator(lab, "worker-2", capsys)
        app = lab.market.apps["digits"].address
        one.decides(f'[policies.apps]\ndeny = ["{app}"]\n')
        bought = await lab.buy("digits")
        (task,) = bought.tasks
        await lab.until(task, lambda story: causes(story) == ["ABORTED_BY_WORKER"])
        why = await one.asks("why")
        assert "APP_DENIED" in [each["code"] for each in why["causes"]]
        of_task = await one.asks("why", str(task))
        assert str(app) in of_task["upshot"][0]
        async with more_workers(lab, 2):
            ending = await lab.see(bought)
            assert ending.paid
            assert set(lab.gains(ending)) >= {"worker-2"}
            assert (await two.asks("pause"))["state"] == "paused"
            code, out, _ = await two.types("why")
            assert code == 0
            assert "1. [stops]" in out
            assert "tally worker resume" in out
            one.decides("")
            again = await lab.buy("digits")
            ending = await lab.see(again)
            assert ending.paid
            assert "worker-1" in lab.gains(ending)
            assert (await two.asks("resume"))["state"] == "working"
            code, out, err = await two.types("stop")
            assert (code, err) == (0, "")
            assert "The worker has stopped." in out
        await look_at_everything(one, str(again.tasks[0]), lab.gains(ending)["worker-1"])
        await nobody_else_answers(lab, one)
        await stopped(one, two)


async def look_at_everything(one: Operator, task: str, gain: int) -> None:
    """Every command, about a worker that was paid once and declined once."""
    status = await one.asks("status")
    assert status["state"] == "working"
    assert status["slots"] == {"busy": 0, "total": 1}
    assert status["money"]["stake"] > 0
    assert status["scheduler"]["heard_at"] is not None
    code, out, _ = await one.types("status")
    assert code == 0
    for line in ("pool", "wallet", "ETH", "deposit", "stake locked", "last ping", "waits for"):
        assert line in out
    earned = await one.until(lambda told: told["total"]["reward"] == gain, "earnings")
    assert earned["total"]["paid"] == 1
    assert earned["total"]["gas"] > 0
    rows = {row["task"]: row for row in (await one.asks("tasks"))["tasks"]}
    assert rows[task]["status"] == "COMPLETED"
    assert rows[task]["reward"] == gain
    assert len(rows) == 2
    assert sorted(row["cause"] or "" for row in rows.values()) == ["", "ABORTED_BY_WORKER"]
    history = await one.asks("tasks", task[:14])
    assert history["vote"] == history["consensus"]
    told = [each["fact"] for each in history["moments"]]
    assert {"Assigned", "Computed", "Contributed", "Revealed", "Finalized"} <= set(told)
    code, out, _ = await one.types("why", task)
    assert f"It is paid: {gain} nRLC." in out
    assert "No stake of ours is in it any more." in out
    code, out, _ = await one.types("logs", "-n", "500")
    assert f"for task {task}." in out
    assert "Earned 0." in out
    code, out, _ = await one.types("earnings", "--csv")
    assert code == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert [line["reward_nrlc"] for line in lines if line["task"] == task] == [str(gain)]


async def nobody_else_answers(lab: Lab, one: Operator) -> None:
    """A chain and a scheduler that hang keep no status from being told, with ages."""
    hung = [lab.pid("chain"), lab.pid("scheduler")]
    for each in hung:
        os.kill(each, signal.SIGSTOP)
    try:
        told = await one.asks("status")
        assert told["money"]["stake"] > 0
        assert told["money"]["age"] >= 0
        assert told["chain"]["age"] >= 0
        assert told["now"] >= told["scheduler"]["heard_at"]
        assert (await one.asks("tasks"))["tasks"]
    finally:
        for each in hung:
            os.kill(each, signal.SIGCONT)


async def stopped(one: Operator, two: Operator) -> None:
    """What a worker that does not run still tells, and says that it does not."""
    code, _, err = await two.types("pause")
    assert code == 1
    assert "No worker runs in" in err
    code, out, _ = await two.types("status")
    assert code == 1
    assert "does not run" in out
    code, out, _ = await two.types("tasks")
    assert code == 0
    assert "does not run" in out
    assert "COMPLETED" in out
    code, out, _ = await two.types("earnings")
    assert code == 0
    assert "1 of 1 tasks are paid" in out
    assert not (two.home / SOCKET).exists()


def causes(story: dict[str, Any]) -> list[str]:
    return [each["cause"] for each in story["replicates"]]
