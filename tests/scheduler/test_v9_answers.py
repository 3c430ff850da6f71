"""What workers of the v9 stack are answered, to the field and to the word."""

from __future__ import annotations

import time
from typing import Any

import pytest
from scheduler_office import NOW, Office, ref

from tallystick.chain.records import Head
from tallystick.lifecycle.facts import (
    ConsensusReached,
    Contributed,
    Finalized,
    Revealed,
    UploadRequested,
)
from tallystick.lifecycle.replicate import Status
from tallystick.poco.values import Address, Digest, Hash, TaskId
from tallystick.wire.scheduler import INSTANCE

pytestmark = pytest.mark.anyio

VOTE, OTHER = Hash(b"\x07" * 32), Hash(b"\x08" * 32)
UP_TO_COMPUTED = (
    ("STARTING", 200, "PLEASE_CONTINUE"),
    ("STARTED", 200, "PLEASE_DOWNLOAD_APP"),
    ("APP_DOWNLOADING", 200, "PLEASE_CONTINUE"),
    ("APP_DOWNLOADED", 200, "PLEASE_DOWNLOAD_DATA"),
    ("DATA_DOWNLOADING", 200, "PLEASE_CONTINUE"),
    ("DATA_DOWNLOADED", 200, "PLEASE_COMPUTE"),
    ("COMPUTING", 200, "PLEASE_CONTINUE"),
    ("COMPUTED", 200, "PLEASE_CONTRIBUTE"),
)


async def assigned(office: Office, number: int = 0) -> tuple[dict[str, str], TaskId]:
    """A v9 worker with a replicate."""
    headers, task = await office.member(number), office.buy()
    office.open(task)
    answer = await office.demand(headers)
    assert answer.status_code == 200
    return headers, task


async def computed(office: Office) -> tuple[dict[str, str], TaskId, Address]:
    headers, task = await assigned(office)
    for status, *_ in UP_TO_COMPUTED:
        await office.report(headers, task, status)
    return headers, task, office.wallet(0).address


def contributed(office: Office, task: TaskId, me: Address, vote: Hash = VOTE) -> None:
    office.pool.engine.record(str(task), Contributed(me, vote, 2), ref(9, 1))


def agreed(office: Office, task: TaskId) -> None:
    office.pool.engine.record(str(task), ConsensusReached(VOTE, NOW + 600), ref(10, 2))


async def test_an_offer_has_these_fields_and_no_other(office: Office):
    headers, task = await office.member(0), office.buy()
    office.open(task)
    offer = (await office.demand(headers)).json()
    assert set(offer) == {"workerpoolAuthorization", "smsUrl"}
    assert offer["smsUrl"] is None
    authorization = offer["workerpoolAuthorization"]
    assert set(authorization) == {
        "chainTaskId",
        "dealId",
        "taskIndex",
        "workerWallet",
        "enclaveChallenge",
        "signature",
    }
    assert set(authorization["signature"]) == {"value"}
    assert authorization["signature"]["value"][-2:] in ("1b", "1c")
    assert authorization["chainTaskId"] == str(task)


