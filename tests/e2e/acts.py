"""Every act of a process by name, and SIGKILL before and after each of them, once.

An act is whatever outlives the process or is seen by another one: a transaction of a SQLite
file; a file that is written, renamed or removed; a message over HTTP, which is how the chain,
the scheduler, the result store, the image registry and the Docker daemon are spoken to; a
request that is served; a program that is started. They are caught where all of them pass, so
one that is added to a program tomorrow is found without a word here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from tallystick.chain import contracts
from tallystick.chain.abi import selector

CALLS = {
    selector(signature): signature.partition("(")[0]
    for signature in vars(contracts).values()
    if isinstance(signature, str) and re.fullmatch(r"\w+\(.*\)", signature)
}
_PASSING = re.compile(r"0x[0-9a-fA-F]+|[0-9a-f]{12,}|\d+|tmp[a-z0-9_]{8}|\bQm\w{20,}")
"""What is another one in every life: addresses, hashes, numbers, names of scratch files."""
_WRITES = re.compile(
    r"\s*(?P<verb>INSERT|UPDATE|DELETE|REPLACE)(?: OR \w+)?(?: INTO| FROM)?\s+(?P<table>\w+)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z]+")
_SIGNED = re.compile("eth_sendRawTransaction ")
_ASKS = re.compile(r"(docker |serving )?(GET|HEAD) |(?!eth_send)(eth|net)_")
_PATH = str | bytes | os.PathLike
PEACE = "nobody dies"
"""A line of the file of deaths by which acts are only told."""
_DEPTH = 3
"""Folders of a path that are told apart; what is deeper is one act."""


class Doom:
    """Kills this process at every moment that the file `told` does not name yet, and names it.

    Several processes may share the file: then the moments are dealt out among them as they
    come. Nobody dies while the file is not there, or names `PEACE`.
    """

    def __init__(self, told: Path) -> None:
        self._told, self._pid = told, os.getpid()
        self._known: set[str] = set()
        self._read_at: tuple[int, int] | None = None
        self._busy = False

    def moment(self, when: str, *acts: str) -> None:
        """Die here, unless somebody did at all of these, which are done together."""
        if not acts or self._busy or os.getpid() != self._pid:
            return
        try:
            state = self._told.stat()
        except FileNotFoundError:
            return
        if self._read_at != (read_at := (state.st_ino, state.st_mtime_ns)):
            self._read_at, self._known = read_at, set()
        if names := {f"{when} {act}" for act in acts} - self._known:
            self._busy = True
            try:
                self._at(names)
            finally:
                self._busy = False

    def _at(self, names: set[str]) -> None:
        try:
            file = self._told.open("r+")
        except FileNotFoundError:
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._known = set(file.read().splitlines())
            if fresh := names - self._known:
                file.write("".join(f"{name}\n" for name in sorted(fresh)))
                file.flush()
                if PEACE not in self._known:
                    os.kill(os.getpid(), signal.SIGKILL)
                self._known |= fresh

    def comes(self, *acts: str) -> bool:
        """Whether death comes after these acts, as far as this process knows."""
        return self._told.exists() and not {f"after {act}" for act in acts} <= self._known

    @contextmanager
    def around(self, *acts: str) -> Iterator[None]:
        """Before and, unless they fail, after these acts, which are done together. What only
        asks changes nothing: its moment is the one when the answer is there."""
        self.moment("before", *(act for act in acts if not _ASKS.match(act)))
        yield
        self.moment("after", *acts)


def plain(text: str) -> str:
    """Without what is different in every life."""
    return _PASSING.sub("*", text)


def everything(doom: Doom, data: Path) -> None:
    """Have this process die at its acts; of the files only those in `data`."""
    _databases(doom)
    _messages(doom)
    _requests(doom)
    _files_and_programs(doom, str(data))


class Mortal(sqlite3.Connection):
    """Dies before and after whatever it makes durable."""

    doom: Doom

    def __init__(self, database: Any, *args: Any, **options: Any) -> None:
        super().__init__(database, *args, **options)
        self._file = Path(str(database)).name
        self._done: list[str] = []

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        if statement == "COMMIT":
            with self._kept():
                return super().execute(statement)
        if statement == "ROLLBACK":
            self._done.clear()
        if told := self._told_by(statement, values):
            self._done.append(told)
        if told and self.isolation_level is None and not self.in_transaction:
            with self._kept():
                return super().execute(statement, values)
        return super().execute(statement, values)

    def executemany(self, statement: str, rows: Any) -> sqlite3.Cursor:
        rows = list(rows)
        if rows and (told := self._told_by(statement, rows[0])):
            self._done.append(told)
        return super().executemany(statement, rows)

    def commit(self) -> None:
        with self._kept():
            super().commit()

    def __exit__(self, *failure: Any) -> Any:
        if failure[0] is not None:
            self._done.clear()
            return super().__exit__(*failure)
        with self._kept():
            return super().__exit__(*failure)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        done, self._done = list(dict.fromkeys(self._done)), []
        with self.doom.around(*(f"writing {self._file}: {each}" for each in done)):
            yield

    def _told_by(self, statement: str, values: Any) -> str:
        told = told_by(statement, values)
        if told.startswith("update entry"):  # of a wallet's book: say what it is that was sent
            question = "SELECT what FROM entry WHERE id = ?"
            for (what,) in super().execute(question, values[-1:]):
                told += f" {what.split()[0]}"
        return told


def _databases(doom: Doom) -> None:
    usual = sqlite3.connect
    Mortal.doom = doom

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return usual(*args, **{"factory": Mortal, **options})

    sqlite3.connect = connect  # type: ignore[assignment]


def told_by(statement: str, values: Any) -> str:
    """A write in words: its table, and the words among its values. Empty for a question."""
    found = _WRITES.match(statement)
    if found is None:
        return ""
    given = list(values.values() if isinstance(values, Mapping) else values)
    bodies = [at for at, each in enumerate(given) if isinstance(each, str) and each[:1] == "{"]
    if found["table"] == "facts" and bodies:
        step = json.loads(given[bodies[0]]).get("step") or ""
        return f"{given[bodies[0] - 1]} {step}".strip()
    words = [first[0].strip() for each in given if (first := _first_word(each))]
    return plain(" ".join([found["verb"].lower(), found["table"], *words]))


def _first_word(value: Any) -> re.Match[str] | None:
    return _WORD.match(value) if isinstance(value, str) and len(value) < 200 else None


def _messages(doom: Doom) -> None:
    usual, usual_sync = httpx2.AsyncClient.send, httpx2.Client.send

    async def send(self: Any, request: httpx2.Request, **options: Any) -> httpx2.Response:
        words = in_words(request)
        with doom.around(*words):
            if any(_SIGNED.match(each) for each in words) and doom.comes(*words):
                return at_once(request)
            return await usual(self, request, **options)

    def at_once(request: httpx2.Request) -> httpx2.Response:
        """A transaction is sent once in a life: nothing else of this process may go on, and die
        of its own acts, until the node has answered. Else nobody might die after the answer."""
        same = httpx2.Request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        with httpx2.Client(timeout=60) as client:
            return usual_sync(client, same)

    def send_sync(self: Any, request: httpx2.Request, **options: Any) -> httpx2.Response:
        with doom.around(*in_words(request)):
            return usual_sync(self, request, **options)

    httpx2.AsyncClient.send, httpx2.Client.send = send, send_sync  # type: ignore[method-assign]


def in_words(request: httpx2.Request) -> list[str]:
    """What a message asks for: several things when it is a batch for a node of the chain."""
    try:
        body = json.loads(request.content)
    except (httpx2.RequestNotRead, ValueError):
        body = None
    asked = body if isinstance(body, list) else [body]
    if asked and all(isinstance(each, dict) and "jsonrpc" in each for each in asked):
        return list(dict.fromkeys(map(_rpc, asked)))
    kind = body.get("status", "") if isinstance(body, dict) else ""
    place = "docker " if request.url.host == "docker" else ""
    path = plain(request.url.path)
    return [f"{place}{request.method} {path} {kind}".strip()]


def _rpc(asked: Mapping[str, Any]) -> str:
    method, params = asked["method"], asked.get("params") or [None]
    if method == "eth_sendRawTransaction":
        raw = bytes.fromhex(params[0][2:])
        (call,) = [name for key, name in CALLS.items() if key in raw][:1] or ["?"]
        return f"{method} {call}"
    if method == "eth_call":
        data = params[0].get("data") or params[0].get("input") or "0x"
        return f"{method} {CALLS.get(bytes.fromhex(data[2:10]), '?')}"
    return str(method)


def _requests(doom: Doom) -> None:
    usual: Callable[[uvicorn.Config], None] = uvicorn.Config.load

    def load(self: uvicorn.Config) -> None:
        usual(self)
        served = self.loaded_app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            what = f"serving {scope.get('method', 'WS')} {plain(scope.get('path', ''))}"
            with doom.around(what):
                await served(scope, receive, send)

        self.loaded_app = app  # type: ignore[assignment]

    uvicorn.Config.load = load  # type: ignore[method-assign]


def _files_and_programs(doom: Doom, data: str) -> None:
    """Their moments are `before` only: what follows is the next act's."""
    changing = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            doom.moment("before", f"starting {Path(str(args[1][0])).name}")
        elif event in changing or (event == "open" and _opened_to_change(args[2])):
            name = os.fsdecode(args[0]) if isinstance(args[0], _PATH) else ""
            if name.startswith(data):
                parts = plain(name.removeprefix(data).strip("/")).split("/")[:_DEPTH]
                doom.moment("before", f"{event.rpartition('.')[2]} {'/'.join(parts)}")

    sys.addaudithook(hook)


def _opened_to_change(flags: int) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
