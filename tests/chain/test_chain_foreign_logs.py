"""A node may tell anything: its logs and numbers are read, or refused as a bad answer."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tallystick.chain import logs
from tallystick.chain.abi import BadAnswer, decode, encode, quantity, unhex
from tallystick.chain.keystore import BadKeystore, WrongPassword, unlock

QUICK: Final = settings(deadline=None, derandomize=True, max_examples=25)
WORD = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())
TOPIC = st.sampled_from(["0x" + topic.hex() for topic in [*logs._EVENTS, logs._TRANSFER]])
HEX = st.binary(max_size=200).map(lambda raw: "0x" + raw.hex())
NUMBER = st.integers(0, 1 << 40).map(hex)
JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.text(max_size=4), max_size=3)
    | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)
)
GOOD = st.fixed_dictionaries(
    {
        "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
        "topics": st.tuples(TOPIC, st.lists(WORD, max_size=3)).map(lambda t: [t[0], *t[1]]),
        "data": st.lists(WORD, max_size=7).map(lambda w: "0x" + "".join(x[2:] for x in w))
        | HEX,
        "blockNumber": NUMBER,
        "blockHash": WORD,
        "logIndex": NUMBER,
        "transactionHash": WORD,
    }
)
FIELDS = ("address", "topics", "data", "blockNumber", "blockHash", "logIndex", "blockTimestamp")


@QUICK
@given(GOOD)
def test_a_log_is_an_event_or_a_bad_answer(raw: dict[str, Any]):
    with suppress(BadAnswer):
        log = logs.decode(raw)
        assert log is None or log.at.block == int(raw["blockNumber"], 16)


@QUICK
@given(
    GOOD,
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=3),
    st.sets(st.sampled_from(FIELDS)),
)
@example({}, {"topics": None}, set())
@example({}, {"topics": {}}, set())
@example({}, {"topics": [None]}, set())
def test_a_log_of_other_parts_is_a_bad_answer(
    good: dict[str, Any], wrong: dict[str, Any], gone: set[str]
):
    raw = {name: each for name, each in {**good, **wrong}.items() if name not in gone}
    with suppress(BadAnswer):
        logs.decode(raw)


@QUICK
@given(JUNK)
def test_what_is_no_log_at_all(raw: Any):
    with suppress(BadAnswer):
        logs.decode(raw)


@QUICK
@given(JUNK | HEX | st.text(max_size=40))
@example("0x" + "f" * 100_000)
@example("0x")
def test_a_number_or_bytes_of_a_node(told: Any):
    with suppress(BadAnswer):
        assert isinstance(quantity(told), int)
    with suppress(BadAnswer):
        assert isinstance(unhex(told), bytes)


TYPES = st.sampled_from(
    [
        ("uint256",),
        ("string", "bytes"),
        ("(uint256,string)[]",),
        ("bytes[][]",),
        ("address[]", "uint8[4]"),
        ("bool", "int256", "bytes32"),
    ]
)


@QUICK
@given(
    TYPES,
    st.binary(max_size=300)
    | st.lists(st.integers(0, 200), max_size=9).map(
        lambda words: b"".join(word.to_bytes(32, "big") for word in words)
    ),
)
@example(("bytes[][]",), b"".join(x.to_bytes(32, "big") for x in (32, 2**255, 0)))
@example(("string",), b"".join(x.to_bytes(32, "big") for x in (32, 2**63)))
def test_bytes_of_a_call_are_values_or_a_bad_answer(types: tuple[str, ...], raw: bytes):
    """A length that is made up costs neither memory nor time."""
    try:
        values = decode(types, raw)
    except BadAnswer:
        return
    assert decode(types, encode(types, values)) == values


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    st.binary(max_size=200)
    | st.recursive(
        JUNK,
        lambda inner: st.dictionaries(
            st.sampled_from(
                [
                    "crypto",
                    "Crypto",
                    "kdf",
                    "kdfparams",
                    "n",
                    "r",
                    "p",
                    "c",
                    "salt",
                    "dklen",
                    "cipher",
                    "ciphertext",
                    "cipherparams",
                    "iv",
                    "mac",
                    "version",
                    "address",
                    "prf",
                ]
            ),
            inner,
            max_size=8,
        ),
        max_leaves=20,
    )
)
def test_a_keystore_opens_or_is_bad(tmp_path_factory: Any, said: Any):
    path = tmp_path_factory.mktemp("keys") / "wallet.json"
    path.write_bytes(said if isinstance(said, bytes) else json.dumps(said).encode())
    with suppress(BadKeystore, WrongPassword):
        unlock(path, "hush")
