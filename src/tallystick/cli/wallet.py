"""`tally wallet`: keystore files, without a chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.chain.wallet import Keystore, Wallet, keystores
from tallystick.cli.failure import Mistake
from tallystick.cli.passwords import ask_password, choose_password, typed_key
from tallystick.cli.terminal import Json, Voice
from tallystick.requester import keyring

group = typer.Typer(help="Create, import and list wallets.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--keystoredir",
        metavar="FOLDER",
        help="The folder of the wallets.",
        show_default="the usual one",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="A file whose first line is the password."
    ),
]


def attach(program: typer.Typer) -> None:
    """Add `tally wallet`."""
    program.add_typer(group, name="wallet")


@group.command()
def create(
    folder: Folder = None, password_file: PasswordFile = None, json: Json = False
) -> None:
    """Make a new wallet. Its key is in one file, which nobody can restore: keep a copy."""
    password = choose_password(password_file)
    kept = keyring.keep(_place(folder), lambda path: Wallet.create(path, password))
    _tell(Voice(json=json), kept)


@group.command("import")
def import_key(
    folder: Folder = None,
    password_file: PasswordFile = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the key from stdin, not the keyboard.")
    ] = False,
    json: Json = False,
) -> None:
    """Keep a private key in a new wallet file, locked by a password."""
    key = typed_key(key_stdin)
    wallet, place = Wallet(key), _place(folder)
    if wallet.address in keyring.addresses(place):
        raise Mistake(f"The wallet of {wallet.address} is in {place} already.")
    password = choose_password(password_file)
    kept = keyring.keep(place, lambda path: Wallet.import_key(path, password, key))
    _tell(Voice(json=json), kept)


@group.command()
def show(
    wallet: Annotated[
        str | None,
        typer.Argument(metavar="WALLET", help="An address or a file; the newest without one."),
    ] = None,
    folder: Folder = None,
    password_file: PasswordFile = None,
    check: Annotated[
        bool, typer.Option("--check", help="Also try whether the password opens it.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell a wallet's address and file."""
    found = keyring.find(_place(folder), wallet)
    if check or found.address is None:
        password = ask_password(password_file, str(found.path))
        found = Keystore(found.path, Wallet.load(found.path, password).address)
    _tell(Voice(json=json), found)


@group.command("list")
def list_wallets(folder: Folder = None, json: Json = False) -> None:
    """List the wallets of a folder."""
    voice, place = Voice(json=json), _place(folder)
    found = keystores(place)
    if not json:
        voice.table(("address", "file"), [(_shown(each), each.path) for each in found])
    wallets = [{"address": _shown(each), "file": str(each.path)} for each in found]
    voice.answer({"folder": str(place), "wallets": wallets})


def _place(folder: Path | None) -> Path:
    return folder or keyring.default_folder()


def _shown(found: Keystore) -> str:
    return found.address.checksummed if found.address else "unknown"


def _tell(voice: Voice, found: Keystore) -> None:
    if not voice.json:
        voice.fields({"address": _shown(found), "file": found.path})
    voice.answer({"address": _shown(found), "file": str(found.path)})
