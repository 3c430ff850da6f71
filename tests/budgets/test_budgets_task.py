"""What a task costs in messages, statements and questions to the node, in a real market.

Scheduler and worker are the real programs, which tell what they do (`counted.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from market_lab import Lab, market_lab

from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service

pytestmark = [pytest.mark.anyio, pytest.mark.long]

ROLES = ("scheduler", "worker")
TASKS = 3
SCRIPT = Path(__file__).with_name("counted.py")
WITH_TIME = {
    "eth_blockNumber",
    "eth_gasPrice",
    "eth_getBlockByNumber",
    "eth_getTransactionCount",
    "eth_maxPriorityFeePerGas",
}
"""Asked with every block while anything is due."""
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")

Told = dict[str, list[dict[str, Any]]]


def counting(out: Path) -> Callable[[Plan, Any, Any], list[Service]]:
    """The usual processes; scheduler and worker write down what they do, each in a file."""

    def children(plan: Plan, console: Any, memory: Any) -> list[Service]:
        return [_counted(each, out) for each in services(plan, console, memory)]

    return children


def _counted(service: Service, out: Path) -> Service:
    role = service.name.removesuffix("-1")
    if role not in ROLES:
        return service
    words = (str(out / role), role, service.command[-1])
    return replace(service, command=(sys.executable, str(SCRIPT), *words))


def _lines(out: Path, role: str, after: int = 0) -> list[dict[str, Any]]:
    told = (out / role).read_bytes()[after:]
    return [json.loads(line) for line in told.splitlines(keepends=True) if line.endswith(b"\n")]


async def _tasks(lab: Lab, count: int) -> None:
    for _ in range(count):
        ending = await lab.see(await lab.buy("digits"))
        assert ending.money is not None


@pytest.mark.parametrize(("path", "classic"), [("at once", False), ("classic", True)])
async def test_a_task_costs_what_the_table_says(
    path: str, classic: bool, poco_packages: PocoPackages, tmp_path: Path, keep_to
) -> None:
    options = {"workers": 1, "block_time": 0, "classic": classic}
    async with market_lab(tmp_path, children=counting(tmp_path), **options) as lab:
        port = int(lab.market.scheduler_url.rpartition(":")[2])
        await _tasks(lab, 1)
        before = {role: (tmp_path / role).stat().st_size for role in ROLES}
        await _tasks(lab, TASKS)
        told = {role: _lines(tmp_path, role, before[role]) for role in ROLES}
        folder = Places(lab.market.data).data("workers")
        assert list(folder.glob("*/journal.db")), "the worker keeps its journal elsewhere"
    wire = [each for each in told["worker"] if each["kind"] == "http" and each["to"] == port]
    wire = [each for each in wire if "ping" not in each["what"] and each["status"] != 204]
    assert wire
    keep_to("requests a task", {path: len(wire) / TASKS}, partly=True)
    size = sum(each["bytes"] for each in wire) / TASKS
    keep_to("bytes on the wire a task", {path: size}, partly=True)
    for part, counted in COUNTED.items():
        found = {f"{role}, {path}": counted(told[role]) / TASKS for role in ROLES}
        assert all(found.values()), f"nothing was told of {part}"
        keep_to(part, found, partly=True)
    finally_loaded = _lines(tmp_path, "worker")[-1]
    assert finally_loaded["kind"] == "modules", "the worker ended in good order"
    found = {"loaded after a task": finally_loaded["count"]}
    keep_to("modules of a worker", found, partly=True)


def writes(told: list[dict[str, Any]]) -> int:
    return sum(each["kind"] == "sql" and each["what"].startswith(WRITES) for each in told)


def commits(told: list[dict[str, Any]]) -> int:
    return sum(each["kind"] == "sql" and each["what"].startswith("COMMIT") for each in told)


def asked(told: list[dict[str, Any]]) -> int:
    return sum(each["kind"] == "rpc" and each["what"] not in WITH_TIME for each in told)


def sent(told: list[dict[str, Any]]) -> int:
    raw = "eth_sendRawTransaction"
    return sum(each["kind"] == "rpc" and each["what"].startswith(raw) for each in told)


COUNTED = {
    "SQL writes a task": writes,
    "SQL commits a task": commits,
    "RPC calls a task": asked,
    "transactions a task": sent,
}
