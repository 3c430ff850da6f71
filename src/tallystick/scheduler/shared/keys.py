"""Secrets and open challenges that all processes of a pool share.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import secrets
from typing import Final

from tallystick.engine.postgres_link import Link
from tallystick.poco.values import Address
from tallystick.wire.auth import CHALLENGE_LIFE, Challenges, Unauthorized, require_signed

TOKEN_KEY: Final = "token key"
"""The secret that signs the tokens of workers."""

_MAKE: Final = "INSERT INTO secret (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_TELL: Final = "SELECT value FROM secret WHERE key = %s"
_OLD: Final = """
DELETE FROM challenge WHERE at < clock_timestamp() - %s * interval '1 second'"""
_MOST: Final = 10_000
_ROOM: Final = """
DELETE FROM challenge WHERE (wallet, kind) IN (
    SELECT wallet, kind FROM challenge ORDER BY at DESC OFFSET %s)"""
_ISSUE: Final = """
INSERT INTO challenge (wallet, kind, text) VALUES (%s, 'login', %s) ON CONFLICT DO NOTHING"""
_OPEN: Final = """
SELECT text FROM challenge WHERE wallet = %s AND kind = 'login'
  AND at > clock_timestamp() - %s * interval '1 second'"""
_CLOSE: Final = """
DELETE FROM challenge WHERE wallet = %s AND kind = 'login' AND text = %s RETURNING 1"""


def shared_secret(link: Link, name: str, size: int = 32) -> bytes:
    """Random bytes that every process of the pool knows. Raises DatabaseGone."""
    link.rows(_MAKE, (name, secrets.token_bytes(size).hex()))
    ((value,),) = link.rows(_TELL, (name,))
    return bytes.fromhex(value)


class SharedChallenges(Challenges):
    """Challenges to log in that any process may issue and any other one settle."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def issue(self, wallet: Address) -> str:
        """The challenge that `wallet` must sign: 64 hex digits."""
        self._link.rows(_OLD, (CHALLENGE_LIFE,))
        self._link.rows(_ROOM, (_MOST,))
        fresh = secrets.token_hex(32)
        self._link.rows(_ISSUE, (str(wallet), fresh))
        return self._open_one(wallet)

    def settle(self, wallet: Address, signature: bytes) -> None:
        """Accept the answer and close the challenge; raises Unauthorized and keeps it open."""
        text = self._open_one(wallet)
        require_signed(wallet, text, signature)
        if not self._link.rows(_CLOSE, (str(wallet), text)):
            raise Unauthorized(f"The challenge of {wallet} was used already.")

    def _open_one(self, wallet: Address) -> str:
        found = self._link.rows(_OPEN, (str(wallet), CHALLENGE_LIFE))
        if not found:
            raise Unauthorized(f"{wallet} has no open challenge: ask for one first.")
        return str(found[0][0])
