"""Calldata, return values and logs from signatures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from eth_hash.auto import keccak

from tallystick.chain import codec
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Hash


class BadAnswer(Unavailable):
    """A node returned bytes that are not what the contract's function returns."""


class BadArguments(ValueError):
    """A value does not fit the type that the contract's function takes."""


def encode_call(signature: str, args: Sequence[Any] = ()) -> bytes:
    """Calldata of `name(type,…)`. Raises `BadArguments` when a value does not fit its type."""
    return selector(signature) + encode(parameters(signature), args)


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """`values` in the contracts' encoding, as arguments without a selector."""
    try:
        return codec.encode(types, values)
    except (ValueError, TypeError) as trouble:
        raise BadArguments(
            f"{values!r:.200} is not ({','.join(types)}): {trouble}"
        ) from trouble


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Values of `types` in `data`; text that is no UTF-8 gets replacement characters.

    Raises `BadAnswer`, for example on no data at all: what a call of an account without
    code, or of a node without the state, returns.
    """
    try:
        return codec.decode(types, data)
    except codec.Unfit as trouble:
        raise BadAnswer(
            f"{len(data)} bytes are not ({','.join(types)}): {trouble}"
        ) from trouble


@cache
def selector(signature: str) -> bytes:
    """The four bytes that name a function."""
    return keccak(signature.encode())[:4]


@cache
def topic(signature: str) -> Hash:
    """The first topic of an event's logs. `indexed` is no part of the signature here."""
    return Hash(keccak(signature.encode()))


@cache
def parameters(signature: str) -> tuple[str, ...]:
    """The parameter types of `name(a,(b,c),d)`: `a`, `(b,c)`, `d`."""
    return codec.members(signature[signature.index("(") :])


def unhex(text: Any) -> bytes:
    """The bytes of a node's 0x-text. Raises `BadAnswer` when it is none."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except (AttributeError, ValueError) as trouble:
        raise BadAnswer(f"{text!r:.100} is not hex") from trouble


def quantity(text: Any) -> int:
    """The number of a node's 0x-text. Raises `BadAnswer` when it is none."""
    try:
        return int(text, 16)
    except (TypeError, ValueError) as trouble:
        raise BadAnswer(f"{text!r:.100} is not a hex number") from trouble
