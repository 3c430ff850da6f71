"""Amounts of RLC as people write them. Inside, every amount is a whole number of nRLC."""

from __future__ import annotations

import re

NRLC_PER_RLC = 10**9

_AMOUNT = re.compile(
    r"\s*(?P<whole>\d+)(?:\.(?P<part>\d+))?\s*(?P<unit>[A-Za-z]*)\s*", re.ASCII
)
_LIMIT = 2**256
_LONGEST = 200


class BadAmount(Exception):
    """The text is not an amount of RLC; the sentence shows one that is."""


def parse_amount(text: str) -> int:
    """The nRLC that `text` means: "1.5 RLC", "20rlc" or "300 nRLC".

    A bare number is refused, because it would mean two sums that differ by a factor of 10^9.
    Raises BadAmount.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise BadAmount(
            f"{text!r} is not an amount: write for example '1.5 RLC' or '300 nRLC'."
        )
    digits = {"rlc": 9, "nrlc": 0}.get(match["unit"].lower())
    if digits is None:
        raise BadAmount(f"{text!r} needs a unit: write '{match['whole']} RLC' or nRLC.")
    part = (match["part"] or "").rstrip("0")
    if len(part) > digits:
        raise BadAmount(f"{text!r} is finer than 1 nRLC, the smallest amount there is.")
    amount = int(match["whole"] + part.ljust(digits, "0")) if len(text) < _LONGEST else _LIMIT
    if amount >= _LIMIT:
        raise BadAmount(f"{text!r} is more than the contracts can count.")
    return amount


def show_amount(nrlc: int) -> str:
    """`nrlc` in RLC with all nine digits, so that nothing is hidden by rounding."""
    sign = "-" if nrlc < 0 else ""
    whole, rest = divmod(abs(nrlc), NRLC_PER_RLC)
    return f"{sign}{whole}.{rest:09d} RLC"
