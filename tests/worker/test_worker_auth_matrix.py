"""Every word of the control sockets × everybody who is not the operator, and every address of a
worker's metrics × everybody whose business they are not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, get_args

import anyio
import anyio.lowlevel
import httpx2
import pytest
from anyio import to_thread
from test_worker_metrics import parts_of
from worker_lab import settings

from tallystick.engine.journal import Journal
from tallystick.lifecycle.facts import Fact
from tallystick.scheduler.admin import Office as PoolOffice
from tallystick.wire.control import SOCKET, Control
from tallystick.worker.desk import Desk
from tallystick.worker.logring import LogRing
from tallystick.worker.metrics import serving

pytestmark = pytest.mark.anyio

TOLD, DONE = "told to the operator", "done at the operator's word"
WORKER: Final = {
    **dict.fromkeys(
        ("status", "why", "tasks", "earnings", "usage", "logs", "follow"),
        TOLD,
    ),
    **dict.fromkeys(("pause", "resume", "drain", "stop"), DONE),
}
POOL: Final = {
    **dict.fromkeys(("status", "workers", "tasks", "deals", "offers"), TOLD),
    **dict.fromkeys(
        ("block", "unblock", "pardon", "drain", "publish", "cancel", "policy"), DONE
    ),
}
WORDS: Final = [
    *(("worker", word) for word in WORKER),
    *(("pool", word) for word in POOL),
]
NOBODY: Final = 65_534
"""A user who owns nothing here."""


def control_of(noun: str, home: Path) -> Control:
    """The control of a worker or of a scheduler, with every word that it has."""
    if noun == "pool":
        return PoolOffice.control(SimpleNamespace(**{w: _named(w) for w in POOL}))  # type: ignore[arg-type]
    control = Control()
    Desk(settings(home), LogRing()).attend(control)
    return control


def _named(word: str) -> Any:
    return SimpleNamespace(__name__=word)


def words_of(control: Control) -> set[str]:
    return set(control._handlers | control._streams)


@pytest.mark.parametrize(("noun", "words"), [("worker", WORKER), ("pool", POOL)])
def test_every_word_is_in_the_matrix(noun: str, words: dict[str, str], tmp_path: Path):
    found = words_of(control_of(noun, tmp_path))
    assert found == words.keys(), "say whose it is, and whether it does something"


class Obeyed(AssertionError):
    """Something was told, or done."""


@asynccontextmanager
async def listening(noun: str, home: Path) -> AsyncIterator[Path]:
    """The real socket with the real words; whatever they tell or do is noted in `obeyed`."""
    control = control_of(noun, home)
    obeyed = home / "obeyed"

    async def obey(request: Any) -> dict[str, Any]:
        with obeyed.open("a") as file:
            file.write(f"{request['do']}\n")
        await anyio.lowlevel.checkpoint()
        return {"secret": "told"}

    async def news(request: Any) -> AsyncIterator[dict[str, Any]]:
        yield await obey(request)

    for word in list(control._handlers):
        control.on(word, obey)
    for word in list(control._streams):
        control.on_stream(word, news)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(control.run, home)
        while not (home / SOCKET).exists():
            await anyio.lowlevel.checkpoint()
        yield home / SOCKET
        tasks.cancel_scope.cancel()


_CALLER: Final = """
import json, os, socket, sys
path, words, user = sys.argv[1], sys.argv[2].split(), int(sys.argv[3])
os.setgroups([]), os.setgid(user), os.setuid(user)
for word in words:
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(path)
            try:
                line.sendall(json.dumps({"do": word}).encode() + b"\\n")
            except ConnectionError:
                pass  # refused unread: the answer tells why
            print(word, (line.makefile().readline() or "hung up").strip())
        except OSError as refusal:
            print(word, refusal.strerror)
"""


def as_another_user(path: Path, words: list[str]) -> list[str]:
    """What a process of somebody else gets for each of these words."""
    command = [sys.executable, "-c", _CALLER, str(path), " ".join(words), str(NOBODY)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [line.split(" ", 1)[1] for line in told.stdout.splitlines()]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that everybody may enter: the worst that an operator may have done."""
    folder = Path("/tmp") / f"tally-matrix-{os.getpid()}"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    yield folder
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


