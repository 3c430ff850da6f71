"""Small charts as SVG: no script draws them, so they are there before any runs."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _PAD = 320, 72, 4


def line(points: Sequence[tuple[float, float]], *, title: str, unit: str = "") -> Markup:
    """A line over `points` (moment in seconds, value), from the oldest. What it shows is said
    in words too: `title`, the newest value and the largest, for who does not see it."""
    values = [value for _, value in points]
    top = max(values, default=0.0)
    said = (
        f"{title}: now {_figure(values[-1])}{unit}, at most {_figure(top)}{unit}"
        if values
        else f"{title}: nothing yet"
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" preserveAspectRatio="none"'
        ' aria-label="{said}"><title>{said}</title>{body}</svg>'
    ).format(w=_WIDTH, h=_HEIGHT, said=said, body=_body(points, top))


def _body(points: Sequence[tuple[float, float]], top: float) -> Markup:
    if not points:
        return Markup("")
    if len(points) == 1:  # a line all the same: a dot would be stretched
        points = [(points[0][0] - 1, points[0][1]), points[0]]
    first, last = points[0][0], points[-1][0]
    across = (_WIDTH - 2 * _PAD) / ((last - first) or 1.0)
    up = (_HEIGHT - 2 * _PAD) / (top or 1.0)
    spots = [
        f"{_PAD + (at - first) * across:.1f},{_HEIGHT - _PAD - value * up:.1f}"
        for at, value in points
    ]
    floor = _HEIGHT - _PAD
    area = f"{_PAD},{floor} {' '.join(spots)} {_WIDTH - _PAD},{floor}"
    return Markup(
        '<polygon class="area" points="{}"/><polyline class="line" points="{}"/>'
    ).format(escape(area), escape(" ".join(spots)))


def _figure(value: float) -> str:
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
