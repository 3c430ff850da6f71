"""What a store keeps, for how long, and for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from results_lab import Market, Result, client_of, wallet

from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address, DealId, TaskId
from tallystick.results.app import create_app
from tallystick.results.config import ResultsConfig
from tallystick.results.denial import Denied
from tallystick.results.retention import tidy
from tallystick.results.store import Store, Stored
from tallystick.results.tokens import Tokens
from tallystick.storage.cid import cid_v0
from tallystick.wire.results import ResultsClient, access_message

DAY = 86_400


class Clock:
    """A wall clock that a test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(tmp_path: Path, clock: Clock) -> Any:
    store = Store(tmp_path / "shelf", clock)
    yield store
    store.close()


def task(number: int) -> TaskId:
    return TaskId(bytes([number]) * 32)


def put(store: Store, number: int, content: bytes, *, deadline: int = 0) -> Stored:
    """The result of task `number`."""
    received = store.incoming()
    received.write_bytes(content)
    return store.add(
        received,
        task=task(number),
        deal=DealId(bytes(32)),
        uploader=Address(bytes(20)),
        final_deadline=deadline,
    )


def limits(**more: Any) -> ResultsConfig:
    return ResultsConfig(data_dir=Path(), rpc_urls=(), hub=Address(bytes(20)), **more)


def test_results_survive_a_restart(shelf: Store, tmp_path: Path) -> None:
    stored = put(shelf, 1, b"one")
    shelf.close()
    again = Store(tmp_path / "shelf")
    again.sweep()
    assert again.find(task(1)) == stored
    assert again.path(stored).read_bytes() == b"one"
    again.close()


def test_what_a_crash_left_behind_is_swept(shelf: Store, tmp_path: Path) -> None:
    stored = put(shelf, 1, b"one")
    shelf.incoming().write_bytes(b"half an upl")
    (tmp_path / "shelf" / "objects" / cid_v0(b"orphan")).write_bytes(b"orphan")
    shelf.close()
    again = Store(tmp_path / "shelf")
    again.sweep()
    assert [p.name for p in (tmp_path / "shelf" / "objects").iterdir()] == [stored.cid]
    assert not list((tmp_path / "shelf" / "incoming").iterdir())
    again.close()


def test_the_first_result_of_a_task_stays(shelf: Store) -> None:
    first = put(shelf, 1, b"one")
    assert put(shelf, 1, b"two") == first
    assert shelf.owners(cid_v0(b"two")) == []


def test_equal_results_share_a_file_until_both_are_gone(shelf: Store) -> None:
    first, second = put(shelf, 1, b"same"), put(shelf, 2, b"same")
    shelf.remove(first)
    assert shelf.path(second).read_bytes() == b"same"
    shelf.remove(second)
    assert not shelf.path(second).exists()


def test_old_results_go_and_young_ones_stay(shelf: Store, clock: Clock) -> None:
    put(shelf, 1, b"old")
    clock.now += 20 * DAY
    put(shelf, 2, b"young")
    clock.now += 15 * DAY
    assert tidy(shelf, limits(keep_days=30.0), chain_time=10, clock=clock) == 1
    assert shelf.find(task(1)) is None
    assert shelf.find(task(2)) is not None


def test_the_oldest_go_when_space_is_short(shelf: Store, clock: Clock) -> None:
    for number in (1, 2, 3, 4):
        put(shelf, number, bytes([number]) * 100)
        clock.now += 1
    assert tidy(shelf, limits(keep_bytes=250), chain_time=10, clock=clock) == 2
    assert [n for n in (1, 2, 3, 4) if shelf.find(task(n))] == [3, 4]


def test_nothing_goes_before_its_final_deadline(shelf: Store, clock: Clock) -> None:
    put(shelf, 1, b"x" * 1000, deadline=5000)
    clock.now += 1000 * DAY
    assert tidy(shelf, limits(keep_bytes=1), chain_time=5000, clock=clock) == 0
    assert tidy(shelf, limits(keep_bytes=1), chain_time=5001, clock=clock) == 1


