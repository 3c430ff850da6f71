"""A pool's memory in one file: journal, transactions, logs of apps, and no secret."""

from __future__ import annotations

from typing import Final, get_args

from tallystick.engine.backup import JOURNAL, Memory
from tallystick.lifecycle.facts import Fact

MEMORY: Final = Memory(
    noun="pool",
    # Transactions first, since the chain tells which are missing.
    files=("transactions.db", JOURNAL, "logs.db"),
    kinds=get_args(Fact),
)
"""The key of the tokens stays behind: after a restore elsewhere everybody logs in again."""
