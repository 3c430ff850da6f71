"""A worker or a scheduler that is killed before and after each of its acts, and lives again.

`restless.py worker|scheduler ACTS DATA [OPTION…] CONFIG`: see `acts.Doom` for the file ACTS and
`acts.everything` for DATA. This process only keeps the one that lives, with the modules loaded,
so that a life begins at once. Of a worker, with the option `same` its results are those of all
the others, with `lie` they are wrong, without either they are different at each computation.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import pkgutil
import signal
import sys
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import acts
import anyio
import dying_worker
from lying_worker import lie

from tallystick.chain import keystore
from tallystick.engine.settings import load, secret
from tallystick.execution.probe import Seen
from tallystick.scheduler import app as scheduler
from tallystick.scheduler.config import SchedulerConfig
from tallystick.worker import app as worker
from tallystick.worker import checkup
from tallystick.worker.compute import Computer
from tallystick.worker.settings import read

_PR_SET_PDEATHSIG = 1


async def sound(*_: object) -> Seen:
    """What a container that was to show that containers work has shown."""
    return Seen()


def prepare(role: str, config: Path) -> None:
    """What takes a while and is the same in every life: to load modules, and to make a wallet's
    key from its password."""
    hashlib.scrypt = cache(hashlib.scrypt)
    for package in ("chain", "engine", "execution", "lifecycle", "storage", "wire", role):
        name = f"tallystick.{package}"
        for found in pkgutil.iter_modules(import_module(name).__path__, f"{name}."):
            with suppress(ImportError):
                import_module(found.name)
    if role == "worker":
        known = read(config).config
        keystore.unlock(known.wallet, known.unlock_with())
    else:
        pool = load(config, SchedulerConfig)
        keystore.unlock(pool.wallet, secret(pool.password_file))


def live(role: str, told: Path, data: Path, options: list[str], config: Path) -> None:
    """One life. It ends with the process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    acts.everything(acts.Doom(told), data)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("httpx2", "httpcore2", "websockets"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if role == "scheduler":
        anyio.run(scheduler.serve, config)
        return
    if "unchecked" in options:
        checkup.run_marker = sound  # type: ignore[assignment]
    if "lie" in options:
        Computer._result = lie  # type: ignore[method-assign]
    elif "same" in options:
        Computer._result = dying_worker.usual_result  # type: ignore[method-assign]
    else:
        Computer._result = dying_worker.never_the_same  # type: ignore[method-assign]
    anyio.run(worker.serve, read(config).config)


def keep(role: str, told: Path, data: Path, options: list[str], config: Path) -> int:
    """Have it live again whenever it was killed; the exit code of the life that ends itself."""
    stopped: list[int] = []
    while not stopped:
        child = os.fork()
        if not child:
            code = 1
            try:
                live(role, told, data, options, config)
                code = 0
            except BaseException:  # noqa: BLE001 (a fork must not go on as its parent)
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

        def stop(number: int, _: object, child: int = child) -> None:
            stopped.append(number)
            with suppress(ProcessLookupError):
                os.kill(child, number)

        signal.signal(signal.SIGTERM, stop)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
    return 0


if __name__ == "__main__":
    role, told, data, *options, config = sys.argv[1:]
    prepare(role, Path(config))
    sys.exit(keep(role, Path(told), Path(data), options, Path(config)))
