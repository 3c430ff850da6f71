"""What `pip install` gets is what a checkout has."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tallystick import __version__

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, unpacked."""
    built, unpacked = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(unpacked)
    return unpacked


def test_every_file_of_the_package_is_in_it(wheel: Path) -> None:
    assert files(wheel / "tallystick") == files(ROOT / "src" / "tallystick")


def test_it_runs(wheel: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-P", "-m", "tallystick", "version"],
        env={**os.environ, "PYTHONPATH": str(wheel)},
        cwd=wheel.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert __version__ in answer.stdout


def test_its_card_names_licence_and_program(wheel: Path) -> None:
    (card,) = wheel.glob("*.dist-info")
    fields = message_from_bytes((card / "METADATA").read_bytes())
    assert (fields["Version"], fields["License-Expression"]) == (__version__, "Apache-2.0")
    assert "tally = tallystick.cli.main:main" in (card / "entry_points.txt").read_text()
    assert (card / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def files(package: Path) -> set[str]:
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
