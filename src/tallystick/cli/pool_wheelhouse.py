"""`tally pool wheelhouse`: the packages that a pool hands to those who join it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.terminal import Json, Voice
from tallystick.scheduler.joining.wheel import own_needs

PYTHONS: Final = ("3.11", "3.12", "3.13")
_PLATFORMS: Final = {
    machine: tuple(f"manylinux_2_{n}_{machine}" for n in (28, 17, 12, 5)) + tuple(old)
    for machine, old in {
        "x86_64": ("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"),
        "aarch64": ("manylinux2014_aarch64",),
    }.items()
}
_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[(?P<extras>[^]]*)\])?")
_EXTRA: Final = re.compile(r"""\bextra\s*==\s*["']([^"']+)""")


def attach(group: typer.Typer) -> None:
    """Add `tally pool wheelhouse`."""
    group.command("wheelhouse")(wheelhouse)


def wheelhouse(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the wheels go.")],
    *,
    python: Annotated[
        list[str] | None,
        typer.Option("--python", metavar="VERSION", help="For this Python; may be repeated."),
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option("--machine", metavar="NAME", help="x86_64 or aarch64; may be repeated."),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements",
            metavar="FILE",
            help="What to fetch, with hashes, as requirements/run.txt of a checkout.",
            show_default="the packages that this program runs with",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Download every package that a worker needs, in the versions that this program runs with.
    `wheelhouse = FOLDER` in the pool's settings then lets others join without a package index.
    """
    voice, wanted = Voice(json=json), machine or ["x86_64"]
    if unknown := set(wanted) - _PLATFORMS.keys():
        raise Mistake(f"--machine is x86_64 or aarch64, not {min(unknown)}.")
    what = ["-r", str(requirements)] if requirements else pinned()
    folder.mkdir(parents=True, exist_ok=True)
    for version in python or PYTHONS:
        for each in wanted:
            voice.say(f"Python {version} on {each} ...")
            _download(folder, what, version, _PLATFORMS[each])
    found = sorted(path.name for path in folder.glob("*.whl"))
    voice.say(
        f"{len(found)} wheels are in {folder}. In the pool's settings, for its next start:"
    )
    voice.say(f'  wheelhouse = "{folder.absolute()}"')
    voice.answer({"folder": str(folder.absolute()), "wheels": found})


def pinned() -> list[str]:
    """Every package that the program needs here, and its version: `name==1.2`."""
    return [f"{name}=={version}" for name, version in sorted(set(_needed()))]


def _needed() -> Iterator[tuple[str, str]]:
    """Packages and versions, those that packages need themselves too. What a line is for
    another system or extra is not installed here, and so is passed over."""
    left, seen = list(own_needs()), set[str]()
    while left:
        line = left.pop()
        told = _LINE.match(line)
        if told is None or line in seen:
            continue
        seen.add(line)
        try:
            found = metadata.distribution(told["name"])
        except metadata.PackageNotFoundError:
            continue
        yield re.sub(r"[-_.]+", "-", told["name"]).lower(), found.version
        extras = {each.strip() for each in (told["extras"] or "").split(",")}
        left += [each for each in found.requires or () if _meant(each, extras)]


def _meant(line: str, extras: set[str]) -> bool:
    """Whether a requirement belongs to these extras, or to none."""
    extra = _EXTRA.search(line)
    return extra is None or extra[1] in extras


def _download(
    folder: Path, what: Sequence[str], version: str, platforms: Sequence[str]
) -> None:
    """Raises Mistake with what pip says."""
    options = ["--only-binary", ":all:", "--no-deps", "--python-version", version]
    options += [word for each in platforms for word in ("--platform", each)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "-d", str(folder)]
    done = subprocess.run(
        [*command, *options, *what], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise Mistake(f"pip could not fetch them: {done.stderr.strip() or 'no reason'}")
