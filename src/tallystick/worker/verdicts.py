"""Verdicts on what belongs to the worker and what it meets: wallet, scheduler, chain, money.

Pure, as `preflight`: probed values in, a verdict out.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from tallystick.chain.fees import Fees, Tank
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.wire.versions import accepts, bad_version
from tallystick.worker.preflight import Exit, Verdict, fail, ok, unknown, warn

ETHER, GWEI, RLC = 10**18, 10**9, 10**9
RESERVE: Final = 10
"""Transactions that a wallet should be able to pay for: as many as the era's workers asked."""
SKEW_OK, SKEW_BAD = 10.0, 300.0
"""Seconds that two clocks may differ unnoticed, and from which tasks are in danger."""
HEAD_OK = 120.0
"""Seconds since the last block before a node is taken to lag."""


def of_wallet(path: Path, address: Address | None) -> Verdict:
    """A keystore that could be read."""
    who = f" of {address}" if address else ""
    return ok("wallet file", f"{path}, the wallet{who}.")


def of_no_wallet(trouble: str) -> Verdict:
    """The keystore cannot be read, and why."""
    return fail("wallet file", trouble, "", Exit.WALLET)


def of_mode(path: Path, mode: int) -> Verdict:
    """Who may read the keystore, by the mode of its file."""
    shown = f"{stat.S_IMODE(mode):04o}"
    if stat.S_IMODE(mode) & 0o077:
        return warn(
            "wallet mode", f"{path} has mode {shown}: others can read it.", f"chmod 600 {path}"
        )
    return ok("wallet mode", f"{shown}.")


def of_unlocked(address: Address) -> Verdict:
    """The wallet is open."""
    return ok("wallet password", f"opens the wallet of {address}.")


def of_locked(trouble: str) -> Verdict:
    """The password does not open the wallet."""
    remedy = (
        "Look for a $ or a quote that a shell took away, and for blanks at the end; a password"
        " file avoids both."
    )
    return fail("wallet password", trouble, remedy, Exit.WALLET)


def of_scheduler(url: str, version: str) -> Verdict:
    """The scheduler answers."""
    return ok("scheduler", f"{url} answers, version {version[:40]}.")


def of_silence(url: str, trouble: str) -> Verdict:
    """A scheduler that does not answer."""
    remedy = f"Is {url} right? Only outgoing connections are needed: `tally worker doctor`."
    return fail("scheduler", trouble, remedy, Exit.UNREACHABLE, waits=True)


def of_version(required: str) -> Verdict:
    """Whether the pool takes our version."""
    if accepts(required):
        wanted = f"the pool requires {required}." if required else "the pool takes any."
        return ok("version", wanted)
    return fail("version", bad_version(required), "", Exit.VERSION)


def of_pool(found: Address, meant: Address | None) -> Verdict:
    """Whether the scheduler's pool is the one that the settings name, if any."""
    if meant in (None, found):
        return ok("workerpool", f"{found}.")
    return fail(
        "workerpool",
        f"The scheduler schedules for pool {found}, but the settings name {meant}.",
        "Correct scheduler_url or pool.",
        Exit.CONFIG,
    )


def of_welcome(wallet: Address) -> Verdict:
    """The scheduler takes this wallet."""
    return ok("login", f"the scheduler takes {wallet}.")


def of_refusal(wallet: Address, trouble: str) -> Verdict:
    """The scheduler does not take this wallet."""
    remedy = f"Ask the pool to put {wallet} on its list, or choose another pool."
    return fail("login", trouble, remedy, Exit.REFUSED)


def of_clock(ahead: float | None) -> Verdict:
    """How far our clock is ahead of the scheduler's, in seconds."""
    if ahead is None:
        return unknown("clock", "The scheduler does not tell the time.")
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the scheduler."
    if abs(ahead) < SKEW_OK:
        return ok("clock", "as the scheduler's.")
    remedy = "Let the machine keep time: timedatectl set-ntp true."
    if abs(ahead) >= SKEW_BAD:
        remedy += " Deadlines and certificates will be misjudged."
    return warn("clock", found, remedy)


def of_node(urls: tuple[str, ...], chain_id: int) -> Verdict:
    """The chain answers."""
    return ok("chain", f"chain {chain_id} by {', '.join(urls)}.")


