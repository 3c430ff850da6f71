"""Who may upload what: every check against the real contracts."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from results_lab import ZERO_ADDRESS, Address, Market, Result, result, wallet

from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import TaskId
from tallystick.storage.archive import unpack
from tallystick.storage.cid import cid_v0, cid_v1
from tallystick.wire.results import ResultsClient, parse_link, result_link

pytestmark = pytest.mark.anyio


async def token(market: Market, store: ResultsClient, task: TaskId, worker: Any) -> str:
    return await store.token(market.authorization(task, worker), wallet(worker).sign_message)


async def test_a_revealed_result_is_taken_and_given_to_everybody(
    market: Market, store: ResultsClient, worker: Any, good: Result, tmp_path: Path
) -> None:
    task = market.revealed(good.digest, worker)
    assert not await store.holds(task)
    authorization = market.authorization(task, worker)
    place = await store.deliver(authorization, wallet(worker).sign_message, good.archive)
    assert place == f"/ipfs/{cid_v0(good.archive)}" == await store.location(task)

    answer = await store._http.get(place, headers={"accept": "application/zip"})
    (tmp_path / "got.zip").write_bytes(answer.content)
    unpack(tmp_path / "got.zip", tmp_path / "got")
    assert (tmp_path / "got" / "result.txt").read_text() == "A result"
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["x-content-type-options"] == "nosniff"

    head = await store._http.head(place)
    assert (head.status_code, head.headers["content-length"], head.content) == (
        200,
        str(good.archive.stat().st_size),
        b"",
    )
    assert (await store._http.get(f"/ipfs/{cid_v1(good.archive)}")).content == answer.content
    piece = await store._http.get(place, headers={"range": "bytes=0-1"})
    assert (piece.status_code, piece.content) == (206, b"PK")


async def test_delivering_again_changes_nothing(
    market: Market, store: ResultsClient, worker: Any, good: Result, tmp_path: Path
) -> None:
    task = market.revealed(good.digest, worker)
    authorization, signer = market.authorization(task, worker), wallet(worker).sign_message
    place = await store.deliver(authorization, signer, good.archive)
    assert await store.deliver(authorization, signer, tmp_path / "nothing") == place
    pass_ = await store.token(authorization, signer)
    assert await store.upload(task, good.archive, token=pass_) == place


async def test_a_v9_worker_uploads_base64_in_json(
    market: Market, store: ResultsClient, worker: Any, good: Result
) -> None:
    task = market.revealed(good.digest, worker)
    headers = {"authorization": await token(market, store, task, worker)}
    http, path = store._http, f"/v1/results/{task}"
    assert (await http.head(path, headers=headers)).status_code == 404
    body = {
        "chainTaskId": str(task),
        "dealId": "0x" + "00" * 32,
        "taskIndex": 0,
        "image": None,
        "cmd": None,
        "zip": base64.b64encode(good.archive.read_bytes()).decode(),
        "deterministHash": str(good.digest),
        "enclaveSignature": "0x" + "00" * 65,
    }
    answer = await http.post("/v1/results", json=body, headers=headers)
    assert (answer.status_code, answer.text) == (200, f"/ipfs/{cid_v0(good.archive)}")
    assert (await http.head(path, headers=headers)).status_code == 204
    assert (await http.get(path + "/ipfshash")).text == cid_v0(good.archive)


async def test_a_zip_may_also_come_as_an_array_of_bytes(
    market: Market, store: ResultsClient, worker: Any, good: Result
) -> None:
    task = market.revealed(good.digest, worker)
    headers = {"authorization": await token(market, store, task, worker)}
    signed = [b - 256 if b > 127 else b for b in good.archive.read_bytes()]
    body = json.dumps({"zip": signed, "chainTaskId": str(task)}, indent=1)
    answer = await store._http.post("/v1/results", content=body, headers=headers)
    assert answer.text == f"/ipfs/{cid_v0(good.archive)}"


async def test_a_result_for_a_contract_is_known_by_its_callback_data(
    market: Market, store: ResultsClient, worker: Any, tmp_path: Path
) -> None:
    found = result(tmp_path / "cb", **{"callback-data": "0x" + "0" * 63 + "1"})
    task = market.revealed(found.digest, worker, callback=Address(b"\x77" * 20))
    place = await store.deliver(
        market.authorization(task, worker), wallet(worker).sign_message, found.archive
    )
    assert place.startswith("/ipfs/Qm")


async def test_nothing_is_taken_before_the_reveal(
    market: Market, store: ResultsClient, worker: Any, good: Result
) -> None:
    task = market.task()
    pass_ = await token(market, store, task, worker)
    market.contribute(task, worker, good.digest)
    with pytest.raises(Unavailable, match="has not revealed"):
        await store.upload(task, good.archive, token=pass_)
    market.reveal(task, worker, good.digest)
    assert await store.upload(task, good.archive, token=pass_)


async def test_nothing_is_taken_after_the_end(
    market: Market, store: ResultsClient, worker: Any, good: Result
) -> None:
    task = market.revealed(good.digest, worker)
    pass_ = await token(market, store, task, worker)
    link = result_link("ipfs", "/ipfs/elsewhere")
    market.send(market.chain.scheduler, market.calls.finalize(task, link))
    with pytest.raises(Refused, match="COMPLETED"):
        await store.upload(task, good.archive, token=pass_)


async def test_only_a_winner_uploads(
    market: Market, store: ResultsClient, good: Result
) -> None:
    winner, other = market.chain.workers[:2]
    task = market.revealed(good.digest, winner)
    pass_ = await token(market, store, task, other)
    with pytest.raises(Refused, match="did not contribute"):
        await store.upload(task, good.archive, token=pass_)


async def test_only_the_result_that_won_is_taken(
    market: Market, store: ResultsClient, worker: Any, good: Result, tmp_path: Path
) -> None:
    lie = result(tmp_path / "lie", "A lie")
    task = market.revealed(good.digest, worker)
    pass_ = await token(market, store, task, worker)
    with pytest.raises(Refused, match="agreed on"):
        await store.upload(task, lie.archive, token=pass_)
    (tmp_path / "junk.zip").write_bytes(b"PK junk")
    with pytest.raises(Refused, match="not a zip"):
        await store.upload(task, tmp_path / "junk.zip", token=pass_)
    assert not await store.holds(task)


async def test_a_token_needs_both_signatures(
    market: Market, store: ResultsClient, worker: Any
) -> None:
    task, other = market.task(), market.chain.workers[1]
    own, foreign = wallet(worker).sign_message, wallet(other).sign_message
    with pytest.raises(Refused, match="not by the worker"):
        await store.token(market.authorization(task, worker), foreign)
    with pytest.raises(Refused, match="owner of the deal"):
        await store.token(market.authorization(task, worker, signer=other), own)
    with pytest.raises(Refused, match="not the worker's signature"):
        await store.token(market.authorization(task, worker), lambda _: b"x" * 65)
    with pytest.raises(Unavailable, match="not on chain"):
        await store.token(market.authorization(TaskId(b"\1" * 32), worker), own)


async def test_enclaves_are_somebody_elses(
    market: Market, store: ResultsClient, worker: Any
) -> None:
    task = market.task()
    authorization = market.authorization(task, worker)
    enclave = authorization.model_copy(update={"enclave_challenge": Address(b"\2" * 20)})
    with pytest.raises(Refused, match="enclave"):
        await store.token(enclave, wallet(worker).sign_message)
    assert authorization.enclave_challenge == ZERO_ADDRESS


@pytest.mark.parametrize("pass_", ["", "x", "Bearer x", "a.b.c"])
async def test_without_a_token_nobody_uploads(
    store: ResultsClient, good: Result, pass_: str
) -> None:
    task = TaskId(b"\1" * 32)
    with pytest.raises(Refused, match="401"):
        await store.upload(task, good.archive, token=pass_)
    head = await store._http.head(f"/v1/results/{task}", headers={"authorization": pass_})
    assert head.status_code == 401


async def test_a_result_over_the_limit_is_cut_off(
    market: Market, store: ResultsClient, worker: Any, good: Result, tmp_path: Path
) -> None:
    task = market.revealed(good.digest, worker)
    pass_ = await token(market, store, task, worker)
    large = tmp_path / "large.zip"
    large.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(Refused, match="at most 1,048,576"):
        await store.upload(task, large, token=pass_)
    declared = {"authorization": pass_, "content-length": str(1 << 30)}
    answer = await store._http.put(f"/v1/results/{task}", headers=declared, content=b"PK")
    assert answer.status_code == 413
    body = {"chainTaskId": str(task), "zip": base64.b64encode(large.read_bytes()).decode()}
    answer = await store._http.post("/v1/results", json=body, headers={"authorization": pass_})
    assert answer.status_code == 413
    assert leftovers(tmp_path) == []


def leftovers(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "results"
    return [*(folder / "incoming").iterdir(), *(folder / "objects").iterdir()]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '{"zip": "UEs=',
        '{"zip": "###", "chainTaskId": "TASK"}',
        '{"zip": "UEs=", "chainTaskId": "0x12"}',
        '{"zip": [1, "x"], "chainTaskId": "TASK"}',
        '{"cmd": "\\"zip\\": \\"UEs=\\"", "chainTaskId": "TASK"}',
        '{"zip": "UEs=", "cmd": "' + "x" * 100_000 + '", "chainTaskId": "TASK"}',
    ],
)
async def test_a_malformed_body_is_refused(
    market: Market, store: ResultsClient, worker: Any, good: Result, tmp_path: Path, body: str
) -> None:
    task = market.revealed(good.digest, worker)
    headers = {"authorization": await token(market, store, task, worker)}
    content = body.replace("TASK", str(task))
    answer = await store._http.post("/v1/results", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "path",
    ["/ipfs/Qm", "/ipfs/" + "Q" * 46, "/ipfs/..%2findex.db", "/v1/results/0x12/ipfshash"],
)
async def test_what_is_not_here_is_not_found(store: ResultsClient, path: str) -> None:
    assert (await store._http.get(path)).status_code in (404, 422)


async def test_the_version_is_plain_text(store: ResultsClient) -> None:
    answer = await store._http.get("/version")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text[0].isdigit()


def test_the_link_is_what_official_clients_read() -> None:
    link = result_link("ipfs", "/ipfs/QmX")
    assert link == b'{ "storage": "ipfs", "location": "/ipfs/QmX" }'
    found = parse_link(link)
    assert found is not None
    assert (found.storage, found.location) == ("ipfs", "/ipfs/QmX")


@pytest.mark.parametrize("junk", [b"", b"\xff", b"[]", b'{"storage": 1}', b"[" * 100_000])
def test_anything_else_is_no_link(junk: bytes) -> None:
    assert parse_link(junk) is None
