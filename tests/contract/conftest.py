"""A chain with PoCo and the ledger beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from contract_mirror import Mirror


@pytest.fixture(scope="module")
def mirrored(shared_chain: Any) -> Mirror:
    return Mirror(shared_chain)


@pytest.fixture
def mirror(mirrored: Mirror) -> Iterator[Mirror]:
    """Both at their beginning; in the end, all that can be read must be equal."""
    mirrored.restart()
    yield mirrored
    mirrored.compare_everything()
