"""What a person types after the image is what the app gets, word for word."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.poco.params import tokenize
from tallystick.requester.arguments import join_arguments
from tallystick.requester.refusals import CannotBuy

WORDS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
TRICKY = st.lists(st.text(alphabet=" '\"\\a\t\n-=", min_size=1))


@given(WORDS | TRICKY)
@example(["a\\", "'b\\'c", 'd\\"', "e\\ f", "\\\\", '"', "g'"])
def test_every_worker_splits_the_same_words_again(words: list[str]) -> None:
    """But for a blank behind a backslash and a space, which nobody can spell."""
    odd = any(a[-1] == "\\" and re.match(r"\\*\s", b) for a, b in pairwise(words))
    if odd:
        with pytest.raises(CannotBuy, match="backslash"):
            join_arguments(words)
    else:
        assert list(tokenize(join_arguments(words))) == words


def test_a_quote_of_either_kind_survives() -> None:
    assert join_arguments(["it's", 'a "word"']) == """it"'"s a' "'word'"'"""


@pytest.mark.parametrize("word", ["", "\udcff"])
def test_what_no_deal_can_carry_is_refused(word: str) -> None:
    with pytest.raises(CannotBuy):
        join_arguments(["fine", word])
