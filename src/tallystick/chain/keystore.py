"""Private keys in files: the V3 keystore format, readable by every Ethereum wallet.

The format is that of eth-account, which the tests compare with in both directions. It is
written out here because loading that library takes longer (0.6 s, most of it for curves that
have nothing to do with these files) than everything else a process does at its start, and
because OpenSSL's scrypt is the faster one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from Crypto.Cipher import AES
from eth_hash.auto import keccak

from tallystick.engine.errors import Refused
from tallystick.poco.values import Address

STANDARD: Final = 1 << 18
"""Scrypt's work factor of every wallet program: about a second and 256 MiB to open a file."""

LIGHT: Final = 1 << 12
"""For keys that guard nothing but play money: 15 ms."""

UNFILLED: Final = "PASTE_YOUR_WALLET_HERE"
"""What stands in the wallet file of a fresh appliance, where the wallet belongs."""

_MEMORY: Final = 1 << 30
"""Bytes that opening a file may take: a stranger's file names its own work factor."""

_ROUNDS: Final = 100_000_000
"""Rounds of PBKDF2 above which a file is taken for an attack, not for a wallet."""


class WrongPassword(Refused):
    """The password does not open the wallet."""


class BadKeystore(Refused):
    """The file is no wallet that can be read."""


def write(path: Path, key: bytes, address: Address, password: str, work: int) -> None:
    """Lock `key` into a new file that only its owner may read.

    Raises `BadKeystore` when the file exists: a key is never overwritten.
    """
    text = json.dumps(_locked(key, address, password.encode(), work), indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as exists:
        raise BadKeystore(
            f"{path} exists already; a wallet is never overwritten. Choose another file."
        ) from exists
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> dict[str, Any]:
    """The content of a keystore file, still locked."""
    text = _text(path)
    if UNFILLED in text:
        raise BadKeystore(
            f"{path} still holds {UNFILLED}: open it and put the content of your wallet there."
        )
    try:
        lowered = _lower(json.loads(text))
    except ValueError as trouble:
        raise BadKeystore(
            f"{path} is not JSON ({trouble}): was all of the wallet pasted, with both braces?"
        ) from trouble
    if not isinstance(lowered, dict) or lowered.get("version") != 3:
        raise BadKeystore(f"{path} is no V3 keystore: create a wallet, or import its key.")
    return lowered


def _text(path: Path) -> str:
    """What an editor left in the file; a mark of its encoding at the start is passed over."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as missing:
        raise BadKeystore(f"There is no wallet at {path}: create or import one.") from missing
    except IsADirectoryError as folder:
        raise BadKeystore(
            f"{path} is a folder, not a wallet: Docker makes one where the file of a -v option"
            " does not exist. Remove it, and name the file that is your wallet."
        ) from folder
    except PermissionError as denied:
        raise BadKeystore(
            f"This user may not read the wallet {path}: give it to the user that runs the"
            " worker, with mode 0600."
        ) from denied
    except (OSError, ValueError) as trouble:
        raise BadKeystore(f"{path} cannot be read as a wallet: {trouble}") from trouble


def unlock(path: Path, password: str) -> bytes:
    """The private key in `path`. Raises `WrongPassword` or `BadKeystore`."""
    try:
        crypto = read(path)["crypto"]
        sealed = bytes.fromhex(crypto["ciphertext"])
        derived = _derive(crypto["kdf"], crypto["kdfparams"], password.encode())
        mac = bytes.fromhex(crypto["mac"])
        if crypto["cipher"] != "aes-128-ctr":
            raise ValueError(f"cipher {crypto['cipher']}")
        start = bytes.fromhex(crypto["cipherparams"]["iv"])
    except (KeyError, TypeError, AttributeError, ValueError, MemoryError) as trouble:
        raise BadKeystore(f"{path} is a damaged or unusual keystore: {trouble}") from trouble
    if not hmac.compare_digest(keccak(derived[16:32] + sealed), mac):
        raise WrongPassword(f"The password does not open the wallet {path}.")
    key: bytes = _cipher(derived, start).decrypt(sealed)
    return key


def _locked(key: bytes, address: Address, password: bytes, work: int) -> dict[str, Any]:
    salt, start = secrets.token_bytes(32), secrets.token_bytes(16)
    params = {"n": work, "r": 8, "p": 1, "dklen": 32, "salt": salt.hex()}
    derived = _derive("scrypt", params, password)
    sealed = _cipher(derived, start).encrypt(key)
    return {
        "address": address.hex(),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": start.hex()},
            "ciphertext": sealed.hex(),
            "kdf": "scrypt",
            "kdfparams": params,
            "mac": keccak(derived[16:32] + sealed).hex(),
        },
        "id": str(uuid.uuid4()),
        "version": 3,
    }


def _derive(name: str, params: Mapping[str, Any], password: bytes) -> bytes:
    salt, length = bytes.fromhex(params["salt"]), params["dklen"]
    if length != 32:
        raise ValueError(f"a derived key of {length} bytes")
    if name == "scrypt":
        n, r, p = params["n"], params["r"], params["p"]
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, dklen=32, maxmem=_MEMORY)
    if name == "pbkdf2" and params["prf"] == "hmac-sha256" and params["c"] <= _ROUNDS:
        return hashlib.pbkdf2_hmac("sha256", password, salt, params["c"], 32)
    raise ValueError(f"key derivation {name}")


def _cipher(derived: bytes, start: bytes) -> Any:
    return AES.new(derived[:16], AES.MODE_CTR, nonce=b"", initial_value=start)


def _lower(value: Any) -> Any:
    """Keys in lower case: some programs write `Crypto`."""
    if isinstance(value, dict):
        return {str(key).lower(): _lower(inner) for key, inner in value.items()}
    return value
