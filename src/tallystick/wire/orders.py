"""Orders as JSON, in the form of the official SDK.

Addresses, salts and signatures are 0x-hex, numbers decimal strings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeAlias, TypeVar, get_type_hints

from tallystick.poco.orders import AppOrder, DatasetOrder, RequestOrder, WorkerpoolOrder
from tallystick.poco.values import FixedBytes

Offer: TypeAlias = AppOrder | DatasetOrder | WorkerpoolOrder
Order: TypeAlias = Offer | RequestOrder

_O = TypeVar("_O", AppOrder, DatasetOrder, WorkerpoolOrder, RequestOrder)

_PRICES: Mapping[type[Order], str] = {
    AppOrder: "appprice",
    DatasetOrder: "datasetprice",
    WorkerpoolOrder: "workerpoolprice",
}
_DIGITS: Final = re.compile("[0-9]{1,100}")


class MalformedOrder(Exception):
    """What was read is no order, or no book of orders, that is complete and well-formed."""


def to_json(order: Order) -> dict[str, str]:
    """`order` as the official SDK writes it."""
    return {key: _text(getattr(order, name)) for name, key in _keys(type(order)).items()}


def from_json(kind: type[_O], value: object) -> _O:
    """The order that `value` describes. Raises MalformedOrder naming the bad field."""
    if not isinstance(value, dict):
        raise MalformedOrder(f"{kind.__name__}: expected an object, found {value!r:.100}.")
    hints = get_type_hints(kind)
    given = {n: _field(kind, value, k, hints[n]) for n, k in _keys(kind).items()}
    try:
        return kind(**given)
    except ValueError as error:
        raise MalformedOrder(str(error)) from error


def _keys(kind: type[Order]) -> Mapping[str, str]:
    """Our field names, in EIP-712 order, with those of the official JSON."""
    price = _PRICES.get(kind, "")
    names = (field.name for field in fields(kind))
    return {name: price if name == "price" else name.replace("_", "") for name in names}


def _text(value: object) -> str:
    if isinstance(value, bytes) and not isinstance(value, FixedBytes):
        return "0x" + value.hex()
    return str(value)


def _field(kind: type[Order], value: Mapping[str, Any], key: str, hint: Any) -> Any:
    if key not in value:
        raise MalformedOrder(f"{kind.__name__}: the field {key!r} is missing.")
    try:
        return _parse(value[key], hint)
    except (ValueError, TypeError) as error:
        raise MalformedOrder(f"{kind.__name__}: {key} is not valid ({error}).") from error


def _parse(value: Any, hint: Any) -> Any:
    if hint is int:
        return _number(value)
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.100} is not a string")
    if hint is bytes:
        return bytes.fromhex(value.removeprefix("0x"))
    return hint(value)


def _number(value: Any) -> int:
    """A number, or its decimal digits as the official SDK writes them."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r:.100} is not a whole number")
    return value
