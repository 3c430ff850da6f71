"""What a node may answer: results, and errors that say whether asking again can help."""

from __future__ import annotations

from typing import Any

from tallystick.chain import codec
from tallystick.engine.errors import Refused, Unavailable

_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")
_NOT_READY = (
    "BlockOutOfRange",
    "header not found",
    "block not found",
    "unknown block",
    "missing trie node",
    "state is not available",
)
_FAILED_RUN = ("revert", "EVM error", "invalid opcode", "gas required exceeds allowance")


class RpcError(Exception):
    """A node answered a request with an error object."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class NodeError(RpcError, Unavailable):
    """The node could not serve the request; it, or another one, may do so later."""


class NotReady(NodeError):
    """The node does not have the block it was asked about (yet, or any more)."""


class Reverted(RpcError, Refused):
    """The contract refuses the call. The reason is empty where PoCo gives none."""

    @property
    def reason(self) -> str:
        """The contract's own words, or "" when it gives none."""
        return revert_reason(self.data)


def error_of(answer: Any) -> RpcError:
    """The typed error in a JSON-RPC `error` member, however badly it is formed."""
    if not isinstance(answer, dict):
        return NodeError(0, f"an error that is no JSON-RPC error: {answer!r:.200}")
    code = answer["code"] if isinstance(answer.get("code"), int) else 0
    message, data = str(answer.get("message", "")), answer.get("data")
    if code == 3 or _says(message, _FAILED_RUN):
        return Reverted(code, message, data)
    if _says(message, _NOT_READY):
        return NotReady(code, message, data)
    return NodeError(code, message, data)


def _says(message: str, signs: tuple[str, ...]) -> bool:
    return any(sign.lower() in message.lower() for sign in signs)


def revert_reason(data: Any) -> str:
    """The text of Error(string), the number of Panic(uint256), else the raw data as hex."""
    if isinstance(data, dict):
        data = data.get("data")
    try:
        raw = bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else b""
        if raw[:4] == _ERROR_STRING:
            return str(codec.decode(("string",), raw[4:])[0])
        if raw[:4] == _PANIC:
            return f"panic {codec.decode(('uint256',), raw[4:])[0]:#x}"
    except ValueError:
        return str(data)
    return "0x" + raw.hex() if raw else ""
