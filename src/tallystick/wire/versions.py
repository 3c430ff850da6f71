"""The version handshake: which workers a pool takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tallystick import __version__
from tallystick.engine.errors import Refused

SPOKEN = "9.2.0"
"""The release of iexec-worker whose protocol is spoken here: pools that ask for one know
nothing of our own versions."""

_TERM = re.compile(r"(>=|<=|==|!=|>|<|=)?\s*v?(\d+(?:\.\d+)*)\s*")
_Numbers = tuple[int, ...]
_TESTS: Mapping[str, Callable[[_Numbers, _Numbers], bool]] = {
    ">=": lambda mine, wanted: mine >= wanted,
    "<=": lambda mine, wanted: mine <= wanted,
    ">": lambda mine, wanted: mine > wanted,
    "<": lambda mine, wanted: mine < wanted,
    "==": lambda mine, wanted: mine == wanted,
    "=": lambda mine, wanted: mine == wanted,
    "!=": lambda mine, wanted: mine != wanted,
}


class BadVersion(Refused):
    """The pool asks for workers of another version."""

    exit_code = 5


def accepts(required: str, versions: tuple[str, ...] = (__version__, SPOKEN)) -> bool:
    """Whether a pool that requires `required` takes a worker of one of `versions`.

    Empty takes any; a plain text takes what equals it, to the letter, as peers compare; terms
    like `>=9.0,<10` must all hold of one and the same version.
    """
    wanted = required.strip()
    return not wanted or wanted in versions or any(_all_hold(wanted, v) for v in versions)


def bad_version(required: str) -> str:
    """The sentence that operators know."""
    return (
        "Bad version, please upgrade your iexec-worker"
        f" [current:{__version__}, required:{required}]. This is Tallystick {__version__},"
        f" which speaks as iexec-worker {SPOKEN}: install the version that the pool asks for,"
        " or choose another pool."
    )


def _all_hold(required: str, version: str) -> bool:
    terms = [_TERM.fullmatch(term.strip()) for term in required.split(",")]
    mine = _numbers(version)
    return all(
        term is not None and term[1] is not None and _holds(term[1], mine, _numbers(term[2]))
        for term in terms
    )


def _holds(sign: str, mine: _Numbers, wanted: _Numbers) -> bool:
    length = max(len(mine), len(wanted))
    pad = (0,) * length
    return _TESTS[sign]((mine + pad)[:length], (wanted + pad)[:length])


def _numbers(version: str) -> _Numbers:
    """The release part: what follows a dash does not count."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))
