"""What the store hands out and believes later: upload tokens and read challenges.

Both are signed with a key that only the store has, so nothing has to be remembered.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import jwt

from tallystick.poco.signing import BadSignature, ethereum_message_hash, recover
from tallystick.poco.values import Address
from tallystick.results.denial import Denied, unauthorized
from tallystick.wire.results import access_message

UPLOAD_LIFE: Final = 3600
"""Seconds for which an upload token is good."""
CHALLENGE_LIFE: Final = 600
"""Seconds for which an answered challenge gives access to results."""
_READ: Final = "read"


class Tokens:
    """Issues and checks the tokens of one store."""

    def __init__(
        self, key: bytes, store_url: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._key, self._store_url, self._clock = key, store_url, clock

    def issue(self, worker: Address) -> str:
        """A token that says: the bearer is the worker with this wallet."""
        return self._sign({"aud": str(worker), "sub": secrets.token_hex(16)}, UPLOAD_LIFE)

    def uploader(self, token: str) -> Address:
        """Whose token it is. Raises `Denied` (401)."""
        return _address(self._read(token).get("aud"))

    def challenge(self) -> str:
        """A text for a reader to sign: see `wire.results.access_message`."""
        return self._sign({"aud": _READ, "sub": secrets.token_hex(16)}, CHALLENGE_LIFE)

    def reader(self, authorization: str) -> Address:
        """Who answered a challenge of ours. Raises `Denied` (401)."""
        challenge, _, answer = authorization.partition(" ")
        wallet, _, signature = answer.partition(" ")
        if self._read(challenge).get("aud") != _READ:
            raise unauthorized("This result is private: sign a challenge of this store first.")
        reader = _address(wallet)
        message = access_message(reader, self._store_url, challenge)
        try:
            signer = recover(
                ethereum_message_hash(message), bytes.fromhex(signature.removeprefix("0x"))
            )
        except (BadSignature, ValueError) as trouble:
            raise unauthorized("The answer to the challenge is not a signature.") from trouble
        if signer != reader:
            raise unauthorized(f"The challenge was answered by {signer}, not by {reader}.")
        return reader

    def _sign(self, claims: dict[str, Any], life: int) -> str:
        now = int(self._clock())
        return jwt.encode({**claims, "iat": now, "exp": now + life}, self._key, "HS256")

    def _read(self, token: str) -> dict[str, Any]:
        options: Any = {
            "require": ["exp", "aud", "sub"],
            "verify_aud": False,
            "verify_exp": False,  # by the clock that was handed in
            "verify_iat": False,
        }
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, ["HS256"], options=options)
        except jwt.InvalidTokenError as trouble:
            raise unauthorized("The token is not one of this store.") from trouble
        if not isinstance(claims["exp"], int) or claims["exp"] < self._clock():
            raise unauthorized("The token has expired; ask for a new one.")
        return claims


def _address(text: object) -> Address:
    try:
        return Address(str(text))
    except ValueError as trouble:
        raise Denied(401, "The token or the request names no wallet.") from trouble
