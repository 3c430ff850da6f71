"""Proving to a scheduler that we are a deal's requester, by signing its challenge (EIP-712).

Only the challenge's text is taken from the scheduler. Its types and its domain are ours: what
a stranger asks a wallet to sign could be an order otherwise.
"""

from __future__ import annotations

from tallystick.requester.orders import Signer
from tallystick.wire.auth import log_challenge_hash


def authorization(challenge: str, *, chain_id: int, wallet: Signer) -> str:
    """The `Authorization` header that answers `challenge`: hash, signature and address."""
    digest = log_challenge_hash(chain_id, challenge)
    return f"{digest}_0x{wallet.sign_hash(digest).hex()}_{wallet.address}"
