"""A program that sends one ring of the bell, and is killed at a given moment of it.

Usage: URL BOOK NUMBER MOMENT, where MOMENT is `reserved` (written down, not sent yet), `sent`
(the node has it, the program does not know) or `never`.
"""

import os
import signal
import sys
from pathlib import Path

import anyio
from chain_lab import ring

from tallystick.chain.book import Book
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.engine.databases import with_postgres


class Doomed(Rpc):
    """Dies at the door of the node, before or after handing over the transaction."""

    moment = ""

    async def call(self, method, *params):
        if method != "eth_sendRawTransaction":
            return await super().call(method, *params)
        if self.moment == "reserved":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await super().call(method, *params)
        if self.moment == "sent":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def book_at(place: str, wallet: Wallet) -> Path | Book:
    """In a file, or in a database when the place is a URL."""
    if not place.startswith("postgresql:"):
        return Path(place)
    books = with_postgres("tallystick.chain.postgres_book")
    return books.PostgresBook(place, wallet.address, 31337)


async def main(url: str, book: str, number: str, moment: str) -> None:
    async with Doomed([url]) as rpc:
        rpc.moment = moment
        wallet = Wallet(bytes([1]) * 32)
        kept = book_at(book, wallet)
        sender = Sender(rpc, wallet, kept, chain_id=31337)
        receipt = await sender.send(ring(int(number)))
        sys.stdout.write(f"{receipt.hash}\n")


anyio.run(main, *sys.argv[1:])
