"""`tally config`: what a worker would be told, and by whom."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from tallystick.cli.terminal import Json, Voice
from tallystick.worker.settings import Settings, read, withdraw_secrets

group = typer.Typer(
    help="Tell every setting of a worker, and where its value comes from.",
    no_args_is_help=True,
)

HIDDEN: Final = "***"
_LONG = 16
"""Characters of a part of an address that may be a key."""


def attach(program: typer.Typer) -> None:
    """Add `tally config`."""
    program.add_typer(group, name="config")


@group.callback()
def _only_a_group() -> None: ...


@group.command()
def show(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The settings file.")
    ] = None,
    json: Json = False,
) -> None:
    """Print every setting with its value and where that comes from, as a worker would find
    them in this environment. Secrets are not shown."""
    voice = Voice(json=json)
    found = read(config, password_later=True)
    withdraw_secrets(os.environ)
    values = shown(found)
    if not json:
        rows = [(name, _word(value), found.origins[name]) for name, value in values.items()]
        voice.table(("setting", "value", "from"), rows)
        for note in found.notes:
            voice.say(note)
    told = {name: {"value": values[name], "from": found.origins[name]} for name in values}
    voice.answer({"settings": told, "notes": list(found.notes)})


def shown(found: Settings) -> dict[str, Any]:
    """Every setting as it may be read by anybody who looks over a shoulder."""
    return {name: plain(getattr(found.config, name)) for name in found.origins}


def plain(value: Any) -> Any:
    """`value` as JSON knows it, without what is secret."""
    if isinstance(value, SecretStr):
        return HIDDEN
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, str):
        return _without_keys(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def _without_keys(text: str) -> str:
    """An address without what providers put into it to know their customers."""
    parts = urlsplit(text) if "://" in text else None
    if parts is None or not parts.hostname:
        return str(text)
    host = parts.netloc.rpartition("@")[2]
    if "@" in parts.netloc:
        host = f"{HIDDEN}@{host}"
    path = "/".join(HIDDEN if len(one) >= _LONG else one for one in parts.path.split("/"))
    query = f"?{HIDDEN}" if parts.query else ""
    return f"{parts.scheme}://{host}{path}{query}"


def _word(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(_word, value))
    if isinstance(value, dict):
        told = {name: _word(each) for name, each in value.items() if each != ""}
        return ", ".join(f"{n}: {word}" for n, word in told.items() if word != "-") or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
