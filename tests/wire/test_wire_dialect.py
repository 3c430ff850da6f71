"""Facts in the words of v9, and back."""

from __future__ import annotations

import json

import pytest

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.agenda import Abort, Do
from tallystick.poco.values import ZERO_ADDRESS, Address, Digest, TaskId
from tallystick.wire.dialect import UnknownStatus, from_update, next_action, to_update
from tallystick.wire.scheduler import ChainConfig, PublicConfig, StatusUpdate

ME = Address(b"\x01" * 20)
TASK = TaskId(b"\x02" * 32)
DIGEST = Digest(b"\x03" * 32)

FACTS: list[f.WorkerFact] = [
    *(f.Began(ME, step) for step in f.Step if step not in (f.Step.CHECK, f.Step.PUBLISH)),
    *(
        f.Failed(ME, step, "UNKNOWN")
        for step in f.Step
        if step not in (f.Step.CHECK, f.Step.PUBLISH)
    ),
    f.Started(ME),
    f.AppFetched(ME),
    f.DataFetched(ME),
    f.Computed(ME, None, 3),
    f.Uploaded(ME, "{}"),
    f.Uploaded(ME, "{}", "0x01"),
    f.Completed(ME),
    f.Aborted(ME, "CONSENSUS_REACHED"),
]


def told(fact: f.WorkerFact) -> StatusUpdate:
    update = to_update(fact)
    assert update is not None
    return update


@pytest.mark.parametrize("fact", FACTS, ids=str)
def test_a_worker_and_its_scheduler_mean_the_same(fact: f.WorkerFact):
    travelled = StatusUpdate.model_validate_json(told(fact).json_bytes())
    assert from_update(ME, travelled) == fact


def test_a_check_is_told_only_when_it_fails():
    """v9 peers check while they contribute: a check that failed is a vote that failed."""
    assert to_update(f.Began(ME, f.Step.CHECK)) is None
    assert to_update(f.Checked(ME)) is None
    assert to_update(f.Held(ME, f.Step.REVEAL, "OUT_OF_GAS")) is None
    assert to_update(f.Resumed(ME)) is None
    failed = told(f.Failed(ME, f.Step.CHECK, "STAKE_TOO_LOW"))
    assert from_update(ME, failed) == f.Failed(ME, f.Step.CONTRIBUTE, "STAKE_TOO_LOW")


def test_publishing_is_part_of_contributing_and_finalizing_at_once():
    began = told(f.Began(ME, f.Step.PUBLISH))
    assert began.status == "CONTRIBUTE_AND_FINALIZE_ONGOING"
    assert from_update(ME, began) == f.Began(ME, f.Step.FINISH)
    assert to_update(f.Published(ME, "{}")) is None
    for step in (f.Step.CHECK, f.Step.PUBLISH, f.Step.FINISH):
        failed = to_update(f.Failed(ME, step, "RESULT_LINK_MISSING"), alone=True)
        assert failed is not None
        assert failed.status == "CONTRIBUTE_AND_FINALIZE_FAILED"
        assert from_update(ME, failed) == f.Failed(ME, f.Step.FINISH, "RESULT_LINK_MISSING")


def test_the_digest_does_not_travel():
    travelled = StatusUpdate.model_validate_json(told(f.Computed(ME, DIGEST, 0)).json_bytes())
    assert DIGEST.hex() not in str(travelled)
    assert from_update(ME, travelled) == f.Computed(ME, None, 0)


@pytest.mark.parametrize("status", ["CONTRIBUTED", "REVEALED", "CONTRIBUTE_AND_FINALIZE_DONE"])
def test_what_only_the_chain_can_tell_is_not_believed(status: str):
    assert from_update(ME, StatusUpdate(status=status)) is None


@pytest.mark.parametrize("status", ["", "WORKER_LOST", "FAILED", "CREATED", "started"])
def test_what_no_worker_says_is_refused(status: str):
    with pytest.raises(UnknownStatus):
        from_update(ME, StatusUpdate(status=status))


def test_a_v9_worker_is_understood():
    """Its body, as it really sends it: nulls, and a field that is derived."""
    body = '{"status":"STARTING","modifier":null,"date":null,"details":null,"success":true}'
    update = StatusUpdate.model_validate_json(body)
    assert from_update(ME, update) == f.Began(ME, f.Step.START)


def test_the_next_action_is_the_agenda_in_words():
    assert next_action(None) == "PLEASE_WAIT"
    assert next_action(Abort(TASK, "X")) == "PLEASE_ABORT"
    words = {step: next_action(Do(TASK, step)) for step in f.Step}
    assert list(words.values()) == [
        "PLEASE_START",
        "PLEASE_DOWNLOAD_APP",
        "PLEASE_DOWNLOAD_DATA",
        "PLEASE_COMPUTE",
        "PLEASE_CONTRIBUTE",
        "PLEASE_CONTRIBUTE_AND_FINALIZE",
        "PLEASE_CONTRIBUTE_AND_FINALIZE",
        "PLEASE_CONTRIBUTE",
        "PLEASE_REVEAL",
        "PLEASE_UPLOAD",
        "PLEASE_COMPLETE",
    ]


def test_the_bodies_that_java_reads_have_exactly_its_fields():
    config = PublicConfig(
        worker_pool_address=ME,
        scheduler_public_address=ZERO_ADDRESS,
        config_server_url="http://config",
        resultRepositoryURL="http://results",
    )
    assert json.loads(config.json_bytes()) == {
        "workerPoolAddress": str(ME),
        "schedulerPublicAddress": str(ZERO_ADDRESS),
        "configServerUrl": "http://config",
        "resultRepositoryURL": "http://results",
        "askForReplicatePeriod": 5000,
        "requiredWorkerVersion": "",
    }
    chain = ChainConfig(
        chain_id=134, sidechain=True, chain_node_url="http://n", iexec_hub_contract_address=ME
    )
    assert json.loads(chain.json_bytes()) == {
        "chainId": 134,
        "sidechain": True,
        "chainNodeUrl": "http://n",
        "iexecHubContractAddress": str(ME),
        "blockTime": "PT5S",
    }
