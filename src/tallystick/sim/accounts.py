"""Who is who on the simulated chain, and the scheduler's signature."""

from __future__ import annotations

from functools import lru_cache

from eth_hash.auto import keccak

from tallystick.poco.contribution import authorization_hash
from tallystick.poco.signing import address_of, ethereum_message_hash, sign
from tallystick.poco.values import Address, Signature, TaskId

_KEY = keccak(b"the scheduler of a simulated pool")
SCHEDULER = address_of(_KEY)
REQUESTER, APP_OWNER = Address(b"\xaa" * 20), Address(b"\xab" * 20)
RICH = 10**18
"""What scheduler and requester have in the beginning, in nRLC."""


@lru_cache(maxsize=4096)
def authorization(worker: Address, task: TaskId) -> Signature:
    """The scheduler's signature that lets `worker` contribute to `task`."""
    return Signature(sign(_KEY, ethereum_message_hash(authorization_hash(worker, task))))


def worker_address(number: int) -> Address:
    """The wallet of worker `number`, counted from 1."""
    return Address(bytes(19) + bytes([number]))
