"""STOMP inside SockJS: what is written can be read again, and nothing hostile gets further."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.wire import sockjs
from tallystick.wire.stomp import BadFrame, Frame, Reader, message

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def test_a_v9_worker_connects():
    said = "CONNECT\naccept-version:1.1,1.2\nheart-beat:10000,10000\n\n\0"
    (frame,) = Reader().frames(said)
    assert (frame.command, frame.body) == ("CONNECT", "")
    assert frame.headers == {"accept-version": "1.1,1.2", "heart-beat": "10000,10000"}
    assert frame.encoded() == said


def test_a_message_says_what_v9_workers_look_for():
    frame = message(topic="/topic/task/0x1", subscription="0", number="7", body='{"a":"é"}')
    assert frame.encoded() == (
        "MESSAGE\ndestination:/topic/task/0x1\ncontent-type:application/json\nsubscription:0\n"
        'message-id:7\ncontent-length:10\n\n{"a":"é"}\0'
    )


@settings(deadline=None)
@given(st.dictionaries(NAMES, TEXT, max_size=8), TEXT, st.booleans())
def test_what_is_written_can_be_read(headers: dict[str, str], body: str, sized: bool):
    headers.pop("content-length", None)
    if sized:
        headers["content-length"] = str(len(body.encode()))
    frame = Frame("SUBSCRIBE", headers, body)
    assert list(Reader().frames("\n" + frame.encoded() + "\r\n")) == [frame]


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), max_size=6))
def test_pieces_of_any_size_make_the_same_frames(cuts: list[int]):
    whole = "\n".join(
        Frame("SUBSCRIBE", {"id": str(n), "destination": "/topic/task/x"}).encoded()
        for n in range(3)
    )
    reader, found, at = Reader(), list[Frame](), 0
    for cut in [*sorted(cuts), len(whole)]:
        found += reader.frames(whole[at:cut])
        at = max(at, min(cut, len(whole)))
    assert [frame.headers["id"] for frame in found] == ["0", "1", "2"]


@settings(deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_anything_else_is_waited_for_or_refused(text: str):
    reader = Reader(longest=200)
    try:
        for frame in reader.frames(text):
            assert frame.command.isupper()
    except BadFrame:
        return
    assert len(reader._rest) <= 200, "it is kept without end"


@pytest.mark.parametrize(
    "said",
    [
        "GET / HTTP/1.1\n\n\0",
        "SEND\nno colon\n\n\0",
        "SEND\n:value\n\n\0",
        "SEND\na:\\t\n\n\0",
        "SEND\ncontent-length:-1\n\n\0",
        "SEND\ncontent-length:3\n\nabcdef\0",
        "SEND\ncontent-length:1\n\né\0",
        "SEND\0\n\n\0",
        "SEND\n" + "a:b\n" * 51 + "\n\0",
        "SEND\n\n" + "x" * 300 + "\0",
        "x" * 300,
    ],
)
def test_what_is_no_frame_is_refused(said: str):
    with pytest.raises(BadFrame):
        list(Reader(longest=250).frames(said))


def test_frames_of_sockjs():
    assert sockjs.carried(['a"b', "é\0"]) == 'a["a\\"b","\\u00e9\\u0000"]'
    assert sockjs.closed(sockjs.GONE) == 'c[3000,"Go away!"]'
    assert json.dumps(sockjs.info(websocket=False)).endswith('"websocket": false}')
    assert sockjs.PATH.fullmatch("/12/0123456789abcdef/xhr_send")
    assert not sockjs.PATH.fullmatch("/12/a.b/xhr")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_what_clients_send_is_messages_or_refused(body: bytes):
    with suppress(sockjs.BadPayload):
        assert all(isinstance(each, str) for each in sockjs.sent(body))


@pytest.mark.parametrize("body", [b"{}", b"[1]", b"nope", b"[" * 100_000, b"\xff", b"null"])
def test_what_is_no_list_of_messages_is_refused(body: bytes):
    with pytest.raises(sockjs.BadPayload, match="Broken JSON encoding"):
        sockjs.sent(body)
