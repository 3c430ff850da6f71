"""What a scheduler has to be told: once, and again when another one takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tallystick.engine.errors import Unavailable
from tallystick.engine.journal import Entry, Journal
from tallystick.lifecycle.facts import Computed, Fact, Started
from tallystick.poco.values import Address, Digest
from tallystick.worker.owed import TOLD, Owed

ME = Address(b"\x01" * 20)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal[Fact]]:
    """Two tasks of which something was done: one is over."""
    journal = Journal[Fact](tmp_path / "journal.db", get_args(Fact))
    journal.append("open", Started(ME), at=1.0)
    journal.append("over", Started(ME), at=1.0)
    journal.append("open", Computed(ME, Digest(b"\x02" * 32)), at=2.0)
    yield journal
    journal.close()


class Teller:
    """Hears all, and has it."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def __call__(self, entry: Entry[Fact]) -> bool:
        self.heard.append(f"{entry.stream} {type(entry.fact).__name__}")
        return True


@pytest.mark.anyio
async def test_another_scheduler_is_told_again_of_open_tasks(journal: Journal[Fact]) -> None:
    owed, teller = Owed(journal), Teller()
    assert not owed.meet("a", ["open"])
    await owed.tell(teller)
    assert not owed.meet("a", ["open"])
    teller.heard.clear()
    await owed.tell(teller)
    assert teller.heard == []
    assert owed.meet("b", ["open"])
    await owed.tell(teller)
    assert teller.heard == ["open Started", "open Computed"]


@pytest.mark.anyio
async def test_who_started_again_meanwhile_sees_that_it_is_another_one(
    journal: Journal[Fact],
) -> None:
    owed = Owed(journal)
    owed.meet("a", ["open"])
    await owed.tell(Teller())
    again, teller = Owed(journal), Teller()
    assert again.meet("b", ["open"])
    assert journal.noted(TOLD) == "0", "a crash here costs nothing"
    await again.tell(teller)
    assert teller.heard == ["open Started", "open Computed"]


@pytest.mark.anyio
async def test_what_is_owed_anyhow_is_told_once(journal: Journal[Fact]) -> None:
    owed, teller = Owed(journal), Teller()
    owed.meet("a", [])
    assert owed.meet("b", ["open", "over"])
    await owed.tell(teller)
    assert teller.heard == ["open Started", "over Started", "open Computed"]


@pytest.mark.anyio
async def test_who_is_interrupted_goes_on_where_it_was(journal: Journal[Fact]) -> None:
    """Every second message is lost, and the first report can never be placed: found in a whole
    world, in which an upload was never told to a scheduler that had begun anew."""
    owed, heard = Owed(journal), list[int]()

    async def lossy(entry: Entry[Fact]) -> bool:
        heard.append(entry.seq)
        if len(heard) % 2 == 0:
            raise Unavailable("lost")
        return entry.seq != 1

    for _ in range(2):
        with pytest.raises(Unavailable):
            await owed.tell(lossy)
    await owed.tell(lossy)
    assert heard == [1, 2, 2, 3, 3]
    assert [entry.seq for entry in owed.left] == [1]
    with pytest.raises(Unavailable):
        await owed.tell(lossy)
    assert heard[5:] == [1], "what could not be placed is told again in every round"