async def test_a_whole_life_by_the_table(office: Office):
    """Each status has its answer, and a repeated one is passed over."""
    headers, task = await assigned(office)
    me = office.wallet(0).address
    for status, code, word in UP_TO_COMPUTED:
        assert await office.report(headers, task, status) == (code, word)
        assert await office.report(headers, task, status) == (208, "PLEASE_WAIT")
    assert await office.report(headers, task, "CONTRIBUTING") == (200, "PLEASE_CONTINUE")
    assert await office.report(headers, task, "CONTRIBUTED") == (200, "PLEASE_WAIT")
    contributed(office, task, me)
    agreed(office, task)
    assert await office.report(headers, task, "REVEALING") == (200, "PLEASE_CONTINUE")
    office.pool.engine.record(str(task), Revealed(me, Digest(b"\x01" * 32)), ref(11, 1))
    assert await office.report(headers, task, "REVEALED") == (208, "PLEASE_WAIT")
    office.pool.engine.record(str(task), UploadRequested(me, NOW + 120))
    assert await office.report(headers, task, "RESULT_UPLOADING") == (200, "PLEASE_CONTINUE")
    link = '{ "storage": "ipfs", "location": "/ipfs/Qm" }'
    assert await office.report(headers, task, "RESULT_UPLOADED", resultLink=link) == (
        202,
        "PLEASE_ABORT",
    ), "it is not there"
    office.stored.add((str(task), link))
    uploaded = await office.report(headers, task, "RESULT_UPLOADED", resultLink=link)
    assert uploaded == (200, "PLEASE_WAIT")
    office.pool.engine.record(str(task), Finalized(link), ref(12, 1))
    assert await office.report(headers, task, "COMPLETING") == (200, "PLEASE_CONTINUE")
    assert await office.report(headers, task, "COMPLETED") == (200, "PLEASE_WAIT")


@pytest.mark.parametrize(
    ("before", "status", "cause", "word"),
    [
        (1, "START_FAILED", "STAKE_TOO_LOW", "PLEASE_ABORT"),
        (3, "APP_DOWNLOAD_FAILED", "APP_IMAGE_DOWNLOAD_FAILED", "PLEASE_CONTRIBUTE"),
        (3, "APP_DOWNLOAD_FAILED", "TASK_NOT_ACTIVE", "PLEASE_ABORT"),
        (5, "DATA_DOWNLOAD_FAILED", "DATASET_FILE_DOWNLOAD_FAILED", "PLEASE_CONTRIBUTE"),
        (5, "DATA_DOWNLOAD_FAILED", "DATASET_FILE_BAD_CHECKSUM", "PLEASE_CONTRIBUTE"),
        (5, "DATA_DOWNLOAD_FAILED", "INPUT_FILES_DOWNLOAD_FAILED", "PLEASE_CONTRIBUTE"),
        (5, "DATA_DOWNLOAD_FAILED", "CHAIN_UNREACHABLE", "PLEASE_ABORT"),
        (7, "COMPUTE_FAILED", "APP_NOT_FOUND_LOCALLY", "PLEASE_ABORT"),
    ],
)
async def test_what_fails(office: Office, before: int, status: str, cause: str, word: str):
    headers, task = await assigned(office)
    for done, *_ in UP_TO_COMPUTED[:before]:
        await office.report(headers, task, done)
    assert await office.report(headers, task, status, cause=cause) == (200, word)
    if word == "PLEASE_ABORT":
        answer = await office.report(headers, task, "ABORTED", cause="UNKNOWN")
        assert answer[1] == "PLEASE_WAIT", "it would report it for ever"


async def test_a_vote_that_failed_is_dropped(office: Office):
    """As in v9 by a refusal; then it says that it has, and is left in peace."""
    headers, task, _ = await computed(office)
    await office.report(headers, task, "CONTRIBUTING")
    failed = await office.report(headers, task, "CONTRIBUTE_FAILED", cause="OUT_OF_GAS")
    assert failed == (202, "PLEASE_ABORT")
    assert (await office.report(headers, task, "ABORTED"))[1] == "PLEASE_WAIT"


async def test_a_failure_that_the_chain_contradicts_drops_nothing(office: Office):
    """It waited twelve blocks and gave up, then its vote was mined: the result is needed."""
    headers, task, me = await computed(office)
    await office.report(headers, task, "CONTRIBUTING")
    contributed(office, task, me)
    late = await office.report(
        headers, task, "CONTRIBUTE_FAILED", cause="CHAIN_RECEIPT_NOT_VALID"
    )
    assert late == (208, "PLEASE_WAIT")
    agreed(office, task)
    await office.report(headers, task, "REVEALING")
    office.pool.engine.record(str(task), Revealed(me, Digest(b"\x01" * 32)), ref(11, 1))
    again = await office.report(headers, task, "REVEAL_FAILED", cause="CANNOT_REVEAL")
    assert again == (208, "PLEASE_WAIT")


