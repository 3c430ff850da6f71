"""The sender's own tests once more, with its book on a server."""

from __future__ import annotations

from typing import Any

import pytest
import test_chain_sender
from postgres_lab import ready_postgres
from test_chain_sender import *  # noqa: F403  its tests and fixtures

from tallystick.chain.postgres_book import PostgresBook
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet

__all__ = ["ready_postgres"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]
del test_a_book_belongs_to_one_wallet  # noqa: F821  a database has room for many


class SenderOnServer(Sender):
    """One whose book lies where a URL says."""

    def __init__(self, rpc: Rpc, wallet: Wallet, book: Any, **options: Any) -> None:
        if isinstance(book, str):
            book = PostgresBook(book, wallet.address, options["chain_id"])
        super().__init__(rpc, wallet, book, **options)


@pytest.fixture
def book(ready_postgres: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a test takes for its file is a database of its own."""
    monkeypatch.setattr(test_chain_sender, "Sender", SenderOnServer)
    return ready_postgres
