"""Draws the picture of `docs/explanation/verification.md` by the simulator, in two minutes."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean

from tallystick.sim.cheats import Cheat, Crowd, observe
from tallystick.sim.rules import RULES

OUT = Path(__file__).parent / "pictures" / "cheats.svg"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 400, 70, 50, 40
FLOOR = 1e-4
"""What is drawn for none in 30,000."""
SEEDS = range(3)


def point(name: str, kind: Cheat, *, returns: bool) -> tuple[float, float]:
    """Executions a task, and the share of wrong results: means over three crowds."""
    crowd = Crowd(kind=kind, returns=returns)
    found = [observe(crowd, RULES[name], warm_up=100_000, tasks=10_000, seed=s) for s in SEEDS]
    return mean(f.per_task for f in found), mean(f.wrong_share for f in found)


def across(executions: float) -> float:
    """From one to four executions a task, on a scale that grows by factors."""
    return LEFT + (WIDTH - LEFT - 20) * math.log(executions) / math.log(4)


def down(wrong: float) -> float:
    """From one in two down to one in ten thousand."""
    share = math.log(max(wrong, FLOOR) / FLOOR) / math.log(0.5 / FLOOR)
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share


def main() -> None:
    """Write the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="sans-serif" font-size="12"><title>Wrong results against executions a'
        ' task</title><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for wrong in (0.1, 0.01, 0.001, FLOOR):
        text = "none seen" if wrong == FLOOR else f"{wrong:.1%}"
        parts.append(
            f'<path d="M{LEFT} {down(wrong):.0f}H{WIDTH - 20}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{down(wrong) + 4:.0f}" text-anchor="end">{text}</text>'
        )
    parts += [
        f'<text x="{across(times):.0f}" y="{HEIGHT - 28}" text-anchor="middle">{times}</text>'
        for times in (1, 1.1, 1.5, 2, 3, 4)
    ]
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">executions a task</text>'
        f'<text x="{LEFT}" y="20">wrong results accepted: the worst of three kinds of cheats;'
        " filled: nobody comes back, open: the caught come back as strangers</text>"
    )
    for number, name in enumerate(RULES):
        for returns in (False, True):
            found = [point(name, kind, returns=returns) for kind in Cheat]
            x, y = max(found, key=lambda each: each[1])
            colour = "#1a6350" if name.startswith("audit") else "#a14b00"
            fill = "#fff" if returns else colour
            parts.append(
                f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="5" fill="{fill}"'
                f' stroke="{colour}" stroke-width="2"><title>{name}: {x:.2f}, {y:.2%}</title>'
                "</circle>"
            )
            if returns or not name.startswith("audit"):
                lift = -9 if number % 2 else 16
                parts.append(
                    f'<text x="{across(x) + 8:.0f}" y="{down(y) + lift:.0f}"'
                    f' fill="{colour}">{name}</text>'
                )
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
