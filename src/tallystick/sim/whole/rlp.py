"""Reading what `chain.envelope` writes: Ethereum's serialization of lists of bytes."""

from __future__ import annotations


def unrlp(raw: bytes) -> list[bytes]:
    """The items of one list; a list inside it counts as empty bytes."""
    length, start = _length(raw, 0, 0xC0)
    items, at, end = list[bytes](), start, start + length
    while at < end:
        item, at = _item(raw, at)
        items.append(item)
    return items


def _item(raw: bytes, at: int) -> tuple[bytes, int]:
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    base = 0x80 if first < 0xC0 else 0xC0
    length, start = _length(raw, at, base)
    item = raw[start : start + length] if base == 0x80 else b""
    return item, start + length


def _length(raw: bytes, at: int, base: int) -> tuple[int, int]:
    short = raw[at] - base
    if short < 56:
        return short, at + 1
    size = short - 55
    return int.from_bytes(raw[at + 1 : at + 1 + size], "big"), at + 1 + size
