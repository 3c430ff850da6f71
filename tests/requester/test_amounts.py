"""Amounts are read exactly or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.requester.amounts import BadAmount, parse_amount, show_amount


@given(st.integers(min_value=0, max_value=2**200))
def test_what_is_shown_can_be_typed_again(nrlc: int) -> None:
    assert parse_amount(show_amount(nrlc)) == nrlc


@pytest.mark.parametrize(
    ("text", "nrlc"),
    [
        ("1.5 RLC", 1_500_000_000),
        ("20rlc", 20 * 10**9),
        (" 300 nRLC ", 300),
        ("1.000000001 RLC", 10**9 + 1),
    ],
)
def test_units(text: str, nrlc: int) -> None:
    assert parse_amount(text) == nrlc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "-1 RLC",
        "1.5 nRLC",
        "0.0000000001 RLC",
        "1 ETH",
        "1e9 nRLC",
        "1,5 RLC",
        "9" * 100 + " RLC",
        "٣ RLC",
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(BadAmount, match=r"\."):
        parse_amount(text)


def test_a_loss_is_shown_with_its_sign() -> None:
    assert show_amount(-3_000_000_002) == "-3.000000002 RLC"