async def test_what_is_not_placed_is_refused(office: Office):
    headers, task = await assigned(office)
    nowhere = TaskId(b"\x55" * 32)
    assert await office.report(headers, nowhere, "STARTED") == (202, "PLEASE_ABORT")
    assert await office.report(headers, nowhere, "ABORTED") == (208, "PLEASE_WAIT")
    assert await office.report(headers, task, "COMPUTED") == (202, "PLEASE_ABORT")
    assert await office.report(headers, task, "ABORTED") == (200, "PLEASE_WAIT")
    assert await office.report(headers, task, "ABORTED") == (208, "PLEASE_WAIT")
    assert (await office.report(headers, task, "NO_SUCH_STATUS"))[0] == 400


async def test_everything_that_v9_workers_send_is_taken(office: Office):
    """Nulls, what is derived, and two fields that the server decides."""
    headers, task = await assigned(office)
    said: dict[str, Any] = {
        "status": "STARTING",
        "modifier": None,
        "date": None,
        "details": None,
        "success": True,
    }
    path = f"/replicates/{task}/updateStatus"
    answer = await office.http.post(path, json=said, headers=headers)
    assert (answer.status_code, answer.text) == (200, '"PLEASE_CONTINUE"')
    nulls = dict.fromkeys(
        ("chainReceipt", "resultLink", "chainCallbackData", "errorMessage", "computeLogs")
    )
    details = nulls | {"cause": None, "exitCode": None, "teeSessionGenerationError": None}
    said |= {"status": "STARTED", "details": details}
    answer = await office.http.post(path, json=said, headers=headers)
    assert answer.text == '"PLEASE_DOWNLOAD_APP"'


async def test_answers_that_are_text_have_no_quotes(office: Office):
    headers = {"content-type": "application/json"} | await office.member(0)
    ping = await office.http.post("/workers/ping", headers=headers, content=b"")
    assert (ping.status_code, ping.text[:2], len(ping.text)) == (200, "0x", 66)
    assert ping.headers["content-type"] == "text/plain;charset=UTF-8"
    again = await office.http.post("/workers/ping", headers=headers)
    assert again.text == ping.text, "v9 workers would start again"


async def test_what_the_pool_tells_has_exactly_these_fields(office: Office):
    config = (await office.http.get("/workers/config")).json()
    assert set(config) == {
        "workerPoolAddress",
        "schedulerPublicAddress",
        "configServerUrl",
        "resultRepositoryURL",
        "askForReplicatePeriod",
        "requiredWorkerVersion",
    }
    assert config["requiredWorkerVersion"] == ""
    chain = (await office.http.get("/config/chain")).json()
    fields = ["chainId", "sidechain", "chainNodeUrl", "iexecHubContractAddress", "blockTime"]
    assert sorted(chain) == sorted(fields)
    assert chain["blockTime"].startswith("PT")
    assert chain["blockTime"].endswith("S")


async def test_a_v9_worker_registers_without_what_only_ours_know(office: Office):
    headers = await office.login(office.wallet(0))
    said = {
        "name": "java",
        "walletAddress": "0x" + "0" * 40,
        "os": "Linux",
        "cpu": "amd64",
        "cpuNb": 3,
        "memorySize": -1,
        "gpuEnabled": False,
        "teeEnabled": False,
    }
    answer = await office.http.post("/workers/register", json=said, headers=headers)
    told = answer.json()
    assert told["walletAddress"] == str(office.wallet(0).address), "that of the token"
    assert (told["maxNbTasks"], told["memorySize"], told["tdxEnabled"]) == (3, -1, False)
    assert [tag[-1] for tag in told["excludedTags"]] == ["3", "5", "9"]
    assert "contributeAndFinalize" not in told
    mine = headers | {INSTANCE: "ours"}
    answer = await office.http.post("/workers/register", json=said, headers=mine)
    assert "contributeAndFinalize" in answer.json()