@needs_root
@pytest.mark.parametrize("noun", ["worker", "pool"])
@pytest.mark.parametrize("mode", ["as it is made", "opened for everybody"])
async def test_a_process_of_another_user_gets_nothing_by_any_word(
    noun: str, mode: str, open_folder: Path
):
    words = sorted(WORKER if noun == "worker" else POOL)
    async with listening(noun, open_folder) as path:
        if mode == "opened for everybody":
            path.chmod(0o777)
        answers = await to_thread.run_sync(as_another_user, path, words)
    assert len(answers) == len(words)
    if mode == "as it is made":
        assert set(answers) == {"Permission denied"}
    else:
        refused = {"error": f"Only the user who runs this {noun} may ask it."}
        assert [json.loads(answer) for answer in answers] == [refused] * len(words)
    assert not (open_folder / "obeyed").exists()


@pytest.mark.parametrize(("noun", "word"), WORDS)
async def test_a_web_page_that_reaches_the_socket_says_no_word(
    noun: str, word: str, tmp_path: Path
):
    """A socket of the file system is out of a browser's reach; and what a browser would send
    is no request."""
    async with listening(noun, tmp_path) as path:
        for line in (
            f'POST / HTTP/1.1\r\nHost: x\r\n\r\n{{"do": "{word}"}}\n'.encode(),
            f"GET /{word} HTTP/1.1\n".encode(),
            f'["{word}"]\n'.encode(),
            f'"{word}"\n'.encode(),
            f'{{"do": "{word} "}}\n'.encode(),
            f'{{"DO": "{word}"}}\n'.encode(),
        ):
            answer = await to_thread.run_sync(said, path, line)
            assert set(json.loads(answer)) == {"error"}, line
    assert not (tmp_path / "obeyed").exists()


def said(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(60)
        caller.connect(str(path))
        caller.sendall(line)
        return caller.makefile("rb").readline()


@pytest.mark.parametrize(("noun", "word"), WORDS)
async def test_the_operator_is_obeyed(noun: str, word: str, tmp_path: Path):
    """Else the refusals above would show nothing."""
    async with listening(noun, tmp_path) as path:
        line = json.dumps({"do": word}).encode() + b"\n"
        answer = await to_thread.run_sync(said, path, line)
    assert json.loads(answer) == {"answer": {"secret": "told"}}
    assert (tmp_path / "obeyed").read_text() == f"{word}\n"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal[Fact]]:
    kept = Journal[Fact](tmp_path / "journal.db", get_args(Fact))
    yield kept
    kept.close()


FOREIGN: Final = (
    "evil.example",
    "evil.example:9200",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "user@evil.example",
    "0.0.0.0",
    "",
)
"""What a page of the web that has its own name point at 127.0.0.1 has in its requests."""


async def test_the_metrics_of_a_worker_are_for_programs_of_its_machine_that_mean_it(
    journal: Journal[Fact], tmp_path: Path
):
    parts = parts_of(journal, tmp_path, balance=7)
    async with serving(parts, 0) as port, httpx2.AsyncClient(timeout=60) as http:
        place = f"http://127.0.0.1:{port}"
        for host in FOREIGN:
            answer = await http.get(f"{place}/metrics", headers={"host": host})
            assert (answer.status_code, "tally" in answer.text) == (403, False), host
        for origin in ("https://evil.example", "http://localhost:3000", "null"):
            answer = await http.get(f"{place}/metrics", headers={"origin": origin})
            assert (answer.status_code, "tally" in answer.text) == (403, False), origin
        for path in ("/", "/favicon.ico", "/metrics/", "/metrics/..", "/status"):
            answer = await http.get(place + path)
            assert (answer.status_code, "tally" in answer.text) == (404, False), path
        for verb in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = await http.request(verb, f"{place}/metrics")
            assert (answer.status_code, "tally_" in answer.text) == (405, False), verb
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", "[::1]:9200"):
            answer = await http.get(f"{place}/metrics", headers={"host": host})
            assert (answer.status_code, "tally_wallet_wei" in answer.text) == (200, True), host
            assert "access-control-allow-origin" not in answer.headers
