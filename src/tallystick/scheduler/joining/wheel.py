"""The wheel of the program that is running, made from its own files.

An installation keeps no wheel, and a pool has to serve one without a network and without a
build tool: so the archive is written again, from the installed files or from a checkout. The
same files always make the same bytes, so that its checksum can be told before and after.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import tallystick
from tallystick.engine.errors import Refused

_NAME: Final = "tallystick"
_WHEN: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest moment that a zip file knows: when files were written is nobody's concern."""
_WHEEL: Final = (
    "Wheel-Version: 1.0\nGenerator: tallystick\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
)


class NoWheel(Refused):
    """The program cannot be handed on from here; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel, ready to be served."""

    name: str
    content: bytes


@cache
def own_wheel() -> Wheel:
    """The wheel of this program, as its files were when it was asked for first. Raises
    NoWheel."""
    return wheel_of(Path(tallystick.__file__).parent)


def wheel_of(package: Path) -> Wheel:
    """The wheel made from the folder `package`. Raises NoWheel."""
    version, about = _about(package)
    info = f"{_NAME}-{version}.dist-info"
    members = dict(_files(package))
    members |= {f"{info}/{name}": text.encode() for name, text in about.items()}
    members[f"{info}/WHEEL"] = _WHEEL.encode()
    members[f"{info}/RECORD"] = _record(members, f"{info}/RECORD")
    return Wheel(f"{_NAME}-{version}-py3-none-any.whl", _zipped(members))


def own_needs() -> list[str]:
    """What the program needs, as lines of a requirements file, without its extras. Raises
    NoWheel."""
    _, about = _about(Path(tallystick.__file__).parent)
    lines = [line.partition(": ") for line in about["METADATA"].splitlines()]
    return [
        what for name, _, what in lines if name == "Requires-Dist" and "extra ==" not in what
    ]


def _files(package: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package.parent)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield inside.as_posix(), path.read_bytes()


def _about(package: Path) -> tuple[str, Mapping[str, str]]:
    """The version, and the files that describe it: as installed, or as the checkout says."""
    try:
        found = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:
        found = None
    if found and Path(str(found.locate_file(_NAME))).resolve() == package.resolve():
        kept = {name: found.read_text(name) for name in ("METADATA", "entry_points.txt")}
        return found.version, {name: text for name, text in kept.items() if text}
    project = package.parents[1] / "pyproject.toml"
    if not project.is_file():
        raise NoWheel(
            "join = true needs the program as pip installed it, or a checkout of it: from"
            f" {package} no wheel can be made for those who join."
        )
    return tallystick.__version__, _described(tomllib.loads(project.read_text())["project"])


def _described(project: Mapping[str, Any]) -> Mapping[str, str]:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {tallystick.__version__}",
        f"Summary: {project['description']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {need}" for need in project["dependencies"]),
    ]
    for extra, needs in project.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {need}; extra == "{extra}"' for need in needs]
    scripts = [f"{name} = {where}" for name, where in project["scripts"].items()]
    return {
        "METADATA": "\n".join(lines) + "\n",
        "entry_points.txt": "\n".join(("[console_scripts]", *scripts)) + "\n",
    }


def _record(members: Mapping[str, bytes], own: str) -> bytes:
    lines = [f"{name},sha256={_digest(each)},{len(each)}" for name, each in members.items()]
    return "\n".join((*lines, f"{own},,")).encode() + b"\n"


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _zipped(members: Mapping[str, bytes]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=1)  # a start is not kept waiting
    return into.getvalue()
