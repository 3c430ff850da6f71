"""A market with one place left for a worker of another make."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"
