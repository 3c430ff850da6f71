"""Pages about who and what is on the chain: accounts, contracts, deals, tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from tallystick.chain.abi import quantity
from tallystick.chain.answers import RpcError
from tallystick.chain.queries import Query, registered
from tallystick.devnet.explorer.chain_pages import as_hash
from tallystick.devnet.explorer.explorer import ROWS, Explorer, NotThere, Page, number
from tallystick.devnet.explorer.index import Entry
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, TaskId

Id = TypeVar("Id")
Found = TypeVar("Found")

_TASKS: Final = 100
"""Tasks of a deal that are shown."""


async def accounts(explorer: Explorer, request: Request) -> Response:
    """Everybody with a wallet, and the contracts."""
    roles = explorer.known.roles
    told = await _balances(explorer, list(roles.values()))
    return explorer.show(
        request,
        "accounts.html",
        accounts=[(name, at, told[at]) for name, at in roles.items()],
        contracts=explorer.known.contracts.items(),
    )


async def account(explorer: Explorer, request: Request) -> Response:
    """One account or contract: what it has, what it is, what concerned it."""
    try:
        address = Address(request.path_params["address"].lower())
    except ValueError as wrong:
        raise NotThere("An address is 0x and 40 hex digits.") from wrong
    skip = number(request, "skip") or 0
    found = explorer.index.about(address)
    return explorer.show(
        request,
        "account.html",
        address=address,
        has=(await _balances(explorer, [address]))[address],
        asset=await _asset(explorer, address),
        entries=found[skip : skip + ROWS],
        later=skip + ROWS if skip + ROWS < len(found) else None,
        all=len(found),
    )


async def _balances(
    explorer: Explorer, addresses: Sequence[Address]
) -> dict[Address, Mapping[str, Any]]:
    """ETH, nonce, RLC, free and locked stake of each, from one block or nearly so."""
    hub = explorer.hub
    questions = [hub.queries.account(each) for each in addresses]
    stakes = await hub.together(*questions)
    asked = [
        (method, [str(each), "latest"])
        for each in addresses
        for method in ("eth_getBalance", "eth_getTransactionCount")
    ]
    plain = await explorer.rpc.batch(asked)
    told: dict[Address, Mapping[str, Any]] = {}
    for place, each in enumerate(addresses):
        wei, nonce = (_number(answer) for answer in plain[2 * place : 2 * place + 2])
        rlc = await hub.rlc_balance(each)
        told[each] = {"wei": wei, "nonce": nonce, "rlc": rlc, "stake": stakes[place]}
    return told


def _number(answer: Any) -> int:
    if isinstance(answer, RpcError):
        raise answer
    return quantity(answer)


async def _asset(explorer: Explorer, address: Address) -> tuple[str, Any] | None:
    """What a registry has made at this address: its kind, and what it says of itself."""
    hub = explorer.hub
    made = hub.registries
    app, dataset, pool = await hub.together(
        registered(made.app, address),
        registered(made.dataset, address),
        registered(made.workerpool, address),
    )
    if app:
        return "app", await hub.app(address)
    if dataset:
        return "dataset", await hub.dataset(address)
    return ("workerpool", await hub.workerpool(address)) if pool else None


async def deals(explorer: Explorer, request: Request) -> Response:
    """Orders that were matched, the newest first."""
    skip = number(request, "skip") or 0
    made = chain.from_iterable(
        ((each, deal) for deal in each.deals) for each in explorer.index.newest()
    )
    rows, later = await _rows(explorer, made, explorer.hub.queries.deal, skip)
    return explorer.show(
        request,
        "deals.html",
        deals=rows,
        later=later,
    )


async def _rows(
    explorer: Explorer,
    made: Iterable[tuple[Entry, Id]],
    question: Callable[[Id], Query[Found | None]],
    skip: int,
) -> tuple[list[tuple[Entry, Found]], int | None]:
    """A page of what transactions made, as the chain has it now, and where the next begins."""
    entries = list(islice(made, skip, skip + ROWS + 1))
    found = await explorer.hub.together(*(question(each) for _, each in entries[:ROWS]))
    rows = zip((each for each, _ in entries), found, strict=False)
    later = skip + ROWS if len(entries) > ROWS else None
    return [(each, subject) for each, subject in rows if subject is not None], later


async def deal(explorer: Explorer, request: Request) -> Response:
    """One deal: the parties, the prices, its tasks, its transactions."""
    hash = as_hash(request.path_params["id"])
    found = await explorer.hub.deal(DealId(hash)) if hash else None
    if found is None:
        raise NotThere("There is no such deal on this chain.")
    ids = [found.task_id(index) for index in list(found.indices)[:_TASKS]]
    tasks = await explorer.hub.together(*(explorer.hub.queries.task(each) for each in ids))
    return explorer.show(
        request,
        "deal.html",
        deal=found,
        tasks=list(zip(ids, tasks, strict=True)),
        more=max(0, found.bot_size - _TASKS),
        app=await _app_name(explorer, found),
        entries=explorer.index.about(found.id, *ids)[:100],
    )


async def _app_name(explorer: Explorer, deal: Deal) -> str:
    return (await explorer.hub.app(deal.app.pointer)).name


async def tasks(explorer: Explorer, request: Request) -> Response:
    """Tasks that were initialized, the newest first, as the chain has them."""
    skip = number(request, "skip") or 0
    began = chain.from_iterable(
        ((each, task) for task in each.tasks) for each in explorer.index.newest()
    )
    rows, later = await _rows(explorer, began, explorer.hub.queries.task, skip)
    return explorer.show(
        request,
        "tasks.html",
        tasks=rows,
        later=later,
    )


async def task(explorer: Explorer, request: Request) -> Response:
    """One task as the chain has it, with every vote."""
    hash = as_hash(request.path_params["id"])
    found = await explorer.hub.task(TaskId(hash)) if hash else None
    if found is None:
        raise NotThere("There is no such task on this chain (it may not be initialized yet).")
    ask = explorer.hub.queries.contribution
    votes = await explorer.hub.together(*(ask(found.id, each) for each in found.contributors))
    return explorer.show(
        request,
        "task.html",
        task=found,
        deal=await explorer.hub.deal(found.deal),
        votes=list(zip(found.contributors, votes, strict=True)),
        entries=explorer.index.about(found.id)[:100],
    )


PAGES: Final[Mapping[str, Page]] = {
    "/accounts": accounts,
    "/account/{address}": account,
    "/address/{address}": account,
    "/deals": deals,
    "/deal/{id}": deal,
    "/tasks": tasks,
    "/task/{id}": task,
}
