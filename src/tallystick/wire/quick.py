"""HTTP/1.1 read by llhttp, the parser of Node.js: several times quicker than Python can.

Needs httptools, which is not there on every platform; `wire.serving` then does without.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tallystick.wire.slow import Clocked, Impatient

_LONGEST_HEAD: Final = 64 << 10
"""Bytes of a head, and of what may follow a body like one; services allow less."""


class TooLong(ValueError):
    """The head, or the trailers, have more bytes than anybody needs."""


class _Reading(HttpToolsProtocol):
    """Hands a connection on whose caller offers another protocol: its parser would stop there,
    and not read the body. Java's own client makes such an offer with its first request."""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._hand_on(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _should_upgrade(self) -> bool:
        return True

    def _hand_on(self, rest: bytes) -> None:
        """To a protocol that passes such an offer over."""
        cycle: Any = self.cycle
        if self.pipeline or not (cycle is None or cycle.response_complete):
            self.send_400_response("")
            return
        verb, version = self.parser.get_method(), self.parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b" % (verb, self.url, version)]
        head += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        heir = Impatient(self.config, self.server_state, self.app_state)
        self.connections.discard(self)
        self.transport.set_protocol(heir)
        heir.connection_made(self.transport)
        heir.data_received(b"\r\n".join([*head, b"", rest]))
        self._handed_on()

    def _handed_on(self) -> None:
        """Nothing more comes here."""


class _Corked:
    """Where an answer is written: its head and the beginning of its body leave together, since
    each write of its own costs more than all else about a short answer."""

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """The first piece waits for the second one, or until the loop went round."""
        if self._head is None:
            self._head = data
            self._loop.call_soon(self._let_go)
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def close(self) -> None:
        """All that was written is sent before."""
        self._let_go()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._transport.is_closing()

    def _let_go(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class Quick(Clocked, _Reading):
    """Reads requests with httptools, and bounds what it keeps of one whose end is not seen."""

    _head_open = True
    """Whether a head has begun and is not whole; so it is for who just connected."""
    _weight = 0
    """Bytes of the head and the trailers of this request."""
    _unseen = 0
    """Bytes since a head, a body or a piece of it came to its end."""

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self._unseen += len(data)
        super().data_received(data)
        if self._unseen > _LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_open, self._weight = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._weigh(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer: these come after the body, and nobody looks at them."""
        self._weigh(name, value)
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request can be answered."""
        self._head_open, self._unseen = False, 0
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = cast("asyncio.Transport", _Corked(self.transport, self.loop))

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unseen = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._unseen = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Who was answered before it had sent its body is not listened to any longer."""
        cycle: Any = self.cycle
        super().on_response_complete()
        if cycle.response_complete and cycle.more_body:
            self.transport.close()

    def _handed_on(self) -> None:
        self._head_open = False
        self._stop("_answer")

    def _head_missing(self) -> bool:
        cycle: Any = self.cycle
        if self.transport.get_protocol() is not self:
            return False
        return self._head_open or cycle is None or cycle.response_complete

    def _weigh(self, *parts: bytes) -> None:
        self._weight += sum(map(len, parts))
        if self._weight > _LONGEST_HEAD:
            raise TooLong(f"a head of more than {_LONGEST_HEAD} bytes")
