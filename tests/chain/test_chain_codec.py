"""Our encoding of the contract ABI is that of eth-abi, whatever the values and the bytes."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import decode as their_decode
from eth_abi.abi import encode as their_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.chain import contracts
from tallystick.chain.codec import Unfit, decode, encode, members

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "uint256": st.integers(0, 2**256 - 1),
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bytes4": st.binary(min_size=4, max_size=4),
    "bytes": st.binary(max_size=100),
    "string": st.text(max_size=40),
}


def values(kind: str) -> st.SearchStrategy[Any]:
    if kind.endswith("[]"):
        return st.lists(values(kind[:-2]), max_size=4).map(tuple)
    if kind.endswith("[2]"):
        return st.tuples(values(kind[:-3]), values(kind[:-3]))
    if kind.startswith("("):
        return st.tuples(*map(values, members(kind)))
    return _VALUES[kind]


_KINDS = st.recursive(
    st.sampled_from(sorted(_VALUES)),
    lambda inner: st.one_of(
        inner.map(lambda kind: f"{kind}[]"),
        inner.map(lambda kind: f"{kind}[2]"),
        st.lists(inner, min_size=1, max_size=4).map(lambda kinds: f"({','.join(kinds)})"),
    ),
    max_leaves=6,
)
_CASES = st.lists(_KINDS, max_size=4).flatmap(
    lambda kinds: st.tuples(st.just(kinds), st.tuples(*map(values, kinds)))
)


@settings(max_examples=150, deadline=None)
@given(_CASES)
def test_what_we_write_is_what_they_write_and_both_read_it(case: tuple[list[str], Any]):
    kinds, known = case
    written = encode(kinds, known)
    assert written == their_encode(kinds, known)
    assert decode(kinds, written) == their_decode(kinds, written) == known


@settings(max_examples=150, deadline=None)
@given(_CASES, st.data())
def test_damaged_bytes_are_refused_or_read_as_they_read_them(case: Any, data: st.DataObject):
    kinds, known = case
    written = bytearray(encode(kinds, known))
    for _ in range(data.draw(st.integers(1, 3)) if written else 0):
        place = data.draw(st.integers(0, len(written) - 1))
        written[place] = data.draw(st.sampled_from([0, 1, 31, 32, 33, 64, 128, 255]))
    damaged = bytes(written[: data.draw(st.integers(0, len(written)))])
    try:
        theirs = their_decode(kinds, damaged)
    except Exception:  # noqa: BLE001 (they have many, and some for padding that we do not look at)
        theirs = None
    try:
        ours = decode(kinds, damaged)
    except Unfit:
        ours = None
    assert theirs is None or ours == theirs


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 256),
        ("uint256", -1),
        ("uint256", True),
        ("uint256", "1"),
        ("address", b"\x01" * 19),
        ("address", "0x12"),
        ("bytes32", b"\x01" * 33),
        ("bytes", "text"),
        ("string", b"bytes"),
        ("bool", 1),
        ("uint256[]", 7),
        ("uint256[2]", (1,)),
        ("(uint256,uint256)", (1,)),
    ],
)
def test_values_that_do_not_fit(kind: str, value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (Unfit is one)
        encode([kind], [value])


def test_a_strangers_length_is_not_believed() -> None:
    huge = (32).to_bytes(32, "big") + (2**255).to_bytes(32, "big")
    for kind in ("bytes", "string", "uint256[]", "bytes[]", "(uint256,uint256)[]"):
        with pytest.raises(Unfit):
            decode([kind], huge)


def test_text_that_is_no_utf8_has_replacement_characters() -> None:
    assert decode(["string"], encode(["bytes"], [b"a\xffb"])) == ("a\ufffdb",)


def test_every_type_of_the_contracts_is_known() -> None:
    assert members("(a,(b,c),d[])") == ("a", "(b,c)", "d[]")
    assert contracts.DEAL.startswith("(")
