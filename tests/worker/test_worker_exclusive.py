"""A wallet belongs to one worker: on this machine, at its pool, and on the chain."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from worker_lab import Bench, bench

from tallystick.chain.sender import Patience, Sender
from tallystick.poco.values import Address
from tallystick.worker.doppelganger import Doppelganger
from tallystick.worker.exclusive import (
    Successor,
    WalletLocked,
    hold_wallet,
    instance_of,
)

WALLET = Address(b"\x0a" * 20)
HOLD = """
import sys, pathlib
from tallystick.poco.values import Address
from tallystick.worker.exclusive import hold_wallet
lock = hold_wallet(pathlib.Path(sys.argv[1]), Address(sys.argv[2]), "first")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def worker(trade: Any, hub: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench(trade, hub, tmp_path, worker=3)
    yield made
    made.sender.close()
    made.journal.close()


def test_two_processes_cannot_hold_one_wallet(tmp_path: Path):
    """Whatever their folders are called; and what is killed leaves nothing behind."""
    keystore = tmp_path / "wallet.json"
    command = [sys.executable, "-c", HOLD, str(keystore), str(WALLET)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WalletLocked, match=rf"worker 'first' \(process {other.pid}\)"):
            hold_wallet(keystore, WALLET, "second")
        hold_wallet(keystore, Address(b"\x0b" * 20), "another wallet").close()
        other.kill()
        other.wait()
        hold_wallet(keystore, WALLET, "second").close()
    lock = tmp_path / f".{WALLET}.lock"
    assert lock.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The keystore's folder is mounted read-only, or is not there at all."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    nowhere = Path("/proc/1/wallet.json")
    with (
        hold_wallet(nowhere, WALLET, "first"),
        pytest.raises(WalletLocked, match="worker 'first'"),
    ):
        hold_wallet(nowhere, WALLET, "second")
    assert (tmp_path / "state/tallystick/wallets" / f".{WALLET}.lock").is_file()


def test_an_instance_is_the_same_after_a_restart_and_another_one_in_a_copy(tmp_path: Path):
    home = tmp_path / "worker"
    home.mkdir()
    name = instance_of(home)
    assert instance_of(home) == name
    shutil.move(home, tmp_path / "moved")
    assert instance_of(tmp_path / "moved") == name, "the same folder in another place"
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert instance_of(tmp_path / "copy") != name
    assert len(name) < 100


def test_who_was_taken_over_asks_for_no_work():
    class Client:
        successor = ""

    client: Any = Client()
    gate = Successor(client)
    assert gate.closed() is None
    client.successor = "The wallet is used by worker B now."
    reason = gate.closed()
    assert reason is not None
    assert (reason.code, "--takeover" in reason.sentence) == ("WALLET_TAKEN_OVER", True)


@pytest.mark.anyio
async def test_a_foreign_transaction_closes_the_gate_until_it_is_cleared(
    worker: Bench, tmp_path: Path
):
    """Over restarts too; the nonces of what is cleared do not close it again."""
    chain = worker.trade.chain
    sender = Sender(
        worker.hub.rpc,
        worker.wallet,
        tmp_path / "book.db",
        chain_id=chain.chain_id,
        patience=Patience(usurped=0.05),
    )
    gate = Doppelganger(worker.me, sender, worker.journal)
    await sender._look_after()
    assert gate.closed() is None
    deposit = worker.trade.calls.withdraw(1)
    chain.transact(worker.me, deposit.to, deposit.data)
    await sender._look_after()
    assert gate.closed() is None, "one node's word for one moment is not enough"
    with anyio.fail_after(30):
        while gate.closed() is None:
            await anyio.sleep(0.02)
            await sender._look_after()
    nonce = int(chain.rpc("eth_getTransactionCount", str(worker.me), "latest"), 16) - 1
    reason = gate.closed()
    assert reason is not None
    assert reason.code == "WALLET_SHARED"
    assert f"transaction {nonce} is not from this worker" in reason.sentence
    assert "tally worker resume --clear" in reason.sentence
    # Another process: its sender saw nothing, but the gate remembers.
    again = Doppelganger(worker.me, worker.sender, worker.journal)
    assert again.closed() == reason
    again.clear()
    assert again.closed() is None
    gate.clear()
    assert gate.closed() is None, "the sender still knows the nonce, but it is cleared"
    sender.close()


@pytest.mark.anyio
async def test_what_is_owed_is_signed_again_with_the_next_nonce(worker: Bench, tmp_path: Path):
    """Another program takes our nonce while our call is on its way."""
    chain = worker.trade.chain
    sender = Sender(
        worker.hub.rpc,
        worker.wallet,
        tmp_path / "book.db",
        chain_id=chain.chain_id,
        patience=Patience(usurped=0.05),
    )
    call, before = worker.trade.calls.withdraw(2), await worker.hub.account(worker.me)
    chain.automine(False)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sender.send, call)
            with anyio.fail_after(60):
                while not (ours := pool_of(chain)):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            chain.rpc("anvil_dropTransaction", ours[0])
            theirs = worker.trade.calls.withdraw(1)
            me = str(worker.me)
            chain.rpc("anvil_impersonateAccount", me)
            step = {"from": me, "to": str(theirs.to), "data": "0x" + theirs.data.hex()}
            chain.rpc("eth_sendTransaction", step)
            chain.mine()
            chain.automine(True)
    finally:
        chain.automine(True)
    after = await worker.hub.account(worker.me)
    assert before.stake - after.stake == 3, "both were done"
    assert len(sender.foreign) == 1
    sender.close()


def pool_of(chain: Any) -> list[str]:
    pending = chain.rpc("txpool_content")["pending"]
    return [each["hash"] for nonces in pending.values() for each in nonces.values()]
