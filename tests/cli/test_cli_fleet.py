"""The wallets and the processes of a fleet, before any of them runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tallystick.chain.standing import Purse
from tallystick.chain.wallet import LIGHT, Wallet, keystores
from tallystick.cli.fleet import FINAL, Crew
from tallystick.poco.values import Address
from tallystick.worker.config import WorkerConfig
from tallystick.worker.roster import DEPOSIT, Need, lacking, wallets


@pytest.fixture(autouse=True)
def quick_wallets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A light lock: what is made here guards nothing."""
    create = Wallet.create
    monkeypatch.setattr(Wallet, "create", lambda path, word: create(path, word, work=LIGHT))


def config(folder: Path, **more: Any) -> WorkerConfig:
    known = {"scheduler_url": "http://127.0.0.1:1", "wallet": folder / "w", "base_dir": folder}
    return WorkerConfig(**(known | {"name": "crew"} | more))


def test_wallets_that_are_there_are_used_first_and_the_rest_is_made(tmp_path: Path):
    old = Wallet.create(tmp_path / "mine.json", "hush")
    (tmp_path / "notes.json").write_text("no wallet")
    three = wallets(tmp_path, 3, "hush")
    assert three[0].address == old.address
    assert [each.path.name for each in three[1:]] == ["worker-001.json", "worker-002.json"]
    assert all(each.path.stat().st_mode & 0o077 == 0 for each in three)
    assert Wallet.load(three[1].path, "hush").address == three[1].address
    again = wallets(tmp_path, 3, "hush")
    assert {each.address for each in again} == {each.address for each in three}
    assert len(keystores(tmp_path)) == 3


def test_each_has_a_process_of_its_own(tmp_path: Path):
    shared = config(tmp_path, slots=2, metrics_port=9200)
    crew = Crew(
        shared, tmp_path / "c.toml", wallets(tmp_path, 2, "x"), tmp_path / "p", {"A": "b"}
    )
    first, second = crew.services
    assert (first.name, second.name) == ("crew-1", "crew-2")
    for number, service in enumerate((first, second), 1):
        words = " ".join(service.command)
        assert f"worker start --config {tmp_path}/c.toml --name crew-{number} " in words
        assert f"--wallet {crew.wallets[number - 1].path} " in words
        assert f"--image-cache {tmp_path}/images --slots 2" in words
        assert f"--metrics-port {9199 + number}" in words
        assert (service.environment, service.final) == ({"A": "b"}, FINAL)


def test_what_a_wallet_lacks(tmp_path: Path):
    shared, owner = config(tmp_path, slots=2), Address(b"\x05" * 20)
    nothing = Purse(account=None, balance=None, gas_price=None)
    assert lacking(owner, nothing, shared) == Need(owner, None, None)
    poor = lacking(owner, Purse(account=None, balance=0, gas_price=10**9), shared)
    assert poor.eth == 10 * 500_000 * 13 * 10**8
    rich = lacking(owner, Purse(account=None, balance=10**18, gas_price=10**9), shared)
    assert (rich.eth, rich.rlc) == (0, None)
    assert DEPOSIT * shared.slots == 10**10


def test_no_password_is_made_up_for_wallets_that_have_one(tally: Any, tmp_path: Path):
    Wallet.create(tmp_path / "mine.json", "hush")
    words = ("worker", "fleet", "--count", 1, "--wallets", tmp_path, "--funds")
    file = tmp_path / "c.toml"
    file.write_text(f'scheduler_url = "http://127.0.0.1:1"\nbase_dir = "{tmp_path}"\n')
    told = tally(*words, "--config", file)
    assert told.code != 0
    assert "--password-file" in told.err
    assert not (tmp_path / "password").exists()


def test_a_chain_that_nobody_reaches_leaves_it_unknown(tally: Any, tmp_path: Path):
    file = tmp_path / "c.toml"
    file.write_text(f'scheduler_url = "http://127.0.0.1:1"\nbase_dir = "{tmp_path}"\n')
    words = ("worker", "fleet", "--count", 2, "--wallets", tmp_path / "w", "--config", file)
    told = tally(*words, "--funds", "--json")
    assert told.code == 0
    workers = json.loads(told.out)["workers"]
    assert [each["missing_wei"] for each in workers] == [None, None]
    assert "What the wallets lack is unknown" in told.err
