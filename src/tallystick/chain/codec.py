"""The contract ABI's encoding, for the types that PoCo's contracts use. Pure.

The format is that of eth-abi, which the tests compare with in both directions. It is written
out here because loading that library takes 11 MiB, an idle worker's sixth, and 0.2 s of every
start, most of it for a grammar of types that are all known here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

WORD: Final = 32
_ARRAY = re.compile(r"(.+)\[(\d*)\]")
_UINT = re.compile(r"uint(\d+)")
_BYTES = re.compile(r"bytes(\d+)")


class Unfit(ValueError):
    """A value does not fit its type, or bytes are not what the types say."""


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """The values one after the other: fixed ones in place, others behind, by their offset."""
    if isinstance(values, str | bytes) or len(values) != len(types):
        raise Unfit(f"{len(types)} values are wanted")
    parts = [_encoded(kind, value) for kind, value in zip(types, values, strict=True)]
    at = sum(WORD if is_dynamic(kind) else len(p) for kind, p in zip(types, parts, strict=True))
    heads, tails = bytearray(), bytearray()
    for kind, part in zip(types, parts, strict=True):
        if is_dynamic(kind):
            heads += _word(at + len(tails))
            tails += part
        else:
            heads += part
    return bytes(heads + tails)


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """The values; addresses as 0x-text, lists as tuples, text with replacement characters
    where it is no UTF-8. Raises Unfit."""
    return _decoded_all(tuple(types), data, 0)


@cache
def is_dynamic(kind: str) -> bool:
    """Whether a value of this type lies behind an offset."""
    if array := _ARRAY.fullmatch(kind):
        return not array[2] or is_dynamic(array[1])
    if kind.startswith("("):
        return any(map(is_dynamic, members(kind)))
    return kind in ("bytes", "string")


@cache
def members(kind: str) -> tuple[str, ...]:
    """The types inside `(a,(b,c),d)`: `a`, `(b,c)`, `d`."""
    inside = kind[1:-1]
    types, depth, start = [], 0, 0
    for place, letter in enumerate(inside):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            types.append(inside[start:place])
            start = place + 1
    return (*types, inside[start:]) if inside else ()


@cache
def _size(kind: str) -> int:
    """Bytes of a type in place: of its offset, when it lies elsewhere."""
    if is_dynamic(kind):
        return WORD
    if array := _ARRAY.fullmatch(kind):
        return int(array[2]) * _size(array[1])
    return sum(map(_size, members(kind))) if kind.startswith("(") else WORD


def _encoded(kind: str, value: Any) -> bytes:
    if array := _ARRAY.fullmatch(kind):
        return _encoded_array(array[1], array[2], value)
    if kind.startswith("("):
        return encode(members(kind), value)
    if kind in ("bytes", "string"):
        raw = value.encode() if kind == "string" and isinstance(value, str) else value
        if not isinstance(raw, bytes | bytearray) or (kind == "string" and raw is value):
            raise Unfit(f"a {type(value).__name__} is no {kind}")
        return _word(len(raw)) + bytes(raw) + bytes(-len(raw) % WORD)
    return _encoded_word(kind, value)


def _encoded_array(kind: str, length: str, value: Any) -> bytes:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise Unfit(f"a {type(value).__name__} is no list")
    if length and int(length) != len(value):
        raise Unfit(f"{length} values are wanted")
    items = encode((kind,) * len(value), value)
    return items if length else _word(len(value)) + items


def _encoded_word(kind: str, value: Any) -> bytes:
    if kind == "bool" and isinstance(value, bool):
        return _word(int(value))
    if kind == "address":
        raw = bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else value
        if isinstance(raw, bytes) and len(raw) == 20:
            return bytes(12) + raw
    if isinstance(value, int) and not isinstance(value, bool) and _holds(kind, value):
        return _word(value)
    fixed = _BYTES.fullmatch(kind) if isinstance(value, bytes | bytearray) else None
    if fixed and len(value) <= int(fixed[1]):
        return bytes(value).ljust(WORD, b"\0")
    raise Unfit(f"{value!r:.100} is no {kind}")


def _decoded_all(types: tuple[str, ...], data: bytes, start: int) -> tuple[Any, ...]:
    """Values whose heads begin at `start`, from where their offsets count, too."""
    found, at = [], start
    for kind in types:
        place = start + _number(data, at) if is_dynamic(kind) else at
        found.append(_decoded(kind, data, place))
        at += _size(kind)
    return tuple(found)


def _decoded(kind: str, data: bytes, at: int) -> Any:
    if array := _ARRAY.fullmatch(kind):
        length = int(array[2]) if array[2] else _number(data, at)
        first = at if array[2] else at + WORD
        if length * _size(array[1]) > len(data) - first:
            raise Unfit(f"a list of {length:,} at {at} does not fit")
        return _decoded_all((array[1],) * length, data, first)
    if kind.startswith("("):
        return _decoded_all(members(kind), data, at)
    if kind in ("bytes", "string"):
        raw = _slice(data, at + WORD, _number(data, at))
        return raw if kind == "bytes" else raw.decode(errors="replace")
    return _decoded_word(kind, _slice(data, at, WORD))


def _decoded_word(kind: str, word: bytes) -> Any:
    number = int.from_bytes(word, "big")
    if kind == "bool" and number < 2:
        return bool(number)
    if kind == "address" and number < 1 << 160:
        return "0x" + word[12:].hex()
    if _holds(kind, number):
        return number
    if (found := _BYTES.fullmatch(kind)) and not any(word[int(found[1]) :]):
        return word[: int(found[1])]
    raise Unfit(f"{word.hex()} is no {kind}")


def _holds(kind: str, number: int) -> bool:
    """Whether `kind` is a `uint` that `number` fits into."""
    found = _UINT.fullmatch(kind)
    return found is not None and 0 <= number < 1 << int(found[1])


def _word(number: int) -> bytes:
    return number.to_bytes(WORD, "big")


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(_slice(data, at, WORD), "big")


def _slice(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise Unfit(f"{length} bytes at {at} are beyond the end at {len(data)}")
    return data[at : at + length]
