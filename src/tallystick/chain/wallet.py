"""A wallet: one private key, what it signs, and the file it is kept in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tallystick.chain import envelope, keystore
from tallystick.chain.envelope import Transaction
from tallystick.chain.keystore import LIGHT, STANDARD, BadKeystore, WrongPassword
from tallystick.poco.signing import address_of, ethereum_message_hash, signer
from tallystick.poco.values import Address, Hash

__all__ = [
    "LIGHT",
    "STANDARD",
    "BadKey",
    "BadKeystore",
    "Keystore",
    "Wallet",
    "WrongPassword",
    "keystores",
]

_CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class BadKey(ValueError):
    """The bytes are no private key. The message never contains them."""


class Wallet:
    """Signs for one address. The key is not shown in logs or tracebacks."""

    __slots__ = ("__key", "__sign", "address")

    def __init__(self, key: bytes) -> None:
        """A wallet that is in no file. Raises `BadKey`."""
        if len(key) != 32 or not 0 < int.from_bytes(key, "big") < _CURVE_ORDER:
            raise BadKey("A private key is 32 bytes, not zero and below the curve's order.")
        self.__key = bytes(key)
        self.__sign = signer(self.__key)
        self.address: Address = address_of(self.__key)

    @classmethod
    def create(cls, path: Path, password: str, *, work: int = STANDARD) -> Self:
        """A new key in a new file, locked by `password`. `work` is scrypt's work factor.

        Raises `BadKeystore` when the file exists.
        """
        while True:
            try:
                wallet = cls(secrets.token_bytes(32))
            except BadKey:  # once in 2**128
                continue
            keystore.write(path, wallet.__key, wallet.address, password, work)
            return wallet

    @classmethod
    def import_key(cls, path: Path, password: str, key: bytes, *, work: int = STANDARD) -> Self:
        """A known key in a new file. Raises `BadKey`, or `BadKeystore` when the file exists."""
        wallet = cls(key)
        keystore.write(path, wallet.__key, wallet.address, password, work)
        return wallet

    @classmethod
    def load(cls, path: Path, password: str) -> Self:
        """The wallet in `path`. Raises `WrongPassword` or `BadKeystore`."""
        try:
            return cls(keystore.unlock(path, password))
        except BadKey as bad:
            raise BadKeystore(f"{path} holds no usable key: {bad}") from bad

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    def __reduce__(self) -> str:
        raise TypeError("a wallet is not pickled")

    def sign_hash(self, digest: Hash) -> bytes:
        """r, s, v (27 or 28) of the 32 bytes themselves: for EIP-712 hashes."""
        return self.__sign(digest)

    def sign_message(self, digest: bytes) -> bytes:
        """r, s, v of the 32 bytes as a personal message (EIP-191)."""
        return self.__sign(ethereum_message_hash(digest))

    def sign_transaction(self, transaction: Transaction) -> bytes:
        """The signed bytes, ready for `eth_sendRawTransaction`."""
        return envelope.signed(transaction, self.sign_hash)


@dataclass(frozen=True, slots=True)
class Keystore:
    """A wallet file that was not opened."""

    path: Path
    address: Address | None
    """As the file tells it; None when it does not, which the format allows."""


def keystores(folder: Path) -> tuple[Keystore, ...]:
    """The wallet files in `folder`, by name; other files are passed over."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            told = keystore.read(path).get("address")
            address = Address(told) if isinstance(told, str) else None
        except (BadKeystore, ValueError):
            continue
        found.append(Keystore(path, address))
    return tuple(found)
