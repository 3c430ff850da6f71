"""Ranges of versions, as PEP 440 writes them: `>=9.0,<10`.

Loaded only where somebody wrote one: an idle worker has no use for it.
"""

from __future__ import annotations

from functools import cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version


def holds(required: str, version: str) -> bool:
    """Whether every term of a range takes this version. Its release part counts: what follows a
    dash does not."""
    terms = _terms(required)
    try:
        mine = Version(version.partition("-")[0])
    except InvalidVersion:
        return False
    return terms is not None and terms.contains(mine, prereleases=True)


def is_range(required: str) -> bool:
    """Whether it can be read as one."""
    return _terms(required) is not None


@cache
def _terms(required: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(",".join(map(_doubled, required.split(","))))
    except InvalidSpecifier:
        return None


def _doubled(term: str) -> str:
    """`=9.2` means `==9.2`."""
    term = term.strip()
    return f"={term}" if term.startswith("=") and not term.startswith("==") else term
