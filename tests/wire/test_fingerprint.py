"""The answer to a ping: another one makes v9 workers begin anew."""

from __future__ import annotations

from tallystick.poco.values import Address
from tallystick.wire.fingerprint import fingerprint
from tallystick.wire.scheduler import ChainConfig, PublicConfig

POOL, OWNER, HUB = (Address(bytes([number]) * 20) for number in (1, 2, 3))


def told(url: str = "http://a:13000", version: str = "", chain: int = 134) -> str:
    config = PublicConfig(
        worker_pool_address=POOL,
        scheduler_public_address=OWNER,
        config_server_url=url,
        resultRepositoryURL="http://results",
        required_worker_version=version,
    )
    node = ChainConfig(
        chain_id=chain, chain_node_url="http://node", iexec_hub_contract_address=HUB
    )
    return fingerprint(config, node)


def test_it_is_the_same_at_every_process_of_a_pool_and_after_a_restart():
    assert told() == told() == told("http://b:13001")
    assert told().startswith("0x")


def test_it_changes_with_what_workers_are_told():
    assert len({told(), told(version="9.2.0"), told(chain=1)}) == 3
