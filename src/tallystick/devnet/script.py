"""A list of transactions of one borrowed account, sent at once."""

from __future__ import annotations

from typing import Any

from eth_hash.auto import keccak

from tallystick.chain.abi import encode_call
from tallystick.devnet.console import Console, Question
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address

_GAS = 6_000_000
"""Enough for the largest creation (4.0 M gas)."""

_ALLOWANCE = 10**6 * 10**18
"""Wei that a borrowed account is given for gas."""

Receipt = dict[str, Any]


class StepFailed(Refused):
    """A transaction of a script was reverted."""


def calldata(signature: str, *values: Any) -> bytes:
    """The call of a function, e.g. `calldata("transfer(address,uint256)", to, 5)`."""
    return encode_call(signature, values)


class Script:
    """Transactions in order. Needs no key: the node lends the account while they are sent."""

    def __init__(self, sender: Address, *, nonce: int = 0) -> None:
        """`nonce` is the sender's next one; created addresses depend on it."""
        self._sender = sender
        self._first = nonce
        self._steps: list[dict[str, str]] = []
        self._paid = 0

    def create(self, code: bytes) -> Address:
        """Adds the creation of a contract, and foretells its address."""
        address = created(self._sender, self._first + len(self._steps))
        self._add({"data": "0x" + code.hex()})
        return address

    def call(self, to: Address, signature: str, *values: Any) -> None:
        """Call a function of the contract at `to`."""
        self._add({"to": str(to), "data": "0x" + calldata(signature, *values).hex()})

    def pay(self, to: Address, wei: int) -> None:
        """Send so many wei to `to`."""
        self._add({"to": str(to), "value": hex(wei)})
        self._paid += wei

    def send(self, console: Console) -> list[Receipt]:
        """Sends everything, has it mined, and sees that it went well.

        Raises StepFailed.
        """
        if not self._steps:
            return []
        me = str(self._sender)
        lend: list[Question] = [
            ("anvil_setBalance", [me, hex(_ALLOWANCE + self._paid)]),
            ("anvil_impersonateAccount", [me]),
        ]
        console.batch(lend)
        by_itself = console.call("anvil_getAutomine")
        if by_itself:  # how many blocks it makes of a batch would depend on luck
            console.call("evm_setAutomine", False)
        hashes = console.batch([("eth_sendTransaction", [step]) for step in self._steps])
        receipts = _mined(console, hashes)
        if by_itself:
            console.call("evm_setAutomine", True)
        console.call("anvil_stopImpersonatingAccount", me)
        for step, receipt in enumerate(receipts):
            if int(receipt["status"], 16) != 1:
                raise StepFailed(f"Step {step} of {len(receipts)} of {me} was reverted.")
        return receipts

    def _add(self, step: dict[str, str]) -> None:
        nonce = self._first + len(self._steps)
        sender = {"from": str(self._sender), "nonce": hex(nonce), "gas": hex(_GAS)}
        self._steps.append(sender | step)


def _mined(console: Console, hashes: list[str]) -> list[Receipt]:
    """The receipts, once the node was made to mine as often as it needs."""
    for _ in hashes:
        console.call("evm_mine")
        receipts = console.batch([("eth_getTransactionReceipt", [one]) for one in hashes])
        if None not in receipts:
            return receipts
    raise StepFailed("The node did not mine all transactions.")


def created(sender: Address, nonce: int) -> Address:
    """The address of what `sender` creates with the transaction `nonce` (RLP, below 2**16)."""
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    if len(number) != 1 or nonce >= 0x80:
        number = bytes([0x80 + len(number)]) + number
    body = b"\x94" + sender + number
    return Address(keccak(bytes([0xC0 + len(body)]) + body)[12:])
