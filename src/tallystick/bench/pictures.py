"""How figures grow with their size, drawn as SVG from what was kept.

Both scales grow by factors, so that a straight line is a power.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 820, 360, 70, 310, 40, 50
_COLOURS = ("#1a6350", "#a14b00", "#1d4f91", "#7a2f73", "#5c5c00", "#8c1c13")


def draw(kept: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a picture for every bench that measured several sizes; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = pictures(kept)
    for name, picture in found.items():
        (folder / name).write_text(picture)
    return [folder / name for name in found]


def pictures(kept: Mapping[str, Any]) -> dict[str, str]:
    """The pictures of all benches, by file name: one for each unit."""
    made = {}
    for bench in kept["benches"]:
        for unit, series in _series(bench["rows"]).items():
            name = f"figures-{bench['bench']}-{_letters(unit)}.svg"
            made[name] = _picture(f"{bench['bench']}, {unit}", series)
    return made


def _letters(unit: str) -> str:
    return re.sub(
        "[^a-z]+", "-", unit.lower().replace("/", "per-").replace("%", "percent")
    ).strip("-")


def _series(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Points]]:
    """Points by unit and series; only what has several sizes and can be drawn by factors."""
    sized = [row for row in rows if row["size"] and (row["figure"] or 0) > 0 and row["unit"]]
    found: dict[str, dict[str, Points]] = {}
    key = lambda row: (row["unit"], row["series"])  # noqa: E731 (used twice)
    for (unit, series), same in groupby(sorted(sized, key=key), key=key):
        points = sorted({row["size"]: row["figure"] for row in same}.items())
        if len({figure for _, figure in points}) > 1:
            found.setdefault(unit, {})[series] = points
    return found


def _picture(title: str, series: Mapping[str, Points]) -> str:
    points = [point for each in series.values() for point in each]
    across = _scale([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    down = _scale([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
        '<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_LEFT}" y="20">{escape(title)}, by size; both by factors</text>'
    ]
    parts += [
        f'<path d="M{_LEFT} {down(y):.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        f'<text x="{_LEFT - 6}" y="{down(y) + 4:.1f}" text-anchor="end">{y:g}</text>'
        for y in _ticks([y for _, y in points])
    ]
    parts += [
        f'<text x="{across(x):.1f}" y="{_HEIGHT - 28}" text-anchor="middle">{x:,.0f}</text>'
        for x in sorted({x for x, _ in points})
    ]
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        spots = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line)
        at, edge = _TOP + 18 * number, _WIDTH - _RIGHT
        pen = f'fill="none" stroke="{colour}" stroke-width="2"'
        if number >= len(_COLOURS):
            pen += ' stroke-dasharray="5 3"'
        parts.append(
            f'<polyline points="{spots}" {pen}/>'
            f'<path d="M{edge + 12} {at - 4}h24" {pen}/>'
            f'<text x="{edge + 42}" y="{at}" fill="{colour}" font-size="11">'
            f"{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _scale(values: Sequence[float], start: float, end: float) -> Any:
    """From a value to its place, by factors."""
    low, high = math.log(min(values)), math.log(max(values))
    reach = (high - low) or 1.0
    return lambda value: start + (end - start) * (math.log(value) - low) / reach


def _ticks(values: Sequence[float]) -> list[float]:
    """Powers of ten within, or the ends where there is none."""
    low, high = min(values), max(values)
    powers = [
        10.0**n for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    ]
    return powers or sorted({low, high})
