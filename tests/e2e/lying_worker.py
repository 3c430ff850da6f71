"""A worker that lies about every result. Runs in the place of an honest one."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio

from tallystick.lifecycle.task import Task
from tallystick.poco.values import Digest
from tallystick.worker import app
from tallystick.worker.compute import Computer
from tallystick.worker.folder import TaskFolder
from tallystick.worker.settings import read


def lie(self: Computer, task: Task, folder: TaskFolder) -> Digest:
    return Digest(b"\x66" * 32)


Computer._result = lie  # type: ignore[method-assign]

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    anyio.run(app.serve, read(Path(sys.argv[1])).config)
