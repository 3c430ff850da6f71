"""A worker's desk before the worker is complete, and how it closes."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread
from worker_lab import settings

from tallystick.engine.errors import Refused
from tallystick.worker import remote
from tallystick.worker.control import SOCKET
from tallystick.worker.desk import open_desk
from tallystick.worker.remote import NoAnswer

pytestmark = pytest.mark.anyio


async def ask(home: Path, do: str, **request: Any) -> dict[str, Any]:
    with anyio.fail_after(60):
        while not await anyio.Path(home / SOCKET).exists():
            await anyio.lowlevel.checkpoint()
    return await to_thread.run_sync(partial(remote.ask, home, do, **request))


async def test_a_worker_that_waits_for_its_scheduler_says_so(tmp_path: Path):
    config = settings(tmp_path)
    config.home.mkdir()
    async with open_desk(config):
        told = await ask(config.home, "status")
        assert (told["state"], told["name"]) == ("starting", "worker")
        why = await ask(config.home, "why")
        assert [each["code"] for each in why["causes"]] == ["STARTING"]
        assert (await ask(config.home, "pause"))["obeyed"] is False
        logging.getLogger("tallystick.test").warning("knock, knock")
        lines = (await ask(config.home, "logs", count=1))["lines"]
        assert [each["message"] for each in lines] == ["knock, knock"]
        with pytest.raises(NoAnswer, match=r"journal\.db is not there"):
            await ask(config.home, "tasks")
        assert (await ask(config.home, "usage"))["worker_memory"] > 0
    assert not (config.home / SOCKET).exists()


async def test_what_ends_the_worker_is_told_as_it_is(tmp_path: Path):
    config = settings(tmp_path)
    config.home.mkdir()
    with pytest.raises(Refused, match="wrong pool"):
        async with open_desk(config):
            raise Refused("wrong pool")
    assert not (config.home / SOCKET).exists()
    rings = [each for each in logging.getLogger("tallystick").handlers if "Ring" in str(each)]
    assert rings == []
