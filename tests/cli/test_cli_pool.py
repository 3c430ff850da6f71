"""What `tally pool` says where no pool runs, and how its answers read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from tallystick.cli import pool_rule
from tallystick.cli import pool_words as words
from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Fact, Ordered
from tallystick.poco.deal import Deal
from tallystick.poco.values import DealId
from tallystick.scheduler.admin_place import held

DEAL = Deal(DealId(b"\x0d" * 32), start=0, time_unit=60, trust=1)
Tally = Callable[..., Any]
"""The program, as `conftest` runs it."""
HUB = "0x" + "01" * 20
RATIOS = ("--worker-stake-ratio", "30", "--scheduler-reward-ratio", "101")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pool.toml"
    path.write_text(
        f'data_dir = "{tmp_path}/pool"\nrpc_urls = ["http://127.0.0.1:9"]\nhub = "{HUB}"\n'
        f'workerpool = "{HUB}"\nwallet = "{tmp_path}/w.json"\npassword_file = "{tmp_path}/p"\n'
        'results_url = "http://127.0.0.1:9"\nport = 0\n'
    )
    return path


@pytest.mark.parametrize(
    "line",
    [
        ("status",),
        ("workers",),
        ("tasks",),
        ("deals",),
        ("block", HUB),
        ("unblock", HUB),
        ("pardon", HUB),
        ("drain",),
        ("orders", "list"),
        ("orders", "publish"),
        ("orders", "cancel", "0x" + "00" * 32),
    ],
)
def test_a_pool_that_does_not_run(tally: Tally, config: Path, line: tuple[str, ...]) -> None:
    ran = tally("pool", *line, "--config", config)
    assert ran.code == 1
    assert ran.out == ""
    assert f"No pool runs in {config.parent}/pool. Start it with: tally pool start" in ran.err


def test_no_settings_and_no_local_market(tally: Tally) -> None:
    ran = tally("pool", "status")
    assert ran.code == 1
    assert "there is no local market: name the pool's with --config" in ran.err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (("block", "0x12"), "does not name an account"),
        (("orders", "cancel", "0x12"), "is no order"),
        (
            ("policy", "--worker-stake-ratio", "30", "--scheduler-reward-ratio", "101"),
            "0 to 100",
        ),
        (("orders", "publish", "--category", "0"), "both a category and a price"),
        (("create", "a pool"), "Which chain?"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(
    tally: Tally, config: Path, line: tuple[str, ...], sentence: str
) -> None:
    where = () if line[0] == "create" else ("--config", config)
    ran = tally("pool", *line, *where)
    assert ran.code in (1, 2)
    assert sentence in " ".join(ran.err.split())


def test_a_second_scheduler_in_the_same_folder_is_refused(tally: Tally, config: Path) -> None:
    with held(config.parent / "pool"):
        ran = tally("pool", "start", "--config", config)
    assert ran.code == 1
    assert "A scheduler runs in" in ran.err


def test_a_backup_is_restored_only_into_what_knows_less(
    tally: Tally, config: Path, tmp_path: Path
) -> None:
    home = tmp_path / "pool"
    home.mkdir()
    add_fact(home, 0)
    copy = tmp_path / "copy"
    ran = tally("pool", "backup", copy, "--config", config)
    assert (ran.code, ran.err) == (0, "")
    assert "holds the 1 facts" in ran.out
    add_fact(home, 1)
    ran = tally("pool", "restore", copy, "--config", config)
    assert ran.code == 1
    assert "is newer than the backup (2 facts, not 1)" in ran.err
    with held(home):
        ran = tally("pool", "restore", copy, "--config", config)
    assert "The pool of" in ran.err
    assert "runs: stop it first" in ran.err
    (home / "journal.db").rename(tmp_path / "aside.db")
    ran = tally("pool", "restore", copy, "--config", config)
    assert (ran.code, ran.err) == (0, "")


def add_fact(home: Path, index: int) -> None:
    journal = Journal[Fact](home / "journal.db", get_args(Fact))
    journal.append(str(DEAL.task_id(index)), Ordered(DEAL, index), at=100.0 + index)
    journal.close()


def test_a_pool_in_postgresql_is_not_copied_by_us(tally: Tally, config: Path) -> None:
    config.write_text(config.read_text() + 'database = "postgresql://127.0.0.1/pool"\n')
    ran = tally("pool", "backup", "x", "--config", config)
    assert ran.code == 1
    assert "pg_dump" in ran.err


def test_how_a_drain_reads() -> None:
    """Of several schedulers one ends at once, and the others go on with its tasks."""
    told: dict[str, Any] = {"state": "leaving", "waits_for": 0, "left": 3, "others": 2}
    assert pool_rule._sentence(told, off=False) == (
        "This scheduler ends, and 2 others go on with its tasks. To let all end: tally pool"
        " drain --whole-pool."
    )
    told = {"state": "draining", "waits_for": 2, "left": 1, "others": 2}
    assert pool_rule._sentence(told, off=False).startswith("The pool ends when 2 tasks are")


def test_how_a_deal_reads() -> None:
    row: dict[str, Any] = {
        "deal": "0x" + "ab" * 32,
        "tasks": 3,
        "settled": 2,
        "price_nrlc": 10**9,
        "stake_locked_nrlc": 3 * 10**8,
        "reward_nrlc": 2 * 10**7,
        "seized_nrlc": 0,
        "gas_wei": 10**15,
        "profit_nrlc": None,
    }
    cells = words.deal_row(row)
    assert cells[1] == "2 of 3 over"
    assert cells[-1] == "unknown"
    assert words.deal_row(row | {"profit_nrlc": -5})[-1].startswith("-0.000000005")


def test_a_row_of_workers_says_what_audits_found() -> None:
    row = {"wallet": HUB, "name": "w", "busy": 0, "slots": 1, "heard_seconds_ago": 1.0}
    row |= {"alive": True, "blocked": False, "audits": 3, "audits_differed": 1}
    assert words.worker_row(row | {"belief": "distrusted"})[4] == "3, 1 wrong: distrusted"
    assert words.worker_row(row | {"belief": ""})[4] == "-", "nobody is audited"
