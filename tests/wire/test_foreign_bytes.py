"""Whatever strangers send is read, or refused in the one way that is documented."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tallystick.directory.claims import Nonsense, read_orders, read_pool, words
from tallystick.engine.errors import Refused
from tallystick.poco.orders import AppOrder, DatasetOrder, RequestOrder, WorkerpoolOrder
from tallystick.poco.signing import BadSignature, lenient_hex, recover
from tallystick.poco.values import Address, Hash
from tallystick.results import intake
from tallystick.results.denial import Denied
from tallystick.results.intake import unwrap
from tallystick.wire import sockjs, versions
from tallystick.wire.auth import Tokens, Unauthorized
from tallystick.wire.authorization import SignatureBody, WorkerpoolAuthorization
from tallystick.wire.control import BadRequest, Control
from tallystick.wire.notifications import TaskNotification
from tallystick.wire.orders import MalformedOrder, from_json, to_json
from tallystick.wire.public import PoolFigures
from tallystick.wire.results import parse_link, result_link
from tallystick.wire.scheduler import (
    ChainConfig,
    PublicConfig,
    ReplicateOffer,
    StatusUpdate,
    WorkerModel,
)

QUICK: Final = settings(deadline=None, derandomize=True, max_examples=25)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(1 << 300), max_value=1 << 300)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["0x", "0x" + "11" * 20, "0x" + "22" * 32, "1e9", "\udcff", "٣"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]
ORDERS = (AppOrder, DatasetOrder, WorkerpoolOrder, RequestOrder)
BODIES = (
    *(WorkerModel, StatusUpdate, SignatureBody, WorkerpoolAuthorization, ReplicateOffer),
    *(PublicConfig, ChainConfig, TaskNotification, PoolFigures),
)


def filled(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, most of them there, and what else there may be."""
    known = st.dictionaries(st.sampled_from(names), ANYTHING, max_size=len(names))
    return st.tuples(known, st.dictionaries(st.text(max_size=5), SCALARS, max_size=2)).map(
        lambda both: {**both[1], **both[0]}
    )


def blank(kind: Any) -> Any:
    """An order that says nothing."""
    known = {"app", "dataset", "workerpool", "requester"} & {each.name for each in fields(kind)}
    return kind(salt=Hash(b"\x02" * 32), **dict.fromkeys(known, Address(b"\x01" * 20)))


@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_is_read_back_as_it_was_written(kind: Any):
    order = blank(kind)
    assert from_json(kind, to_json(order)) == order
    assert from_json(kind, json.loads(json.dumps(to_json(order)))) == order


@QUICK
@given(st.sampled_from(ORDERS), st.data())
def test_an_order_is_one_or_refused(kind: Any, data: st.DataObject):
    good = to_json(blank(kind))
    wrong = data.draw(st.dictionaries(st.sampled_from(sorted(good)), ANYTHING, max_size=3))
    with suppress(MalformedOrder):
        order = from_json(kind, {**good, **wrong})
        assert from_json(kind, to_json(order)) == order
    with suppress(MalformedOrder):
        from_json(kind, data.draw(ANYTHING))


@pytest.mark.parametrize(
    "volume", [1.5, float("inf"), float("nan"), True, "", "-1", [1], "1_0"]
)
def test_what_is_no_whole_number_is_none(volume: Any):
    """JSON has numbers that overflow: 1e999."""
    with pytest.raises(MalformedOrder, match="volume"):
        from_json(AppOrder, {**to_json(blank(AppOrder)), "volume": volume})


@QUICK
@given(st.sampled_from(BODIES), st.data())
def test_a_body_is_one_or_refused(kind: Any, data: st.DataObject):
    """Also the bytes that no JSON parser of ours would write."""
    names = [each.alias or name for name, each in kind.model_fields.items()]
    said = data.draw(filled(names) | ANYTHING)
    try:
        body = kind.model_validate_json(json.dumps(said))
    except ValidationError:
        return
    again = body.model_dump_json(by_alias=True)
    assert kind.model_validate_json(again) == body


@QUICK
@given(st.binary(max_size=300), st.sampled_from(BODIES))
def test_bytes_are_a_body_or_refused(raw: bytes, kind: Any):
    with suppress(ValidationError):
        kind.model_validate_json(raw)


@QUICK
@given(st.binary(max_size=300) | ANYTHING.map(lambda said: json.dumps(said).encode()))
@example(b"[" * 100_000)
@example(b'{"do": "echo", "a": ' + b"[" * 8_000 + b"]" * 8_000 + b"}")
@example(b'{"do": "\\ud800"}')
@example(b'{"do": ' + b"1" * 5_000 + b"}")
def test_a_line_to_the_control_socket_is_answered_or_refused(line: bytes):
    made = Control()

    async def echo(request: Any) -> Any:
        return {"said": repr(request)[:10]}

    made.on("echo", echo)
    with suppress(BadRequest):
        anyio.run(made.answer, line)


