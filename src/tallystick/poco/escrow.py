"""The money on the hub: free balances, locked stakes, and the events that tell of them.

`IexecEscrow` and `IexecEscrowToken` as a program. Amounts in nRLC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from tallystick.poco.rewards import KITTY
from tallystick.poco.values import ZERO_ADDRESS, Address, Nrlc, TaskId

TOO_POOR: Final = "IexecEscrow: Transfer amount exceeds balance"


class Event(NamedTuple):
    """A log of the hub: its name and its arguments in the contract's order."""

    name: str
    args: tuple[object, ...]


Emit: TypeAlias = Callable[[Event], None]


class Revert(Exception):
    """The contract refuses the call; nothing has changed.

    `reason` is what the contract itself says, which for most calls is nothing.
    """

    def __init__(self, sentence: str, reason: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason


def require(condition: bool, sentence: str, reason: str = "") -> None:
    """Go on only if `condition` holds. Raises Revert otherwise."""
    if not condition:
        raise Revert(sentence, reason)


@dataclass(slots=True)
class Escrow:
    """Everybody's account. What is locked belongs to the hub until it is unlocked."""

    emit: Emit
    hub: Address = ZERO_ADDRESS
    balances: dict[Address, Nrlc] = field(default_factory=dict[Address, Nrlc])
    locked: dict[Address, Nrlc] = field(default_factory=dict[Address, Nrlc])
    supply: Nrlc = 0
    """All that was deposited and not withdrawn; the sum of all balances."""

    def balance(self, account: Address) -> Nrlc:
        """What the account may take out."""
        return self.balances.get(account, 0)

    def stake(self, account: Address) -> Nrlc:
        """What of the account is locked."""
        return self.locked.get(account, 0)

    def deposit(self, account: Address, amount: Nrlc) -> None:
        """Credit RLC that reached the hub."""
        require(account != ZERO_ADDRESS, "Nobody can be credited at the zero address.", _MINT)
        self.supply += amount
        self._credit(account, amount)
        self.emit(Event("Transfer", (ZERO_ADDRESS, account, amount)))

    def withdraw(self, account: Address, amount: Nrlc) -> None:
        """Take free money off the hub."""
        require(amount <= self.balance(account), f"{account} has no {amount} nRLC to withdraw.")
        self.supply -= amount
        self._credit(account, -amount)
        self.emit(Event("Transfer", (account, ZERO_ADDRESS, amount)))

    def transfer(self, sender: Address, recipient: Address, amount: Nrlc) -> None:
        """Give free money to another account on the hub."""
        require(recipient != ZERO_ADDRESS, "The zero address receives nothing.", _TO_NOBODY)
        require(amount <= self.balance(sender), f"{sender} has no {amount} nRLC to give.")
        self._move(sender, recipient, amount)

    def check(self, *stakes: tuple[Address, Nrlc]) -> None:
        """Raise Revert when one of the accounts cannot bear all that is to be locked of it."""
        left: dict[Address, Nrlc] = {}
        for account, amount in stakes:
            require(account != ZERO_ADDRESS, "The zero address pays nothing.", _FROM_NOBODY)
            left[account] = left.get(account, self.balance(account)) - amount
            lacks = f"{account} has {self.balance(account)} nRLC free, {amount} must be locked."
            require(left[account] >= 0, lacks, TOO_POOR)

    def lock(self, *stakes: tuple[Address, Nrlc]) -> None:
        """Lock every amount, or none when one of the accounts cannot bear it."""
        self.check(*stakes)
        for account, amount in stakes:
            self._move(account, self.hub, amount)
            self.locked[account] = self.stake(account) + amount
            self.emit(Event("Lock", (account, amount)))

    def unlock(self, account: Address, amount: Nrlc) -> None:
        """Give back what was locked."""
        self._move(self.hub, account, amount)
        self.locked[account] = self.stake(account) - amount
        self.emit(Event("Unlock", (account, amount)))

    def reward(self, account: Address, amount: Nrlc, task: TaskId) -> None:
        """Pay from the hub's own, for a task."""
        self._move(self.hub, account, amount)
        self.emit(Event("Reward", (account, amount, task)))

    def seize(self, account: Address, amount: Nrlc, task: TaskId) -> None:
        """Turn a locked amount into the hub's own, to be handed out as rewards."""
        self.locked[account] = self.stake(account) - amount
        self.emit(Event("Seize", (account, amount, task)))

    def feed_kitty(self, amount: Nrlc, task: TaskId) -> None:
        """Lock a seized amount on the kitty, without moving it there and back."""
        self.locked[KITTY] = self.stake(KITTY) + amount
        self.emit(Event("Reward", (KITTY, amount, task)))
        self.emit(Event("Lock", (KITTY, amount)))

    def _move(self, sender: Address, recipient: Address, amount: Nrlc) -> None:
        self._credit(sender, -amount)
        self._credit(recipient, amount)
        self.emit(Event("Transfer", (sender, recipient, amount)))

    def _credit(self, account: Address, amount: Nrlc) -> None:
        self.balances[account] = self.balance(account) + amount


_FROM_NOBODY: Final = "IexecEscrow: Transfer from empty address"
_TO_NOBODY: Final = "ERC20: transfer to the zero address"
_MINT: Final = "ERC20: mint to the zero address"
