"""Settings are values, read once; every mistake in them is reported at once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

S = TypeVar("S")


class BadSettings(Exception):
    """The settings cannot be used; the sentence names every mistake and its place."""

    exit_code = 2
    """What a program ends with for this."""


def load(path: Path, kind: type[S]) -> S:
    """The settings in the file `path`, as a `kind`. Raises BadSettings."""
    found = table(path)
    try:
        return TypeAdapter(kind).validate_python(found)
    except ValidationError as problem:
        told = "; ".join(f"{place or 'settings'}: {why}" for place, why in mistakes(problem))
        raise BadSettings(f"{path}: {told}.") from problem


def table(path: Path) -> dict[str, Any]:
    """What the TOML file `path` holds. Raises BadSettings."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as problem:
        raise BadSettings(f"{path} cannot be read: {problem.strerror}.") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise BadSettings(f"{path} is not TOML: {problem}.") from problem


def mistakes(problem: ValidationError) -> Iterator[tuple[str, str]]:
    """Every mistake as its place (`policies.hours.0`) and what is wrong there. What was
    entered is not repeated: it may be a secret."""
    for each in problem.errors(include_input=False, include_url=False):
        yield ".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")


def secret(path: Path) -> str:
    """The first line of a file that holds a secret. Raises BadSettings."""
    try:
        return path.read_text().splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError) as problem:
        raise BadSettings(f"The secret in {path} cannot be read.") from problem
