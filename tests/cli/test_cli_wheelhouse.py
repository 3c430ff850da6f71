"""`tally pool wheelhouse`: which packages a pool hands on."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from tallystick.cli.pool_wheelhouse import pinned

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "run.txt"


def test_it_is_what_the_lock_says_for_this_machine():
    found = re.findall(r"^([A-Za-z0-9.-]+==[^ ]+)( ;.*)?", LOCK.read_text(), re.MULTILINE)
    everywhere = {name for name, marker in found if not marker}
    assert everywhere <= set(pinned())
    others = {each.split("==")[0] for each in set(pinned()) - {name for name, _ in found}}
    assert not others & {"pytest", "ruff", "playwright"}  # nothing that only tests need


def test_a_machine_that_is_not_known(tally: Any, tmp_path: Path):
    done = tally("pool", "wheelhouse", tmp_path, "--machine", "mips")
    assert (done.code, "x86_64 or aarch64" in done.err) == (1, True)


def test_what_pip_says_is_told(tally: Any, tmp_path: Path):
    wanted = tmp_path / "wanted.txt"
    wanted.write_text(f"./no-such-package-0.0-py3-none-any.whl --hash=sha256:{'0' * 64}\n")
    version = f"3.{sys.version_info[1]}"
    words = ("--python", version, "--requirements", wanted)
    done = tally("pool", "wheelhouse", tmp_path / "wheels", *words)
    assert (done.code, "pip could not fetch them" in done.err) == (1, True)
