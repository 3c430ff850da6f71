"""How a worker of ours asks a v9 scheduler and a v9 store, request by request."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import Address, TaskId
from tallystick.wire.results import ResultsClient
from tallystick.wire.scheduler import (
    SchedulerClient,
    StatusDetails,
    StatusUpdate,
    Unwelcome,
    WorkerModel,
)
from tallystick.wire.v9 import V9Client, understood
from tallystick.wire.v9_causes import CAUSES
from tallystick.wire.versions import SCHEDULER

pytestmark = pytest.mark.anyio

ME, TASK = Address(b"\x01" * 20), TaskId(b"\x07" * 32)
CONFIG = {
    "workerPoolAddress": str(ME),
    "schedulerPublicAddress": str(ME),
    "configServerUrl": "http://config",
    "resultRepositoryURL": "http://results",
    "askForReplicatePeriod": 5000,
    "requiredWorkerVersion": "",
}


class Core:
    """A scheduler as a script; it takes only the last token that it has issued."""

    def __init__(self, **answers: httpx2.Response | list[httpx2.Response]) -> None:
        self.answers, self.asked = answers, list[httpx2.Request]()
        self.logins, self.expired, self.kin = 0, 0, False

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        what = request.url.path.rpartition("/")[2]
        match what:
            case "config":
                return httpx2.Response(
                    200, json=CONFIG, headers={SCHEDULER: "1"} if self.kin else {}
                )
            case "challenge":
                return httpx2.Response(200, text="ab" * 32)
            case "login":
                self.logins += 1
                return httpx2.Response(200, text=f"token-{self.logins}")
        if request.headers.get("authorization") != f"Bearer token-{self.logins}":
            return httpx2.Response(401)
        if self.expired:
            self.expired -= 1
            return httpx2.Response(401)
        answer = self.answers.get(what, httpx2.Response(200, text=""))
        return answer.pop(0) if isinstance(answer, list) else answer

    def paths(self) -> list[str]:
        return [each.url.path for each in self.asked]

    def client(self) -> SchedulerClient:
        client = SchedulerClient("http://core", wallet=ME, sign=lambda _: bytes(65))
        client._http = speaking(self)
        return client


def speaking(answer: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://core")


async def test_a_scheduler_of_ours_is_known_by_its_header():
    core = Core()
    client = core.client()
    await client.config()
    assert not client.kin
    core.kin = True
    await client.config()
    assert client.kin


@pytest.mark.parametrize("kin", [True, False])
async def test_what_is_ours_is_said_to_ours_alone(kin: bool):
    core = Core()
    core.kin, client = kin, core.client()
    await client.login()
    model = WorkerModel(name="w", wallet_address=ME, contribute_and_finalize=True)
    await client.register(model, takeover=True)
    told = json.loads(core.asked[-1].content)
    assert ("contributeAndFinalize" in told, "digestFirst" in told) == (kin, kin)
    assert ("takeover" in core.asked[-1].url.params) == kin
    assert told["walletAddress"] == str(ME)
    await client.leave()
    assert ("/workers/leave" in core.paths()) == kin


@pytest.mark.parametrize(("expired", "welcome"), [(1, True), (2, True), (3, False)])
async def test_a_login_may_bring_a_token_that_is_over(expired: int, welcome: bool):
    core = Core()
    core.expired, client = expired, core.client()
    if welcome:
        await client.ping()
        assert core.logins == expired + 1
    else:
        with pytest.raises(Unwelcome):
            await client.ping()


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (httpx2.Response(200, json="PLEASE_CONTINUE"), False),
        (httpx2.Response(200, json="PLEASE_ABORT"), True),
        (httpx2.Response(202, json="PLEASE_ABORT"), True),
        (httpx2.Response(208, json="PLEASE_WAIT"), False),
        (httpx2.Response(200, text=""), False),
    ],
)
async def test_answers_to_reports(answer: httpx2.Response, refused: bool):
    core = Core(updateStatus=answer)
    told = await V9Client(core.client()).report(TASK, StatusUpdate(status="STARTED"))
    assert told.refused is refused
    assert told.word == answer.text.strip('"')


async def test_a_scheduler_without_its_node_is_asked_later():
    client = V9Client(Core(updateStatus=httpx2.Response(503)).client())
    with pytest.raises(Unavailable):
        await client.report(TASK, StatusUpdate(status="STARTED"))


@pytest.mark.parametrize("cause", ["UNKNOWN", "STAKE_TOO_LOW", "OF_OUR_OWN"])
async def test_causes_have_names_that_peers_know(cause: str):
    core = Core()
    update = StatusUpdate(status="START_FAILED", details=StatusDetails(cause=cause))
    await V9Client(core.client()).report(TASK, update)
    said = json.loads(core.asked[-1].content)["details"]["cause"]
    assert said == (cause if cause in CAUSES else "UNKNOWN")


async def test_recovery_lists_with_more_than_is_known():
    """Java adds a cause at the top; what cannot be read costs nothing but itself."""
    good = {
        "chainTaskId": str(TASK),
        "workersAddress": [str(ME)],
        "taskNotificationType": "PLEASE_REVEAL",
        "taskNotificationExtra": {"blockNumber": 7, "smsUrl": None, "novel": 1},
        "taskAbortCause": "UNKNOWN",
    }
    core = Core(interrupted=httpx2.Response(200, json=[good, {"odd": 1}, None, 3]))
    (news,) = await V9Client(core.client()).interrupted(5)
    assert (news.chain_task_id, news.task_notification_type) == (TASK, "PLEASE_REVEAL")
    nobody: Any = good | {"workersAddress": None}
    assert understood(json.dumps(nobody)) is None
    assert understood("[" * 100_000) is None


@pytest.mark.parametrize("answer", [httpx2.Response(204), httpx2.Response(200, text="")])
async def test_no_work(answer: httpx2.Response):
    core = Core(available=answer)
    assert await V9Client(core.client()).offer(7) is None
    assert dict(core.asked[-1].url.params) == {"blockNumber": "7"}


async def test_what_a_scheduler_says_of_a_task():
    told = {"currentStatus": "RESULT_UPLOADING", "uploadingWorkerWalletAddress": str(ME)}
    core = Core(**{str(TASK): httpx2.Response(200, json=told)})
    assert await V9Client(core.client()).fate(TASK) == ("RESULT_UPLOADING", str(ME))
    core = Core(**{str(TASK): httpx2.Response(404)})
    assert await V9Client(core.client()).fate(TASK) == ("", "")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000, (3 << 16) + 1])
async def test_a_v9_store_gets_the_zip_as_its_own_workers_send_it(tmp_path: Path, size: int):
    archive, posted = tmp_path / "a.zip", list[httpx2.Request]()
    archive.write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))

    def store(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT":
            return httpx2.Response(405)
        posted.append(request)
        return httpx2.Response(200, text="/ipfs/Qm")

    client = ResultsClient("http://core")
    client._http = speaking(store)
    assert await client.upload(TASK, archive, token="a.b.c") == "/ipfs/Qm"
    (request,) = posted
    content = await request.aread()
    assert request.headers["authorization"] == "a.b.c"
    assert int(request.headers["content-length"]) == len(content)
    body = json.loads(content)
    assert base64.b64decode(body["zip"], validate=True) == archive.read_bytes()
    assert (body["chainTaskId"], body["enclaveSignature"]) == (str(TASK), "0x" + "00" * 65)


async def test_a_v9_store_that_cannot_store_now_is_tried_again(tmp_path: Path):
    """It says 400 for that, and 401 to whom it does not want."""
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"zip")
    answers = {"PUT": 405, "POST": 400}
    client = ResultsClient("http://core")
    client._http = speaking(lambda request: httpx2.Response(answers[request.method]))
    with pytest.raises(Unavailable):
        await client.upload(TASK, archive, token="a.b.c")
    answers["POST"] = 401
    with pytest.raises(Refused):
        await client.upload(TASK, archive, token="a.b.c")
