"""What a life with many deaths has to leave behind: wallets, books and journals that agree."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

from market_lab import Lab
from own_worker import OwnWorker, until
from test_stopping import facts

from tallystick.devnet.places import Places
from tallystick.poco.values import TaskId

LONG = 300.0
"""Seconds for which who is alive still may have to look after what was sent."""


async def sent_since(lab: Lab, block: int) -> dict[str, list[dict[str, Any]]]:
    """The transactions that the chain has above this block, by their senders."""
    rpc = lab.session.hub.rpc
    tip = (await lab.session.hub.head()).number
    asked = [("eth_getBlockByNumber", (hex(n), True)) for n in range(block + 1, tip + 1)]
    found: dict[str, list[dict[str, Any]]] = {}
    for each in await rpc.batch(asked):
        for transaction in each["transactions"]:
            found.setdefault(transaction["from"].lower(), []).append(transaction)
    return found


async def books_agree_with_the_chain(lab: Lab, block: int, *roles: str) -> None:
    """Whatever these wallets sent above this block stands in their books, with nothing left to
    wait for; and none of them has done the same thing twice."""
    for role in roles:
        await until(lambda role=role: not _waiting(lab, role), f"an empty book of {role}", LONG)
    sent = await sent_since(lab, block)
    for role in roles:
        mine = sent.get(str(lab.market.accounts[role]).lower(), [])
        hashes = {bytes.fromhex(each["hash"][2:]) for each in mine}
        assert hashes, f"{role} has sent nothing"
        assert hashes <= _known(lab, role), f"{role} sent what is not in its book"
        acts = Counter((each["to"], each["input"]) for each in mine)
        assert max(acts.values()) == 1, f"{role} did the same thing twice"


def _waiting(lab: Lab, role: str) -> list[Any]:
    return _rows(lab, role, "SELECT what FROM entry WHERE state = 'waiting'")


def _known(lab: Lab, role: str) -> set[bytes]:
    """Of what was mined, as far as the book knows."""
    question = "SELECT hash FROM attempt JOIN entry ON id = entry WHERE state = 'mined'"
    return {hash for (hash,) in _rows(lab, role, question)}


def _rows(lab: Lab, role: str, question: str) -> list[Any]:
    data = Places(lab.market.data).data
    home = data("scheduler") if role == "scheduler" else data("workers") / role
    with closing(sqlite3.connect(home / "transactions.db")) as book:
        return book.execute(question).fetchall()


async def the_scheduler_tells(lab: Lab, task: TaskId, **counts: int) -> None:
    """So many facts of these kinds are in its journal: as many as there were, each once."""
    story = await lab.story(task)
    assert {kind: facts(story, kind) for kind in counts} == counts


def tells(worker: OwnWorker, task: TaskId, **counts: int) -> bool:
    """Whether so many facts of these kinds are in the worker's own journal."""
    told = Counter(type(fact).__name__ for fact in worker.facts(task))
    return {kind: told[kind] for kind in counts} == counts
