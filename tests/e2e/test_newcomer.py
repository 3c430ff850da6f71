"""A fresh clone in an empty home: up, Ctrl-C, up again, killed, up again, forgotten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from newcomer import CHECKOUT, NO_DOCKER, Foreground, Person, Told

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

FIGURES = {
    "task",
    "status",
    "executor",
    "seconds",
    "blocks",
    "own_overhead_ms",
    "paid_nrlc",
}


@dataclass(frozen=True)
class Visit:
    """What somebody has who has cloned the repository and started it once."""

    person: Person
    first: Told

    @property
    def data(self) -> Path:
        return self.person.home / ".local" / "share" / "tallystick" / "local"

    def deals(self) -> list[str]:
        told = self.person.tally("deal", "list", "--json")
        assert told.code == 0, told.err
        return [deal["deal"] for deal in told.answer["deals"]]

    def block(self) -> int:
        return int(self.person.tally("status", "--json").answer["block"])

    def holdings(self) -> dict[str, Any]:
        return self.person.tally("account", "show", "--json").answer


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A clone of what is committed, and its first start: everything is downloaded."""
    home = tmp_path_factory.mktemp("home")
    source = ["git", "-C", str(CHECKOUT), "rev-parse", "--git-dir"]
    if subprocess.run(source, capture_output=True, check=False).returncode:
        pytest.skip("this is no git checkout that could be cloned")
    clone = ["git", "clone", "--quiet", f"file://{CHECKOUT}", str(home / "tallystick")]
    subprocess.run(clone, check=True)
    person = Person(home=home, program=[str(home / "tallystick" / "tally")], extra=NO_DOCKER)
    first = person.tally("up", "--once", "--json", within=600)
    if "could not be installed" in first.err:
        pytest.skip(f"the package index was not reached: {first.err[-500:]}")
    yield Visit(person, first)
    for pid in person.pids():
        os.kill(pid, signal.SIGKILL)


def test_the_first_start_pays_a_task_and_says_what_it_took(visit: Visit):
    assert visit.first.code == 0, visit.first.err
    (line,) = visit.first.out.splitlines()
    answer = json.loads(line)
    assert answer.keys() >= FIGURES
    assert answer["status"] == "COMPLETED"
    assert answer["executor"] in ("runc", "crun", "bubblewrap")
    assert answer["paid_nrlc"] == 1_100_000_000
    assert "Traceback" not in visit.first.err
    assert (Path(answer["result"]) / "digits" / "digits.svg").is_file()
    visit.person.until_nothing_runs()
    assert not list((visit.data / "workers").rglob("0x*")), "of the task nothing is left"


def test_a_market_in_the_foreground_is_visited_and_interrupted(visit: Visit):
    person = visit.person
    with person.foreground("up") as up:
        up.until("is COMPLETED and paid")
        info = person.tally("info", "--json").answer
        text = f"{info['registry_url']}/v2/_catalog"
        out = tempfile.mkdtemp(dir=person.home)
        words = ("words", "--top", "3", "--input", text, "--out", out, "--json")
        bought = person.tally("run", *words)
        assert bought.code == 0, bought.err
        assert "words.svg" in os.listdir(Path(out) / "words")
        (ended,) = bought.answer["tasks"]
        task = ended["task"]
        assert ended["deal"] in visit.deals()
        shown = person.tally("task", "show", task)
        assert "status               COMPLETED" in shown.out
        assert "contributed" in shown.out
        assert "5 different" in person.tally("task", "logs", task).out
        status = person.tally("status").out
        assert "worker-1" in status
        assert task in status
        assert info["chain_id"] == 31337
        assert info.keys() >= {"rpc_url", "hub", "rlc", "registries", "accounts"}
        kept = visit.deals(), visit.block(), visit.holdings()
        assert_ctrl_c_ends_it(visit, up)
    assert_all_is_still_known(visit, *kept)


def assert_ctrl_c_ends_it(visit: Visit, up: Foreground) -> None:
    assert up.ctrl_c() == 130
    assert "Stopping; everything is kept." in up.said
    assert "Traceback" not in up.said
    visit.person.until_nothing_runs()
    assert not (visit.data / "market.json").exists()
    assert "start one with tally up" in visit.person.tally("status").refusal()


def assert_all_is_still_known(
    visit: Visit, deals: list[str], block: int, holdings: dict[str, Any]
) -> None:
    """The next start goes on with the chain of the last one; what was bought stays bought."""
    with visit.person.foreground("up", "--workers", "1") as up:
        up.until("The market is up")
        assert visit.block() >= block
        up.until("is COMPLETED and paid")
        assert visit.deals()[-len(deals) :] == deals, "newer ones come first"
        spent = holdings["stake_nrlc"] - visit.holdings()["stake_nrlc"]
        assert spent == 1_100_000_000, "for the new task, and nothing else has changed"
        assert up.ctrl_c() == 130


def test_a_market_that_is_killed_leaves_nothing_running_and_starts_again(visit: Visit):
    with visit.person.foreground("up", "--workers", "1") as up:
        up.until("is COMPLETED and paid")
        deals, block = visit.deals(), visit.block()
        up.process.kill()
        up.process.wait()
        visit.person.until_nothing_runs()
    again = visit.person.tally("up", "--once", "--json", "--workers", "1")
    assert again.code == 0, again.err
    assert again.answer["status"] == "COMPLETED"
    with visit.person.foreground("up", "--workers", "1") as up:
        up.until("The market is up")
        assert visit.deals()[-len(deals) :] == deals, "newer ones come first"
        assert visit.block() > block - 5, "at most what was mined since the last dump is lost"
        assert up.ctrl_c() == 130


def test_reset_forgets(visit: Visit):
    told = visit.person.tally("up", "--once", "--json", "--reset", "--workers", "1")
    assert told.code == 0, told.err
    with visit.person.foreground("up", "--workers", "1") as up:
        up.until("The market is up")
        assert told.answer["deal"] in visit.deals()
        assert len(visit.deals()) <= 2
        assert up.ctrl_c() == 130
    visit.person.until_nothing_runs()
