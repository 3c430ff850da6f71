"""Links that lead away from the pages: what strangers wrote, and the chain's explorer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_SCHEMES: Final = ("http", "https", "ipfs")
_LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Link:
    """A text, and where it may lead; with an empty `href` it is only a text."""

    text: str
    href: str = ""


def result(text: str) -> Link:
    """Where a result is said to be: an address, or what contracts are told of a store, as JSON
    with a `location`."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return stranger(text)
    place = told.get("location") if isinstance(told, dict) else None
    if not isinstance(place, str):
        return stranger(text)
    cid = place.removeprefix("/ipfs/")
    if cid != place and cid.isalnum():
        return Link(place, f"ipfs://{cid}")
    return stranger(place)


def stranger(text: str) -> Link:
    """What somebody wrote as a link: only web and IPFS addresses can be followed."""
    return Link(text, text if _is_safe(text) else "")


def _is_safe(text: str) -> bool:
    if len(text) > _LONGEST or not text.isprintable() or any(each.isspace() for each in text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and bool(parts.netloc) and "@" not in parts.netloc


@dataclass(frozen=True, slots=True)
class Explorer:
    """The chain's explorer, whose pages are found as those of Blockscout and Etherscan."""

    base: str = ""
    """Its address; empty: there is none."""

    def tx(self, hash: str) -> str:
        """Where a transaction is shown; empty when nowhere."""
        return self._at("tx", hash)

    def address(self, address: str) -> str:
        """Where an account or contract is shown; empty when nowhere."""
        return self._at("address", address)

    def _at(self, kind: str, what: str) -> str:
        base = self.base.rstrip("/")
        return f"{base}/{kind}/{what}" if what and _is_safe(base) else ""
