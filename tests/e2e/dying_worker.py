"""A worker that is killed at chosen facts of its journal. Runs in the place of a usual one.

The file `deaths` beside its settings tells when, a line each: `before Contributed`,
`after Began compute`; `pause after Computed` only stops it, until SIGCONT. Each happens once.
Its results are different every time it computes: what it signed once it cannot make again.
With `same` before the settings they are what every other worker computes; with `hasty` ten
minutes without a chain are over after six seconds.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from tallystick.engine.journal import Journal
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Digest
from tallystick.worker import app, votes
from tallystick.worker.compute import Computer
from tallystick.worker.folder import TaskFolder
from tallystick.worker.settings import read


def name_of(fact: Any) -> str:
    """`Computed`, or `Began compute`."""
    step = getattr(fact, "step", None)
    return f"{type(fact).__name__} {step}".removesuffix(" None")


def deaths() -> Path:
    return Path(sys.argv[-1]).with_suffix(".deaths")


def die_if_told(when: str, fact: Any) -> None:
    moment = f"{when} {name_of(fact)}"
    for line, number in ((moment, signal.SIGKILL), (f"pause {moment}", signal.SIGSTOP)):
        told = deaths().read_text().splitlines()
        if line in told:
            deaths().write_text("\n".join(each for each in told if each != line))
            os.kill(os.getpid(), number)


def mortal_append(self: Journal[Any], stream: str, fact: Any, **more: Any) -> int | None:
    die_if_told("before", fact)
    number = immortal_append(self, stream, fact, **more)
    die_if_told("after", fact)
    return number


def never_the_same(self: Computer, task: Task, folder: TaskFolder) -> Digest:
    (folder.output / "nonce").write_bytes(os.urandom(32))
    told = {"deterministic-output-path": "/iexec_out/nonce"}
    (folder.output / "computed.json").write_text(json.dumps(told))
    return usual_result(self, task, folder)


immortal_append, usual_result = Journal.append, Computer._result

if __name__ == "__main__":
    Journal.append = mortal_append  # type: ignore[method-assign, assignment]
    if "same" not in sys.argv[1:-1]:
        Computer._result = never_the_same  # type: ignore[method-assign]
    if "hasty" in sys.argv[1:-1]:
        fast = SimpleNamespace(monotonic=lambda: 100 * time.monotonic())
        votes.time = fast  # type: ignore[assignment, attr-defined]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("httpx2", "httpcore2", "websockets"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    anyio.run(app.serve, read(Path(sys.argv[-1])).config)
