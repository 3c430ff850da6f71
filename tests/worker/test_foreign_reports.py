"""What a v9 scheduler has answered to all that there is to tell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import anyio
import anyio.lowlevel
import pytest
from worker_lab import ME, TASK

from tallystick.engine.journal import Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Assigned, Fact
from tallystick.worker.foreign.reports import Reports

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("told", [True, False])
async def test_a_vote_does_not_wait_for_answers_of_an_earlier_life(
    tmp_path: Path, told: bool
) -> None:
    """The worker was killed when it had told all, and nothing else happens; a fact that nobody
    is told of comes after it, or not."""
    journal, changes = Journal[Fact](tmp_path / "journal.db", get_args(Fact)), Pulse()
    last = journal.append(str(TASK), Assigned(ME, 3), at=1)
    journal.note("told", str(last if told else 0))
    session = SimpleNamespace(
        journal=journal, changes=changes, me=ME, told_all=lambda _: anyio.lowlevel.checkpoint()
    )
    reports = Reports(cast("Any", session), *[cast("Any", None)] * 3)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def later() -> None:
                await anyio.wait_all_tasks_blocked()
                await reports.tell("told")

            tasks.start_soon(later)
            assert await reports.answer(str(TASK)) == ""
            tasks.cancel_scope.cancel()
    journal.close()
