"""The strict v9 scheduler itself: the golden vectors of the protocol, and what it refuses."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import pytest
from eth_account import Account
from eth_hash.auto import keccak
from v9_broker import Broker, Session
from v9_chain import hexed, lenient
from v9_core import Core
from v9_models import STATUSES, UPDATE, WORKER, ZERO, BadBody, fitting, read
from v9_proxy import V9Proxy, cid, digest
from v9_scheduler import _new_challenge, _signed
from v9_tasks import CoreTask, CoreWorker, Replicate, params

from tallystick.storage.cid import cid_v0

pytestmark = pytest.mark.anyio

ME = "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"
TASK = "0x1c11a7f5202ce448e5d43b6b6d6bd678c65f105890c132effaf4b01e899ceec2"
DEAL = (0, 0, 0, 3, 0, bytes(32), 0, 0, ZERO, '{"iexec_result_storage_provider":"ipfs"}')
LOGINS = {
    "AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dw=": "0x94bb5963b9529920122ba594d4de80a50ea8430e"
    "3badf7f1f48acee40bd1200f2d87513707494a936cdd8aced2201aa647054cc579fe19f86f10e2961fa966031b",
    "0xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=": "0xb2f0216d20d443ccb7189e2301478d1df51ca23d"
    "38c11ed0ac99dc607b76ee972fedd2184462989c444f97840d53cadd0b775ed14822a438c54fc402a4e7ffb01c",
}
MODEL = {
    "name": "w",
    "walletAddress": ME,
    "os": "Linux",
    "cpu": "amd64",
    "cpuNb": 1,
    "memorySize": -1,
    "gpuEnabled": False,
    "teeEnabled": False,
}


def task() -> CoreTask:
    return CoreTask(
        id=TASK,
        deal_id="0x" + "ab" * 32,
        index=3,
        deal=DEAL,
        contribution_deadline=7,
        final_deadline=10,
    )


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def said(path: str) -> bytes:
    return json.dumps({"deterministic-output-path": path}).encode()


def update(status: str, success: bool = True, **details: Any) -> dict[str, Any]:
    body = {"status": status, "modifier": None, "date": None, "details": details or None}
    told = read(json.dumps({**body, "success": success}).encode(), UPDATE, "update")
    fitting(told)
    return told


@pytest.mark.parametrize("challenge", LOGINS)
def test_a_login_is_a_raw_signature_over_lenient_hex(challenge: str):
    assert _signed(challenge, LOGINS[challenge], ME)
    assert not _signed(challenge + "A", LOGINS[challenge], ME)
    other = "0x" + "1" * 40
    assert not _signed(challenge, LOGINS[challenge], other)


def test_the_first_challenge_is_one_of_the_rare_ones():
    challenge = _new_challenge(0)
    assert challenge.startswith("0x")
    account = Account.from_key(b"\x11" * 32)
    signature = Account.unsafe_sign_hash(keccak(lenient(challenge)), account.key).signature
    assert _signed(challenge, hexed(signature), ME)


def test_digests_of_archives():
    one = zipped({"a.txt": b"A result", "computed.json": said("/iexec_out/a.txt")})
    assert digest(one) == "0x" + hashlib.sha256(b"A result").hexdigest()
    two = {"x/result1.txt": b"A result", "x/result2.txt": b"Another result", "x/sub/n": b"none"}
    known = "0xcc77508549295dd5de5876a2f4f00d4c3c27a547c6403450e43ab4de191bf1bc"
    assert digest(zipped({**two, "computed.json": said("/iexec_out/x")})) == known
    data = json.dumps({"callback-data": "0x" + "0" * 63 + "1"}).encode()
    known = "0xb10e2d527612073b26eecdfd717e6a320cf44b4afac2b0732d9fcbe2b7fa0cf6"
    assert digest(zipped({"computed.json": data}), ME) == known
    with pytest.raises(KeyError, match=r"computed\.json"):
        digest(zipped({"iexec_out/computed.json": b"{}"}))


@pytest.mark.parametrize("size", [1, 127, 128, 70_000])
def test_places_on_ipfs_are_real_ones(size: int):
    assert cid(b"x" * size) == cid_v0(b"x" * size)


@pytest.mark.parametrize(
    "change",
    [
        {"contributeAndFinalize": True},
        {"cpuNb": "1"},
        {"gpuEnabled": 0},
        {"walletAddress": ME.upper()},
        {"name": None},
    ],
    ids=str,
)
def test_a_worker_that_java_would_read_otherwise(change: dict[str, Any]):
    read(json.dumps(MODEL).encode(), WORKER, "WorkerModel")
    with pytest.raises(BadBody):
        read(json.dumps({**MODEL, **change}).encode(), WORKER, "WorkerModel")


def test_reports_that_java_would_read_otherwise():
    update("STARTING")
    update("COMPUTED", exitCode=0, computeLogs={"walletAddress": ME, "stdout": "hello"})
    update("START_FAILED", success=False, cause="STAKE_TOO_LOW")
    fitting({"status": "START_FAILED", "details": {"cause": "UNKNOWN"}})
    for status, more in {
        "RECOVERING": {},
        "INVENTED": {},
        "COMPUTED": {},
        "CONTRIBUTED": {"resultLink": "here"},
        "REVEALED": {"chainReceipt": {"blockNumber": "7", "txHash": None}},
        "ABORTED": {"cause": "SOMETHING_NEW"},
        "START_FAILED": {"cause": "UNKNOWN"},
        "COMPUTING": {"exitCode": 0},
    }.items():
        with pytest.raises(BadBody):
            update(status, **more)


def test_parameters_with_an_unknown_key_are_arguments():
    assert params('{"iexec_args":"a b"}') == {"iexec_args": "a b"}
    for raw in ("", "a b", '{"iexec_args":"a","more":1}', '{"iexec_input_files":"u"}'):
        assert params(raw) == {"iexec_args": raw}


def test_a_status_comes_once_and_along_the_graph():
    replicate = Replicate(ME, 2)
    assert not replicate.add("STARTED")
    assert replicate.add("STARTING")
    assert not replicate.add("STARTING")
    assert replicate.add("WORKER_LOST")
    assert replicate.relevant == "STARTING"
    assert replicate.add("COMPUTED"), "whoever was lost may come back anywhere"


def test_no_more_workers_than_a_consensus_wants():
    """At trust 3 two votes of weight 2 are enough, unless they differ."""
    wanted = task()
    for wallet in ("honest", "liar"):
        assert wanted.wants_more()
        wanted.replicates[wallet] = Replicate(wallet, 2)
    assert not wanted.wants_more()
    for each in wanted.replicates.values():
        each.updates[-1].status = "CONTRIBUTED"
        each.contribution_hash = each.wallet
    assert wanted.wants_more()


def core(broker: Broker) -> Core:
    """One task with one replicate of ours, and no chain."""
    nowhere: Any = None
    made = Core(nowhere, ME, V9Proxy(nowhere), broker.publish)
    made.tasks[TASK] = task()
    made.tasks[TASK].replicates[ME] = Replicate(ME, 2)
    made.workers[ME] = CoreWorker(ME, dict(MODEL), [TASK], [TASK])
    return made


async def test_what_reports_are_answered():
    inside = core(Broker())
    tell = inside.report
    assert await tell(ME, TASK, update("STARTING")) == (200, "PLEASE_CONTINUE")
    assert await tell(ME, TASK, update("STARTED")) == (200, "PLEASE_DOWNLOAD_APP")
    assert await tell(ME, TASK, update("STARTED")) == (208, "PLEASE_WAIT")
    assert await tell(ME, TASK, update("COMPUTING")) == (202, "PLEASE_ABORT")
    assert await tell(ME, "0x" + "0" * 64, update("STARTING")) == (202, "PLEASE_ABORT")
    assert await tell(ME, TASK, update("APP_DOWNLOADING")) == (200, "PLEASE_CONTINUE")
    cause = {"cause": "APP_IMAGE_DOWNLOAD_FAILED"}
    failed = update("APP_DOWNLOAD_FAILED", success=False, **cause)
    assert await tell(ME, TASK, failed) == (200, "PLEASE_CONTRIBUTE")
    assert await tell(ME, TASK, update("CONTRIBUTING")) == (200, "PLEASE_CONTINUE")
    failed = update("CONTRIBUTE_FAILED", success=False, cause="OUT_OF_GAS")
    assert await tell(ME, TASK, failed) == (202, "PLEASE_ABORT"), "it is never recorded"
    assert await tell(ME, TASK, update("ABORTED", cause="UNKNOWN")) == (200, "")
    assert inside.workers[ME].participating == [TASK], "an abort frees nothing"
    assert set(inside.tasks[TASK].replicates[ME].history) <= set(STATUSES)


async def test_what_nobody_listens_to_is_lost():
    broker = Broker()
    inside = core(broker)
    known = inside.tasks[TASK]
    inside.notify(known, "PLEASE_COMPLETE", [], plain=True)
    session = broker.sessions["a"] = Session("a")
    broker._heard(session, "CONNECT\naccept-version:1.1,1.2\nheart-beat:10000,10000\n\n\0")
    broker._heard(session, f"SUBSCRIBE\nid:0\ndestination:/topic/task/{TASK}\n\n\0")
    inside.notify(known, "PLEASE_ABORT", [ME], cause="CONSENSUS_REACHED")
    connected, message = (json.loads(frame[1:])[0] for frame in session.queue)
    assert connected == "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"
    assert message.startswith(f"MESSAGE\ndestination:/topic/task/{TASK}\n")
    assert json.loads(message.partition("\n\n")[2][:-1])["workersAddress"] == [ME]
    assert [told["taskNotificationType"] for told in inside.lost] == ["PLEASE_COMPLETE"]
    assert broker.problems == []
    broker._heard(session, f"SEND\ndestination:/topic/task/{TASK}\n\n{{}}\0")
    assert broker.problems
    assert not broker.sessions, "a worker that speaks to a topic is no v9 worker"
