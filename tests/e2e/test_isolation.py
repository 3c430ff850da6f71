"""A market that can reach nothing: no network, no Docker, no root. The first task is paid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from newcomer import CHECKOUT, NO_DOCKER, Person, Told, warm

from tallystick.devnet.packages import PocoPackages, default_cache

UID = 64_123
"""Of nobody that is known here."""


def first_task(person: Person, *options: str) -> Told:
    told = person.tally("up", "--once", "--json", "--workers", "1", *options)
    assert told.code == 0, told.err
    assert told.answer["status"] == "COMPLETED"
    assert told.answer["paid_nrlc"] == 1_100_000_000
    assert Path(told.answer["result"], "digits", "digits.svg").is_file()
    person.until_nothing_runs()
    return told


@pytest.mark.parametrize("executor", ["runc", "bubblewrap"])
def test_without_docker_a_task_is_computed_by(
    executor: str, poco_packages: PocoPackages, tmp_path: Path
):
    if executor == "runc" and (os.geteuid() != 0 or shutil.which("runc") is None):
        pytest.skip("runc is not installed, or this is not root")
    told = first_task(warm(tmp_path), "--executor", executor)
    assert told.answer["executor"] == executor


def test_where_there_is_only_a_loopback(poco_packages: PocoPackages, tmp_path: Path):
    """Everything was downloaded before; nothing outside the machine is asked for anything."""
    alone = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here: that takes root, unshare and ip")
    person = warm(tmp_path)
    told = first_task(
        Person(home=tmp_path, program=[*alone, *person.program], extra=person.extra)
    )
    assert told.answer["executor"] in ("runc", "crun", "bubblewrap")


@pytest.fixture
def stranger() -> Iterator[Person]:
    """A user without any rights, in a folder that such a user can reach."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else, by setpriv")
    home = Path(tempfile.mkdtemp(prefix="tallystick-stranger-", dir="/tmp"))
    become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    try:
        shutil.copytree(default_cache(), home / "cache", symlinks=True)
        for path in (home, *home.rglob("*")):
            os.chown(path, UID, UID, follow_symlinks=False)
        program, libraries = python_for(become)
        extra = {"TALLYSTICK_CACHE": f"{home}/cache", **NO_DOCKER, **libraries}
        yield Person(home=home, program=[*become, *program], extra=extra)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def python_for(become: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The program as that user can run it: this Python may lie in a folder closed to others."""
    libraries = {"PYTHONPATH": f"{CHECKOUT / 'src'}:{sysconfig.get_path('purelib')}"}
    words = "import os, sys; words = [sys.executable, '-m', 'tallystick', 'version']; "
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        # Twice, since the first time setpriv still has root's right to open anything.
        trial = subprocess.run(
            [*become, python, "-P", "-c", f"{words} os.execv(words[0], words)"],
            env={**os.environ, **libraries},
            cwd="/",
            capture_output=True,
            check=False,
        )
        if trial.returncode == 0:
            return [python, "-P", "-m", "tallystick"], libraries
    pytest.skip("another user can reach neither this Python nor the system's of that version")


def test_a_user_without_rights_has_bubblewrap(poco_packages: PocoPackages, stranger: Person):
    trial = [*stranger.program[:4], "unshare", "--user", "true"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("users without rights may not make user namespaces here")
    told = first_task(stranger)
    assert told.answer["executor"] == "bubblewrap"
    assert "bubblewrap: " in told.err, "it says what it cannot limit here"
