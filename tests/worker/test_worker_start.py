"""Starting: settings, the folder's lock, and whether the pool is the one that was meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from worker_lab import settings

from tallystick.chain.hub import Hub
from tallystick.chain.networks import UnconfirmedHub
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.settings import BadSettings, load, secret
from tallystick.poco.values import Address
from tallystick.scheduler.app import NotThePool, _require_owner
from tallystick.scheduler.config import SchedulerConfig
from tallystick.wire.scheduler import ChainConfig, PublicConfig
from tallystick.worker.app import AlreadyRunning, _only_one
from tallystick.worker.config import WorkerConfig
from tallystick.worker.introduction import WrongPool, introduction

pytestmark = pytest.mark.anyio

POOL, HUB, OTHER = (Address(bytes([n]) * 20) for n in (1, 2, 3))


def test_every_mistake_is_reported_at_once(tmp_path: Path):
    path = tmp_path / "worker.toml"
    path.write_text('slots = "many"\npool = "0x12"\nwallet = 3\nmax_cpus = []\n')
    with pytest.raises(BadSettings) as mistakes:
        load(path, WorkerConfig)
    said = str(mistakes.value)
    assert str(path) in said
    for name in ("slots", "pool", "wallet", "max_cpus", "scheduler_url", "base_dir"):
        assert name in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"a = ", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "cannot be read")],
)
def test_a_file_that_holds_no_settings(tmp_path: Path, content: bytes | None, sentence: str):
    path = tmp_path / "worker.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSettings, match=sentence):
        load(path, WorkerConfig)


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path):
    path = tmp_path / "password"
    path.write_text("open sesame\n# from the vault\n")
    assert secret(path) == "open sesame"
    for content in (b"", b"\xff\n"):
        path.write_bytes(content)
        with pytest.raises(BadSettings, match="cannot be read"):
            secret(path)


def test_settings_as_an_operator_writes_them(tmp_path: Path):
    path = tmp_path / "worker.toml"
    path.write_text(
        'scheduler_url = "http://pool"\nwallet = "w.json"\npassword_file = "p"\n'
        f'base_dir = "{tmp_path}"\nname = "w1"\nslots = 2\npool = "0x{"01" * 20}"\n'
    )
    config = load(path, WorkerConfig)
    assert (config.pool, config.slots, config.home) == (POOL, 2, tmp_path / "w1")
    assert not config.private_downloads


def test_a_folder_belongs_to_one_worker(tmp_path: Path):
    config = settings(tmp_path)
    with _only_one(config):
        with pytest.raises(AlreadyRunning, match="stop it, or give this one another name"):
            _only_one(config)
        _only_one(replace(config, name="another")).close()
        assert config.home.stat().st_mode & 0o077 == 0
    _only_one(config).close()


class Introduces:
    """A scheduler that says who it is, once it is up."""

    kin = True

    def __init__(self, *, down: int = 0) -> None:
        self.down = down

    async def config(self) -> PublicConfig:
        self.down -= 1
        if self.down >= 0:
            raise Unavailable("It is not up yet.")
        return PublicConfig(
            worker_pool_address=POOL,
            scheduler_public_address=OTHER,
            config_server_url="http://config",
            resultRepositoryURL="http://results",
        )

    async def chain_config(self, url: str) -> ChainConfig:
        assert url == "http://config"
        return ChainConfig(
            chain_id=1, chain_node_url="http://node", iexec_hub_contract_address=HUB
        )


async def test_a_scheduler_that_starts_later_is_waited_for(tmp_path: Path):
    client: Any = Introduces(down=2)
    with anyio.fail_after(60):
        pool, chain = await introduction(settings(tmp_path, trust_hub=HUB), client)
    assert (pool.worker_pool_address, chain.iexec_hub_contract_address) == (POOL, HUB)


@pytest.mark.parametrize("meant", [{"pool": OTHER}, {"hub": OTHER}])
async def test_a_scheduler_of_something_else(tmp_path: Path, meant: dict[str, Address]):
    client: Any = Introduces()
    with pytest.raises((WrongPool, UnconfirmedHub), match=f"the settings name {OTHER}"):
        await introduction(settings(tmp_path, **meant), client)
    await introduction(settings(tmp_path, pool=POOL, hub=HUB), client)


async def test_a_hub_that_only_the_pool_vouches_for(tmp_path: Path):
    client: Any = Introduces()
    with pytest.raises(UnconfirmedHub, match=f"--trust-hub {HUB}"):
        await introduction(settings(tmp_path, pool=POOL), client)
    with pytest.raises(UnconfirmedHub, match="the settings name chain 2"):
        await introduction(settings(tmp_path, trust_hub=HUB, chain_id=2), client)


async def test_a_pool_of_another_make_whose_configuration_server_is_away(tmp_path: Path):
    """The settings then say it, if they say all of it."""
    client: Any = Introduces()

    async def away(url: str) -> ChainConfig:
        raise Refused("There is nothing here.")

    client.chain_config, client.kin = away, False
    with pytest.raises(Refused, match="nothing here"):
        await introduction(settings(tmp_path, hub=HUB, chain_id=7), client)
    nodes = ("http://node",)
    whole = settings(tmp_path, hub=HUB, chain_id=7, rpc_urls=nodes)
    _, chain = await introduction(whole, client)
    assert (chain.chain_id, chain.chain_node_url) == (7, nodes[0])
    assert (chain.iexec_hub_contract_address, chain.sidechain) == (HUB, False)
    client.kin = True
    with pytest.raises(Refused, match="nothing here"):
        await introduction(whole, client)


async def test_only_the_owner_of_a_pool_schedules_for_it(hub: Hub, shared_chain: Any):
    config = SchedulerConfig(
        data_dir=Path("unused"),
        rpc_urls=(shared_chain.url,),
        hub=shared_chain.hub,
        workerpool=shared_chain.workerpool,
        wallet=Path("wallet.json"),
        password_file=Path("unused"),
        results_url="http://results",
    )
    await _require_owner(hub, config, Wallet(shared_chain.scheduler.key))
    with pytest.raises(NotThePool, match="use the owner's wallet"):
        await _require_owner(hub, config, Wallet(shared_chain.requester.key))
