"""The explorer of a market: what it is told of who is who."""

from __future__ import annotations

from collections.abc import Callable

from tallystick.devnet.deploy import DEPLOYER
from tallystick.devnet.explorer import door
from tallystick.devnet.explorer.known import Known
from tallystick.devnet.services import Plan


async def explore(plan: Plan, say: Callable[[str], None]) -> None:
    """Serve the explorer until cancelled. A market goes on without it: what keeps it from its
    port is said."""
    try:
        await door.serve(known(plan), plan.ports.explorer)
    except OSError as trouble:
        say(f"The explorer cannot be served at {plan.explorer_url}: {trouble.strerror}.")


def known(plan: Plan) -> Known:
    """The chain of a market, and what to call everybody there."""
    founded = plan.foundation
    at = founded.contracts
    return Known(
        chain_id=plan.chain_id,
        rpc_url=plan.rpc_url,
        ws_url=plan.ws_url,
        hub=at.hub,
        roles=plan.accounts,
        contracts={
            "hub": at.hub,
            "RLC token": at.rlc,
            "app registry": at.app_registry,
            "dataset registry": at.dataset_registry,
            "workerpool registry": at.workerpool_registry,
            "local pool": founded.workerpool,
            **{f"app {name}": app.address for name, app in founded.apps.items()},
            "deployer": DEPLOYER,
        },
        package=plan.poco,
    )
