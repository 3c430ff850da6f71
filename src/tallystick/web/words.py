"""Figures in the words of a page. Amounts are never rounded up: nobody is told to own more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from markupsafe import Markup, escape

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def rlc(nano: int) -> str:
    """An amount of nRLC as RLC, with all nine digits if it has them."""
    return _exact(Decimal(nano) / 10**9, 9)


def eth(wei: int) -> str:
    """An amount of wei as ETH, with six digits."""
    return _exact(Decimal(wei) / 10**18, 6)


def gwei(wei: int) -> str:
    """A gas price in wei as Gwei, with three digits."""
    return _exact(Decimal(wei) / 10**9, 3)


def _exact(amount: Decimal, digits: int) -> str:
    cut = amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_DOWN)
    if not cut and amount:
        return f"< {Decimal(1).scaleb(-digits):f}"
    text = f"{cut:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """A length of time: `850 ms`, `4.2 s`, `3 min 20 s`, `2 d 3 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    for index, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            small, name = _UNITS[index + 1] if index + 1 < len(_UNITS) else (1, "s")
            return f"{whole} {unit}" + (f" {rest // small} {name}" if rest // small else "")
    raise AssertionError(seconds)


def moment(at: float | None) -> Markup:
    """A moment in seconds of Unix time as an element that a browser keeps saying relatively
    (`12 s ago`); without scripts, the time itself. A dash for none."""
    if at is None:
        return Markup('<span aria-label="never">–</span>')
    when = datetime.fromtimestamp(at, UTC)
    stamp = when.isoformat(timespec="milliseconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        stamp, f"{when:%Y-%m-%d %H:%M:%S} UTC", f"{when:%d %b %H:%M:%S}"
    )


def short(value: object) -> Markup:
    """An address or hash by its ends, whole in its title and when it is copied."""
    text = str(value)
    if len(text) <= 14:
        return escape(text)
    return Markup('<abbr class="hex" title="{0}" data-full="{0}">{1}…{2}</abbr>').format(
        text, text[:6], text[-4:]
    )


def count(value: float) -> str:
    """A number with thousands apart."""
    return f"{value:,}"


def percent(share: float) -> str:
    """A share of 1 in percent; only a whole 1 is 100 %."""
    return f"{min(share * 100, 99.9) if share < 1 else 100:.1f} %".replace(".0 ", " ")


def size(amount: float) -> str:
    """Bytes in the unit that fits."""
    for unit in _BYTES[:-1]:
        if amount < 1024:
            return f"{amount:.1f} {unit}".replace(".0 ", " ")
        amount /= 1024
    return f"{amount:.1f} {_BYTES[-1]}"


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (rlc, eth, gwei, duration, moment, short, count, percent, size)
}
"""What templates call them: by their own names."""
