"""A node of the test's own, and a contract on it that only reports."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from pathlib import Path

from tallystick.chain.abi import topic
from tallystick.chain.call import Call
from tallystick.chain.logs import TaskClaimed
from tallystick.chain.wallet import Wallet
from tallystick.devnet.anvil import Anvil, AnvilOptions
from tallystick.poco.values import Address

CLAIMED = topic("TaskClaimed(bytes32)")
BELL = Address(b"\xbe" * 20)
"""A contract that reports TaskClaimed of the 32 bytes it is called with. It refuses zero."""
_REPORT = "6000357f" + CLAIMED.hex() + "60006000a200"
_BELL_CODE = "0x600035600a57600080fd5b" + _REPORT


def ring(number: int) -> Call:
    return Call(BELL, number.to_bytes(32, "big"), f"ring {number}")


def rung(logs) -> list[int]:
    """The numbers in logs of the bell."""
    return [int.from_bytes(log.task, "big") for log in logs if isinstance(log, TaskClaimed)]


class Lab:
    """One node of the test's own, which can die and rise from an older state."""

    def __init__(self, binary: Path, folder: Path, stack: ExitStack) -> None:
        self._binary, self._folder, self._stack = binary, folder, stack
        self.node = self._start(0, None)
        self.port = self.node.port
        self._automine = True
        self.call("anvil_setCode", str(BELL), _BELL_CODE)
        self.mine()

    def _start(self, port: int, state: Path | None) -> Anvil:
        options = AnvilOptions(
            binary=self._binary, folder=self._folder / "node", port=port, state=state
        )
        return self._stack.enter_context(Anvil(options))

    @property
    def url(self) -> str:
        return self.node.url

    @property
    def ws_url(self) -> str:
        return self.node.ws_url

    def call(self, method: str, *params):
        return self.node.console.call(method, *params)

    def mine(self, blocks: int = 1) -> None:
        self.call("anvil_mine", hex(blocks))

    def automine(self, on: bool) -> None:
        self.call("evm_setAutomine", on)
        self._automine = on

    def wallet(self, seed: int = 1) -> Wallet:
        wallet = Wallet(bytes([seed]) * 32)
        self.call("anvil_setBalance", str(wallet.address), hex(10**20))
        return wallet

    def ring(self, number: int) -> None:
        """A report by an account that nobody else here uses; in a block already, unless blocks
        are not mined by themselves."""
        ringer = "0x" + "77" * 20
        self.call("anvil_setBalance", ringer, hex(10**20))
        self.call("anvil_impersonateAccount", ringer)
        data = "0x" + number.to_bytes(32, "big").hex()
        send = "eth_sendTransactionSync" if self._automine else "eth_sendTransaction"
        self.call(send, {"from": ringer, "to": str(BELL), "data": data})

    @property
    def height(self) -> int:
        return int(self.call("eth_blockNumber"), 16)

    def count(self, wallet: Wallet) -> int:
        return int(self.call("eth_getTransactionCount", str(wallet.address), "latest"), 16)

    def dump(self) -> Path:
        state = self._folder / f"state-{self.height}.json"
        state.write_bytes(gzip.decompress(bytes.fromhex(self.call("anvil_dumpState")[2:])))
        return state

    def die(self) -> None:
        self.node.kill()
        self.node.console.close()

    def rise(self, state: Path) -> None:
        """The same address, an older chain."""
        self.node = self._start(self.port, state)
