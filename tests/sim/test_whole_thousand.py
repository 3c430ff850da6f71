"""A thousand pools of the shipped programs, with the hundred of every run, a seed for each."""

from __future__ import annotations

import pytest

from tallystick.sim.whole.scenarios import fate

LAST = 1_900
"""For more: `tally sim run --whole --seed 1900 --worlds 1000`."""


@pytest.mark.long
@pytest.mark.parametrize("first", range(1_000, LAST, 10))
def test_random_worlds_keep_every_promise(first: int) -> None:
    assert [fate(seed).broken for seed in range(first, first + 10)] == [""] * 10
