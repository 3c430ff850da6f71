"""How many hours of whole pools the simulator lives through in a minute."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from anyio import to_thread

from tallystick.bench.report import Options, Report, Row

NAME = "simulation"
SUMMARY = "simulated hours a minute, and worlds a minute, of random pools with faults"

_WORLDS, _QUICK = 400, 2


async def run(options: Options) -> Report:
    """The first worlds, with every promise watched, on one processor and on all."""
    worlds = options.samples(_WORLDS, quick=_QUICK)
    rows: list[Row] = []
    for name, processes in (("one process", 1), ("a process for each processor", 0)):
        told = await to_thread.run_sync(_lived, worlds, processes)
        minutes = told["seconds"] / 60
        hours = told["simulated_seconds"] / 3600
        rows += [
            Row(what=f"simulated hours a minute, {name}", figure=hours / minutes, unit="h/min"),
            Row(what=f"  worlds a minute, {name}", figure=worlds / minutes, unit="/min"),
        ]
    notes = (f"worlds 0 to {worlds - 1} of `tally sim run`, each with its own faults.",)
    return Report(bench=NAME, rows=tuple(rows), notes=notes)


def _lived(worlds: int, processes: int) -> dict[str, Any]:
    words = ["sim", "run", "--seed", "0", "--json"]
    words += ["--worlds", str(worlds), "--processes", str(processes)]
    command = [sys.executable, "-m", "tallystick", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
