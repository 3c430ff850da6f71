"""Small bugs, made on purpose: each is seen by the simulator, within 500 worlds.

A patch in `bugs/` begins with a sentence and with the seed of a world that it breaks. That
world is lived through with a copy of the source that has the bug, and with one that has none.
A bug that only whole worlds can see has instead how many of them have to be lived through,
from the first one on.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
BUGS = sorted((Path(__file__).parent / "bugs").glob("*.patch"))
WORLDS = 500
FEWEST = 67
UNUSED = ("bench", "devnet", "directory", "examples", "requester", "results")
"""What a simulated pool does not load."""


@dataclass(frozen=True)
class Bug:
    """What a patch says."""

    name: str
    why: str
    seed: int
    whole: int
    """How many whole worlds; 0 when one of the others shows it."""
    file: str
    hunks: list[tuple[str, str]]
    """Text, and what becomes of it."""


def read(patch: Path) -> Bug:
    why, where, *_ = patch.read_text().splitlines()
    key, number = where.split(": ")
    assert key in ("Seed", "Whole worlds"), patch
    seed, whole = (int(number), 0) if key == "Seed" else (0, int(number))
    head, *hunks = re.split(r"^@@.*@@.*\n", patch.read_text(), flags=re.MULTILINE)
    file = re.search(r"^\+\+\+ b/src/(\S+)$", head, re.MULTILINE)
    assert file is not None
    sides = [(_side(hunk, " -"), _side(hunk, " +")) for hunk in hunks]
    return Bug(patch.stem, why, seed, whole, file[1], sides)


def _side(hunk: str, marks: str) -> str:
    return "".join(line[1:] for line in hunk.splitlines(keepends=True) if line[0] in marks)


def make(bug: Bug, source: Path) -> None:
    """Put the bug into a copy of the source."""
    text = (source / bug.file).read_text()
    for old, new in bug.hunks:
        assert text.count(old) == 1, (
            f"tests/sim/bugs/{bug.name}.patch no longer fits src/{bug.file}: make it anew."
        )
        text = text.replace(old, new)
    (source / bug.file).write_text(text)


def copy_of_source(folder: Path) -> Path:
    return shutil.copytree(SRC, folder / "src", ignore=shutil.ignore_patterns(*UNUSED))


def live(source: Path, *options: object) -> subprocess.CompletedProcess[str]:
    """Worlds of the simulator that lies in `source`."""
    command = [sys.executable, "-P", "-m", "tallystick", "sim", "run", *map(str, options)]
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=source,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_there_are_enough_bugs_and_each_still_fits() -> None:
    bugs = [read(patch) for patch in BUGS]
    assert len(bugs) >= FEWEST
    for bug in bugs:
        assert 0 <= bug.seed < WORLDS, bug.name
        assert bug.why.endswith("."), bug.name
        text = (SRC / bug.file).read_text()
        for old, _ in bug.hunks:
            assert text.count(old) == 1, (
                f"tests/sim/bugs/{bug.name}.patch no longer fits src/{bug.file}: make it anew."
            )


@pytest.mark.long
@pytest.mark.parametrize("patch", BUGS, ids=lambda patch: patch.stem)
def test_the_simulator_finds_a_bug(patch: Path, tmp_path: Path) -> None:
    bug = read(patch)
    source = copy_of_source(tmp_path)
    make(bug, source)
    for seed in range(bug.whole) if bug.whole else (bug.seed,):
        found = live(source, "--replay", "--seed", seed, *(("--whole",) if bug.whole else ()))
        if found.returncode:
            break
    told = found.stdout + found.stderr
    assert found.returncode == 1, f"Not found in the world of seed {seed}: {bug.why}"
    assert f"seed {seed}, second " in told, told[-2000:]


@pytest.mark.long
def test_without_a_bug_these_worlds_break_no_promise(tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    for seed in sorted({bug.seed for bug in map(read, BUGS) if not bug.whole}):
        found = live(source, "--replay", "--seed", seed)
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
