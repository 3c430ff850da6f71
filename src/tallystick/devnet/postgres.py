"""A PostgreSQL server of one's own, for tests and benchmarks.

It runs as an ordinary user on a unix socket in a temporary folder, with fsync on as in
production, and dies with the process that started it.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from tallystick.engine.databases import with_postgres

_NAMES = ("initdb", "postgres", "psql")
_USERS = ("postgres", "nobody")
_PR_SET_PDEATHSIG = 1
_START_LIMIT = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "deadlock_timeout": "200ms",
}


def programs() -> dict[str, Path] | None:
    """Where the programs of the server lie; None when it is not installed.

    Debian keeps them out of the path, one folder a version: the newest is taken.
    """

    def version(folder: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())

    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version, reverse=True)
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)])
    found = {name: shutil.which(name, path=path) for name in _NAMES}
    if not all(found.values()):
        return None
    return {name: Path(place) for name, place in found.items() if place}


def why_not() -> str | None:
    """Why no server can be started here; None when one can."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: postgresql)"
    if os.geteuid() == 0 and _account() is None:
        return "PostgreSQL does not run as root, and there is no account to run it as"
    return None


def _account() -> pwd.struct_passwd | None:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next((known[name] for name in _USERS if name in known), None)


class Server:
    """One server with its data; the superuser `tally` needs no password on the socket."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self._user = _account() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="tally-pg-"))
        """The socket, the data and the log."""
        self._count = 0
        self._template: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            self.folder.chmod(0o755)  # whoever finds the socket may connect
        options = ["-U", "tally", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", "-D", str(self._data), *options)

    def start(self) -> None:
        """Run the server and wait until it answers."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self.folder)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs["postgres"]), "-D", str(self._data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=self._leash,  # noqa: PLW1509 - no thread holds a lock here
            )
        deadline = time.monotonic() + _START_LIMIT
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: a fast end, in order. SIGQUIT: as if it had crashed."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within this block every process of the server is stopped: it takes connections, since
        the kernel does that, and says nothing."""
        assert self._process is not None
        stopped = [self._process.pid]
        os.kill(self._process.pid, signal.SIGSTOP)  # it starts no more of them
        try:
            for child in _children(self._process.pid):
                stopped.append(child)
                os.kill(child, signal.SIGSTOP)
            yield
        finally:
            for process in stopped:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(signal.SIGQUIT)  # quicker, since nobody will look at it again
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The URL of a new, empty database."""
        return self.url(self._create("template1"))

    def ready_database(self) -> str:
        """The URL of a new database that has the tables of a pool, and nothing in them."""
        if self._template is None:
            self._template = self._create("template1")
            schema = with_postgres("tallystick.engine.postgres_schema")
            schema.migrate(self.url(self._template))
        return self.url(self._create(self._template))

    def url(self, database: str, user: str = "tally") -> str:
        """Of a database, for an account."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints for a statement of the superuser."""
        return self._run("psql", "-XAtq", "-d", self.url(database), "-c", statement)

    def _create(self, template: str) -> str:
        self._count += 1
        name = f"test_{self._count}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _ready(self) -> bool:
        """The last line of this file tells the state of the server."""
        try:
            return (self._data / "postmaster.pid").read_text().split()[-1] == "ready"
        except (OSError, IndexError):
            return False

    def _run(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs[name]), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            preexec_fn=self._become,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{name} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _become(self) -> None:
        if self._user:
            os.setgroups([])
            os.setgid(self._user.pw_gid)
            os.setuid(self._user.pw_uid)

    def _leash(self) -> None:
        """Linux forgets the wish when the user changes, so it comes last."""
        self._become()
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            after_name = stat.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == parent:
                found.append(int(stat.parent.name))
    return found


_LIBC = ctypes.CDLL(None)
