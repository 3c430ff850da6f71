"""Whether a new worker's wallet has what its pool asks for."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.networks import confirm_answers
from tallystick.chain.rpc import Rpc
from tallystick.chain.standing import purse
from tallystick.chain.wallet import Wallet
from tallystick.cli.join_offer import JoinOffer
from tallystick.cli.join_talk import Talk
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.requester.amounts import show_amount
from tallystick.wire.scheduler import SchedulerClient
from tallystick.worker.config import WorkerConfig
from tallystick.worker.funds import in_eth
from tallystick.worker.introduction import introduction, meant

_PATIENCE = 60.0
"""Seconds for the pool and the chain to tell what the wallet has."""


class FundsMissing(Refused):
    """The wallet needs more; the sentence says how much of what, and where to."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Means:
    """What a wallet has."""

    owner: Address
    eth: Wei
    rlc: Nrlc
    """In the wallet, not deposited."""
    stake: Nrlc
    """In the hub, locked or not."""


def missing(talk: Talk, offer: JoinOffer, config: WorkerConfig) -> Nrlc:
    """What of the pool's deposit is missing and lies in the wallet. Raises FundsMissing when
    gas or RLC have to be sent first, Unavailable, and what says that the pool or hub is
    another."""
    has = anyio.run(_means, config)
    lacks_eth = max(0, offer.minimum_eth_wei - has.eth)
    lacks_stake = max(0, offer.deposit_nrlc - has.stake)
    lacks_rlc = max(0, lacks_stake - has.rlc)
    if lacks_eth or lacks_rlc:
        wanted = [f"{in_eth(lacks_eth)} for gas"] if lacks_eth else []
        wanted += [f"{show_amount(lacks_rlc)} to deposit"] if lacks_rlc else []
        raise FundsMissing(
            f"The wallet lacks {' and '.join(wanted)}. Send it to {has.owner.checksummed} on"
            f" chain {offer.chain_id}, then run this again: it goes on from here."
        )
    talk.ok(f"The wallet has {in_eth(has.eth)} for gas")
    if not lacks_stake:
        talk.ok(f"{show_amount(has.stake)} are deposited")
    return lacks_stake


async def _means(config: WorkerConfig) -> Means:
    with anyio.move_on_after(_PATIENCE):
        return await _asked(config)
    raise Unavailable(
        f"{config.scheduler_url} and its chain did not answer in {_PATIENCE:g} s: run this"
        " again later, it goes on from here."
    )


async def _asked(config: WorkerConfig) -> Means:
    wallet = Wallet.load(config.wallet, config.unlock_with())
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            SchedulerClient(
                config.scheduler_url,
                wallet=wallet.address,
                sign=wallet.sign_hash,
                ca=config.ca_file,
            )
        )
        _, chain = await introduction(config, client)
        rpc = await stack.enter_async_context(
            Rpc(config.rpc_urls or (chain.chain_node_url,), ca=config.ca_file)
        )
        hub = await Hub.open(rpc, chain.iexec_hub_contract_address)
        await confirm_answers(hub, chain.chain_id, meant(config))
        known = await purse(hub, wallet.address)
        if known.account is None or known.balance is None:
            raise Unavailable(f"No node tells what {wallet.address.checksummed} has.")
        rlc = await hub.rlc_balance(wallet.address)
        account = known.account
        return Means(wallet.address, known.balance, rlc, account.stake + account.locked)
