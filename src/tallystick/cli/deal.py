"""`tally deal`: what was bought."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from tallystick.cli import local, parsing
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market
from tallystick.poco.deal import Deal
from tallystick.requester.amounts import show_amount
from tallystick.requester.deals import Found, deals_of, find_deal, tasks_of
from tallystick.requester.session import Session

group = typer.Typer(help="Look at deals.", no_args_is_help=True)


def attach(program: typer.Typer) -> None:
    """Add `tally deal`."""
    program.add_typer(group, name="deal")


@group.command()
def show(deal: parsing.Deal, *, data: local.Data = None, json: Json = False) -> None:
    """Tell about a deal and all its tasks."""

    async def look(_: Market, session: Session) -> tuple[Deal, list[Found]]:
        found = await find_deal(session, deal)
        return found, await tasks_of(session, found)

    found, tasks = local.with_market(data, look)
    voice = Voice(json=json)
    if not json:
        voice.fields(_fields(found))
        voice.table(("index", "task", "status"), [(t.index, t.id, _state(t)) for t in tasks])
    states = [{"index": t.index, "task": str(t.id), "status": _state(t)} for t in tasks]
    voice.answer(_as_json(found) | {"tasks": states})


@group.command("list")
def list_deals(
    *,
    data: local.Data = None,
    wallet: local.WalletOption = None,
    json: Json = False,
) -> None:
    """List the deals of a requester, newest first."""

    async def look(market: Market, session: Session) -> list[Deal]:
        return await deals_of(session, local.account(market, wallet or "requester"))

    found = local.with_market(data, look)
    voice = Voice(json=json)
    if not json:
        voice.table(("deal", "bought", "tasks", "trust", "price"), map(_row, found))
    voice.answer({"deals": [_as_json(deal) for deal in found]})


def _row(deal: Deal) -> tuple[object, ...]:
    return deal.id, _bought(deal), deal.bot_size, deal.trust, show_amount(deal.task_price)


def _state(task: Found) -> str:
    return task.on_chain.state.name if task.on_chain else "UNSET"


def _fields(deal: Deal) -> dict[str, object]:
    """What a person asks about a deal."""
    return {
        "deal": deal.id,
        "bought": f"{_bought(deal)} UTC",
        "trust, category": f"{deal.trust}, {deal.category}",
        "price of a task": show_amount(deal.task_price),
        "stake of a worker": show_amount(deal.worker_stake),
        "app": deal.app.pointer.checksummed,
        "dataset": deal.dataset.pointer.checksummed if any(deal.dataset.pointer) else "none",
        "workerpool": deal.workerpool.pointer.checksummed,
        "requester": deal.requester.checksummed,
        "params": deal.params,
    }


def _bought(deal: Deal) -> str:
    return f"{datetime.fromtimestamp(deal.start, UTC):%Y-%m-%d %H:%M:%S}"


def _as_json(deal: Deal) -> dict[str, Any]:
    return {
        "deal": str(deal.id),
        "start": deal.start,
        "trust": deal.trust,
        "category": deal.category,
        "app": str(deal.app.pointer),
        "dataset": str(deal.dataset.pointer),
        "workerpool": str(deal.workerpool.pointer),
        "requester": str(deal.requester),
        "beneficiary": str(deal.beneficiary),
        "first_index": deal.bot_first,
        "size": deal.bot_size,
        "price_nrlc": deal.task_price,
        "worker_stake_nrlc": deal.worker_stake,
        "params": deal.params,
    }
