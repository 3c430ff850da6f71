"""The chain as v9 peers read it and write to it, with web3 and the contracts' own ABI."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_hash.auto import keccak
from web3 import HTTPProvider, Web3

ACTIVE, REVEALING, COMPLETED = 1, 2, 3
CONTRIBUTED, REVEALED = 1, 2


def lenient(text: str) -> bytes:
    """web3j's decoder of hex, which refuses nothing (0.1)."""
    text = text.removeprefix("0x")
    digits = [int(c, 16) if c in "0123456789abcdefABCDEF" else -1 for c in text]
    head = [digits.pop(0) & 0xFF] if len(digits) % 2 else []
    pairs = zip(digits[::2], digits[1::2], strict=True)
    return bytes(head + [((high << 4) + low) & 0xFF for high, low in pairs])


def packed(*parts: str) -> bytes:
    """K(…) of 0.1."""
    return bytes(keccak(b"".join(lenient(part) for part in parts)))


def hexed(raw: bytes) -> str:
    return "0x" + bytes(raw).hex()


@dataclass
class View:
    """What is known of a task."""

    status: int
    deal_id: str
    index: int
    contribution_deadline: int
    reveal_deadline: int
    final_deadline: int
    consensus: str
    contributors: list[str]
    revealed: int
    """How many have revealed."""
    winners: int


class Chain:
    """One wallet at one hub."""

    def __init__(self, url: str, chain_id: int, hub: str, key: bytes, abi: Path) -> None:
        self.web3 = Web3(HTTPProvider(url))
        self.account = Account.from_key(key)
        self.me = self.account.address.lower()
        self.chain_id = chain_id
        address = Web3.to_checksum_address(hub)
        self.hub: Any = self.web3.eth.contract(address=address, abi=json.loads(abi.read_text()))
        self._lock = anyio.Lock()
        self.gas_used = 0

    async def head(self) -> int:
        return int(await to_thread.run_sync(lambda: self.web3.eth.block_number))

    async def now(self) -> int:
        block = await to_thread.run_sync(lambda: self.web3.eth.get_block("latest"))
        return int(block["timestamp"])

    async def call(self, name: str, *args: Any) -> Any:
        return await to_thread.run_sync(lambda: self.hub.functions[name](*args).call())

    async def owner(self, pool: str) -> str:
        data = "0x8da5cb5b"
        ask = {"to": Web3.to_checksum_address(pool), "data": data}
        raw = await to_thread.run_sync(lambda: self.web3.eth.call(ask))
        return hexed(raw[-20:])

    async def task(self, id: str) -> View:
        (
            status,
            deal,
            index,
            _,
            contribution,
            reveal,
            final,
            consensus,
            revealed,
            winners,
            who,
            _,
        ) = await self.call("viewTaskABILegacy", lenient(id))
        return View(
            status=status,
            deal_id=hexed(deal),
            index=index,
            contribution_deadline=contribution,
            reveal_deadline=reveal,
            final_deadline=final,
            consensus=hexed(consensus),
            contributors=[each.lower() for each in who],
            revealed=revealed,
            winners=winners,
        )

    async def deal(self, id: str) -> Any:
        """(app, dataset, workerpool, trust, category, tag, requester, beneficiary, callback,
        params, startTime, botFirst, botSize, workerStake, …)."""
        return await self.call("viewDeal", lenient(id))

    async def contribution(self, task: str, of: str = "") -> tuple[int, str, str]:
        """Of this wallet, or of another."""
        who = Web3.to_checksum_address(of) if of else self.account.address
        status, result, seal, *_ = await self.call("viewContribution", lenient(task), who)
        return status, hexed(result), hexed(seal)

    async def stake(self) -> int:
        return int((await self.call("viewAccount", self.account.address))[0])

    async def score(self, of: str) -> int:
        return int(await self.call("viewScore", Web3.to_checksum_address(of)))

    async def balance(self, of: str) -> int:
        """In wei."""
        who = Web3.to_checksum_address(of)
        return int(await to_thread.run_sync(lambda: self.web3.eth.get_balance(who)))

    async def logs(self, event: str, since: int, *topics: str | None) -> list[Any]:
        """Of the hub."""
        ask: Any = {
            "address": self.hub.address,
            "fromBlock": since,
            "topics": [hexed(keccak(event.encode())), *topics],
        }
        return list(await to_thread.run_sync(lambda: self.web3.eth.get_logs(ask)))

    async def send(
        self, name: str, event: str, task: str, *args: Any, gas: int, first: str = ""
    ) -> Any:
        """A legacy transaction; the log of `event` about the task, None without one (7.5). Its
        first argument is the task, or `first`."""
        call = self.hub.functions[name](lenient(first or task), *args)
        async with self._lock:
            return await to_thread.run_sync(lambda: self._send(call, event, task, gas))

    def _send(self, call: Any, event: str, task: str, gas: int) -> Any:
        price = min(int(self.web3.eth.gas_price * 1.3), 22_000_000_000)
        transaction = call.build_transaction(
            {
                "from": self.account.address,
                "nonce": self.web3.eth.get_transaction_count(self.account.address, "pending"),
                "gas": gas,
                "gasPrice": price,
                "chainId": self.chain_id,
                "value": 0,
            }
        )
        signed = self.account.sign_transaction(transaction)
        sent = self.web3.eth.send_raw_transaction(signed.raw_transaction)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                receipt = self.web3.eth.get_transaction_receipt(sent)
            except Exception:  # noqa: BLE001 (web3 has one for each node)
                time.sleep(0.2)
                continue
            self.gas_used += receipt["gasUsed"]
            topic = hexed(keccak(event.encode()))
            for each in receipt["logs"]:
                topics = [hexed(t) for t in each["topics"]]
                if topics[0] == topic and topics[1] == task:
                    return each
            return None
        return None

    def personal(self, digest: bytes) -> str:
        """EIP-191 signature of a hash."""
        return hexed(self.account.sign_message(encode_defunct(primitive=digest)).signature)

    def raw(self, digest: bytes) -> str:
        """A signature without any prefix."""
        return hexed(Account.unsafe_sign_hash(digest, self.account.key).signature)

    @staticmethod
    def signer(digest: bytes, signature: str) -> str:
        """Who signed a hash personally."""
        message = encode_defunct(primitive=digest)
        return str(Account.recover_message(message, signature=lenient(signature))).lower()
