"""Tags: what a deal needs from a machine, one bit a property.

Bit 0 is the lowest bit of the last byte. The contracts interpret only bit 0; the others are
conventions between apps and workerpools.
"""

from __future__ import annotations

from typing import Final

from tallystick.poco.values import Tag

TEE: Final = 1 << 0
"""Every contribution must come with an enclave's challenge and signature."""
SCONE: Final = 1 << 1
GRAMINE: Final = 1 << 2
TDX: Final = 1 << 3
GPU: Final = 1 << 8

NAMES: Final = {"tee": TEE, "scone": SCONE, "gramine": GRAMINE, "tdx": TDX, "gpu": GPU}


def tag_of(*bits: int) -> Tag:
    """The tag with these bits, for example `tag_of(TEE, TDX)`."""
    value = 0
    for bit in bits:
        value |= bit
    return Tag(value.to_bytes(32, "big"))


def union(*tags: Tag) -> Tag:
    """Every property that at least one of `tags` asks for."""
    return tag_of(*(number(tag) for tag in tags))


def offers(offered: Tag, wanted: Tag) -> bool:
    """Whether `offered` contains every bit of `wanted`."""
    return number(wanted) & ~number(offered) == 0


def without(tag: Tag, other: Tag) -> Tag:
    """The bits of `tag` that `other` lacks."""
    return tag_of(number(tag) & ~number(other))


def needs_enclave(tag: Tag) -> bool:
    """Whether only an enclave may do it (bit 0)."""
    return bool(number(tag) & TEE)


def names(tag: Tag) -> tuple[str, ...]:
    """The properties in words; a bit without a name is told by its position."""
    left = number(tag)
    known = {bit: name for name, bit in NAMES.items()}
    return tuple(
        known.get(1 << place, f"bit {place}")
        for place in range(left.bit_length())
        if left >> place & 1
    )


def number(tag: Tag) -> int:
    """The tag as an unsigned integer."""
    return int.from_bytes(tag, "big")
