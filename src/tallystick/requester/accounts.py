"""What a wallet has, and moving RLC between it and its account on the hub."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.requester.amounts import show_amount
from tallystick.requester.session import Session
from tallystick.requester.transact import transact


class NotEnough(Refused):
    """The wallet, or its account, does not hold what was to be moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """All that an address has."""

    address: Address
    gas: Wei
    """The chain's own coin, which pays for transactions."""
    wallet: Nrlc
    """RLC outside the hub."""
    stake: Nrlc
    """Deposited and free to use."""
    locked: Nrlc
    """Deposited and bound to deals that have not ended."""


async def holdings(session: Session, address: Address) -> Holdings:
    """What `address` has: in its wallet, and inside the hub."""
    account = await session.hub.account(address)
    return Holdings(
        address=address,
        gas=await session.hub.balance(address),
        wallet=await session.hub.rlc_balance(address),
        stake=account.stake,
        locked=account.locked,
    )


async def deposit(session: Session, wallet: Wallet, amount: Nrlc) -> None:
    """Move `amount` from the wallet to its account. Raises NotEnough, Refused, Unavailable."""
    has = await session.hub.rlc_balance(wallet.address)
    if has < amount:
        raise NotEnough(
            f"The wallet {wallet.address} has {show_amount(has)} to deposit, "
            f"not {show_amount(amount)}."
        )
    await transact(session, wallet, session.hub.calls.deposit(amount))


async def withdraw(session: Session, wallet: Wallet, amount: Nrlc) -> None:
    """Move `amount` from the account to the wallet. Raises NotEnough, Refused, Unavailable."""
    account = await session.hub.account(wallet.address)
    if account.stake < amount:
        raise NotEnough(
            f"The account of {wallet.address} has {show_amount(account.stake)} that are free "
            f"({show_amount(account.locked)} are locked in deals), not {show_amount(amount)}."
        )
    await transact(session, wallet, session.hub.calls.withdraw(amount))
