"""The program as a person runs it: words in, exit code and two streams out."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tallystick.cli.main import run


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Tally = Callable[..., Ran]


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Tally:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))

    def ran(*words: object, stdin: str = "") -> Ran:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([str(word) for word in words])
        return Ran(code, out.getvalue(), err.getvalue())

    return ran
