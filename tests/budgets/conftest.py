"""The committed table of what things may cost, and the market that some are measured in."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

TABLE = tomllib.loads((Path(__file__).with_name("budgets.toml")).read_text())
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def table() -> dict[str, Any]:
    return TABLE


@pytest.fixture(scope="session")
def keep_to() -> Callable[[str, dict[str, float]], None]:
    """Compare figures with a part of the table: each has a line, and each line a figure."""

    def compare(part: str, found: dict[str, float], *, partly: bool = False) -> None:
        lines = TABLE[part]
        assert found.keys() <= lines.keys(), "a figure without a line"
        assert partly or found.keys() == lines.keys(), "a line without a figure"
        over = [
            f"{name}: {found[name]:,.6g}" for name in found if dear(lines[name], found[name])
        ]
        assert not over, f"{part} against tests/budgets/budgets.toml: {over}"

    return compare


def dear(line: dict[str, Any], figure: float) -> bool:
    if "at" in line:
        return abs(figure - line["at"]) > TOLERANCE * line["at"]
    return figure > line["most"]
