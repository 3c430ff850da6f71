"""A worker that lies, and that may vote from the start, as v9 workers may."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio
from lying_worker import lie

from tallystick.wire.scheduler import SchedulerClient, WorkerModel
from tallystick.worker import app
from tallystick.worker.compute import Computer
from tallystick.worker.settings import read

_register = SchedulerClient.register


async def register(
    self: SchedulerClient, model: WorkerModel, *, takeover: bool = False
) -> None:
    cannot = model.model_copy(update={"digest_first": False})
    await _register(self, cannot, takeover=takeover)


Computer._result = lie  # type: ignore[method-assign]
SchedulerClient.register = register  # type: ignore[method-assign]

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    anyio.run(app.serve, read(Path(sys.argv[1])).config)