def of_no_node(trouble: str) -> Verdict:
    """No node of the chain answers."""
    remedy = "Name a node that answers in rpc_urls; a start waits for it."
    return fail("chain", trouble, remedy, Exit.UNREACHABLE, waits=True)


def of_wrong_chain(trouble: str) -> Verdict:
    """A hub or chain that nobody vouches for, or a node of another chain."""
    return fail("hub", trouble, "", Exit.CONFIG)


def of_hub(hub: Address, network: str | None) -> Verdict:
    """The hub is the one that is meant, on `network` when it is a known one."""
    return ok("hub", f"{hub}, {network or 'as the settings say'}.")


def of_head(number: int, age: float, *, syncing: bool) -> Verdict:
    """How old the node's last block is, in seconds."""
    found = f"block {number}, {max(0.0, age):.0f} s old."
    if syncing:
        return warn("node in sync", f"{found} The node says that it is still syncing.", "Wait.")
    if age > HEAD_OK:
        return warn("node in sync", found, "The node may lag: name another one in rpc_urls.")
    return ok("node in sync", found)


def of_gas(
    address: Address,
    balance: Wei | None,
    *,
    network: Wei | None,
    fees: Fees,
    free: bool,
) -> Verdict:
    """ETH in the wallet, by the price that would be paid now, beside the one at the cap."""
    if free:
        return ok("ETH for gas", "none needed: this is a side chain, where gas is free.")
    if balance is None:
        return unknown("ETH for gas", "The node does not tell the balance.")
    tank = Tank(balance, fees.price(network))
    figures = _figures(tank, Tank(balance, fees.cap))
    if tank.empty:
        return fail(
            "ETH for gas",
            f"ETH balance is empty, please refill gas now {figures}.",
            f"Send at least {_eth(_reserve(tank))} to {address}.",
            Exit.FUNDS,
        )
    if tank.low:
        remedy = f"Send {_eth(_reserve(tank) - balance)} more to {address}."
        return warn(
            "ETH for gas", f"ETH balance very low, should refill gas now {figures}.", remedy
        )
    return ok("ETH for gas", f"ETH balance is fine {figures}.")


def of_deposit(
    *, purse: Nrlc, free: Nrlc, locked: Nrlc, stake: Nrlc | None, ratio: int, native: bool
) -> Verdict:
    """RLC in the wallet beside RLC deposited: only the latter can be staked.

    `stake` is what a task of the pool locked lately; None where there was none.
    """
    where = " as the chain's own coin" if native else ""
    found = (
        f"{_rlc(free)} deposited, {_rlc(locked)} locked; {_rlc(purse)} in the wallet{where}."
    )
    need = _need(stake, ratio)
    if ratio == 0 or free >= (stake or 1):
        return ok("RLC deposited", f"{found} {need}")
    wanted = max(stake or 0, RLC)
    remedy = f"Deposit needed: tally worker deposit '{_rlc(wanted)}'."
    if purse < wanted:
        remedy = f"Get {_rlc(wanted - purse)} into the wallet first. {remedy}"
    return fail("RLC deposited", f"{found} {need}", remedy, Exit.FUNDS, waits=True)


def _need(stake: Nrlc | None, ratio: int) -> str:
    if ratio == 0:
        return "This pool locks no stake."
    lately = "no deal was made lately" if stake is None else f"lately {_rlc(stake)}"
    return f"A task locks {ratio} % of the pool's price: {lately}."


def _figures(tank: Tank, capped: Tank) -> str:
    """In the words of the era, the estimate twice: by the price now and by the cap."""
    now = "any" if tank.transactions is None else tank.transactions
    least = "any" if capped.transactions is None else capped.transactions
    return (
        f"[balance:{_eth(tank.balance)}, estimateTxNb:{now} at {tank.price / GWEI:g} Gwei,"
        f" {least} at the cap of {capped.price / GWEI:g} Gwei]"
    )


def _reserve(tank: Tank) -> Wei:
    return RESERVE * tank.price * tank.gas


def _eth(wei: Wei) -> str:
    return f"{wei / ETHER:.6g} ETH"


def _rlc(nrlc: Nrlc) -> str:
    return f"{nrlc / RLC:.9g} RLC"