def test_tokens_are_believed_for_an_hour_and_only_by_their_store(clock: Clock) -> None:
    mine, other = Tokens(b"k" * 32, "http://a", clock), Tokens(b"o" * 32, "http://a", clock)
    worker = Address(b"\1" * 20)
    pass_ = mine.issue(worker)
    assert mine.uploader(pass_) == worker
    with pytest.raises(Denied, match="not one of this store"):
        other.uploader(pass_)
    clock.now += 3601
    with pytest.raises(Denied, match="expired"):
        mine.uploader(pass_)


def test_a_challenge_is_no_upload_token_and_the_other_way_round(clock: Clock) -> None:
    tokens = Tokens(b"k" * 32, "http://a", clock)
    with pytest.raises(Denied, match="names no wallet"):
        tokens.uploader(tokens.challenge())
    with pytest.raises(Denied, match="sign a challenge"):
        tokens.reader(f"{tokens.issue(Address(b'1' * 20))} 0x00 0x00")


@pytest.fixture
async def vault(config: ResultsConfig, hub: Hub) -> AsyncIterator[ResultsClient]:
    """A private store."""
    app = create_app(replace(config, private=True), hub)
    async with client_of(app) as client:
        yield client
    app.state.desk.store.close()


@pytest.mark.anyio
async def test_a_private_result_is_for_beneficiary_and_requester(
    market: Market, vault: ResultsClient, worker: Any, good: Result
) -> None:
    beneficiary, stranger = market.chain.workers[4:6]
    requester = market.chain.requester
    deal = market.revealed(good.digest, worker, beneficiary=beneficiary.address)
    place = await vault.deliver(
        market.authorization(deal, worker), wallet(worker).sign_message, good.archive
    )

    async def status(reader: Any, signer: Any) -> int:
        access = await vault.access(reader.address, wallet(signer).sign_message)
        answer = await vault._http.get(place, headers={"authorization": access})
        assert "public" not in answer.headers.get("cache-control", "")
        return int(answer.status_code)

    assert (await vault._http.get(place)).status_code == 401
    assert await status(beneficiary, beneficiary) == 200
    assert await status(requester, requester) == 200
    assert await status(stranger, stranger) == 403
    assert await status(worker, worker) == 403
    assert await status(beneficiary, stranger) == 401


@pytest.mark.anyio
async def test_an_answer_for_another_store_opens_nothing(
    market: Market, vault: ResultsClient, worker: Any, good: Result
) -> None:
    deal = market.revealed(good.digest, worker)
    signer = wallet(market.chain.requester)
    place = await vault.deliver(
        market.authorization(deal, worker), wallet(worker).sign_message, good.archive
    )
    challenge = (await vault._http.get("/v1/results/challenge")).text
    signature = signer.sign_message(access_message(signer.address, "http://evil", challenge))
    access = f"{challenge} {signer.address} 0x{signature.hex()}"
    answer = await vault._http.get(place, headers={"authorization": access})
    assert answer.status_code == 401


@pytest.mark.anyio
async def test_no_tokens_after_the_final_deadline(
    chain: Any, config: ResultsConfig, tmp_path: Path
) -> None:
    """On a chain of its own, since it moves the clock."""
    market, worker = Market(chain), chain.workers[0]
    task = market.task()
    async with Rpc([chain.url]) as rpc:
        hub = await Hub.open(rpc, chain.hub)
        found = await hub.task(task)
        assert found is not None
        chain.set_time(found.final_deadline)
        app = create_app(replace(config, data_dir=tmp_path / "late"), hub)
        async with client_of(app) as client:
            with pytest.raises(Refused, match="final deadline"):
                await client.token(
                    market.authorization(task, worker), wallet(worker).sign_message
                )
        app.state.desk.store.close()
