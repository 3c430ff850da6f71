"""Asking a running program over its control socket: the other end of `control`."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tallystick.wire.control import address

_LONGEST_ANSWER = 64 << 20


class NotRunning(Exception):
    """Nobody answers in this folder."""


class NoAnswer(Exception):
    """The program is there, but does not answer, or refuses to; the sentence tells."""


def ask(
    home: Path, do: str, *, noun: str = "worker", patience: float = 20.0, **request: Any
) -> dict[str, Any]:
    """What the program in the folder `home` answers, which people call `noun`.

    Raises NotRunning, NoAnswer.
    """
    with _conversation(home, do, request, noun=noun, patience=patience) as lines:
        for answer in lines:
            return answer
    raise NoAnswer(f"The {noun} in {home} hung up without an answer: see its log.")


def follow(
    home: Path, do: str, *, noun: str = "worker", **request: Any
) -> Iterator[dict[str, Any]]:
    """Every answer of a stream, until the program ends. Raises NotRunning, NoAnswer."""
    with _conversation(home, do, request, noun=noun, patience=None) as lines:
        yield from lines


@contextmanager
def _conversation(
    home: Path, do: str, request: dict[str, Any], *, noun: str, patience: float | None
) -> Iterator[Iterator[dict[str, Any]]]:
    line = json.dumps({"do": do, **request}).encode() + b"\n"
    try:
        with (
            _connected(home, noun, patience) as connection,
            connection.makefile("rb") as file,
        ):
            with suppress(ConnectionError):  # refused unread: its answer tells why
                connection.sendall(line)
            yield (_answer(each) for each in iter(lambda: file.readline(_LONGEST_ANSWER), b""))
    except TimeoutError as silence:
        raise NoAnswer(
            f"The {noun} in {home} did not answer {do!r} within {patience:.0f} s: it is busy"
            " or hangs; see its log."
        ) from silence
    except ConnectionError as trouble:
        raise NoAnswer(f"The {noun} in {home} hung up: it is stopping, or see its log.") from (
            trouble
        )


def _connected(home: Path, noun: str, patience: float | None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(patience)
    try:
        with address(home) as path:
            connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as absence:
        connection.close()
        raise NotRunning(f"No {noun} runs in {home}.") from absence
    except OSError as refusal:
        connection.close()
        raise NoAnswer(
            f"The {noun} in {home} cannot be asked: {refusal.strerror}. Only the user who runs"
            " it, and root, may."
        ) from refusal
    return connection


def _answer(line: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(line)
    if "error" in told:
        raise NoAnswer(told["error"])
    answer: dict[str, Any] = told["answer"]
    return answer
