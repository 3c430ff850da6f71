"""Signs for one wallet, and hands the bytes to a node."""

from __future__ import annotations

import logging

from tallystick.chain.answers import RpcError
from tallystick.chain.call import Call
from tallystick.chain.entries import Entry, Sign
from tallystick.chain.envelope import Price, Transaction
from tallystick.chain.rpc import Rpc
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address

log = logging.getLogger(__name__)


class Post:
    """The way of one wallet to one chain."""

    def __init__(self, rpc: Rpc, wallet: Wallet, chain_id: int) -> None:
        self.rpc, self._wallet, self._chain_id = rpc, wallet, chain_id

    @property
    def address(self) -> Address:
        """The wallet that signs."""
        return self._wallet.address

    def signer(self, call: Call, gas: int, price: Price) -> Sign:
        """Signs `call` for whatever nonce it is given."""

        def sign(nonce: int) -> tuple[bytes, Price]:
            transaction = Transaction(
                chain_id=self._chain_id,
                nonce=nonce,
                to=call.to,
                data=call.data,
                gas=gas,
                price=price,
                value=call.value,
            )
            return self._wallet.sign_transaction(transaction), price

        return sign

    async def broadcast(self, entry: Entry) -> RpcError | None:
        """Hand the newest form of `entry` to a node, and tell the node's complaint.

        That no node answers is no complaint: the entry is looked at again anyway.
        """
        raw = "0x" + entry.attempts[-1].raw.hex()
        try:
            await self.rpc.call("eth_sendRawTransaction", raw)
        except RpcError as trouble:
            log.info("nonce %d, %s: %s", entry.nonce, entry.call.what, trouble.message)
            return trouble
        except Unavailable as trouble:
            log.warning("%s will be sent again: %s", entry.call.what, trouble)
        return None
