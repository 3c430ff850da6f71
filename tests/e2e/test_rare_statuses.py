"""Names of statuses that only an accident brings, each by its cause, with real processes.

What a check before the vote notices is usually known from the chain's logs first, and then the
work is dropped under another name. So these workers have a node that tells logs late: it knows
balances, votes and tasks, as a node does whose index lags.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from market_lab import DEV, Lab, wallet_of
from own_worker import pausing, until
from slow_node import ANYTHING, LOGS, Node, node_before
from test_status_causes import (
    UNIT,
    has,
    lab,
    later,
    lived,
    over,
    told_by_worker,
)
from test_stopping import THREE
from votes_by_hand import vote

from tallystick.requester.accounts import deposit, withdraw

__all__ = ["lab"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]

CANT = "CANT_CONTRIBUTE_SINCE_"


@pytest.fixture(scope="module")
def node(lab: Lab) -> Iterator[Node]:
    with node_before(lab.market.rpc_url) as node:
        yield node


@pytest.fixture
def own_node(node: Node) -> Iterator[dict[str, str]]:
    """What makes a worker ask that node."""
    node.refused = None
    yield {"rpc_urls": f'["{node.url}"]'}
    node.refused = None


async def test_a_deposit_withdrawn_before_anything_has_begun(
    lab: Lab, capsys: pytest.CaptureFixture[str]
):
    owner = wallet_of(lab.market, "worker-3")
    free, _ = await lab.stake("worker-3")
    async with pausing(lab, "Assigned", name="worker-3") as worker:
        (task,) = (await lab.buy("digits", category=DEV)).tasks
        await worker.is_paused()
        await withdraw(lab.session, owner, free)
        worker.go_on()
        await lab.until(task, has("START_FAILED", "modern"))
        await deposit(lab.session, owner, free)
        told = await told_by_worker(lab, task, capsys, "worker-3")
        assert told[-2:] == ["RUNNING", f"{CANT}STAKE_TOO_LOW"]
        await over(lab, task)
        assert await worker.end() == 0


async def test_a_task_that_others_decided_while_this_one_computed(
    lab: Lab, node: Node, own_node: dict[str, str]
):
    async with pausing(lab, "Computed", **own_node) as worker:
        (task,) = (await lab.buy("digits", category=DEV)).tasks
        await worker.is_paused()
        node.refused = LOGS
        await vote(lab, "worker-2", task)
        worker.go_on()
        await lab.until(task, has(f"{CANT}TASK_NOT_ACTIVE"))
        assert (await lived(lab, task))[-2:] == ["CONTRIBUTING", "CONTRIBUTE_FAILED"]
        await over(lab, task)
        node.refused = None
        assert await worker.end() == 0


async def test_a_deadline_that_passes_while_this_one_computed(
    lab: Lab, node: Node, own_node: dict[str, str]
):
    async with pausing(lab, "Computed", **own_node) as worker:
        (task,) = (await lab.buy("digits", category=DEV)).tasks
        await worker.is_paused()
        node.refused = LOGS
        await later(lab, 7 * UNIT + 1)
        worker.go_on()
        await lab.until(task, has(f"{CANT}AFTER_DEADLINE"))
        assert (await lived(lab, task))[-2:] == ["CONTRIBUTING", "CONTRIBUTE_FAILED"]
        await over(lab, task)
        node.refused = None
        assert await worker.end() == 0


async def test_no_node_answers_before_the_vote(lab: Lab, node: Node, own_node: dict[str, str]):
    """For ten minutes, by a clock that is a hundred times faster."""
    async with pausing(lab, "Computed", hasty=True, **own_node) as worker:
        (task,) = (await lab.buy("digits", category=DEV)).tasks
        await worker.is_paused()
        node.refused = ANYTHING
        worker.go_on()
        await lab.until(task, has(f"{CANT}CHAIN_UNREACHABLE"))
        assert (await lived(lab, task))[-2:] == ["CONTRIBUTING", "CONTRIBUTE_FAILED"]
        node.refused = None
        await over(lab, task)
        assert await worker.end() == 0


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Somebody else has mounted a file system in a folder: it cannot be removed."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_folder_that_cannot_be_removed(lab: Lab):
    """The task is paid all the same, the worker goes on, and the next one removes it."""
    async with pausing(lab, "Uploaded") as worker:
        bought = await lab.buy("digits", category=DEV)
        (task,) = bought.tasks
        await worker.is_paused()
        home = worker.home / str(task)
        with in_use(home / "input" / "somebody's"):
            worker.go_on()
            await lab.until(task, has("COMPLETE_FAILED", "modern"))
            assert (await lived(lab, task))[-2:] == ["COMPLETING", "COMPLETE_FAILED"]
            assert home.is_dir()
            assert "cannot be removed" in worker.said()
        ending = await lab.see(await lab.buy("digits", category=DEV))
        assert ending.paid, "the same worker goes on"
        assert lab.gains(ending)["worker-1"] > 0
        await until(
            lambda: not home.exists(), "what was in the way is gone, and so is the rest"
        )
        assert await worker.end() == 0


async def test_a_vote_of_the_same_wallet_by_another_program(
    lab: Lab, node: Node, own_node: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    """For something else, and too few others join it."""
    async with pausing(lab, "Computed", **own_node) as worker:
        (task,) = (await lab.buy("digits", trust=THREE, category=DEV)).tasks
        await worker.is_paused()
        node.refused = LOGS
        await vote(lab, "worker-1", task)
        worker.go_on()
        await worker.until(task, "Failed check")
        told = await told_by_worker(lab, task, capsys)
        assert told[-1] == f"{CANT}CONTRIBUTION_ALREADY_SET"
        node.refused = None
        await worker.until(task, "Contributed")
        await over(lab, task)
        assert worker.signed(task, "contribute") == set(), "our own vote was not sent"
        assert await worker.end() == 0


async def test_the_winning_vote_of_the_same_wallet_is_not_ours(
    lab: Lab, capsys: pytest.CaptureFixture[str]
):
    """It is the consensus, and only the other program knows what would prove it."""
    async with pausing(lab, "Computed", name="worker-2") as worker:
        (task,) = (await lab.buy("digits", category=DEV)).tasks
        await worker.is_paused()
        await vote(lab, "worker-2", task)
        worker.go_on()
        await lab.until(task, has("CANT_REVEAL"))
        assert (await lived(lab, task, "worker-2"))[-2:] == ["REVEALING", "REVEAL_FAILED"]
        told = await told_by_worker(lab, task, capsys, "worker-2")
        assert told[-1] == "CANT_REVEAL"
        assert worker.signed(task, "reveal") == set()
        await over(lab, task)
        assert await worker.end() == 0