@QUICK
@given(ANYTHING)
@example(DEEP)
@example({"tasks": DEEP, "workerpool": DEEP})
@example({"tasks": {}, "workerpool": "0x" + "11" * 20, "name": DEEP})
@example({"tasks": {}, "workerpool": "0x" + "11" * 20, "chainId": DEEP})
def test_what_a_pool_says_of_itself_is_read_or_nonsense(told: Any):
    with suppress(Nonsense):
        read_pool(told)
    with suppress(Nonsense):
        read_orders(told)
    with suppress(Nonsense):
        read_orders([{"order": told}])
    assert len(words(told)) <= 200
    assert words(told).isprintable()


@QUICK
@given(st.text(max_size=50), st.text(max_size=50))
def test_a_link_is_read_back_or_none(storage: str, location: str):
    try:
        known = parse_link(result_link(storage, location))
    except UnicodeEncodeError:
        return
    plain = all(each.isprintable() and each not in '"\\' for each in storage + location)
    assert not plain or (known is not None and known.location == location)


@QUICK
@given(st.binary(max_size=200) | ANYTHING.map(lambda said: json.dumps(said).encode()))
@example(b"[" * 100_000)
@example(b"1" * 5_000)
def test_any_result_of_the_chain_is_a_link_or_none(raw: bytes):
    parse_link(raw)


@QUICK
@given(st.text(max_size=300))
def test_a_token_is_good_or_refused(header: str):
    tokens = Tokens(b"k" * 32, pool=Address(b"\x05" * 20))
    for said in (header, f"Bearer {header}", f"Bearer {header}.{header}.{header}"):
        with pytest.raises(Unauthorized):
            tokens.bearer(said)
    assert tokens.bearer(f"Bearer {tokens.issue(Address(b'1' * 20))}") == Address(b"1" * 20)


@QUICK
@given(st.binary(max_size=80) | st.binary(min_size=65, max_size=65))
def test_a_signature_is_somebodys_or_none(raw: bytes):
    with suppress(BadSignature):
        recover(Hash(b"\x07" * 32), raw)


@QUICK
@given(st.text(max_size=200))
def test_callback_data_are_always_bytes(text: str):
    """v9 reads every text as hex."""
    assert len(lenient_hex(text)) == (len(text.removeprefix("0x")) + 1) // 2


@QUICK
@given(st.text(max_size=60), st.text(max_size=60))
def test_a_rule_of_versions_is_one_or_a_mistake(rule: str, program: str):
    with suppress(Refused):
        versions.accepts(rule)
    versions.rule_mistake(rule)
    versions.told_to(program, rule)


@QUICK
@given(st.text(max_size=200) | ANYTHING.map(lambda said: "a" + json.dumps(said)))
@example("a" + "[" * 100_000)
@example("a[" + "1" * 5_000 + "]")
def test_a_frame_of_sockjs_is_read_or_refused(frame: str):
    with suppress(sockjs.BadPayload):
        assert all(isinstance(each, str) for each in sockjs.received(frame))
    with suppress(sockjs.BadPayload):
        assert isinstance(sockjs.why_closed(frame), str)


@QUICK
@given(st.lists(st.text(max_size=30), max_size=5))
def test_messages_of_sockjs_arrive_as_they_were_sent(messages: list[str]):
    assert sockjs.received(sockjs.carried(messages)) == messages
    assert sockjs.sent(sockjs.payload(messages).encode()) == messages


TASK: Final = "0x" + "22" * 32


def unwrapped(body: bytes, largest: int = 1 << 20) -> bytes:
    with TemporaryDirectory() as folder:
        sent, target = Path(folder, "sent"), Path(folder, "zip")
        sent.write_bytes(body)
        unwrap(sent, target, largest)
        return target.read_bytes()


@QUICK
@given(st.binary(max_size=200), st.booleans())
def test_the_zip_of_a_v9_upload_is_what_was_sent(content: bytes, numbers: bool):
    said = list(content) if numbers else base64.b64encode(content).decode()
    body = json.dumps({"chainTaskId": TASK, "zip": said}).encode()
    assert unwrapped(body) == content


@QUICK
@given(
    st.binary(max_size=200)
    | filled(["chainTaskId", "zip", "taskIndex", "dealId"]).map(
        lambda said: json.dumps({"chainTaskId": TASK, **said}).encode()
    )
)
@example(b'{"zip":[' + b"1" * 4_000_000 + b"]}")
@example(b'{"zip":[' + b"9," * 100_000 + b'],"chainTaskId":"' + TASK.encode() + b'"}')
@example(b'{"zip":"' + b"A" * 4_000_001 + b'"}')
@example(b'{"zip":"====","chainTaskId":"' + TASK.encode() + b'"}')
def test_a_v9_upload_is_one_or_denied(body: bytes):
    with suppress(Denied):
        unwrapped(body)


def test_one_number_without_end_is_refused_at_once(monkeypatch: pytest.MonkeyPatch):
    """Its digits would be copied again with every piece that is read."""
    monkeypatch.setattr(intake, "_SLICE", 64)
    body = b'{"chainTaskId":"' + TASK.encode() + b'","zip":[' + b"1" * (1 << 20) + b"]}"
    with pytest.raises(Denied, match="without end"):
        unwrapped(body, 200 << 20)
    spaced = b'{"chainTaskId":"' + TASK.encode() + b'","zip":[ 1 ,\n 255 , -1]}'
    assert unwrapped(spaced) == b"\x01\xff\xff"
