"""Whether what answers at the scheduler's address is the pool that the operator meant."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.networks import Meant, confirm, confirm_answers, deployment_of
from tallystick.chain.rpc import Rpc
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.journal import Journal
from tallystick.poco.values import ZERO_ADDRESS, Address
from tallystick.wire.scheduler import ChainConfig, PublicConfig, SchedulerClient
from tallystick.worker.config import WorkerConfig

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after which a worker that was in this pool before does without its scheduler: what
it owes the chain cannot wait."""
_PAUSE = 1.0
"""Seconds before a node that did not answer is asked again."""
_TOLD = "what the pool says of itself"


class WrongPool(Exception):
    """What answers at the scheduler's address is not the pool that the operator meant."""

    exit_code = 2


async def introduction(
    config: WorkerConfig, client: SchedulerClient, memory: Journal[Any] | None = None
) -> tuple[PublicConfig, ChainConfig]:
    """What the pool says of itself, once it answers. Raises WrongPool, and UnconfirmedHub when
    nobody whom the operator trusts has named the hub that it works with."""
    pool, chain = await _ask_who(config, client, memory)
    if config.pool not in (None, pool.worker_pool_address):
        raise WrongPool(
            f"{config.scheduler_url} schedules for pool {pool.worker_pool_address}, but the"
            f" settings name {config.pool}."
        )
    confirm(chain.iexec_hub_contract_address, chain.chain_id, meant(config))
    return pool, chain


async def hub_of(rpc: Rpc, chain: ChainConfig, config: WorkerConfig) -> Hub:
    """The contracts, as soon as a node answers. Raises UnconfirmedHub."""
    complaints = Complaints(log)
    while True:
        try:
            hub = await Hub.open(rpc, chain.iexec_hub_contract_address)
            await confirm_answers(hub, chain.chain_id, meant(config))
        except Unavailable as trouble:
            complaints.about("The chain", trouble)
            await anyio.sleep(_PAUSE)
        else:
            return hub


def meant(config: WorkerConfig) -> Meant:
    """What the settings say of the hub."""
    return Meant(hub=config.hub, chain_id=config.chain_id, trust_hub=config.trust_hub)


async def _ask_who(
    config: WorkerConfig, client: SchedulerClient, memory: Journal[Any] | None
) -> tuple[PublicConfig, ChainConfig]:
    complaints, began = Complaints(log), anyio.current_time()
    while True:
        try:
            pool = await client.config()
            chain = await _chain_of(config, client, pool.config_server_url)
        except Unavailable as trouble:
            complaints.about("The scheduler", trouble)
            if anyio.current_time() - began > PATIENCE and (known := _remembered(memory)):
                client.kin = known[2]
                return known[:2]
            await anyio.sleep(0.2)
        else:
            _remember(memory, pool, chain, kin=client.kin)
            return pool, chain


async def _chain_of(config: WorkerConfig, client: SchedulerClient, url: str) -> ChainConfig:
    """What the configuration server says; where a pool of another make has none that answers,
    what the settings say, if they say all of it. Raises Unavailable, Refused."""
    try:
        return await client.chain_config(url)
    except (Unavailable, Refused):
        known = deployment_of(config.hub) if config.hub is not None else None
        chain_id = config.chain_id or (known.chain_id if known is not None else None)
        if client.kin or config.hub is None or chain_id is None or not config.rpc_urls:
            raise
        return ChainConfig(
            chain_id=chain_id,
            sidechain=known is not None and known.rlc == ZERO_ADDRESS,
            chain_node_url=config.rpc_urls[0],
            iexec_hub_contract_address=config.hub,
        )


def _remember(
    memory: Journal[Any] | None, pool: PublicConfig, chain: ChainConfig, *, kin: bool
) -> None:
    told = json.dumps([pool.json_bytes().decode(), chain.json_bytes().decode(), kin])
    if memory is not None and memory.noted(_TOLD) != told:
        memory.note(_TOLD, told)


def known_pool(memory: Journal[Any]) -> Address | None:
    """The pool that answered last."""
    told = memory.noted(_TOLD)
    if told is None:
        return None
    return PublicConfig.model_validate_json(json.loads(told)[0]).worker_pool_address


def _remembered(
    memory: Journal[Any] | None,
) -> tuple[PublicConfig, ChainConfig, bool] | None:
    """What pool and chain are, and whether the scheduler is one of ours."""
    told = memory.noted(_TOLD) if memory is not None else None
    if told is None:
        return None
    log.warning("What the scheduler said of itself when it last answered is used until then.")
    pool, chain, *kin = json.loads(told)
    known = PublicConfig.model_validate_json(pool), ChainConfig.model_validate_json(chain)
    return *known, all(kin)
