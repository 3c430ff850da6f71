"""How a worker proves who it is: a challenge is signed, a token comes back. Both ends."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jwt
from eth_hash.auto import keccak

from tallystick.poco.signing import BadSignature, lenient_hex, recover
from tallystick.poco.values import Address, Hash

CHALLENGE_LIFE: Final = 300
"""Seconds for which the same challenge is served to the same wallet."""
READING_LIFE: Final = 3600
"""Seconds for which the same challenge to read logs is served to the same address."""
TOKEN_LIFE: Final = 24 * 3600
"""Seconds for which a token is good; a worker that gets 401 logs in again."""
_MOST_OPEN: Final = 10_000
"""Challenges that are open at once; beyond, the oldest go: anybody may ask for one."""
_MOST_CHECKED: Final = 20_000
"""Tokens that are remembered as good."""
_KEY_BYTES: Final = 32
_AUDIENCE: Final = "iexec-core"
_LOGS_DOMAIN: Final = "iExec Core"


class Unauthorized(Exception):
    """The caller is not who it says, or its token is of another time or place."""


def login_digest(challenge: str) -> Hash:
    """What a worker signs, raw: v9 peers read the Base64 text as if it were hex."""
    return Hash(keccak(lenient_hex(challenge)))


def require_signed(wallet: Address, challenge: str, signature: bytes) -> None:
    """Raises Unauthorized unless `wallet` has signed the challenge."""
    try:
        signer = recover(login_digest(challenge), signature)
    except BadSignature as problem:
        raise Unauthorized(str(problem)) from problem
    if signer != wallet:
        raise Unauthorized(f"The challenge of {wallet} was signed by {signer}.")


class Challenges:
    """One open challenge a wallet, until it is used or five minutes old."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[Address, tuple[str, float]] = {}

    def issue(self, wallet: Address) -> str:
        """The challenge that `wallet` must sign: 64 hex digits, of which a v9 worker loses
        none. (Of Base64 it would take every letter that is no digit for the same.)"""
        self._forget_old()
        if wallet not in self._open:
            if len(self._open) >= _MOST_OPEN:
                del self._open[next(iter(self._open))]
            text = secrets.token_hex(32)
            self._open[wallet] = (text, self._clock())
        return self._open[wallet][0]

    def settle(self, wallet: Address, signature: bytes) -> None:
        """Accept the answer and close the challenge; raises Unauthorized and keeps it open."""
        self._forget_old()
        if wallet not in self._open:
            raise Unauthorized(f"{wallet} has no open challenge: ask for one first.")
        require_signed(wallet, self._open[wallet][0], signature)
        del self._open[wallet]

    def _forget_old(self) -> None:
        oldest = self._clock() - CHALLENGE_LIFE
        while self._open:
            wallet, (_, since) = next(iter(self._open.items()))
            if since >= oldest:
                break
            del self._open[wallet]


class ReadingChallenges:
    """What requesters sign to read logs: the same for an address for an hour, and good for one
    more. Nothing is kept, since anybody may ask for any address."""

    def __init__(
        self, clock: Callable[[], float] = time.time, key: bytes | None = None
    ) -> None:
        """`key`: what several processes share; each has its own without it."""
        self._clock, self._key = clock, key or secrets.token_bytes(_KEY_BYTES)

    def issue(self, reader: Address) -> str:
        """The challenge of this hour: Base64 of 32 bytes that only this process can tell."""
        return self._of(reader, self._hour)

    def good(self, reader: Address) -> tuple[str, ...]:
        """Every challenge that `reader` may have signed."""
        return tuple(self._of(reader, hour) for hour in (self._hour, self._hour - 1))

    @property
    def _hour(self) -> int:
        return int(self._clock() // READING_LIFE)

    def _of(self, reader: Address, hour: int) -> str:
        text = f"{hour} {reader}".encode()
        return base64.b64encode(hmac.digest(self._key, text, "sha256")).decode()


class Tokens:
    """Bearer tokens of one pool. The key outlives restarts, and so do the tokens."""

    def __init__(self, key: bytes, *, pool: Address) -> None:
        self._key, self._pool = key, pool
        self._checked: dict[str, tuple[Address, int]] = {}
        """Headers that were good, and when they end to be: a worker shows the same one for a
        day, and to look again takes longer than most answers."""

    def issue(self, wallet: Address) -> str:
        """A token that says: the bearer is `wallet`."""
        now = int(time.time())
        claims = {
            "aud": _AUDIENCE,
            "iss": str(self._pool),
            "sub": str(wallet),
            "iat": now,
            "exp": now + TOKEN_LIFE,
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    def derived(self, purpose: str) -> bytes:
        """A key for another purpose, the same wherever this one is."""
        return hmac.digest(self._key, purpose.encode(), "sha256")

    def bearer(self, header: str) -> Address:
        """Who sent this `Authorization` header; raises Unauthorized."""
        known = self._checked.get(header)
        if known is not None and time.time() < known[1]:
            return known[0]
        worker, ends = self._check(header)
        if len(self._checked) >= _MOST_CHECKED:
            del self._checked[next(iter(self._checked))]
        self._checked[header] = (worker, ends)
        return worker

    def _check(self, header: str) -> tuple[Address, int]:
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer":
            raise Unauthorized("The token goes into the header as: Bearer TOKEN.")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                audience=_AUDIENCE,
                issuer=str(self._pool),
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
            return Address(str(claims["sub"])), int(claims["exp"])
        except (jwt.InvalidTokenError, ValueError) as problem:
            raise Unauthorized(f"The token is not valid: {problem}.") from problem


def key_file(path: Path) -> bytes:
    """The secret in `path`, 32 bytes, made when it is not there whole (power may fail while it
    is written, and an empty key would be everybody's); readable by its owner only."""
    if not path.exists() or path.stat().st_size != _KEY_BYTES:
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(_KEY_BYTES))
        fresh.rename(path)
    return path.read_bytes()


def log_challenge(chain_id: int, text: str) -> dict[str, Any]:
    """The typed data (EIP-712) that a requester signs to read the logs of its tasks."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
            ],
            "Challenge": [{"name": "challenge", "type": "string"}],
        },
        "primaryType": "Challenge",
        "domain": {"name": _LOGS_DOMAIN, "version": "1", "chainId": chain_id},
        "message": {"challenge": text},
    }


def log_challenge_hash(chain_id: int, text: str) -> Hash:
    """The EIP-712 hash of `log_challenge`."""
    domain = keccak(
        keccak(b"EIP712Domain(string name,string version,uint256 chainId)")
        + keccak(_LOGS_DOMAIN.encode())
        + keccak(b"1")
        + chain_id.to_bytes(32, "big")
    )
    message = keccak(keccak(b"Challenge(string challenge)") + keccak(text.encode()))
    return Hash(keccak(b"\x19\x01" + domain + message))
