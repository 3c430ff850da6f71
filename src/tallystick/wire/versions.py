"""The version handshake: which workers a pool takes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tallystick import __version__
from tallystick.engine.errors import Refused

SPOKEN = "9.2.0"
"""The release of iexec-worker whose protocol is spoken here: pools that ask for one know
nothing of our own versions."""

OURS = "tallystick/"
"""How a worker of ours begins the header `User-Agent`. A v9 peer does not say its version: it
compares it itself with the one that the pool tells, to the letter."""
SCHEDULER = "x-tallystick"
"""The header of `/workers/config` by which a worker of ours knows a scheduler of ours."""
_SIGNS = frozenset("<>=!~,")
_PEERS = tuple(f"9.{minor}.{patch}" for minor in range(10) for patch in range(10))
"""What releases of iexec-worker of our protocol may be called."""


class BadVersion(Refused):
    """The pool asks for workers of another version."""

    exit_code = 5


def accepts(required: str, versions: tuple[str, ...] = (__version__, SPOKEN)) -> bool:
    """Whether a pool that requires `required` takes a worker of one of `versions`.

    Empty takes any; a plain text takes what equals it, to the letter, as peers compare; terms
    like `>=9.0,<10` (PEP 440) must all hold of one and the same version.
    """
    wanted = required.strip()
    if not wanted or wanted in versions:
        return True
    if not _SIGNS & set(wanted):
        return False
    return any(_ranges().holds(wanted, version) for version in versions)


def rule_mistake(required: str) -> str:
    """Why nobody can keep to this rule; empty when somebody can."""
    wanted = required.strip()
    plain = not _SIGNS & set(wanted)
    if not wanted or (plain and wanted[0].isdigit()) or _is_range(wanted):
        return ""
    return f"{required!r} is no version (9.2.0) and no range of versions (>=9.0,<10)"


def told_to(program: str, required: str) -> str:
    """What a worker that calls itself `program` is told of the rule. One of ours gets it as it
    is. A v9 peer would take a range for a version that is not its own, and end: so it is told
    none when the range has room for any of its releases; which one it is nobody can see."""
    if program.startswith(OURS) or not _is_range(required.strip()):
        return required
    return "" if accepts(required, _PEERS) else required


def bad_version(required: str) -> str:
    """The sentence that operators know."""
    return (
        "Bad version, please upgrade your iexec-worker"
        f" [current:{__version__}, required:{required}]. This is Tallystick {__version__},"
        f" which speaks as iexec-worker {SPOKEN}: install the version that the pool asks for,"
        " or choose another pool."
    )


def _ranges() -> Any:
    """Loaded where a rule is not one plain version."""
    return import_module("tallystick.wire.ranges")


def _is_range(required: str) -> bool:
    return bool(_SIGNS & set(required)) and bool(_ranges().is_range(required))
