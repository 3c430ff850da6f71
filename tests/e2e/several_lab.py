"""A market whose pool is several scheduler processes on one PostgreSQL database.

Workers and requesters know one address: a balancer in front, as nginx or HAProxy would be one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import psycopg
from anyio.abc import SocketStream
from market_lab import Children, Lab

from tallystick.chain.logs import TASK_TOPICS
from tallystick.chain.records import TaskState
from tallystick.devnet.founding import SCHEDULER
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service
from tallystick.poco.values import TaskId

BALANCER = Path(__file__)
_CHUNK = 65_536


def several(count: int, database: str) -> Children:
    """The usual processes, with so many schedulers that share `database`."""

    def children(plan: Plan, console: Any, memory: Any) -> list[Service]:
        usual = {service.name: service for service in services(plan, console, memory)}
        front = usual.pop(SCHEDULER)
        names = [f"{SCHEDULER}-{number}" for number in range(1, count + 1)]
        settings = plan.places.config(SCHEDULER)
        ports = settings.with_suffix(".ports")
        ports.mkdir(exist_ok=True)
        pools = [_scheduler(name, front, settings, database, ports / name) for name in names]
        command = (sys.executable, str(BALANCER), str(plan.ports.scheduler), str(ports))
        balancer = Service(
            name=SCHEDULER,
            command=command,
            environment=front.environment,
            needs=tuple(names),
            ready=front.ready,
        )
        before = [usual.pop(name) for name in front.needs]
        return [*before, *pools, balancer, *usual.values()]

    return children


def _scheduler(name: str, front: Service, settings: Path, database: str, port: Path) -> Service:
    """One of them, on a port that the kernel chose and that it keeps over restarts."""
    number = free_port()
    text = settings.read_text()
    lines = [line for line in text.splitlines() if line.partition(" =")[0] not in _CHANGED]
    data = settings.parent / f"{name}-data"
    lines += [
        f"data_dir = {json.dumps(str(data))}",
        f"port = {number}",
        f"database = {json.dumps(database)}",
    ]
    mine = settings.with_name(f"{name}.toml")
    mine.write_text("\n".join(lines) + "\n")
    port.write_text(str(number))
    *command, _ = front.command

    async def ready() -> bool:
        with suppress(OSError):
            async with await anyio.connect_tcp("127.0.0.1", number):
                return True
        return False

    return Service(
        name=name,
        command=(*command, str(mine)),
        environment=front.environment,
        needs=front.needs,
        ready=ready,
    )


_CHANGED = ("data_dir", "port", "database")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Books:
    """What the processes wrote, read from outside."""

    url: str
    _db: Any = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self._db = psycopg.connect(self.url, autocommit=True)

    def rows(self, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(statement, values or None).fetchall()

    def holders(self) -> Counter[str]:
        """How many shards each process holds now."""
        rows = self.rows(
            "SELECT coalesce(url, '') FROM shard LEFT JOIN process ON id = holder"
            " WHERE until > clock_timestamp()"
        )
        return Counter(url for (url,) in rows)

    async def until_held_by(self, count: int, within: float = 120) -> None:
        """Until so many processes hold all shards, in about equal numbers."""
        with anyio.fail_after(within):
            while True:
                held = self.holders()
                even = len(held) == count and max(held.values()) - min(held.values()) <= 1
                if even and held.total() == 64:
                    return
                await anyio.sleep(0.1)

    def epochs(self) -> int:
        """How often shards were taken in all."""
        return int(self.rows("SELECT sum(epoch) FROM shard")[0][0])

    def facts_of_the_chain(self) -> Counter[tuple[str, str, int]]:
        """Every fact that a log of a task proves: the task, the block and the log."""
        rows = self.rows(
            "SELECT stream, block_hash, log_index FROM facts"
            " WHERE block_hash IS NOT NULL AND NOT void AND kind != 'Ordered'"
        )
        return Counter(rows)

    def nonces(self) -> list[tuple[int, int]]:
        """For each nonce that was signed, how many different transactions were."""
        return self.rows(
            "SELECT nonce, count(DISTINCT (target, data, value)) FROM entry"
            " JOIN attempt ON attempt.entry = entry.id GROUP BY nonce"
        )

    def close(self) -> None:
        self._db.close()


async def logs_of_the_chain(lab: Lab) -> Counter[tuple[str, str, int]]:
    """What the hub reported about tasks."""
    question = {
        "address": str(lab.market.hub),
        "fromBlock": "0x0",
        "toBlock": "latest",
        "topics": [[str(topic) for topic in TASK_TOPICS]],
    }
    return Counter(
        (log["topics"][1], log["blockHash"], int(log["logIndex"], 16))
        for log in await lab.session.hub.rpc.call("eth_getLogs", question)
    )


def port_of(lab: Lab, number: int) -> str:
    """Where a scheduler answers, whatever the balancer does."""
    (found,) = lab.market.data.rglob(f"*.ports/scheduler-{number}")
    return found.read_text()


async def until_paid(lab: Lab, tasks: tuple[TaskId, ...] | list[TaskId]) -> None:
    """Until each of the tasks is COMPLETED on the chain."""
    left = list(tasks)
    with anyio.move_on_after(300):
        while left:
            known = [await lab.session.hub.task(task) for task in left]
            left = [
                task
                for task, found in zip(left, known, strict=True)
                if found is None or found.state is not TaskState.COMPLETED
            ]
            await anyio.sleep(0.3)
    if left:
        told = [f["text"] for f in (await lab.story(left[0]))["facts"]]
        raise AssertionError(f"{len(left)} tasks are not paid, one of them: {told}")


async def consistent(lab: Lab, books: Books) -> None:
    """What the chain tells of tasks is in the journal, once; and no nonce was used twice."""
    with anyio.move_on_after(60):
        while (  # noqa: ASYNC110
            books.facts_of_the_chain() != await logs_of_the_chain(lab)
        ):
            await anyio.sleep(0.3)
    recorded, reported = books.facts_of_the_chain(), await logs_of_the_chain(lab)
    assert max(recorded.values()) == 1
    assert recorded == reported
    twice = [nonce for nonce, count in books.nonces() if count > 1]
    assert not twice, f"nonces with two transactions: {twice}"


def scheduler(lab: Lab, number: int) -> int:
    """The process of a scheduler now: it may have been started again since the start."""
    needle = f"{SCHEDULER}-{number}.toml".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes()
            if needle in words and str(lab.market.data).encode() in words:
                return int(path.parent.name)
    raise ProcessLookupError(f"scheduler {number} does not run")


def kill(lab: Lab, number: int) -> None:
    """SIGKILL; the market starts it again after a moment, as another process of the pool."""
    os.kill(scheduler(lab, number), signal.SIGKILL)


@asynccontextmanager
async def stopped(lab: Lab, number: int) -> AsyncIterator[None]:
    """SIGSTOP in this block, then SIGCONT."""
    process = scheduler(lab, number)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


class Balancer:
    """Hands each connection to the next scheduler that takes it."""

    def __init__(self, ports: Path) -> None:
        self._ports, self._turn = ports, 0

    async def run(self, port: int) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
        await listener.serve(self._serve)

    async def _serve(self, client: SocketStream) -> None:
        async with client:
            if (server := await self._next()) is None:
                return
            async with server, anyio.create_task_group() as both:
                both.start_soon(_pump, client, server, both.cancel_scope)
                both.start_soon(_pump, server, client, both.cancel_scope)

    async def _next(self) -> SocketStream | None:
        ports = [int(path.read_text()) for path in sorted(self._ports.iterdir())]
        self._turn += 1
        for at in range(len(ports)):
            with suppress(OSError, TimeoutError):
                port = ports[(self._turn + at) % len(ports)]
                return await anyio.connect_tcp("127.0.0.1", port)
        return None


async def _pump(source: SocketStream, sink: SocketStream, scope: anyio.CancelScope) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await sink.send(await source.receive(_CHUNK))
    scope.cancel()


if __name__ == "__main__":
    anyio.run(Balancer(Path(sys.argv[2])).run, int(sys.argv[1]))
