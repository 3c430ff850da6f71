"""What a block's header tells of its logs: which ones it surely does not have.

A node that has not indexed a block yet, or keeps something back, tells an empty list of logs
where the header's bloom says that there are some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from eth_hash.auto import keccak

FULL: Final = 512
"""Bits out of 2,048 above which a bloom says too little: it would accuse every node."""


@lru_cache(maxsize=4096)
def mask(item: bytes) -> int:
    """The three bits that an address or a topic sets."""
    hash, found = keccak(item), 0
    for at in (0, 2, 4):
        found |= 1 << (int.from_bytes(hash[at : at + 2], "big") & 2047)
    return found


def bloom_of(logs: Iterable[Mapping[str, Any]]) -> int:
    """The bloom of a block with these logs."""
    found = 0
    for log in logs:
        for each in (log["address"], *log["topics"]):
            found |= mask(bytes.fromhex(each[2:]))
    return found


def may_hold(bloom: int, *items: bytes) -> bool:
    """Whether a block with this bloom may have a log in which all of `items` stand; no where
    the bloom is of no use: empty, since this kind of chain has none, or too full."""
    if not 0 < bloom.bit_count() <= FULL:
        return False
    wanted = 0
    for item in items:
        wanted |= mask(item)
    return bloom & wanted == wanted
