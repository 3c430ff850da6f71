"""Moving RLC from a worker's wallet to its account on the hub, where it can be staked."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
from anyio import to_thread

from tallystick.chain.hub import Hub
from tallystick.chain.networks import confirm_answers
from tallystick.chain.records import Account
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused, Unavailable
from tallystick.poco.values import Nrlc
from tallystick.worker.checkup import PATIENCE, no_client
from tallystick.worker.config import WorkerConfig
from tallystick.worker.exclusive import hold_wallet
from tallystick.worker.funds import fees_of
from tallystick.worker.introduction import introduction, meant


class NotInTheWallet(Refused):
    """The wallet does not hold what was to be deposited."""

    exit_code = 4


async def deposit(config: WorkerConfig, amount: Nrlc) -> Account:
    """What the account holds after `amount` was moved to it.

    Written into the worker's own book of transactions, so that the worker does not take it for
    a stranger's; and so only while it is stopped. Raises WalletLocked when it runs,
    UnconfirmedHub for a hub that nobody vouches for, NotInTheWallet, and Unavailable.
    """
    wallet = await to_thread.run_sync(Wallet.load, config.wallet, config.unlock_with())
    async with AsyncExitStack() as stack:
        stack.enter_context(hold_wallet(config.wallet, wallet.address, config.name))
        hub = await _hub(config, stack)
        has = await hub.rlc_balance(wallet.address)
        if has < amount:
            raise NotInTheWallet(
                f"The wallet {wallet.address} holds {has} nRLC, not {amount}: send it more."
            )
        config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        sender = Sender(
            hub.rpc,
            wallet,
            config.home / "transactions.db",
            chain_id=hub.domain.chain_id,
            fees=fees_of(config),
        )
        stack.callback(sender.close)
        await sender.send(hub.calls.deposit(amount))
        return await hub.account(wallet.address)


async def _hub(config: WorkerConfig, stack: AsyncExitStack) -> Hub:
    """The hub of the pool, once it is sure that it is the one that is meant."""
    try:
        with anyio.fail_after(PATIENCE):
            async with no_client(config.scheduler_url, config.ca_file) as client:
                _, chain = await introduction(config, client)
    except TimeoutError as silence:
        raise Unavailable(
            f"The scheduler at {config.scheduler_url} does not answer, and so does not tell"
            " which hub the deposit belongs to."
        ) from silence
    rpc = await stack.enter_async_context(
        Rpc(config.rpc_urls or (chain.chain_node_url,), ca=config.ca_file)
    )
    hub = await Hub.open(rpc, chain.iexec_hub_contract_address)
    await confirm_answers(hub, chain.chain_id, meant(config))
    return hub
