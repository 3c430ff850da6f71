"""Calldata, logs and refusals in words. What is not understood stays what it is: hex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tallystick.chain import codec
from tallystick.devnet.explorer.abis import Dictionary, Entry, Parameter

LARGEST: Final = 16 << 10
"""Bytes that are decoded at most: lists within lists could make much of little."""
_MANY: Final = 50
"""Elements of a list that are shown."""
_LONG: Final = 2_000
"""Characters of a text that are shown."""
_ERROR: Final = bytes.fromhex("08c379a0")
_PANIC: Final = bytes.fromhex("4e487b71")
_PANICS: Final = {
    0x01: "an assertion failed",
    0x11: "a number became too large or negative",
    0x12: "a division by zero",
    0x21: "a value is none of its enumeration",
    0x31: "nothing is left in a list",
    0x32: "beyond the end of a list",
    0x41: "too much memory was asked for",
}
_MONEY: Final = frozenset(
    (
        "amount",
        "amounts",
        "value",
        "stake",
        "appprice",
        "datasetprice",
        "workerpoolprice",
        "appmaxprice",
        "datasetmaxprice",
        "workerpoolmaxprice",
    )
)
"""Arguments that are nRLC wherever the contracts use these names."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One value with its name."""

    name: str
    kind: str
    text: str
    """As a person reads it; for a structure empty."""
    raw: Any = None
    """An address or 32 bytes that a page can lead to, or nRLC."""
    parts: tuple[Argument, ...] = ()

    @property
    def is_money(self) -> bool:
        """Whether `raw` is an amount of nRLC."""
        return isinstance(self.raw, int)

    def everything(self) -> Iterator[Argument]:
        """This and all within."""
        yield self
        for part in self.parts:
            yield from part.everything()


@dataclass(frozen=True, slots=True)
class Told:
    """A call, an event or an error. Without a name it is unknown, and `raw` is all there is."""

    name: str
    arguments: tuple[Argument, ...] = ()
    raw: str = ""
    note: str = ""

    def everything(self) -> Iterator[Argument]:
        """Every argument, those within structures too."""
        for argument in self.arguments:
            yield from argument.everything()

    def get(self, name: str) -> Any:
        """The raw value of an argument; None when there is none."""
        return next((each.raw for each in self.arguments if each.name == name), None)


def call(known: Dictionary, data: bytes) -> Told:
    """What a transaction asks for."""
    if not data:
        return Told("")
    entry = known.functions.get(data[:4])
    if entry is None:
        return Told("", raw=hexed(data), note="unknown function")
    values = _values([each.kind for each in entry.parameters], data[4:])
    return _told(entry, values, data)


def event(known: Dictionary, topics: Sequence[bytes], data: bytes) -> Told:
    """What a log says."""
    raw = b"".join(topics) + data
    entry = known.events.get((topics[0], len(topics) - 1)) if topics else None
    if entry is None:
        return Told("", raw=hexed(raw), note="unknown event")
    inside = [each.kind for each in entry.parameters if not each.indexed]
    plain = _values(inside, data)
    fixed = [each for each in entry.parameters if each.indexed]
    marked = [_indexed(each.kind, word) for each, word in zip(fixed, topics[1:], strict=True)]
    if plain is None:
        return _told(entry, None, raw)
    later, first = iter(plain), iter(marked)
    values = [next(first) if each.indexed else next(later) for each in entry.parameters]
    return _told(entry, values, raw)


def reason(known: Dictionary, data: bytes) -> str:
    """Why a contract refused, in a sentence."""
    if not data:
        return "The contract gives no reason: one of its conditions does not hold."
    if data[:4] == _ERROR and (text := _values(["string"], data[4:])):
        return _cut(text[0]) or "The contract gives an empty reason."
    if data[:4] == _PANIC and (code := _values(["uint256"], data[4:])):
        return f"The contract gave up: {_PANICS.get(code[0], f'code {code[0]:#x}')}."
    entry = known.errors.get(data[:4])
    if entry is None:
        return f"The contract gives a reason that is not known here: {hexed(data)}"
    told = _told(entry, _values([each.kind for each in entry.parameters], data[4:]), data)
    said = ", ".join(f"{each.name} {each.text}".strip() for each in told.arguments)
    return f"{entry.name}({said})"


def hexed(data: bytes) -> str:
    """Bytes as 0x-text, cut where nobody reads on."""
    return _cut("0x" + data.hex())


def _values(kinds: Sequence[str], data: bytes) -> tuple[Any, ...] | None:
    if len(data) > LARGEST:
        return None
    try:
        return codec.decode(kinds, data)
    except (codec.Unfit, RecursionError):
        return None


def _indexed(kind: str, word: bytes) -> Any:
    """Of what has no fixed size only the hash is in a topic."""
    found = None if codec.is_dynamic(kind) else _values([kind], word)
    return word if found is None else found[0]


def _told(entry: Entry, values: Sequence[Any] | None, data: bytes) -> Told:
    if values is None:
        return Told(entry.name, raw=hexed(data), note="arguments that do not fit")
    return Told(
        entry.name,
        tuple(
            _argument(each, value) for each, value in zip(entry.parameters, values, strict=True)
        ),
    )


def _argument(parameter: Parameter, value: Any) -> Argument:
    name, kind = parameter.name, parameter.kind
    if kind.endswith("]"):
        one = kind[: kind.rindex("[")]
        inner = [
            _argument(Parameter(f"{name}[{place}]", one, False, parameter.parts), each)
            for place, each in enumerate(value[:_MANY])
        ]
        more = f"and {len(value) - _MANY:,} more" if len(value) > _MANY else ""
        return Argument(name, kind, more or ("" if inner else "none"), parts=tuple(inner))
    if parameter.parts:
        inner = [
            _argument(part, each) for part, each in zip(parameter.parts, value, strict=True)
        ]
        return Argument(name, "", "", parts=tuple(inner))
    return _simple(name, kind, value)


def _simple(name: str, kind: str, value: Any) -> Argument:
    match kind, value:
        case "address", str():
            return Argument(name, kind, value, raw=value)
        case "bytes32", bytes():
            return Argument(name, kind, hexed(value), raw=value)
        case _, bytes():
            return Argument(name, kind, _bytes(value))
        case _, bool():
            return Argument(name, kind, "yes" if value else "no")
        case _, int():
            # In lists the name carries its place: amounts[0].
            money = name.partition("[")[0] in _MONEY and value < 1 << 80
            return Argument(name, kind, f"{value:,}", raw=value if money else None)
        case _:
            return Argument(name, kind, _cut(str(value)))


def _bytes(value: bytes) -> str:
    """Bytes as text where they are one, as places of results and images are."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    return _cut(text) if len(text) > 3 and text.isprintable() else hexed(value)


def _cut(text: str) -> str:
    if len(text) <= _LONG:
        return text
    return f"{text[:_LONG]}… ({len(text):,} characters)"
