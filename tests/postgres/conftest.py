"""What is proved of a file is proved of a server by the same tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in ("engine", "chain"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
pytest.register_assert_rewrite("test_engine", "test_together", "test_chain_sender")
