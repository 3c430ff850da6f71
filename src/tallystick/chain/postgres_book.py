"""A wallet's transactions in a PostgreSQL database that several processes share.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from tallystick.chain.book import Book
from tallystick.chain.shelf import Row
from tallystick.engine.fence import Fence, Fenced
from tallystick.engine.postgres_link import Link
from tallystick.poco.values import Address

_HELD: Final = """SELECT 1 FROM lease
WHERE name = %s AND epoch = %s AND holder = %s AND until > clock_timestamp() FOR SHARE"""
_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class PostgresBook(Book):
    """The journal of one wallet on one chain, beside those of others.

    With `right` whatever changes the book first looks, in the same transaction, whether this
    process has the lease `lease` in the epoch it believes; nobody takes the lease before the
    transaction is over. Raises Fenced when another process has it, and DatabaseGone, a
    DiskTrouble, when the server does not answer: what was changed then is found by `same`.
    """

    def __init__(
        self,
        url: str,
        wallet: Address,
        chain_id: int,
        *,
        lease: str = "",
        right: Callable[[], Fence | None] | None = None,
    ) -> None:
        """The tables must be there (`engine.postgres_schema.migrate`). Raises DatabaseGone."""
        self._keep_on(_Shelf(Link(url), wallet, chain_id, lease=lease, right=right))


class _Shelf:
    order = "id"

    def __init__(
        self,
        link: Link,
        wallet: Address,
        chain_id: int,
        *,
        lease: str,
        right: Callable[[], Fence | None] | None,
    ) -> None:
        self._link, self._lease, self._right = link, lease, right
        self._name = f"{wallet} on {chain_id:d}"
        self.owner: dict[str, Any] = {"wallet": bytes(wallet), "chain": chain_id}
        self.mine = f"wallet = '\\x{bytes(wallet).hex()}'::bytea AND chain = {chain_id:d}"

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a statement answers."""
        return self._link.rows(statement.replace("?", "%s"), values)

    @contextmanager
    def change(self) -> Iterator[None]:
        """All of it, or nothing; nobody else gives nonces of the wallet away meanwhile."""
        fence = self._right() if self._right else None
        if self._right and fence is None:
            raise Fenced(f"Another process sends for {self._name}.")
        with self._link.transaction():
            self._link.rows(_ALONE, (self._name,))
            if fence and not self._link.rows(_HELD, (self._lease, fence.epoch, fence.holder)):
                raise Fenced(f"Another process sends for {self._name} now.")
            yield

    def close(self) -> None:
        """End the session."""
        self._link.close()
