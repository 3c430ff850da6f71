"""What is told at the end of a task."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tallystick.cli.ending import Ending
from tallystick.poco.values import Hash, TaskId
from tallystick.requester.money import Settlement
from tallystick.requester.news import End


@pytest.mark.parametrize(("end", "blocks"), [(14, 2), (12, 0), (11, None), (None, None)])
def test_blocks_are_counted_unless_the_chain_went_back(
    end: int | None, blocks: int | None
) -> None:
    ending = Ending(
        task=TaskId(Hash(bytes(32))),
        deal=cast("Any", None),
        end=End.COMPLETED,
        money=Settlement(block=end, gains={}),
        matched_in=12,
        seconds=1.0,
        computing=0.0,
    )
    assert ending.blocks == blocks
