"""The launcher `./tally`: what a newcomer meets, and what must never go wrong silently.

A checkout in miniature: the real launcher, no requirements, and a program that says hello.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HELLO = "import sys, tallystick\nprint('hello', *sys.argv[1:])\nsys.exit(len(sys.argv) - 1)\n"
PYTHON = Path(sys.base_prefix) / "bin" / "python3"


QUICK = f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {PYTHON} "$@"
{PYTHON} -m venv --without-pip "$3" && cd "$3"/lib/python*/site-packages && mkdir pip &&
    : >pip/__main__.py
"""
"""A Python that makes environments in no time, with a pip that does nothing."""


@pytest.fixture
def quick(tmp_path: Path) -> str:
    python = tmp_path / "quick-python"
    python.write_text(QUICK)
    python.chmod(0o755)
    return str(python)


def seconds(checkout: Path, *words: str) -> float:
    began = time.perf_counter()
    run(checkout, *words)
    return time.perf_counter() - began


class Newcomer(NamedTuple):
    checkout: Path
    first: subprocess.CompletedProcess[str]


def make_checkout(folder: Path) -> Path:
    (folder / "requirements").mkdir(parents=True)
    (folder / "src" / "tallystick").mkdir(parents=True)
    shutil.copy(ROOT / "tally", folder / "tally")
    for lock in ("run", "test"):
        (folder / "requirements" / f"{lock}.txt").write_text("# nothing\n")
    (folder / "src" / "tallystick" / "__init__.py").write_text("")
    (folder / "src" / "tallystick" / "__main__.py").write_text(HELLO)
    return folder


def run(checkout: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("TALLYSTICK", "PYTHON"))}
    return subprocess.run(
        [str(checkout / "tally"), *words],
        cwd=checkout,
        env={**mine, "TALLYSTICK_PYTHON": str(PYTHON), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    checkout = make_checkout(tmp_path_factory.mktemp("newcomer") / "a checkout")
    return Newcomer(checkout, run(checkout, "version", "a b"))


@pytest.fixture
def checkout(newcomer: Newcomer) -> Path:
    """Ready to run; what a test breaks it mends by running."""
    return newcomer.checkout


def test_first_call_prepares_later_calls_only_start(newcomer: Newcomer) -> None:
    assert (newcomer.first.stdout, newcomer.first.returncode) == ("hello version a b\n", 2)
    assert "making an environment with Python 3." in newcomer.first.stderr
    later = run(newcomer.checkout)
    assert (later.stdout, later.stderr, later.returncode) == ("hello\n", "", 0)


def test_a_warm_start_costs_next_to_nothing(checkout: Path) -> None:
    run(checkout, "prepare")
    assert min(seconds(checkout, "prepare") for _ in range(10)) < 0.05


def test_the_program_has_its_own_name_too_and_can_be_linked(checkout: Path) -> None:
    link = checkout.parent / "linked"
    link.symlink_to(checkout / "tally")
    for program in (checkout / ".venv" / "bin" / "tally", link):
        answer = subprocess.run([program], capture_output=True, text=True, check=True)
        assert (answer.stdout, answer.stderr) == ("hello\n", "")


def test_files_of_the_working_folder_are_not_taken_for_the_program(checkout: Path) -> None:
    (checkout / "tallystick.py").write_text("raise SystemExit('taken')\n")
    assert run(checkout).stdout == "hello\n"


def test_an_interrupted_installation_is_repeated(checkout: Path) -> None:
    (checkout / ".venv" / ".run").unlink()
    answer = run(checkout)
    assert (answer.stdout, answer.stderr.count("installing")) == ("hello\n", 1)
    assert "making" not in answer.stderr


def test_a_failed_installation_is_told_and_repeated(checkout: Path) -> None:
    lock = checkout / "requirements" / "run.txt"
    lock.write_text("no-such-package @ file:///nowhere/at/all.whl\n")
    answer = run(checkout)
    assert (answer.stdout, answer.returncode) == ("", 1)
    assert "requirements/run.txt could not be installed" in answer.stderr
    lock.write_text("# nothing\n")
    assert run(checkout).stdout == "hello\n"


def test_an_environment_whose_python_is_gone_is_made_again(tmp_path: Path, quick: str) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    run(checkout, TALLYSTICK_PYTHON=quick)
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    answer = run(checkout, TALLYSTICK_PYTHON=quick)
    assert (answer.stdout, "making" in answer.stderr) == ("hello\n", True)


def test_a_moved_checkout_makes_its_environment_again(tmp_path: Path, quick: str) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    run(checkout, TALLYSTICK_PYTHON=quick)
    moved = checkout.rename(tmp_path / "moved")
    answer = run(moved, TALLYSTICK_PYTHON=quick)
    assert (answer.stdout, "making" in answer.stderr) == ("hello\n", True)
    assert run(moved, TALLYSTICK_PYTHON=quick).stderr == ""


def test_several_at_once_install_once(tmp_path: Path, quick: str) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    places = {"TALLYSTICK_VENV": str(tmp_path / "venv"), "TALLYSTICK_PYTHON": quick}
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: run(checkout, **places), range(3)))
    assert [answer.stdout for answer in answers] == ["hello\n"] * 3
    assert "".join(answer.stderr for answer in answers).count("making") == 1
    assert not (checkout / ".venv").exists()


def test_without_a_fitting_python_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "readlink", "cksum", "id", "mkdir", "flock"):
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    old = tools / "python3"
    old.write_text("#!/bin/sh\ncase $1 in -V) echo Python 3.9.2 ;; *) exit 1 ;; esac\n")
    old.chmod(0o755)
    nowhere = {"PATH": str(tools), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
    answer = run(checkout, "up", **nowhere, TALLYSTICK_PYTHON="")
    assert answer.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13, and none was found (Python 3.9.2)" in answer.stderr
    assert "./tally up" in answer.stderr
    answer = run(checkout, TALLYSTICK_PYTHON=str(old))
    assert answer.returncode == 1
    assert f"TALLYSTICK_PYTHON is {old}, which is not a Python" in answer.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("script", ["tally", ".ci/run", "requirements/lock"])
def test_shell_scripts_are_sound(script: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / script)], check=True)
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", str(ROOT / script)], check=True)
