"""What is told to a requester's contract has to be what was voted for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from tallystick.lifecycle import agenda
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.task import Task, advance, fold
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest
from tallystick.scheduler.uploads import Uploads
from tallystick.wire.results import ResultsClient, result_link

pytestmark = pytest.mark.anyio

CONTRACT, ME = Address(b"\xca" * 20), Address(b"\1" * 20)
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=60, trust=1, callback=CONTRACT)
DATA = bytes(31) + b"\1"
DIGEST = Digest(keccak(DATA))
LINK = result_link("ethereum", str(CONTRACT)).decode()


def revealed() -> Task:
    vote = result_hash(DEAL.task_id(0), DIGEST)
    task = fold(
        [
            f.Ordered(DEAL, 0),
            f.Initialized(),
            f.Contributed(ME, vote, 1),
            f.ConsensusReached(vote, 120),
            f.Revealed(ME, DIGEST),
            f.UploadRequested(ME, 60),
        ]
    )
    assert task is not None
    return task


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ("0x" + DATA.hex(), True),
        (DATA.hex(), True),
        ("0x" + DATA.hex()[:-1] + "2", False),
        ("0x", False),
        ("", False),
    ],
)
async def test_only_what_was_voted_for_is_told_to_the_contract(data: str, good: bool):
    task = revealed()
    async with ResultsClient("http://127.0.0.1:1") as store:
        uploads = Uploads({str(task.id): task}, store)
        assert await uploads.has(task.id, f.Uploaded(ME, LINK, data)) is good
        assert not await uploads.has(task.id, f.Uploaded(ME, "nowhere", data))


def test_what_a_winner_told_goes_with_the_call_that_ends_the_task():
    task = advance(revealed(), f.Uploaded(ME, LINK, "0x" + DATA.hex()))
    due = agenda.Finalize(task.id, LINK, "0x" + DATA.hex())
    assert list(agenda.owed_by_pool(task, 50)) == [due]


def test_a_deal_without_such_a_contract_ends_without_data():
    task = revealed()
    task = advance(
        replace(task, deal=replace(DEAL, callback=Address(bytes(20)))), f.Uploaded(ME, "l")
    )
    assert list(agenda.owed_by_pool(task, 50)) == [agenda.Finalize(task.id, "l")]
