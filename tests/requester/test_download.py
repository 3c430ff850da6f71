"""Results are what the chain names, or nothing; and they land only where they should."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tallystick.chain.records import ChainTask, TaskState
from tallystick.poco.values import ZERO_ADDRESS, ZERO_HASH, DealId, Digest, TaskId
from tallystick.requester.download import (
    NoPlace,
    WouldOverwrite,
    check_target,
    download,
    free_folder,
)
from tallystick.requester.refusals import BadResult, NoResult, NotYours
from tallystick.requester.session import Place, Session
from tallystick.storage.archive import BadArchive
from tallystick.storage.cid import cid_v0, cid_v1
from tallystick.wire.results import result_link

pytestmark = pytest.mark.anyio


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


GOOD = zipped(**{"computed.json": "{}", "plots__digits.txt": "0123"})


def task(
    location: str, state: TaskState = TaskState.COMPLETED, storage: str = "ipfs"
) -> ChainTask:
    return ChainTask(
        id=TaskId(b"\1" * 32),
        state=state,
        deal=DealId(b"\2" * 32),
        index=0,
        time_unit=1,
        contribution_deadline=0,
        reveal_deadline=0,
        final_deadline=0,
        consensus=ZERO_HASH,
        reveals=1,
        winners=1,
        contributors=(),
        digest=Digest(b"\3" * 32),
        results=result_link(storage, location),
        callback=b"",
    )


@asynccontextmanager
async def store(status: int, content: bytes) -> AsyncIterator[Session]:
    """A session at a store that answers everything in one way."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    place = Place(
        chain_id=1,
        rpc_urls=("http://store",),
        ws_url=None,
        hub=ZERO_ADDRESS,
        scheduler_url="http://store",
        results_url="http://store/",
        book=Path("orders.json"),
        state=Path("client"),
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(answer)) as http:
        yield Session(place, None, None, http)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [cid_v0, cid_v1])
async def test_the_files_of_a_result_are_unpacked(tmp_path, name):
    async with store(200, GOOD) as session:
        out = await download(session, task(f"/ipfs/{name(GOOD)}"), tmp_path / "a" / "out")
    assert (out / "plots" / "digits.txt").read_text() == "0123"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


async def test_another_content_than_the_one_on_chain_is_thrown_away(tmp_path):
    async with store(200, zipped(evil="")) as session:
        with pytest.raises(BadResult, match="another content"):
            await download(session, task(f"/ipfs/{cid_v0(GOOD)}"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [zipped(**{"..__escaped": "x"}), b"no zip at all"])
async def test_a_hostile_archive_reaches_nothing(tmp_path, content):
    (tmp_path / "box").mkdir()
    async with store(200, content) as session:
        with pytest.raises(BadArchive):
            await download(session, task(f"/ipfs/{cid_v0(content)}"), tmp_path / "box" / "out")
    assert list(tmp_path.rglob("*")) == [tmp_path / "box"]


@pytest.mark.parametrize(
    ("status", "error"), [(404, NoResult), (410, NoResult), (403, NotYours)]
)
async def test_what_the_store_does_not_give(tmp_path, status, error):
    async with store(status, b"") as session:
        with pytest.raises(error):
            await download(session, task(f"/ipfs/{cid_v0(GOOD)}"), tmp_path / "out")


@pytest.mark.parametrize(
    "ended",
    [
        task("/ipfs/../../etc/passwd"),
        task("/ipfs/Qm"),
        task("/results/x", storage="dropbox"),
        task(f"/ipfs/{cid_v0(GOOD)}", TaskState.FAILED),
    ],
)
async def test_a_task_without_a_proper_link_has_no_result(tmp_path, ended):
    async with store(200, GOOD) as session:
        with pytest.raises(NoResult):
            await download(session, ended, tmp_path / "out")


async def test_files_are_replaced_only_when_told_so(tmp_path):
    out, outside = tmp_path / "out", tmp_path / "outside"
    (out / "plots").mkdir(parents=True)
    outside.write_text("mine")
    (out / "plots" / "digits.txt").symlink_to(outside)
    (out / "notes").write_text("kept")
    async with store(200, GOOD) as session:
        with pytest.raises(WouldOverwrite, match="--force"):
            await download(session, task(f"/ipfs/{cid_v0(GOOD)}"), out)
        await download(session, task(f"/ipfs/{cid_v0(GOOD)}"), out, force=True)
    assert outside.read_text() == "mine"
    assert (out / "plots" / "digits.txt").read_text() == "0123"
    assert (out / "notes").read_text() == "kept"


def test_a_folder_of_its_own_is_found(tmp_path):
    assert free_folder(tmp_path / "r") == tmp_path / "r"
    (tmp_path / "r").mkdir()
    (tmp_path / "r-2").write_text("")
    assert free_folder(tmp_path / "r") == tmp_path / "r-3"
    with pytest.raises(WouldOverwrite, match="no folder"):
        check_target(tmp_path / "r-2", force=True)


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_bought(tmp_path):
    check_target(tmp_path / "new" / "r", force=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoPlace, match=r"Nothing can be written to /proc \("):
        check_target(Path("/proc/tallystick/r"), force=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(NoPlace, match="choose another place with --out"):
        check_target(tmp_path / "file" / "r", force=False)
