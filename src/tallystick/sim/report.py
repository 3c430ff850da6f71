"""Tells what happened in a world, for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tallystick.poco.values import Address, Instant
from tallystick.sim.odds import Plan

_HEX = re.compile(r"0x[0-9a-f]{16,}")


def story(
    plan: Plan,
    told: Iterable[tuple[Instant, str, object]],
    names: Mapping[Address, str],
    *,
    about: str = "",
) -> str:
    """Everything that happened, one line each, in the order it happened.

    Accounts are written as their `names`, tasks and hashes as their first digits; `about`
    keeps the lines that contain it.
    """
    known = {str(address): name for address, name in names.items()}
    lines = [str(plan)]
    for now, who, what in told:
        line = f"{now:>5}  {who:<10} {_plain(str(what), known)}"
        if about in line:
            lines.append(line)
    return "\n".join(lines)


def _plain(text: str, known: Mapping[str, str]) -> str:
    def name(match: re.Match[str]) -> str:
        return known.get(match[0], match[0][:8])

    return _HEX.sub(name, text)
