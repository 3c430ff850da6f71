"""The first words of a job to its proxy: CONNECT, or plain HTTP with a whole URL. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_LINE = re.compile(r"([A-Z]{1,20}) (\S{1,8000}) HTTP/1\.[01]")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_HOP = {"host", "connection", "keep-alive", "upgrade", "te"}
"""Headers that are between neighbours only, or that we write ourselves."""


class BadRequest(Exception):
    """The request is not one that a proxy gets."""


@dataclass(frozen=True, slots=True)
class Request:
    """Where the job wants to go, and what is said to whom before bytes are only passed on."""

    host: str
    port: int
    for_place: bytes
    for_job: bytes

    @property
    def place(self) -> str:
        """`host:port`, in small letters."""
        return f"{self.host.lower()}:{self.port}"


def read_request(head: bytes) -> Request:
    """Read what came up to the empty line. Raises BadRequest."""
    try:
        first, *headers = head.decode("ascii").rstrip("\r\n").split("\r\n")
    except UnicodeDecodeError as error:
        raise BadRequest("the request is not ASCII") from error
    line = _LINE.fullmatch(first)
    if line is None:
        raise BadRequest("the request has no method, target and version")
    method, target = line.groups()
    return _tunnel(target) if method == "CONNECT" else _plain(method, target, headers)


def _tunnel(target: str) -> Request:
    host, _, port = target.rpartition(":")
    return Request(*_place(host, port), b"", b"HTTP/1.1 200 Connection established\r\n\r\n")


def _plain(method: str, target: str, headers: list[str]) -> Request:
    """The same request as a server wants it, of one connection a request.

    What follows in the same connection goes to the same server, whatever it says.
    """
    try:
        parts = urlsplit(target)
        wanted = parts.port or 80
    except ValueError as error:
        raise BadRequest("the request's URL cannot be read") from error
    if parts.scheme != "http" or not parts.hostname or parts.username is not None:
        raise BadRequest("the proxy takes http:// URLs and CONNECT")
    raw = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host, port = _place(raw, str(wanted))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    shown = raw if port == 80 else f"{raw}:{port}"
    lines = [f"{method} {path} HTTP/1.1", f"Host: {shown}", *_kept(headers)]
    text = "\r\n".join([*lines, "Connection: close", "", ""])
    return Request(host, port, text.encode(), b"")


def _kept(headers: list[str]) -> list[str]:
    names = [header.partition(":")[0].strip().lower() for header in headers]
    if any(header[:1] in (" ", "\t", "") or ":" not in header for header in headers):
        raise BadRequest("a header is folded or has no name")
    return [
        header
        for header, name in zip(headers, names, strict=True)
        if name not in _HOP and not name.startswith("proxy-")
    ]


def _place(host: str, port: str) -> tuple[str, int]:
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0
    if not _HOST.fullmatch(host) or not 0 < number < 65_536:
        raise BadRequest("the request names no host and port")
    return host.strip("[]"), number
