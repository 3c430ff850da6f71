"""A pool of several scheduler processes: any of them may be asked anything, and may die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from market_lab import Lab, market_lab
from postgres_lab import postgres_url
from several_lab import Books, consistent, kill, port_of, several, stopped, until_paid

from tallystick.requester.buy import Purchase

__all__ = ["postgres_url"]

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture
def books(postgres_url: str) -> Iterator[Books]:
    books = Books(postgres_url)
    yield books
    books.close()


async def test_two_processes_are_one_pool(tmp_path: Path, books: Books) -> None:
    """Tasks of both are computed by workers that speak to either, and are paid."""
    options = {"workers": 2, "executor": "bubblewrap", "children": several(2, books.url)}
    async with market_lab(tmp_path, alive=2, **options) as lab:
        await books.until_held_by(2)
        bag = await lab.buy("digits", count=6)
        await until_paid(lab, bag.tasks)
        await consistent(lab, books)
        holders = books.rows(
            "SELECT DISTINCT holder FROM facts JOIN shard ON number = shard WHERE stream != ''"
        )
        assert len(holders) == 2, "one process had all the tasks"


async def test_processes_die_and_fall_asleep_under_load(tmp_path: Path, books: Books) -> None:
    """In each round one of three is killed, and one is stopped past its lease and goes on."""
    options = {"workers": 3, "executor": "bubblewrap", "children": several(3, books.url)}
    async with market_lab(tmp_path, alive=3, **options) as lab:
        await books.until_held_by(3)
        epochs = books.epochs()
        workers = {name: lab.pid(name) for name in ("worker-1", "worker-2", "worker-3")}
        bags: list[Purchase] = []
        for number in (1, 2, 3):
            bags.append(await lab.buy("digits", count=4))
            bags.append(await lab.buy("digits", trust=5, count=2))
            kill(lab, number)
            asleep = number % 3 + 1
            async with stopped(lab, asleep):
                await others_have_it_all(books, lab, asleep)
        await until_paid(lab, [task for bag in bags for task in bag.tasks])
        await consistent(lab, books)
        assert books.epochs() > epochs + 100, "shards did not change hands"
        assert all(runs(name, process) for name, process in workers.items())


def runs(name: str, process: int) -> bool:
    """Whether the process that was this worker at the start still is."""
    return name.encode() in Path(f"/proc/{process}/cmdline").read_bytes()


async def others_have_it_all(books: Books, lab: Lab, asleep: int) -> None:
    """Until the lease of a stopped process is over and others have its shards."""
    url = f":{port_of(lab, asleep)}"
    with anyio.fail_after(60):
        while any(  # noqa: ASYNC110 (other processes)
            holder.endswith(url) for holder in books.holders()
        ):
            await anyio.sleep(0.1)
    with anyio.fail_after(60):
        while books.holders().total() < 64:  # noqa: ASYNC110
            await anyio.sleep(0.1)
