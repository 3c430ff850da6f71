"""``./tally test`` and ``./tally check``: what they do, once the launcher has made ``.venv``.

Part of a checkout only; the installed program has no such commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "packaging" / "system-packages.txt"
POLICY = Path("/usr/sbin/policy-rc.d")
PYTHONS = ((3, 11), (3, 12), (3, 13))
PURE = ("tests/poco", "tests/lifecycle", "tests/engine", "tests/sim")
SHORT = ("-m", "not long")
SAME_ON_ALL = "not random_worlds and not hand_made_bugs"
"""Many lives of simulated pools take minutes, and are the same on every Python."""
SECOND_TRY = ("--reruns", "1", "-rR")
"""Real processes on a busy machine may be late. What needed it is listed at the end."""
USAGE = """\
./tally check               format, lint, types, imports and the pure tests; two minutes
./tally test                the suite: the same checks, then every test but the long ones
./tally test --all          the long ones too, and the pure tests on every other Python present
./tally test ARGUMENTS ...  only pytest, with these arguments: ./tally test tests/poco -k seal
"""


# --- Debian packages ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SystemPackage:
    """A Debian package that tests use, and the command that shows it is there."""

    name: str
    command: str
    purpose: str

    @property
    def missing(self) -> bool:
        """Whether neither the command nor, where none is named, the package is there."""
        if self.command != "-":
            return shutil.which(self.command, path=_search_path()) is None
        asked = ["dpkg-query", "-W", "-f", "${Status}", self.name]
        try:
            answer = subprocess.run(asked, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return False  # not a Debian: nothing to be said about its packages
        return "ok installed" not in answer.stdout


def _search_path() -> str:
    """The path, with the folders of system programs that an ordinary user's path lacks."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def system_packages(text: str) -> list[SystemPackage]:
    """The packages of ``system-packages.txt``."""
    lines = [line.split(maxsplit=2) for line in text.splitlines()]
    return [SystemPackage(*line) for line in lines if line and not line[0].startswith("#")]


def install_system_packages() -> bool:
    """Install what is missing as root, name it otherwise; False when apt-get failed."""
    missing = [p for p in system_packages(PACKAGES.read_text()) if p.missing]
    if not missing:
        return True
    names = [package.name for package in missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        for package in missing:
            _say(f"missing: {package.name} ({package.purpose})")
        _say(f"what needs them is skipped; on Debian: sudo apt-get install {' '.join(names)}")
        return True
    _say(f"installing {' '.join(names)} ...")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *names]
    with _no_daemon_started():
        done = _quietly(["apt-get", "update", "-q"], quiet) and _quietly(install, quiet)
    if not done:
        _say(f"apt-get could not install {' '.join(names)}; what needs them is skipped")
    return done


@contextmanager
def _no_daemon_started() -> Iterator[None]:
    """Debian starts what it installs; tests start daemons of their own and want no other."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


# --- checks -------------------------------------------------------------------------------


def run_checks() -> list[str]:
    """Format, lint, types, imports; the names of those that failed."""
    scripts = Path(sysconfig.get_path("scripts"))
    checks: dict[str, list[str]] = {
        "format": ["-m", "ruff", "format", "--check"],
        "lint": ["-m", "ruff", "check", "--output-format", "concise"],
        "types": ["-m", "mypy"],
        "imports": [str(scripts / "lint-imports"), "--no-logo", "--no-cache"],
    }
    return [
        name for name, argv in checks.items() if not _check(name, [sys.executable, "-P", *argv])
    ]


def _check(name: str, argv: Sequence[str]) -> bool:
    began = time.monotonic()
    passed = _quietly(argv, os.environ)
    _say(f"{name:8} {'ok' if passed else 'FAILED':6} {time.monotonic() - began:5.1f} s")
    return passed


def _quietly(argv: Sequence[str], env: Mapping[str, str]) -> bool:
    """Run a command; show what it wrote only when it failed."""
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        sys.stdout.buffer.write(done.stdout)
        sys.stdout.flush()
    return done.returncode == 0


# --- tests --------------------------------------------------------------------------------


def pure_tests() -> list[str]:
    """What pytest is given for the tests that need no process, no network and no container."""
    files = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/test_*.py"))
    return [*SHORT, *(folder for folder in PURE if (ROOT / folder).is_dir()), *files]


def parallel() -> list[str]:
    """For whole runs: one process a processor, at most four; a file's tests stay together,
    since they share a chain, a market or a daemon."""
    processes = min(4, len(os.sched_getaffinity(0)))
    return ["-n", str(processes), "--dist", "loadfile"] if processes > 1 else []


def run_pytest(arguments: Sequence[str], python: str = sys.executable) -> int:
    """Run pytest with its output on ours; its exit code."""
    argv = [python, "-P", "-m", "pytest", *arguments]
    return subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode


def run_other_pythons() -> list[str]:
    """The pure tests on each other supported Python present; the versions that failed."""
    others = [version for version in PYTHONS if version != sys.version_info[:2]]
    return [f"Python {a}.{b}" for a, b in others if not _passes_on(f"{a}.{b}")]


def _passes_on(version: str) -> bool:
    python = find_python(version)
    if python is None:
        _say(f"Python {version}: skipped, there is none with the venv module on this machine")
        return True
    venv = ROOT / f".venv-{version}"
    wanted = {**os.environ, "TALLYSTICK_PYTHON": python, "TALLYSTICK_VENV": str(venv)}
    if not _quietly([str(ROOT / "tally"), "prepare"], wanted):
        return False
    _say(f"Python {version}: the pure tests with {python}")
    chosen = [*parallel(), *pure_tests(), "-k", SAME_ON_ALL]
    return run_pytest(chosen, str(venv / "bin" / "python")) == 0


def find_python(version: str) -> str | None:
    """A Python of that minor version able to make environments: on the path, or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python3"))]
    probe = f"import ensurepip, venv, sys; sys.exit(sys.version[:4] != {version!r})"
    for candidate in filter(None, found):
        if _succeeds([str(candidate), "-c", probe]):
            return str(candidate)
    return None


def _succeeds(argv: Sequence[str]) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


# --- the two commands ---------------------------------------------------------------------


def check() -> int:
    """``./tally check``."""
    failed = run_checks()
    if run_pytest([*parallel(), *pure_tests()]) != 0:
        failed.append("pure tests")
    return _verdict("check", failed)


def test(arguments: Sequence[str]) -> int:
    """``./tally test``; with arguments for pytest nothing but pytest is run."""
    chosen = [argument for argument in arguments if argument != "--all"]
    complete = "--all" in arguments
    failed = [] if install_system_packages() else ["system packages"]
    whole_run: list[str] = []
    if not chosen:
        failed += run_checks()
        failed += run_other_pythons() if complete else []
        whole_run = [*parallel(), *SECOND_TRY]
    if run_pytest([*([] if complete else SHORT), *whole_run, *chosen]) != 0:
        failed.append("tests")
    return _verdict("test", failed)


def _verdict(command: str, failed: Sequence[str]) -> int:
    if failed:
        _say(f"{command} failed: {', '.join(failed)}")
    return 1 if failed else 0


def _say(sentence: str) -> None:
    print(f"tally: {sentence}", file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> int:
    """Run ``test`` or ``check`` with the rest of the command line."""
    command, *arguments = argv
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return 0
    if command == "check" and arguments:
        print(USAGE, end="", file=sys.stderr)
        return 2
    return check() if command == "check" else test(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
