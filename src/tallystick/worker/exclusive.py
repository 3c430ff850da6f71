"""One wallet, one worker: a lock beside the keystore, and a name for this very process.

The lock keeps a second worker on this machine away. The scheduler keeps one on another machine
away: it takes reports only from the instance that registered last.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from pathlib import Path
from typing import IO

from tallystick.poco.values import Address
from tallystick.wire.scheduler import SchedulerClient
from tallystick.worker.reason import Reason

log = logging.getLogger(__name__)


class WalletLocked(Exception):
    """Another process on this machine works with the wallet; the sentence names it."""

    exit_code = 3


def hold_wallet(keystore: Path, wallet: Address, name: str) -> IO[str]:
    """Hold `wallet` for this process, the worker `name`, until it is closed.

    The lock lies beside the keystore, so that it is found however the worker is configured;
    where that folder cannot be written, in the user's state folder. Raises WalletLocked.
    """
    lock = _opened(keystore.resolve().parent, wallet)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        holder = _holder(lock)
        lock.close()
        raise WalletLocked(
            f"The wallet {wallet} is in use by {holder}: two workers with one wallet would "
            "lose its stakes. Stop that one, or give this one a wallet of its own."
        ) from held
    lock.seek(0)
    lock.truncate()
    json.dump({"pid": os.getpid(), "name": name}, lock)
    lock.flush()
    return lock


def instance_of(home: Path) -> str:
    """What names the worker in the folder `home` to its scheduler.

    The same after a restart, also in a new container; another one for a copy of the folder,
    since a copy of the file has another place on its disk.
    """
    path = home / "instance"
    if not path.is_file() or not path.read_text().strip():
        fresh = path.with_suffix(".new")
        fresh.write_text(secrets.token_hex(16) + "\n")
        fresh.rename(path)
    return f"{path.read_text().strip()[:64]}-{path.stat().st_ino:x}"


class Successor:
    """A gate that closes when another worker has taken our wallet over."""

    def __init__(self, client: SchedulerClient) -> None:
        self._client = client

    def closed(self) -> Reason | None:
        """Why no work may be asked for."""
        if not self._client.successor:
            return None
        return Reason(
            "WALLET_TAKEN_OVER",
            f"{self._client.successor} This worker only finishes on the chain what it owes: "
            "stop it, or start it again with --takeover.",
        )


def _opened(folder: Path, wallet: Address) -> IO[str]:
    name = f".{wallet}.lock"
    try:
        return _lock_file(folder / name)
    except OSError as refusal:
        elsewhere = _state_folder()
        elsewhere.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.info("%s: %s. The wallet is locked in %s.", folder, refusal.strerror, elsewhere)
        return _lock_file(elsewhere / name)


def _lock_file(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")


def _state_folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "tallystick" / "wallets"


def _holder(lock: IO[str]) -> str:
    try:
        told = json.load(lock)
        return f"worker {str(told['name'])!r} (process {int(told['pid'])})"
    except (ValueError, KeyError, TypeError):
        return "another process"
