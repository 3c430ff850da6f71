"""Fetching a result: from the link on chain to files, nothing believed on the way."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx2

from tallystick.chain.records import ChainTask, TaskState
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused, Unavailable
from tallystick.requester.refusals import BadResult, NoResult, NotYours, ToldToContract
from tallystick.requester.session import Session
from tallystick.storage.archive import ResultLimits, unpack
from tallystick.storage.cid import cid_v0, cid_v1, is_cid
from tallystick.wire.results import ResultsClient, parse_link

Reader = Callable[[], Wallet]
"""Finds the wallet that may read; it may have to ask somebody for a password."""

LARGEST = 4 * 2**30
"""Bytes of a result that are accepted, packed and unpacked."""

LIMITS = ResultLimits(max_bytes=LARGEST, max_files=100_000)


class WouldOverwrite(Refused):
    """There are files where the result should go."""


class NoPlace(Refused):
    """Nothing can be written where the result should go."""


def check_target(out: Path, *, force: bool) -> None:
    """Raise WouldOverwrite or NoPlace unless the result may go to `out`, and can."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise WouldOverwrite(f"{out} is no folder; choose another place with --out.")
    if not force and out.is_dir() and any(out.iterdir()):
        raise WouldOverwrite(
            f"The folder {out} is not empty: choose another one with --out, or replace the "
            "files of the same names with --force."
        )
    there = next(each for each in out.absolute().parents if each.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".result-", dir=there):
            pass
    except OSError as error:
        raise NoPlace(
            f"Nothing can be written to {there} ({error.strerror}): choose another place with "
            "--out."
        ) from error


def free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, … that does not exist."""
    candidate, number = wanted, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")
    return candidate


async def download(
    session: Session,
    task: ChainTask,
    out: Path,
    *,
    force: bool = False,
    reader: Reader | None = None,
) -> Path:
    """Put the files of `task`'s result into the folder `out`, all or none; returns it.

    The archive is what the link on chain names, or it is thrown away. Raises NoResult,
    BadResult, BadArchive, NotYours, WouldOverwrite, NoPlace, Unavailable. `reader` is asked
    for a wallet when the store is a private one.
    """
    check_target(out, force=force)
    cid = result_cid(task)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _workshop(out) as folder:
        archive = folder / "result.zip"
        await _fetch(session, cid, archive, reader)
        if not await anyio.to_thread.run_sync(_is, archive, cid):
            raise BadResult(f"What came for {cid} has another content; it was thrown away.")
        fresh = folder / "result"
        await anyio.to_thread.run_sync(unpack, archive, fresh, LIMITS)
        await anyio.to_thread.run_sync(_move, fresh, out)
    return out


def result_cid(task: ChainTask) -> str:
    """The content that the link of `task` names. Raises NoResult."""
    if task.state is not TaskState.COMPLETED:
        raise NoResult(
            f"The task {task.id} is {task.state.name}: it has no result to download."
        )
    link = parse_link(task.results)
    if link is not None and link.storage == "ethereum":
        raise ToldToContract(
            f"The result of {task.id} was told to the contract {link.location}, as the deal"
            " wants: no store has it."
        )
    if link is None or link.storage != "ipfs":
        raise NoResult(f"The result of {task.id} is not in a result store: {task.results!r}.")
    cid = link.location.removeprefix("/ipfs/")
    if not is_cid(cid):
        raise NoResult(f"The link of {task.id} names no content: {link.location!r}.")
    return cid


async def _fetch(session: Session, cid: str, target: Path, reader: Reader | None) -> None:
    """Save what the store has under the name `cid`, introducing ourselves if need be."""
    try:
        got = await _got(session, cid, target, headers={})
        if not got and reader is not None:
            introduction = await _introduction(session, reader())
            got = await _got(session, cid, target, headers=introduction)
    except httpx2.HTTPError as error:
        raise Unavailable(f"The result store did not give {cid} ({error}).") from error
    if not got:
        raise NotYours("The result store shows this to the deal's beneficiary only.")


async def _introduction(session: Session, wallet: Wallet) -> dict[str, str]:
    async with ResultsClient(session.place.results_url) as store:
        return {"Authorization": await store.access(wallet.address, wallet.sign_message)}


async def _got(session: Session, cid: str, target: Path, *, headers: dict[str, str]) -> bool:
    """Whether the store let us have it. Raises NoResult, BadResult and what HTTP does."""
    url = f"{session.place.results_url.rstrip('/')}/ipfs/{cid}"
    async with session.http.stream("GET", url, headers=headers) as answer:
        if answer.status_code in (401, 403):
            return False
        if answer.status_code in (404, 410):
            raise NoResult(f"The result store does not have {cid} (any more).")
        await _save(answer.raise_for_status(), target)
    return True


async def _save(answer: httpx2.Response, target: Path) -> None:
    got = 0
    async with await anyio.open_file(target, "wb") as file:
        async for part in answer.aiter_bytes():
            got += len(part)
            if got > LARGEST:
                raise BadResult(f"The result is larger than {LARGEST} bytes; it was not kept.")
            await file.write(part)


def _is(archive: Path, cid: str) -> bool:
    """Whether `cid` names exactly these bytes."""
    found = cid_v0(archive) if cid.startswith("Qm") else cid_v1(archive)
    return found == cid


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """A folder beside `out`, so that the finished result only has to be renamed."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        yield Path(folder)


def _move(fresh: Path, out: Path) -> None:
    """Everything below `fresh` to the same place below `out`."""
    if not out.exists() or not any(out.iterdir()):
        fresh.replace(out)
        return
    for path in sorted(fresh.rglob("*")):
        place = out / path.relative_to(fresh)
        if path.is_dir():
            _room_for_folder(place)
        else:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            path.replace(place)


def _room_for_folder(place: Path) -> None:
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    place.mkdir(exist_ok=True)
