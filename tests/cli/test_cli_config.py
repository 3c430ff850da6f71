"""`tally config show`, and what a start says about its settings."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.cli import logs
from tallystick.cli.program import COMMANDS
from tallystick.engine import timing
from tallystick.poco.values import TaskId

TASK = TaskId(b"\x07" * 32)
HUSH = "do-not-tell"


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith(("IEXEC_", "TALLY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IEXEC_CORE_HOST", "pool.example")
    monkeypatch.setenv("IEXEC_WORKER_WALLET_PATH", "/w.json")
    monkeypatch.setenv("IEXEC_WORKER_BASE_DIR", str(tmp_path / "base"))
    monkeypatch.setenv("IEXEC_WORKER_WALLET_PASSWORD", HUSH)
    return monkeypatch


def test_every_value_with_its_place(tally: Any, surroundings: Any, tmp_path: Path):
    file = tmp_path / "worker.toml"
    file.write_text(
        'base_dir = "/b"\nrpc_urls = ["https://me:secret@node.example/v3/0123456789abcdef"]\n'
        '[[registries]]\nusername = "me"\npassword = "t0ken"\n[network]\nreach = "full"\n'
    )
    surroundings.setenv("IEXEC_LAS_PORT", "18766")
    shown = tally("config", "show", "--config", file)
    assert shown.code == 0
    rows = {line.split()[0]: line for line in shown.out.splitlines()}
    assert rows["scheduler_url"].split()[1:] == ["http://pool.example:18090", "IEXEC_CORE_HOST"]
    assert rows["base_dir"].endswith("IEXEC_WORKER_BASE_DIR")
    assert rows["rpc_urls"].endswith(f"{file}: rpc_urls")
    assert rows["gas_price_cap"].split()[1:] == ["22000000000", "default"]
    assert "IEXEC_LAS_PORT changes nothing" in shown.out
    answer = json.loads(tally("config", "show", "--config", file, "--json").out)
    told = answer["settings"]
    assert told["rpc_urls"]["value"] == ["https://***@node.example/v3/***"]
    assert told["registries"]["value"][0] == {
        "address": "docker.io",
        "username": "me",
        "password": "***",
    }
    assert told["network"]["value"]["reach"] == "full"


def test_no_secret_is_shown(tally: Any, surroundings: Any):
    for words in (("config", "show"), ("config", "show", "--json")):
        surroundings.setenv("IEXEC_WORKER_WALLET_PASSWORD", HUSH)
        shown = tally(*words)
        assert shown.code == 0
        assert "***" in shown.out
        assert HUSH not in shown.out + shown.err


def test_mistakes_instead_of_values(tally: Any, surroundings: Any):
    surroundings.setenv("IEXEC_GAS_PRICE_CAP", "cheap")
    surroundings.delenv("IEXEC_WORKER_WALLET_PATH")
    shown = tally("config", "show")
    assert shown.code != 0
    assert "for 2 reasons" in shown.err
    assert "IEXEC_GAS_PRICE_CAP" in shown.err
    assert "Traceback" not in shown.err


def test_a_start_with_mistakes_ends_at_once(surroundings: Any, tmp_path: Path):
    given = {**os.environ, "IEXEC_GAS_PRICE_CAP": "cheap"}
    words = ("worker", "start", "--slots", "0")
    ran = subprocess.run(
        [sys.executable, "-m", "tallystick", *words],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert ran.returncode == 2
    assert "--slots: " in ran.stderr
    assert "IEXEC_GAS_PRICE_CAP: " in ran.stderr
    assert HUSH not in ran.stderr + ran.stdout


def test_a_password_that_stands_nowhere_is_asked_for(surroundings: Any):
    surroundings.delenv("IEXEC_WORKER_WALLET_PASSWORD")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb") as keyboard, os.fdopen(theirs) as terminal:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "worker", "start"],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert worker.stderr
        said = ""
        while not said.endswith("Password of /w.json: "):
            said += worker.stderr.read(1)
        keyboard.write(HUSH.encode() + b"\n")
        keyboard.flush()
        out, err = worker.communicate(timeout=60)
    assert worker.returncode == 3  # there is no such wallet
    assert "/w.json" in err
    assert HUSH not in out + err


def test_config_is_a_command():
    assert "config" in COMMANDS


# --- logs -----------------------------------------------------------------------------------


@pytest.fixture
def usual_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before, level


def lines(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.usefixtures("usual_logging")
def test_json_lines(capsys: pytest.CaptureFixture[str]):
    log = logs.configure("json", "info")
    log.debug("not said")
    log.info("Task %s is\nbegun.", TASK)
    timing.due(0.0, lambda *_: None, str(TASK))
    log.warning("A step speaks.")
    timing.due(0.0, lambda *_: None)
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("It broke.")
    first, second, third = lines(capsys.readouterr().err)
    assert first["message"] == f"Task {TASK} is\nbegun."
    assert first["level"] == "info"
    assert first["logger"] == "tallystick"
    assert first["time"].endswith("Z")
    assert first["task"] == second["task"] == str(TASK)
    assert "task" not in third
    assert "ValueError: bad" in third["error"]


@pytest.mark.usefixtures("usual_logging")
def test_text_lines(capsys: pytest.CaptureFixture[str]):
    log = logs.configure("text", "warning")
    log.info("not said")
    log.warning("Said.")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING tallystick: Said.")
