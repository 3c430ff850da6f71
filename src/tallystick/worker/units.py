"""Amounts as operators write them: `22gwei`, `2GiB`, `PT5M`, or a plain number. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

_LONG: Final = 2**63 - 1
"""The largest number of the original settings; more is a slip of the zeros."""

_WEI: Final = {"": 1, "wei": 1, "gwei": 10**9, "ether": 10**18, "eth": 10**18}
_BYTES: Final = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_AMOUNT: Final = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_DURATION: Final = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII | re.IGNORECASE,
)
_SECONDS: Final = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


def price(value: object) -> int:
    """Wei, from a whole number of them or a text like `22gwei`. Raises ValueError."""
    return _whole(value, _WEI, 'wei: a whole number, or a text like "22gwei"')


def size(value: object) -> int:
    """Bytes, from a whole number of them or a text like `2GiB`. Raises ValueError."""
    return _whole(value, _BYTES, 'bytes: a whole number, or a text like "2GiB"')


def seconds(value: object) -> float:
    """Seconds, from a number of them or an ISO 8601 duration (`PT5M`). Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    if (parts := _DURATION.fullmatch(text)) and any(found := parts.groupdict().values()):
        return sum(
            float(n) * unit for n, unit in zip(found, _SECONDS.values(), strict=True) if n
        )
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f'{text!r} is no number of seconds, and no duration like "PT5M"'
        ) from None


def address(value: object) -> object:
    """An http or https address without its last slash. Raises ValueError."""
    text = str(value).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it is no address that begins with http:// or https://")
    return text


def folder_name(value: object) -> object:
    """A worker's name: it is the name of a folder and of containers too. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", str(value)):
        raise ValueError(
            "a folder and containers are called by it, so it has 1 to 63 letters, digits, '-',"
            " '_' and '.', and begins with none of '-' and '.'"
        )
    return value


def _whole(value: object, units: dict[str, int], meant: str) -> int:
    if isinstance(value, bool | float):
        raise ValueError(f"{value} is no amount of {meant}")
    found = _AMOUNT.fullmatch(str(value).strip())
    unit = units.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ValueError(f"{value!r} is no amount of {meant}")
    amount = Decimal(found[1]) * unit
    if amount != int(amount) or ("." in found[1] and unit == 1):
        raise ValueError(f"{value!r} is no amount of {meant}")
    return int(amount)


Price: TypeAlias = Annotated[int, BeforeValidator(price), Field(ge=0, le=_LONG)]
"""Wei for a unit of gas."""
Size: TypeAlias = Annotated[int, BeforeValidator(size), Field(gt=0, le=_LONG)]
"""Bytes."""
Seconds: TypeAlias = Annotated[
    float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)
]
Url: TypeAlias = Annotated[str, BeforeValidator(address)]
"""http or https, without a slash at its end."""
Name: TypeAlias = Annotated[str, BeforeValidator(folder_name)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Factor: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
