"""The same stories told by a user who is nobody special."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_lab import GIVEN_DOCKER

STRANGER = 61_234
HERE = Path(__file__).parent
STORIES = (
    "reads_its_input or privileges or few_places or user_of_the_image or full_disk or killed"
    " or too_much_memory or up_to_the_limit or hostile_output or cancelled or counted"
)


def python_for_everyone() -> tuple[str, str] | None:
    """An interpreter that others may run, and the packages of this one, if they fit it."""
    packages = next(p for p in sys.path if p.endswith("site-packages"))
    for program in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        if not (Path(program).exists() and open_to_all(Path(program))):
            continue
        version = subprocess.run(
            [program, "-c", "import sys; print(sys.version_info[:2])"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        if version == str(sys.version_info[:2]) and open_to_all(Path(packages)):
            return program, packages
    return None


def open_to_all(path: Path) -> bool:
    return all(p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents))


@pytest.fixture
def stranger(tmp_path_factory):
    """Runs tests as somebody else; the number of those that passed."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else")
    python = python_for_everyone()
    if python is None:
        pytest.skip("no Python here that every user may run")
    program, packages = python
    home = Path("/tmp") / f"tallystick-stranger-{os.getpid()}"
    home.mkdir(mode=0o700)
    os.chown(home, STRANGER, STRANGER)

    def run(stories: str, **env: str) -> str:
        ids = ("--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups")
        paths = f"{HERE.parents[1] / 'src'}:{packages}"
        env |= {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": paths}
        env |= {"PYTHONDONTWRITEBYTECODE": "1"}
        words = ("-p", "no:cacheprovider", f"--basetemp={home}/t", "-k", stories)
        done = subprocess.run(
            ["setpriv", *ids, program, "-m", "pytest", *words,
             str(HERE / "test_sandbox_runs.py"), str(HERE / "test_sandbox_limits.py")],
            env=env, capture_output=True, text=True, check=False, cwd=HERE.parents[1],
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout.strip().splitlines()[-1]

    yield run
    shutil.rmtree(home)


def test_bubblewrap_without_root(stranger) -> None:
    summary = stranger(f"bubblewrap and not long and ({STORIES})")
    assert int(summary.split()[0]) > 10


@pytest.mark.long
def test_docker_without_root(stranger, docker_host) -> None:
    socket = Path(docker_host.removeprefix("unix://"))
    socket.parent.chmod(0o755)
    socket.chmod(0o666)
    stories = f"docker and not long and ({STORIES})"
    summary = stranger(stories, **{GIVEN_DOCKER: docker_host})
    assert int(summary.split()[0]) > 10
