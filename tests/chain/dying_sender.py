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

from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet


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


async def main(url: str, book: str, number: str, moment: str) -> None:
    async with Doomed([url]) as rpc:
        rpc.moment = moment
        sender = Sender(rpc, Wallet(bytes([1]) * 32), Path(book), chain_id=31337)
        receipt = await sender.send(ring(int(number)))
        sys.stdout.write(f"{receipt.hash}\n")


anyio.run(main, *sys.argv[1:])
