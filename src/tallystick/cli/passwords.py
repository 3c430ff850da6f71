"""Secrets from the keyboard or from files; never from the command line, never shown."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from tallystick.cli.failure import Mistake

SHORTEST = 8
"""Characters of a new password: a keystore can be guessed at without anybody noticing."""


def ask_password(path: Path | None, wallet: str) -> str:
    """The password of an existing wallet, from the file or the keyboard."""
    if path is not None:
        return from_file(path)
    return _typed(f"Password of {wallet}: ")


def choose_password(path: Path | None) -> str:
    """A password for a new wallet, typed twice, or from the file. Raises Mistake."""
    if path is not None:
        return _long_enough(from_file(path))
    first = _long_enough(_typed("Password for the new wallet: "))
    if _typed("The same again: ") != first:
        raise Mistake("The two passwords differ; no wallet was written.")
    return first


def from_file(path: Path) -> str:
    """The first line of `path`."""
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise Mistake(f"The password file {path} is not text.") from error
    if not lines:
        raise Mistake(f"The password file {path} is empty.")
    return lines[0]


def typed_key(from_stdin: bool) -> bytes:
    """A private key as 64 hex digits, typed without echo or from stdin. Raises Mistake."""
    text = sys.stdin.readline() if from_stdin else _typed("Private key (hex, not shown): ")
    try:
        return bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError as error:
        raise Mistake("A private key is 64 hex digits; what came was not hex.") from error


def _typed(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise Mistake("There is no terminal to ask for a secret on; use --password-file.")
    try:
        return getpass.getpass(prompt)
    except EOFError as error:
        raise Mistake("No secret was typed.") from error


def _long_enough(password: str) -> str:
    if len(password) < SHORTEST:
        raise Mistake(f"A wallet's password has at least {SHORTEST} characters.")
    return password