def stand_still(office: Office) -> None:
    """The newest block is an hour old."""
    block = Head(5, VOTE, OTHER, int(time.time()) - 3600)
    office.app.state.vitals.head = lambda: block


async def test_a_chain_that_stands_still_is_no_time_to_begin(office: Office):
    headers = await office.member(0)
    office.open(office.buy())
    stand_still(office)
    answer = await office.demand(headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_report_waits_for_a_chain_that_stands_still(office: Office):
    """Nothing is recorded: it is reported again. Workers of ours look at the chain by
    themselves, and say what they did whenever they can."""
    headers, task = await assigned(office)
    stand_still(office)
    path, said = f"/replicates/{task}/updateStatus", {"status": "STARTING"}
    answer = await office.http.post(path, json=said, headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    mine, model = headers | {INSTANCE: "ours"}, {"name": "ours", "cpuNb": 1, "os": "Linux"}
    register = "/workers/register?takeover=true"
    assert (await office.http.post(register, json=model, headers=mine)).status_code == 200
    assert (await office.http.post(path, json=said, headers=mine)).status_code == 200


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/workers/ping"),
        ("GET", "/workers/computing"),
        ("GET", "/replicates/interrupted?blockNumber=9"),
        ("GET", "/workers/config"),
        ("GET", "/config/chain"),
        ("GET", "/version"),
    ],
)
async def test_what_else_is_asked_does_not_wait_for_the_chain(
    office: Office, verb: str, path: str
):
    """v9 has a 503 for a demand and for a report, and for nothing else."""
    headers = await office.member(0)
    stand_still(office)
    assert (await office.http.request(verb, path, headers=headers)).status_code == 200


