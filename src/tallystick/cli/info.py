"""`tally info`: everything an external client must know of the local market."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import typer

from tallystick.cli import local
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market
from tallystick.requester.accounts import Holdings, holdings
from tallystick.requester.amounts import show_amount
from tallystick.requester.session import Session


def attach(program: typer.Typer) -> None:
    """Add `tally info`."""
    program.command("info")(info)


def info(*, data: local.Data = None, json: Json = False) -> None:
    """Tell where the running local market is: chain, contracts, services, accounts."""
    market = local.running_market(data)
    accounts = local.with_market(data, _accounts)
    voice = Voice(json=json)
    if not json:
        voice.fields(_fields(market))
        voice.say("")
        rows = [_row(market, role, has) for role, has in accounts.items()]
        voice.table(("account", "address", "deposited", "in the wallet", "ETH"), rows)
    voice.answer(_as_json(market, accounts))


async def _accounts(market: Market, session: Session) -> dict[str, Holdings]:
    found: dict[str, Holdings] = {}

    async def look(role: str) -> None:
        found[role] = await holdings(session, market.accounts[role])

    async with anyio.create_task_group() as looking:
        for role in market.accounts:
            looking.start_soon(partial(look, role))
    return {role: found[role] for role in market.accounts}


def _fields(market: Market) -> dict[str, object]:
    return {
        "chain id": market.chain_id,
        "RPC": market.rpc_url,
        "WebSocket": market.ws_url,
        "hub": market.hub.checksummed,
        "RLC": market.rlc.checksummed,
        "app registry": market.registries.app.checksummed,
        "dataset registry": market.registries.dataset.checksummed,
        "workerpool registry": market.registries.workerpool.checksummed,
        "workerpool": market.workerpool.checksummed,
        "scheduler": market.scheduler_url,
        "result store": market.results_url,
        "explorer": market.explorer_url,
        "image registry": market.registry_url,
        "order book": market.orders,
        "apps": ", ".join(f"{name} ({app.image})" for name, app in market.apps.items()),
        "folder": market.data,
    }


def _row(market: Market, role: str, has: Holdings) -> tuple[object, ...]:
    address = market.accounts[role].checksummed
    eth = f"{has.gas / 10**18:.3f}"
    return role, address, show_amount(has.stake), show_amount(has.wallet), eth


def _as_json(market: Market, accounts: dict[str, Holdings]) -> dict[str, Any]:
    return {
        "chain_id": market.chain_id,
        "rpc_url": market.rpc_url,
        "ws_url": market.ws_url,
        "hub": market.hub.checksummed,
        "rlc": market.rlc.checksummed,
        "registries": {
            "app": market.registries.app.checksummed,
            "dataset": market.registries.dataset.checksummed,
            "workerpool": market.registries.workerpool.checksummed,
        },
        "workerpool": market.workerpool.checksummed,
        "scheduler_url": market.scheduler_url,
        "results_url": market.results_url,
        "registry_url": market.registry_url,
        "explorer_url": market.explorer_url,
        "orders": str(market.orders),
        "data": str(market.data),
        "apps": {
            name: {"address": app.address.checksummed, "image": app.image, "digest": app.digest}
            for name, app in market.apps.items()
        },
        "accounts": {role: _account(market, role, has) for role, has in accounts.items()},
        "password_file": str(market.password_file),
    }


def _account(market: Market, role: str, has: Holdings) -> dict[str, Any]:
    return {
        "address": market.accounts[role].checksummed,
        "keystore": str(market.keystores[role]),
        "gas_wei": has.gas,
        "wallet_nrlc": has.wallet,
        "stake_nrlc": has.stake,
        "locked_nrlc": has.locked,
    }
