"""Which wallet a new worker gets, and the file that holds its password."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from tallystick.chain.wallet import Keystore, Wallet, WrongPassword, keystores
from tallystick.cli.failure import Mistake
from tallystick.cli.join_home import JoinHome
from tallystick.cli.join_talk import Talk
from tallystick.cli.passwords import ask_password, choose_password, from_file
from tallystick.devnet.places import write_private
from tallystick.requester import keyring

_TRIES: Final = 3


def chosen(
    talk: Talk, home: JoinHome, name: str, wallet: Path | None, password_file: Path | None
) -> tuple[Path, Path]:
    """The wallet and its password's file: those that were named, one of the person's that is
    agreed to, or a new one. Raises Mistake, WrongPassword, BadKeystore."""
    taken = {home.config(each).wallet.resolve() for each in home.workers}
    found = wallet or _agreed(talk, taken)
    if found is None:
        return _created(talk, home, name, password_file)
    found = found.expanduser().absolute()
    if found.resolve() in taken:
        raise Mistake(f"{found} is the wallet of another worker here: each needs its own.")
    if not found.is_file():
        raise Mistake(f"There is no wallet file {found}.")
    if password_file is not None:
        password_file = password_file.expanduser().absolute()
        opened = Wallet.load(found, from_file(password_file))
    else:
        opened, password_file = _unlocked(talk, home, name, found)
    talk.ok(f"The wallet {opened.address.checksummed} is open ({found})")
    return found, password_file


def _agreed(talk: Talk, taken: set[Path]) -> Path | None:
    """One of the person's wallets, the newest first. With --yes none: a wallet that was not
    named is not spent from."""
    if talk.agreed:
        return None
    folder = keyring.default_folder()
    free = [each for each in keystores(folder) if each.path.resolve() not in taken]
    for each in sorted(free, key=_age, reverse=True):
        who = each.address.checksummed if each.address else str(each.path)
        if talk.agrees(f"Do you want to use the wallet {who}?"):
            return each.path
    return None


def _age(found: Keystore) -> float:
    return found.path.stat().st_mtime


def _created(
    talk: Talk, home: JoinHome, name: str, password_file: Path | None
) -> tuple[Path, Path]:
    folder = keyring.default_folder()
    if not talk.agrees(f"Do you want to create a new wallet in {folder}?"):
        raise Mistake("A worker needs a wallet: name one with --wallet FILE.")
    if password_file is not None:
        password, kept = choose_password(password_file), password_file.expanduser().absolute()
    else:
        password = secrets.token_urlsafe(24) if talk.agreed else choose_password(None)
        kept = _keep(talk, home, name, password)
    made = keyring.keep(folder, lambda path: Wallet.create(path, password))
    assert made.address is not None
    talk.ok(f"The wallet {made.address.checksummed} was made")
    talk.info(f"Its key is only in {made.path}: keep a copy, and a copy of {kept}.")
    return made.path, kept


def _unlocked(talk: Talk, home: JoinHome, name: str, path: Path) -> tuple[Wallet, Path]:
    """Opened by a password that somebody types; never shown."""
    for left in reversed(range(_TRIES)):
        password = ask_password(None, str(path))
        try:
            wallet = Wallet.load(path, password)
        except WrongPassword:
            if not left:
                raise
            talk.error("That password does not open it. Once more:")
        else:
            return wallet, _keep(talk, home, name, password)
    raise AssertionError(_TRIES)


def _keep(talk: Talk, home: JoinHome, name: str, password: str) -> Path:
    path = home.password(name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, password + "\n")
    talk.info(f"The worker opens its wallet at each start: only you can read {path}.")
    return path
