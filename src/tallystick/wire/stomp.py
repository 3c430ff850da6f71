"""STOMP 1.1 and 1.2 as text: frames, read from whatever pieces they come in, and written.

No library is used: those for Python are clients with threads (stomp.py) or whole brokers with
a store (CoilMQ), and what is needed here is this page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

LONGEST_FRAME: Final = 64 << 10
"""Characters of a frame that is still read, as the v9 scheduler has it."""
_MOST_HEADERS: Final = 50
_UNESCAPED: Final = ("CONNECT", "CONNECTED")
"""Frames whose headers are as they are: the first version knew no escapes."""
_ESCAPES: Final = {"\\": "\\\\", ":": "\\c", "\n": "\\n", "\r": "\\r"}
_MEANINGS: Final = {"\\\\": "\\", "\\c": ":", "\\n": "\n", "\\r": "\r"}
_ESCAPE: Final = re.compile(r"\\.?", re.DOTALL)
_SPECIAL: Final = re.compile(r"[\\:\n\r]")
_COMMAND: Final = re.compile(r"[A-Z]{1,20}")


class BadFrame(ValueError):
    """What arrived is no STOMP frame, or too large for one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. Of a header that is repeated the first counts."""

    command: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: str = ""

    def encoded(self) -> str:
        """The frame as it travels, with its NUL."""
        escaped = self.command not in _UNESCAPED
        lines = [
            f"{_written(name)}:{_written(value)}" if escaped else f"{name}:{value}"
            for name, value in self.headers.items()
        ]
        return "\n".join([self.command, *lines, "", self.body]) + "\0"


def message(*, topic: str, subscription: str, number: str, body: str) -> Frame:
    """A JSON text for a subscription."""
    headers = {
        "destination": topic,
        "content-type": "application/json",
        "subscription": subscription,
        "message-id": number,
        "content-length": str(len(body.encode())),
    }
    return Frame("MESSAGE", headers, body)


class Reader:
    """Puts frames together from pieces of text."""

    def __init__(self, longest: int = LONGEST_FRAME) -> None:
        self._longest, self._rest = longest, ""

    def frames(self, text: str) -> Iterator[Frame]:
        """The frames that are whole with this piece; what stands between them, the line ends
        of heartbeats, is passed over. Raises BadFrame, and then nothing more can be read."""
        self._rest += text
        while (found := self._take()) is not None:
            yield found
        if len(self._rest) > self._longest:
            raise BadFrame(f"a frame of more than {self._longest} characters")

    def _take(self) -> Frame | None:
        self._rest = self._rest.lstrip("\r\n")
        head, end, rest = _halves(self._rest)
        if not end:
            return None
        command, headers = _head(head)
        size = _size(headers)
        if size is None:
            body, nul, after = rest.partition("\0")
        else:
            body, nul, after = _measured(rest, size)
        if not nul:
            return None
        if len(self._rest) - len(after) > self._longest:
            raise BadFrame(f"a frame of more than {self._longest} characters")
        self._rest = after
        return Frame(command, MappingProxyType(headers), body)


def _halves(text: str) -> tuple[str, str, str]:
    """The head of a frame, the empty line after it, and the rest. A head has no NUL."""
    found = re.search(r"\r?\n\r?\n", text)
    nul = text.find("\0")
    if nul >= 0 and (found is None or nul < found.start()):
        raise BadFrame("a frame without an empty line after its headers")
    if found is None:
        return text, "", ""
    return text[: found.start()], found[0], text[found.end() :]


def _head(text: str) -> tuple[str, dict[str, str]]:
    command, *lines = re.split(r"\r?\n", text)
    if not _COMMAND.fullmatch(command):
        raise BadFrame("a frame begins with its command, in capitals")
    if len(lines) > _MOST_HEADERS:
        raise BadFrame(f"more than {_MOST_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name:
            raise BadFrame("a header is a name, a colon and a value")
        if command not in (*_UNESCAPED, "STOMP"):
            name, value = _meant(name), _meant(value)
        headers.setdefault(name, value)
    return command, headers


def _size(headers: Mapping[str, str]) -> int | None:
    told = headers.get("content-length")
    if told is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", told):
        raise BadFrame("content-length is a number of bytes")
    return int(told)


def _measured(text: str, size: int) -> tuple[str, str, str]:
    """A body of so many bytes, the NUL after it and the rest."""
    # A character has at most four bytes: what cannot be reached needs no encoding.
    raw = text[: size + 1].encode("utf-8", "surrogatepass")
    if len(raw) <= size:
        return text, "", ""
    try:
        body = raw[:size].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as problem:
        raise BadFrame("content-length ends inside a character") from problem
    after = text[len(body) :]
    if not after.startswith("\0"):
        raise BadFrame("no NUL where content-length says that the body ends")
    return body, "\0", after[1:]


def _written(text: str) -> str:
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text)


def _meant(text: str) -> str:
    def meaning(found: re.Match[str]) -> str:
        try:
            return _MEANINGS[found[0]]
        except KeyError:
            raise BadFrame(f"{found[0]!r} is no escape of STOMP") from None

    return _ESCAPE.sub(meaning, text)
