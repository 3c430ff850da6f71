"""The folder of a person's wallets, laid out as the official client does."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tallystick.chain.wallet import Keystore, Wallet, keystores
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address


class NoWallet(Refused):
    """No wallet file fits what was asked for."""


def default_folder() -> Path:
    """Where the official client, and other wallets of Ethereum, keep keystores."""
    home = Path.home()
    match sys.platform:
        case "darwin":
            return home / "Library" / "Ethereum" / "keystore"
        case "win32":
            return home / "AppData" / "Roaming" / "Ethereum" / "keystore"
        case _:
            return home / ".ethereum" / "keystore"


def keep(folder: Path, write: Callable[[Path], Wallet]) -> Keystore:
    """A new wallet, written by `write` into `folder` and named by time and address."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder / f".new-{secrets.token_hex(8)}"
    wallet = write(draft)
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    path = folder / f"UTC--{now.replace(':', '-')}Z--{wallet.address.hex()}"
    return Keystore(draft.rename(path), wallet.address)


def find(folder: Path, which: str | None) -> Keystore:
    """The wallet at a path, of an address, or the newest in `folder`. Raises NoWallet."""
    if which is None:
        kept = keystores(folder)
        if not kept:
            raise NoWallet(
                f"There is no wallet in {folder}: create one with tally wallet create."
            )
        return max(kept, key=lambda found: found.path.stat().st_mtime)
    if not which.lower().startswith("0x"):
        if not Path(which).is_file():
            raise NoWallet(f"{which!r} is neither the address of a wallet nor the file of one.")
        return Keystore(Path(which), None)
    for found in keystores(folder):
        if str(found.address) == which.lower():
            return found
    raise NoWallet(f"There is no wallet of {which} in {folder}.")


def addresses(folder: Path) -> frozenset[Address]:
    """Whose wallets are in `folder`."""
    return frozenset(found.address for found in keystores(folder) if found.address)
