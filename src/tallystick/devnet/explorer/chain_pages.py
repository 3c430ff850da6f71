"""Pages about the chain itself: the newest of everything, blocks, transactions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tallystick.devnet.explorer import decoding, node
from tallystick.devnet.explorer.explorer import ROWS, Explorer, NotThere, Page, number
from tallystick.devnet.explorer.index import Entry, entry, title
from tallystick.poco.values import Hash

_FEW: Final = 10


async def overview(explorer: Explorer, request: Request) -> Response:
    """The newest blocks and transactions, and how much there is of everything."""
    index = explorer.index
    latest = index.head.number if index.head else 0
    newest = range(latest, max(-1, latest - _FEW), -1)
    return explorer.show(
        request,
        "overview.html",
        blocks=await node.blocks(explorer.rpc, newest),
        entries=list(islice(index.newest(), _FEW)),
        transactions=len(index.entries),
        deals=sum(len(each.deals) for each in index.entries),
        tasks=sum(len(each.tasks) for each in index.entries),
        failed=sum(not each.ok for each in index.entries),
    )


async def blocks(explorer: Explorer, request: Request) -> Response:
    """Blocks, the newest first; `?before=` pages, `?busy=1` leaves empty ones out."""
    latest = explorer.index.head.number if explorer.index.head else 0
    top = min(latest, (number(request, "before") or latest + 1) - 1)
    bottom = max(0, top - ROWS + 1)
    return explorer.show(
        request,
        "blocks.html",
        blocks=await node.blocks(explorer.rpc, range(top, bottom - 1, -1)),
        older=bottom or None,
        newest=top == latest,
    )


async def block(explorer: Explorer, request: Request) -> Response:
    """One block and what happened in it."""
    at = request.path_params["at"]
    found = None
    if at.isascii() and at.isdigit() and len(at) < 16:
        found = await node.block(explorer.rpc, int(at))
    elif (hash := as_hash(at)) is not None:
        found = await node.block(explorer.rpc, hash)
    if found is None:
        raise NotThere(f"There is no block {at[:80]} on this chain (any more, or yet).")
    became = await node.receipts(explorer.rpc, [found.number])
    entries = [
        entry(explorer.index.dictionary, found, one, became[one.hash])
        for one in found.transactions
        if one.hash in became
    ]
    return explorer.show(request, "block.html", block=found, entries=entries)


async def transactions(explorer: Explorer, request: Request) -> Response:
    """Transactions, the newest first; `?what=` only those of one function."""
    wanted, skip = request.query_params.get("what", ""), number(request, "skip") or 0
    found = list(explorer.index.newest(lambda each: _wanted(each, wanted)))
    return explorer.show(
        request,
        "transactions.html",
        entries=found[skip : skip + ROWS],
        what=wanted,
        functions=sorted({each.what for each in explorer.index.entries}),
        later=skip + ROWS if skip + ROWS < len(found) else None,
        all=len(found),
    )


def _wanted(each: Entry, what: str) -> bool:
    return each.what == what or not what or (what == "failed" and not each.ok)


async def transaction(explorer: Explorer, request: Request) -> Response:
    """One transaction with its arguments, its events, and why it was refused."""
    hash = as_hash(request.path_params["hash"])
    found = await node.transaction(explorer.rpc, hash) if hash else None
    if hash is None or found is None:
        raise NotThere("There is no such transaction on this chain (any more, or yet).")
    one, became = found
    known = explorer.index.dictionary
    asked = decoding.call(known, one.data)
    within = await node.block(explorer.rpc, one.block) if one.block is not None else None
    return explorer.show(
        request,
        "transaction.html",
        one=one,
        became=became,
        block=within,
        title=title(one, asked),
        asked=asked,
        refused=await _refused(explorer, one, became),
        events=[
            (each.address, decoding.event(known, each.topics, each.data))
            for each in (became.events if became else ())
        ],
    )


async def _refused(
    explorer: Explorer, one: node.Transaction, became: node.Receipt | None
) -> str:
    """Why a transaction failed; empty when it did not."""
    if became is None or became.ok:
        return ""
    if became.gas_used >= one.gas:
        return "It ran out of gas: all that it was allowed was used."
    said = await node.refusal(explorer.rpc, one)
    if said is None:
        return "The node cannot tell any more why: it has forgotten the state of then."
    return decoding.reason(explorer.index.dictionary, said)


def as_hash(text: str) -> Hash | None:
    """The 32 bytes that `text` writes; None when it does not."""
    try:
        return Hash(text.lower())
    except ValueError:
        return None


PAGES: Final[Mapping[str, Page]] = {
    "/": overview,
    "/blocks": blocks,
    "/block/{at}": block,
    "/transactions": transactions,
    "/transaction/{hash}": transaction,
    "/tx/{hash}": transaction,
}
"""By their paths; `/tx/` is what other explorers call a transaction's, and links expect."""
