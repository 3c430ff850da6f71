"""A market starts, is found by others, keeps its state, and stops completely."""

from __future__ import annotations

import os
import signal
import stat

import anyio
import pytest
from eth_abi.abi import decode

from tallystick.chain.wallet import Wallet
from tallystick.devnet import services
from tallystick.devnet.actors import ETHER, RLC
from tallystick.devnet.console import Console
from tallystick.devnet.faucet import pour
from tallystick.devnet.market import (
    AlreadyRunning,
    Market,
    MarketOptions,
    NotAMarket,
    NotRunning,
    reset,
    running,
)
from tallystick.devnet.memory import DumpUnreadable
from tallystick.devnet.ports import PortTaken, reserved
from tallystick.devnet.script import calldata
from tallystick.engine.errors import Unavailable
from tallystick.poco.values import Address
from tallystick.requester.book import read_book

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("poco_packages")]

SOMEBODY = Address("0x00000000000000000000000000000000deadbeef")


def chain_and_registry(plan, console, memory):
    return [services.chain(plan, console, memory), services.registry(plan)]


def started(folder, **options):
    chosen = MarketOptions(data=folder, **options)
    return running(chosen, lambda _: None, chain_and_registry)


def ask(market, types, to, signature, *values):
    with Console(market.rpc_url) as console:
        question = {"to": str(to), "data": "0x" + calldata(signature, *values).hex()}
        return decode(types, bytes.fromhex(console.call("eth_call", question, "latest")[2:]))


async def test_everybody_is_ready_to_trade(tmp_path):
    async with started(tmp_path, workers=2) as market:
        assert Market.load(tmp_path) == market
        assert set(market.accounts) == {
            "owner", "scheduler", "requester", "app-owner", "worker-1", "worker-2",
        }  # fmt: skip
        for role in ("scheduler", "requester", "worker-1", "worker-2"):
            account = market.accounts[role]
            ((stake, locked),) = ask(
                market, ["(uint256,uint256)"], market.hub, "viewAccount(address)", account
            )
            assert (stake >= 100 * RLC, locked) == (True, 0)
        book = read_book(market.orders)
        assert {order.app for order in book.apps} == {a.address for a in market.apps.values()}
        assert {order.category for order in book.workerpools} == set(range(7))
        assert {order.workerpool for order in book.workerpools} == {market.workerpool}
        for app in market.apps.values():
            (multiaddr,) = ask(market, ["bytes"], app.address, "m_appMultiaddr()")
            (checksum,) = ask(market, ["bytes32"], app.address, "m_appChecksum()")
            assert multiaddr.decode() == app.image
            assert "sha256:" + checksum.hex() == app.digest
    with pytest.raises(NotRunning):
        Market.load(tmp_path)


async def test_secrets_are_readable_by_their_owner_only(tmp_path):
    async with started(tmp_path, workers=1) as market:
        secrets = [market.password_file, *market.keystores.values()]
        for path in secrets:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        password = market.password_file.read_text().strip()
        for role, path in market.keystores.items():
            assert Wallet.load(path, password).address == market.accounts[role]
        assert password not in (tmp_path / "market.json").read_text()


async def test_state_is_kept_and_reset_forgets_it(tmp_path):
    async with started(tmp_path, workers=1) as first:
        pour(first, SOMEBODY, wei=2 * ETHER, rlc=3 * RLC)
    async with started(tmp_path, workers=3) as second:
        assert (second.hub, second.apps) == (first.hub, first.apps)
        assert second.accounts["requester"] == first.accounts["requester"]
        assert ask(second, ["uint256"], second.rlc, "balanceOf(address)", SOMEBODY) == (
            3 * RLC,
        )
        newcomer = second.accounts["worker-3"]
        ((stake, _),) = ask(
            second, ["(uint256,uint256)"], second.hub, "viewAccount(address)", newcomer
        )
        assert stake == 200 * RLC
        with pytest.raises(AlreadyRunning):
            reset(tmp_path)
    reset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["up.lock"]
    async with started(tmp_path, workers=1) as third:
        assert third.accounts["requester"] != first.accounts["requester"]
        assert ask(third, ["uint256"], third.rlc, "balanceOf(address)", SOMEBODY) == (0,)


async def test_a_killed_chain_comes_back_where_it_was(tmp_path, until):
    async with started(tmp_path, workers=1) as market:
        pour(market, SOMEBODY, rlc=3 * RLC)
        dump = tmp_path / "chain" / "state.gz"
        poured = dump.stat().st_mtime_ns
        await until(lambda: dump.stat().st_mtime_ns != poured)
        os.kill(market.pids["chain"], signal.SIGKILL)

        def answers() -> bool:
            try:
                balance = ask(market, ["uint256"], market.rlc, "balanceOf(address)", SOMEBODY)
            except Unavailable:
                return False
            return balance == (3 * RLC,)

        await until(answers)


async def test_a_market_that_moves_registers_its_apps_anew(tmp_path):
    async with started(tmp_path, workers=1) as first:
        base = int(first.scheduler_url.rpartition(":")[2])
    with reserved(base), reserved(None, last=base + 20) as free:
        other = free.scheduler
    async with started(tmp_path, workers=1, port=other) as second:
        assert set(second.apps) == set(first.apps)
        assert all(second.apps[name] != app for name, app in first.apps.items())
    async with started(tmp_path, workers=1, port=base) as third:
        assert third.apps == first.apps


async def test_a_second_market_in_the_same_folder_is_refused(tmp_path):
    async with started(tmp_path, workers=1):
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            async with started(tmp_path, workers=1):
                pytest.fail("two markets")


async def test_two_markets_take_different_ports_and_a_taken_one_is_named(tmp_path):
    async with (
        started(tmp_path / "a", workers=1) as one,
        started(tmp_path / "b", workers=1) as two,
    ):
        assert one.rpc_url != two.rpc_url
        taken = int(one.scheduler_url.rpartition(":")[2])
        with pytest.raises(PortTaken, match="is taken by another program"):
            async with started(tmp_path / "c", workers=1, port=taken + 2):
                pytest.fail("one port, two markets")


async def test_asked_to_stop_it_stops_in_good_order(tmp_path):
    seen: list[Market] = []

    async def ask_it_to_stop() -> None:
        async with started(tmp_path, workers=1) as market:
            seen.append(market)
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep(30)

    with pytest.raises(KeyboardInterrupt):
        await ask_it_to_stop()
    for pid in seen[0].pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_only_a_market_is_reset(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(NotAMarket):
        reset(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


async def test_without_a_block_time_every_transaction_is_mined_at_once(tmp_path):
    async with started(tmp_path, workers=1, block_time=0) as market:
        with Console(market.rpc_url) as console:
            assert console.call("anvil_getAutomine") is True
            before = console.call("eth_blockNumber")
            await anyio.sleep(1.5)
            assert console.call("eth_blockNumber") == before


async def test_a_damaged_dump_is_told_in_a_sentence(tmp_path):
    async with started(tmp_path, workers=1):
        pass
    dump = tmp_path / "chain" / "state.gz"
    dump.write_bytes(dump.read_bytes()[:-1000])
    with pytest.raises(ExceptionGroup) as refused:
        async with started(tmp_path, workers=1):
            pytest.fail("a chain from half a dump")
    assert refused.group_contains(DumpUnreadable, match="--reset")


@pytest.mark.parametrize("port", [0, 32766, 70000])
async def test_ports_that_cannot_be_are_refused(tmp_path, port):
    with pytest.raises(PortTaken, match="cannot be used"):
        async with started(tmp_path, workers=1, port=port):
            pytest.fail("no such ports")
