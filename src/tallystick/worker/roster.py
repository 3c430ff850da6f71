"""Wallets for several workers on one machine, and what each of them still lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from tallystick.chain.fees import Tank
from tallystick.chain.hub import Hub
from tallystick.chain.networks import confirm
from tallystick.chain.rpc import Rpc
from tallystick.chain.standing import Purse, purse
from tallystick.chain.wallet import Keystore, Wallet, keystores
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.wire.scheduler import SchedulerClient
from tallystick.worker.config import WorkerConfig
from tallystick.worker.funds import fees_of
from tallystick.worker.introduction import meant

VOTES: Final = 10
"""Transactions that a wallet should be able to pay for."""
DEPOSIT: Final[Nrlc] = 5 * 10**9
"""nRLC that operators are told to have in the hub, for each slot."""
_PATIENCE = 20.0
"""Seconds that scheduler and node have to answer."""


class TooFewWallets(Refused):
    """There are not as many wallets as workers."""


@dataclass(frozen=True, slots=True)
class Need:
    """One wallet and what it lacks; None where no node tells it."""

    wallet: Address
    eth: Wei | None
    rlc: Nrlc | None


def wallets(folder: Path, count: int, password: str) -> list[Keystore]:
    """`count` wallets in `folder`, by the names of their files: those that are there, and new
    ones, locked by `password`, for the rest. A wallet that does not tell its address in its
    file is passed over: nobody could tell what it lacks."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = [each for each in keystores(folder) if each.address is not None]
    number = 0
    while len(found) < count:
        number += 1
        path = folder / f"worker-{number:03d}.json"
        if not path.exists():
            found.append(Keystore(path, Wallet.create(path, password).address))
    return found[:count]


async def needs(config: WorkerConfig, found: Sequence[Keystore]) -> list[Need]:
    """What every wallet lacks. Raises Unavailable or Refused when the pool or its chain cannot
    be asked, or is not the one that was meant."""
    owners = [each.address for each in found if each.address is not None]
    with anyio.move_on_after(_PATIENCE):
        return await _asked(config, owners)
    raise Unavailable(
        f"{config.scheduler_url} and its chain did not answer in {_PATIENCE:g} s."
    )


async def _asked(config: WorkerConfig, owners: Sequence[Address]) -> list[Need]:
    stranger = Wallet(b"\x01" * 32)  # these two questions are answered to everybody
    async with SchedulerClient(
        config.scheduler_url,
        wallet=stranger.address,
        sign=stranger.sign_hash,
        ca=config.ca_file,
    ) as client:
        pool = await client.config()
        chain = await client.chain_config(pool.config_server_url)
    confirm(chain.iexec_hub_contract_address, chain.chain_id, meant(config))
    async with Rpc(config.rpc_urls or (chain.chain_node_url,), ca=config.ca_file) as rpc:
        hub = await Hub.open(rpc, chain.iexec_hub_contract_address)
        return [lacking(owner, await purse(hub, owner), config) for owner in owners]


def lacking(owner: Address, known: Purse, config: WorkerConfig) -> Need:
    """What `owner` needs beside what it has: gas for some votes, and stake for every slot."""
    eth, rlc = None, None
    if known.balance is not None:
        tank = Tank(known.balance, fees_of(config).price(known.gas_price))
        eth = max(0, VOTES * tank.gas * tank.price - tank.balance)
    if known.account is not None:
        rlc = max(0, DEPOSIT * config.slots - known.account.stake - known.account.locked)
    return Need(owner, eth, rlc)
