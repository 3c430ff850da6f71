"""Test money for any address of the running local market."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.devnet.actors import ETHER, RLC, Grant, endow
from tallystick.devnet.console import Console
from tallystick.devnet.deploy import Contracts
from tallystick.devnet.market import Market
from tallystick.poco.values import Address

USUAL_WEI = 10 * ETHER
USUAL_RLC = 100 * RLC


def pour(market: Market, to: Address, *, wei: int = USUAL_WEI, rlc: int = USUAL_RLC) -> None:
    """Give `to` so many wei and nRLC, mined at once. Those who ask together take turns.

    Raises StepFailed when the address takes no ether, Unavailable when no chain answers.
    """
    places = Contracts(
        hub=market.hub,
        rlc=market.rlc,
        app_registry=market.registries.app,
        dataset_registry=market.registries.dataset,
        workerpool_registry=market.registries.workerpool,
    )
    with _turn(market.data / "faucet.lock"), Console(market.rpc_url) as console:
        endow(console, places, [Grant(to=to, wei=wei, rlc=rlc)])


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
