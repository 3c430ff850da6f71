"""From whatever somebody copied to its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tallystick.devnet.explorer import node
from tallystick.devnet.explorer.chain_pages import as_hash
from tallystick.devnet.explorer.explorer import Explorer, Page
from tallystick.poco.values import Address, DealId, Hash, TaskId


async def search(explorer: Explorer, request: Request) -> Response:
    """Leads to a block, transaction, deal, task or account; else says what can be found."""
    word = request.query_params.get("q", "").strip()[:200]
    found = await _found(explorer, word)
    if found is None:
        return explorer.show(
            request, "search.html", word=word, entries=_mentioning(explorer, word)
        )
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}{found}", 303)


async def _found(explorer: Explorer, word: str) -> str | None:
    if word.isascii() and word.isdigit() and len(word) < 16:
        return f"/block/{word}"
    if (named := explorer.known.find(word)) is not None:
        return f"/account/{named}"
    if (hash := as_hash(word)) is not None:
        return await _of_hash(explorer, hash)
    try:
        return f"/account/{Address(word.lower())}"
    except ValueError:
        return None


async def _of_hash(explorer: Explorer, hash: Hash) -> str | None:
    """Deals, tasks, transactions and blocks all have such a name."""
    hub = explorer.hub
    deal, task = await hub.together(
        hub.queries.deal(DealId(hash)), hub.queries.task(TaskId(hash))
    )
    if deal is not None:
        return f"/deal/{hash}"
    if task is not None:
        return f"/task/{hash}"
    if await node.transaction(explorer.rpc, hash) is not None:
        return f"/transaction/{hash}"
    return f"/block/{hash}" if await node.block(explorer.rpc, hash) is not None else None


def _mentioning(explorer: Explorer, word: str) -> list[object]:
    """Transactions in which these 32 bytes stand: the hash of an order or of a result."""
    hash = as_hash(word)
    return list(explorer.index.about(hash)[:50]) if hash is not None else []


PAGES: Final[Mapping[str, Page]] = {"/search": search}
