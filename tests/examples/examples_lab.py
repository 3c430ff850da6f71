"""Running an example's program here, without a container."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tallystick.examples
from tallystick.examples import packages
from tallystick.examples.catalogue import EXAMPLES

SOURCES = Path(tallystick.examples.__file__).parent


@dataclass(frozen=True)
class Run:
    """How a program ended, and what it left."""

    code: int
    out: Path
    said: str
    complained: str


def run(program: Path, out: Path, *args: str, inputs: Path | None = None, **env: str) -> Run:
    """Run `program` as the image's entry point would, with `out` for /iexec_out."""
    out.mkdir(parents=True)
    given = {"IEXEC_OUT": str(out), "IEXEC_IN": str(inputs or out), **env}
    done = subprocess.run(
        [sys.executable, "-E", "-B", str(program), *args],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Run(done.returncode, out, done.stdout, done.stderr)


def assemble(name: str, folder: Path) -> Path:
    """The example's program beside the data that its image has; returns the program."""
    folder.mkdir(parents=True)
    program = folder / "main.py"
    program.write_bytes((SOURCES / name / "main.py").read_bytes())
    if wanted := EXAMPLES[name].wheel_files:
        for path, content in packages.members(
            SOURCES / name / "requirements.txt", wanted
        ).items():
            (folder / Path(path).name).write_bytes(content)
    return program