async def recovery(office: Office, headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = await office.http.get(
        "/replicates/interrupted", params={"blockNumber": 9}, headers=headers
    )
    assert answer.status_code == 200
    return list(answer.json())


async def test_how_an_interrupted_replicate_goes_on(office: Office):
    """Computed: vote. Voted: wait. Agreed: reveal, in the block of the consensus. Revealed:
    wait, with the result kept. Chosen: upload. Over: tidy up. Nothing of what has ended."""
    headers, task, me = await computed(office)
    words = []

    async def told() -> dict[str, Any]:
        (only,) = await recovery(office, headers)
        words.append(only["taskNotificationType"])
        return only

    first = await told()
    assert set(first) == {
        "chainTaskId",
        "workersAddress",
        "taskNotificationType",
        "taskNotificationExtra",
    }, "v9 workers refuse the abort cause beside the others"
    extra = first["taskNotificationExtra"]
    assert set(extra) == {
        "workerpoolAuthorization",
        "smsUrl",
        "blockNumber",
        "taskAbortCause",
    }
    assert first["workersAddress"] == [str(me)]
    assert extra["workerpoolAuthorization"]["workerWallet"] == str(me)
    contributed(office, task, me)
    await told()
    agreed(office, task)
    assert (await told())["taskNotificationExtra"]["blockNumber"] == 10
    await office.report(headers, task, "REVEALING")
    await told()
    office.pool.engine.record(str(task), Revealed(me, Digest(b"\x01" * 32)), ref(11, 1))
    await told()
    office.pool.engine.record(str(task), UploadRequested(me, NOW + 120))
    await told()
    office.pool.engine.record(str(task), Finalized("{}"), ref(12, 1))
    await told()
    assert words == [
        "PLEASE_CONTRIBUTE",
        "PLEASE_WAIT",
        "PLEASE_REVEAL",
        "PLEASE_REVEAL",
        "PLEASE_WAIT",
        "PLEASE_UPLOAD",
        "PLEASE_COMPLETE",
    ]
    await office.report(headers, task, "COMPLETED")
    assert await recovery(office, headers) == []


async def test_who_did_not_vote_in_time_is_told_to_abort(office: Office):
    headers, task, _ = await computed(office)
    agreed(office, task)
    (only,) = await recovery(office, headers)
    assert only["taskNotificationType"] == "PLEASE_ABORT"
    assert only["taskNotificationExtra"]["taskAbortCause"] == "CONSENSUS_REACHED"


async def test_who_lost_the_vote_is_told_to_reveal_as_by_v9(office: Office):
    """It sees by the chain that it cannot, is refused, and says that it dropped the task."""
    headers, task, me = await computed(office)
    await office.report(headers, task, "CONTRIBUTING")
    contributed(office, task, me, OTHER)
    agreed(office, task)
    assert await office.report(headers, task, "CONTRIBUTED") == (208, "PLEASE_WAIT")
    (only,) = await recovery(office, headers)
    assert only["taskNotificationType"] == "PLEASE_REVEAL"
    extra = only["taskNotificationExtra"]
    assert (extra["blockNumber"], extra["taskAbortCause"]) == (10, None)
    assert await office.report(headers, task, "REVEALING") == (200, "PLEASE_CONTINUE")
    failed = await office.report(headers, task, "REVEAL_FAILED", cause="CANNOT_REVEAL")
    assert failed == (202, "PLEASE_ABORT")
    assert (await office.report(headers, task, "ABORTED", cause="UNKNOWN"))[1] == "PLEASE_WAIT"
    assert await recovery(office, headers) == []


async def test_after_the_deadline_there_is_nothing_to_go_on_with(office: Office):
    headers, _, _ = await computed(office)
    office.pool.clock.saw(NOW + 7 * 300)
    (only,) = await recovery(office, headers)
    assert only["taskNotificationExtra"]["taskAbortCause"] == "CONTRIBUTION_TIMEOUT"


async def test_a_challenge_is_read_alike_by_everybody(office: Office):
    """A v9 worker reads it as hex, whatever it is: of these digits it loses none."""
    who = {"walletAddress": str(office.wallet(0).address)}
    first = await office.http.get("/workers/challenge", params=who)
    assert first.headers["content-type"] == "text/plain;charset=UTF-8"
    assert len(bytes.fromhex(first.text)) == 32
    again = await office.http.get("/workers/challenge", params=who)
    assert again.text == first.text, "until it is used"


async def test_before_the_first_block_nothing_is_decided(office: Office):
    """A task may be over for all that is known: who reports is told to come again."""
    headers, task = await assigned(office)
    office.pool.clock._head = 0
    path = f"/replicates/{task}/updateStatus"
    for answer in (
        await office.http.post(path, json={"status": "STARTING"}, headers=headers),
        await office.http.get("/replicates/interrupted?blockNumber=1", headers=headers),
        await office.demand(headers),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_an_end_that_the_chain_took_back_need_not_be_told_again(office: Office):
    """Another end of the same task is mined later, and what was told before it holds again; who
    tells it all the same is heard."""
    headers, task, me = await computed(office)
    engine = office.pool.engine

    def ends(block: int) -> None:
        engine.record(str(task), Contributed(me, VOTE, 2), ref(block, 1))
        engine.record(str(task), ConsensusReached(VOTE, NOW + 600 + block), ref(block, 2))
        engine.record(str(task), Revealed(me, Digest(VOTE)), ref(block, 3))
        engine.record(str(task), Finalized("/ipfs/result"), ref(block, 4))

    ends(9)
    done = await office.report(headers, task, "COMPLETED")
    assert done[0] == 200
    assert engine.states[str(task)].replicates[me].status is Status.COMPLETED
    engine.roll_back(8)
    assert engine.states[str(task)].replicates[me].status is not Status.COMPLETED
    assert (await office.report(headers, task, "COMPLETED")) == done
    ends(12)
    assert engine.states[str(task)].replicates[me].status is Status.COMPLETED
    assert await office.report(headers, task, "COMPLETED") == (208, "PLEASE_WAIT")
