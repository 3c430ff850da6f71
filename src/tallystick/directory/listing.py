"""Which pools a directory shows: addresses from the command line and from a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tallystick.engine.errors import Refused

MOST: Final = 500
"""Pools of one directory: each is asked again and again."""


class BadList(Refused):
    """The list of pools cannot be used; the sentence says which line, and why."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One pool as the directory's operator lists it."""

    url: str
    """Of its scheduler, without a slash at the end."""
    name: str = ""
    """What the operator calls it; empty: as it calls itself."""


def listed(urls: Iterable[str], file: Path | None = None) -> tuple[Listed, ...]:
    """Every pool once, in order. A line of `file` is a URL, then perhaps a name; `#` begins a
    comment. Raises BadList."""
    found: dict[str, Listed] = {}
    for one in (*map(_parsed, urls), *(_of_file(file) if file else ())):
        found.setdefault(one.url, one)
    if not found:
        raise BadList("A directory needs the address of a pool: --pool URL, or --file FILE.")
    if len(found) > MOST:
        raise BadList(f"A directory holds {MOST} pools; {len(found)} were named.")
    return tuple(found.values())


def _of_file(file: Path) -> Iterable[Listed]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as trouble:
        raise BadList(f"The list {file} cannot be read: {trouble}.") from trouble
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            try:
                yield _parsed(text)
            except BadList as wrong:
                raise BadList(f"Line {number} of {file}: {wrong}") from wrong


def _parsed(text: str) -> Listed:
    url, _, name = text.strip().partition(" ")
    if not _leads_somewhere(url):
        raise BadList(f"{url!r:.200} is no address of a scheduler, as https://pool.example.")
    return Listed(url.rstrip("/"), name.strip())


def _leads_somewhere(url: str) -> bool:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(known) and not (parts.username or parts.query or parts.fragment)
