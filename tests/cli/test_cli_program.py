"""The program around the commands: help, mistakes, bugs, interruption."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import tallystick
from tallystick.cli import failure, program, services
from tallystick.engine.errors import Refused, Unavailable

HEAVY = {"fastapi", "httpx2", "pydantic", "rich", "starlette", "textual", "uvicorn"}


def test_help_names_every_command_and_loads_next_to_nothing():
    words = [sys.executable, "-X", "importtime", "-m", "tallystick", "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert all(f"\n  {name} " in told.stdout for name in program.COMMANDS)
    loaded = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert "typer" in loaded
    assert loaded & HEAVY == set(), "a help page that takes a second is not read twice"


def test_every_command_can_be_loaded_and_says_what_the_table_says():
    whole = get_command(program.whole_tree())
    assert sorted(whole.commands) == sorted(program.COMMANDS)
    for name, command in whole.commands.items():
        assert (command.help or "").splitlines()[0] == program.COMMANDS[name], name


def test_version(tally):
    assert tally("version").out == f"tallystick {tallystick.__version__}\n"
    assert json.loads(tally("version", "--json").out)["version"] == tallystick.__version__


@pytest.mark.parametrize(
    "words", [("frobnicate",), ("wallet", "frobnicate"), ("version", "--no")]
)
def test_a_wrong_word_is_a_usage_error(tally, words):
    ran = tally(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("service", services.SERVICES)
def test_a_service_without_its_file_says_so(tally, service, tmp_path):
    ran = tally(service, "start", "--config", tmp_path / "none.toml")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "none.toml" in ran.err


def test_an_unknown_benchmark_is_named(tally):
    ran = tally("bench", "frobnication")
    assert ran.code == 1
    assert "frobnication" in ran.err


def test_known_trouble_is_a_sentence(capsys):
    assert failure.report(Refused("No.")) == 1
    assert failure.report(ExceptionGroup("", [Unavailable("Down."), Unavailable("Down.")])) == 1
    assert capsys.readouterr().err == "tally: No.\ntally: Down.\n"


def test_a_bug_leaves_its_trace_in_a_file(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(KeyError) as bug:
        {}["secret"]
    assert failure.report(ExceptionGroup("", [bug.value])) == failure.BUG
    (log,) = (tmp_path / "tallystick").iterdir()
    told = capsys.readouterr().err
    assert str(log) in told
    assert "Traceback" not in told
    assert told.count("\n") == 1
    assert "KeyError: 'secret'" in log.read_text()


def test_a_bug_on_a_full_disk_is_told_at_once(capsys, monkeypatch):
    monkeypatch.setattr(failure, "_keep", full)
    assert failure.report(KeyError("secret")) == failure.BUG
    told = capsys.readouterr().err
    assert "cannot be kept (No space left on device)" in told
    assert "KeyError: 'secret'" in told


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/from", None, "/to")


def test_a_copy_to_a_full_disk_names_that_disk(capsys):
    with pytest.raises(OSError, match="No space") as trouble:
        full()
    assert failure.report(trouble.value) == 1
    assert capsys.readouterr().err == "tally: /to: No space left on device.\n"
    assert (
        failure.in_words(OSError(errno.ENOENT, "Gone", "/from", None, "/to")) == "/from: Gone."
    )


def test_interruption_is_no_failure(capsys):
    assert failure.report(KeyboardInterrupt()) == 130
    assert (
        failure.report(BaseExceptionGroup("", [KeyboardInterrupt(), Unavailable("x")])) == 130
    )
    assert capsys.readouterr().err == ""


def test_strangers_words_cannot_steer_the_terminal():
    from tallystick.cli.terminal import clean

    assert clean("a\x1b[2Jb\x07\u009bc\tä\n") == "a[2Jbc\tä\n"


def test_services_do_not_load_the_command_line_library():
    code = (
        "import sys; from tallystick.cli.main import run; "
        "run(['worker', 'start', '--config', '/does/not/exist']); "
        "assert not {'typer', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, cwd=Path.cwd()
    )
