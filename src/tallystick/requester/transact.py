"""Sending transactions from a wallet that several programs may use."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio

from tallystick.chain.calls import Call
from tallystick.chain.sender import Receipt, Sender
from tallystick.chain.wallet import Wallet
from tallystick.requester.session import Session


async def transact(session: Session, wallet: Wallet, call: Call) -> Receipt:
    """Send `call` from `wallet` and wait until it is mined.

    Programs that use the same wallet take turns, because a nonce can be used only once.
    Raises Refused with the contract's reason, and Unavailable.
    """
    book = _book(session, wallet)
    async with _turn(book.with_suffix(".lock")):
        with closing(_sender(session, wallet, book)) as sender:
            return await sender.send(call)


@asynccontextmanager
async def looked_after(session: Session, wallet: Wallet) -> AsyncIterator[None]:
    """While inside, what `wallet` has sent stays sent: a chain that goes back and forgets one
    of its transactions, a match of orders above all, is given it again."""
    with closing(_sender(session, wallet, _book(session, wallet))) as sender:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sender.run)
            yield
            tasks.cancel_scope.cancel()


def _book(session: Session, wallet: Wallet) -> Path:
    folder = session.place.state
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{wallet.address}.sqlite"


def _sender(session: Session, wallet: Wallet, book: Path) -> Sender:
    place = session.place
    return Sender(session.rpc, wallet, book, chain_id=place.chain_id, fees=place.fees)


@asynccontextmanager
async def _turn(path: Path) -> AsyncIterator[None]:
    with path.open("a") as lock:
        await anyio.to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX, abandon_on_cancel=True)
        yield
