"""`tally status`: how the local market is doing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import typer

from tallystick.cli import local
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.market import Market
from tallystick.engine.errors import Unavailable
from tallystick.requester import task_api
from tallystick.requester.session import Session


def attach(program: typer.Typer) -> None:
    """Add `tally status`."""
    program.command("status")(status)


def status(*, data: local.Data = None, json: Json = False) -> None:
    """Tell how the running local market is doing."""
    told = local.with_market(data, _look)
    voice = Voice(json=json)
    if not json:
        _tell(voice, told)
    voice.answer(told)


async def _look(market: Market, session: Session) -> dict[str, Any]:
    head = await session.hub.head()
    told: dict[str, Any] = {
        "data": str(market.data),
        "block": head.number,
        "block_time": market.block_time,
        "dashboard": f"{market.scheduler_url}/",
        "explorer": f"{market.explorer_url}/",
        "processes": {name: _runs(pid) for name, pid in market.pids.items()},
    }
    try:
        told["workers"] = await task_api.workers(session)
        told["tasks"] = await task_api.recent_tasks(session)
    except Unavailable as trouble:
        told["trouble"] = str(trouble)
    return told


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _tell(voice: Voice, told: Mapping[str, Any]) -> None:
    dead = [name for name, runs in told["processes"].items() if not runs]
    voice.say(f"The market in {told['data']} is at block {told['block']}.")
    voice.say(f"Dashboard {told['dashboard']}, what happens on the chain {told['explorer']}.")
    if dead:
        voice.say(f"Started again since the market began: {', '.join(dead)}.")
    if "trouble" in told:
        voice.say(told["trouble"])
        return
    rows = [
        (w["name"], w["address"], f"{w['busy']} of {w['slots']}", _heard(w))
        for w in told["workers"]
    ]
    voice.table(("worker", "address", "busy", "heard of"), rows)
    tasks = [(t["chainTaskId"], t["trust"], t["currentStatus"]) for t in told["tasks"]]
    voice.table(("task", "trust", "status"), tasks)


def _heard(worker: Mapping[str, Any]) -> str:
    lost = "" if worker["alive"] else " (lost)"
    return f"{worker['heardSecondsAgo']} s ago{lost}"
