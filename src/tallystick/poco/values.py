"""Fixed-size byte values. Parse once at the edge, compare anywhere."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self, TypeAlias

from eth_hash.auto import keccak

Instant: TypeAlias = int
"""Seconds since the epoch, by the chain's clock: the only clock the protocol knows."""

Nrlc: TypeAlias = int
"""An amount of RLC in its smallest unit: 10**9 nRLC are one RLC."""

Wei: TypeAlias = int
"""An amount of the coin that pays for gas: 10**18 wei are one ether."""


class FixedBytes(bytes):
    """Immutable bytes of one length, written as 0x-prefixed lower-case hex.

    Raises ValueError for anything else, whatever its type: values come from strangers.
    """

    SIZE: ClassVar[int]

    def __new__(cls, value: bytes | str) -> Self:
        """From bytes, or from hex with `0x`. Raises ValueError."""
        raw = cls._parse(value) if isinstance(value, str) else value
        if not isinstance(raw, bytes | bytearray):
            raise ValueError(
                f"{cls.__name__} is read from bytes or hex, got {type(raw).__name__}"
            )
        if len(raw) != cls.SIZE:
            raise ValueError(f"{cls.__name__} holds {cls.SIZE} bytes, got {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def _parse(cls, text: str) -> bytes:
        digits = text.removeprefix("0x")
        if len(digits) != 2 * cls.SIZE:
            raise ValueError(
                f"{cls.__name__} is 0x and {2 * cls.SIZE} hex digits, got {text!r}"
            )
        return bytes.fromhex(digits)

    def __str__(self) -> str:
        return "0x" + self.hex()

    __repr__ = __str__

    # Pydantic's protocol, spoken without importing it: journal, HTTP and config read and
    # write these values as hex, and the core stays free of the library.

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        parse = {"type": "no-info", "function": cls}
        return {
            "type": "function-plain",
            "function": parse,
            "serialization": {"type": "to-string"},
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, str]:
        return {"type": "string", "pattern": f"^0x[0-9a-f]{{{2 * cls.SIZE}}}$"}


class Address(FixedBytes):
    """An account, a contract or a wallet."""

    SIZE = 20

    @property
    def checksummed(self) -> str:
        """Mixed-case hex as people copy it (EIP-55). Everywhere else it is lower case."""
        text = self.hex()
        marks = keccak(text.encode()).hex()
        return "0x" + "".join(
            letter.upper() if int(mark, 16) > 7 else letter
            for letter, mark in zip(text, marks, strict=False)
        )


class Hash(FixedBytes):
    """32 bytes of Keccak-256."""

    SIZE = 32


class DealId(Hash):
    """What a deal is known by."""


class TaskId(Hash):
    """What a task is known by."""


class Digest(Hash):
    """What the app computed, before it is bound to a task or a worker."""


class Tag(Hash):
    """What a deal needs from a machine, one bit a property; see `tallystick.poco.tags`."""


class Signature(FixedBytes):
    """r, s and v of a secp256k1 signature; v is 27 or 28."""

    SIZE = 65


ZERO_ADDRESS: Final = Address(bytes(20))
ZERO_HASH: Final = Hash(bytes(32))
NO_TAG: Final = Tag(bytes(32))
