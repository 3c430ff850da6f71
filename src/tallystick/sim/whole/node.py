"""A node: what it answers to `eth_…`, from its own, perhaps older, view of the chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tallystick.chain.abi import unhex
from tallystick.poco.escrow import Revert
from tallystick.poco.ledger import Ledger
from tallystick.poco.values import Address
from tallystick.sim.whole.blocks import GWEI, Block, Blocks, Rejected, gas_of, read
from tallystick.sim.whole.evm import Ask, execute, fork, view
from tallystick.sim.whole.lies import Lie

CHAIN_ID = 31337


class NodeSays(Exception):
    """A JSON-RPC error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Node:
    """Answers for one party. `lag`: blocks that it does not know yet; `nonsense`: it answers
    every question about state with nothing, as a node does that lost it; `lie`: what it tells
    that is not so."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.lag = 0
        self.nonsense = False
        self.lie: Lie | None = None
        self._back = 0

    @property
    def _chain(self) -> list[Block]:
        chain = self._blocks.chain
        return chain[: max(1, len(chain) - self.lag)]

    @property
    def _head(self) -> Block:
        chain = self._blocks.chain
        return chain[max(0, len(chain) - 1 - self.lag)]

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """The JSON-RPC answer to one request."""
        try:
            result = self.answer(request["method"], request["params"])
        except NodeSays as error:
            return {"id": request["id"], "error": {"code": error.code, "message": str(error)}}
        return {"id": request["id"], "result": result}

    def answer(self, method: str, params: Sequence[Any]) -> Any:
        """The result of one request. Raises NodeSays."""
        if self.nonsense and method == "eth_call":
            return "0x"
        if self.nonsense and method == "eth_getLogs":
            raise NodeSays(-32000, "missing trie node")
        if self.lie is not None:
            return self.lie.answer(self, method, params)
        return self.truth(method, params)

    def truth(self, method: str, params: Sequence[Any]) -> Any:
        """The same from a node that does not lie. Raises NodeSays."""
        handler = getattr(self, f"_{method}", None)
        if handler is None:
            raise NodeSays(-32601, f"the method {method} does not exist")
        return handler(*params)

    @contextmanager
    def thinking_back(self, blocks: int) -> Iterator[None]:
        """Questions about state are answered as so many blocks ago."""
        self._back = blocks
        try:
            yield
        finally:
            self._back = 0

    def read(self, raw: str) -> tuple[str, Address, int]:
        """Hash, sender and nonce of a signed transaction. Raises NodeSays."""
        try:
            sent = read(unhex(raw), CHAIN_ID)
        except Rejected as problem:
            raise NodeSays(-32000, str(problem)) from problem
        return sent.hash, sent.sender, sent.nonce

    @property
    def _state(self) -> Ledger:
        return self._chain[max(0, len(self._chain) - 1 - self._back)].ledger

    def _eth_chainId(self) -> str:
        return hex(CHAIN_ID)

    def _eth_blockNumber(self) -> str:
        return hex(self._head.number)

    def _eth_gasPrice(self) -> str:
        return hex(self._head.base + GWEI // 10)

    def _eth_maxPriorityFeePerGas(self) -> str:
        return hex(GWEI // 10)

    def _eth_getBalance(self, who: str, _: str) -> str:
        return hex(self._blocks.balance(Address(who), self._head))

    def _eth_getBlockByNumber(self, which: str, _: bool) -> dict[str, str] | None:
        if which == "latest":
            return _header(self._head)
        number = int(which, 16)
        return _header(self._chain[number]) if number <= self._head.number else None

    def _eth_getTransactionCount(self, who: str, when: str) -> str:
        owner = Address(who)
        count = self._head.counts.get(owner, 0)
        while when == "pending" and (owner, count) in self._blocks.waiting:
            count += 1
        return hex(count)

    def _eth_getTransactionByHash(self, name: str) -> dict[str, str] | None:
        waits = any(sent.hash == name for sent in self._blocks.waiting.values())
        return {"hash": name} if waits or self._receipt(name) else None

    def _eth_getTransactionReceipt(self, name: str) -> dict[str, Any] | None:
        return self._receipt(name)

    def _receipt(self, name: str) -> dict[str, Any] | None:
        for block in reversed(self._chain):
            if name in block.receipts:
                return block.receipts[name]
        return None

    def _eth_sendRawTransaction(self, raw: str) -> str:
        try:
            return self._blocks.send(unhex(raw), CHAIN_ID)
        except Rejected as problem:
            raise NodeSays(-32000, str(problem)) from problem

    def _eth_call(self, call: dict[str, str], _: str) -> str:
        try:
            return "0x" + view(self._state, unhex(call["data"])).hex()
        except Revert as revert:
            raise NodeSays(3, f"execution reverted: {revert.reason}") from revert

    def _eth_estimateGas(self, call: dict[str, str]) -> str:
        trial = fork(self._state, lambda event: None)
        ask = Ask(trial, Address(call["from"]), self._head.time)
        try:
            execute(ask, unhex(call["data"]))
        except Revert as revert:
            raise NodeSays(3, f"execution reverted: {revert.reason}") from revert
        return hex(gas_of(unhex(call["data"])))

    def _eth_getLogs(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        chain, head = self._chain, self._head.number
        if "blockHash" in question:
            found = [block for block in chain if block.hash == question["blockHash"]]
            if not found:
                raise NodeSays(-32000, "unknown block")
        else:
            first, to = int(question["fromBlock"], 16), question["toBlock"]
            last = head if to == "latest" else int(to, 16)
            if last > head:
                raise NodeSays(-32000, "BlockOutOfRange")
            found = chain[first : last + 1]
        wanted = question.get("topics", [])
        return [log for block in found for log in block.logs if _fits(log["topics"], wanted)]


def _fits(topics: list[str], wanted: Sequence[str | list[str] | None]) -> bool:
    for place, want in enumerate(wanted):
        if want is None:
            continue
        options = want if isinstance(want, list) else [want]
        if place >= len(topics) or topics[place] not in options:
            return False
    return True


def _header(block: Block) -> dict[str, str]:
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent,
        "timestamp": hex(block.time),
        "baseFeePerGas": hex(block.base),
        "logsBloom": f"0x{block.bloom:0512x}",
    }
