"""`tally worker join` and `leave`: what surrounds a worker that joins a pool. A live pool is
joined in tests/e2e/test_join.py."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_data_path

from tallystick.chain.wallet import LIGHT, Wallet
from tallystick.cli import join_service, unit
from tallystick.cli.failure import Mistake
from tallystick.cli.join_home import JoinHome
from tallystick.cli.join_talk import Talk
from tallystick.cli.join_wallet import chosen
from tallystick.devnet.places import write_settings

ADDRESS = "0x" + "ab" * 20
TALK = Talk(agreed=True)


@pytest.fixture
def home(tmp_path: Path) -> JoinHome:
    return JoinHome(tmp_path / "tallystick-worker-pool-ababab")


def set_up(home: JoinHome, name: str) -> Path:
    """A worker as `join` leaves it behind."""
    folder = home.root / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    wallet, password = home.root.parent / f"{name}.json", home.root.parent / f"{name}.password"
    password.write_text("long enough\n")
    Wallet.create(wallet, "long enough", work=LIGHT)
    write_settings(
        home.settings(name),
        {
            "name": name,
            "scheduler_url": "http://127.0.0.1:1",
            "pool": ADDRESS,
            "wallet": wallet,
            "password_file": password,
            "base_dir": home.root / "work",
        },
    )
    (home.root / "work" / name).mkdir(parents=True)
    return wallet


@contextmanager
def answering(home: JoinHome, name: str) -> Iterator[None]:
    """Somebody at the worker's control socket who says that it works."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(json.dumps({"answer": {"state": "working"}}).encode() + b"\n")

    path = home.root / "work" / name / "control.sock"
    with chdir(path.parent):  # a path of a socket has to be short
        server = socketserver.ThreadingUnixStreamServer(path.name, Answer)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            path.unlink()


@contextmanager
def pool(status: int, body: bytes) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:  # or its thread would go round and round on a closed socket
            server.shutdown()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with systemd for a user who is not root; what systemctl was told."""
    tools, told = tmp_path / "bin", tmp_path / "told.txt"
    tools.mkdir()
    told.touch()
    for name in ("systemctl", "loginctl"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*" >> "{told}"\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(unit, "SYSTEMD", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return told


UNIT = "tally-worker-pool-ababab-alpha.service"


def test_a_service_of_the_person_is_started_and_taken_away(
    home: JoinHome, systemd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    set_up(home, "alpha")
    with answering(home, "alpha"):
        join_service.begin(TALK, home, "alpha")
    path = tmp_path / "config/systemd/user" / UNIT
    text = path.read_text()
    assert f"-m tallystick worker start --config {home.settings('alpha')}" in text
    assert "Restart=on-failure" in text
    assert "User=" not in text
    assert systemd.read_text().splitlines() == [
        "systemctl --user show-environment",
        "systemctl --user daemon-reload",
        f"systemctl --user enable {UNIT}",
        f"systemctl --user restart {UNIT}",
        "loginctl enable-linger",
    ]
    assert "runs (working)" in capsys.readouterr().out
    systemd.write_text("")
    join_service.end(TALK, home, "alpha")
    assert f"systemctl --user disable --now {UNIT}" in systemd.read_text()
    assert not path.exists()


def test_root_has_a_service_of_the_machine(
    home: JoinHome, systemd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(unit, "UNITS", tmp_path / "system")
    set_up(home, "alpha")
    with answering(home, "alpha"):
        join_service.begin(TALK, home, "alpha")
    text = (tmp_path / "system" / UNIT).read_text()
    assert "WantedBy=multi-user.target" in text
    assert f"User={getpass.getuser()}" in text
    assert "ReadWritePaths=" in text
    assert f"systemctl restart {UNIT}" in systemd.read_text()
    assert "--user" not in systemd.read_text()


def test_a_systemd_that_does_not_serve_the_person_is_no_keeper(
    home: JoinHome, systemd: Path, tmp_path: Path
):
    """As in a container, or behind su: its bus is not reached."""
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    assert join_service.keeper(home, "alpha") is None


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_understands_the_unit(home: JoinHome, tmp_path: Path):
    set_up(home, "alpha")
    path = tmp_path / UNIT
    path.write_text(unit.unit_text(home.settings("alpha"), personal=True))
    command = ["systemd-analyze", "--user", "verify", str(path)]
    surroundings = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        command, env=surroundings, capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if UNIT in line] == []


def test_a_service_that_does_not_answer_is_told(
    home: JoinHome, systemd: Path, monkeypatch: pytest.MonkeyPatch
):
    set_up(home, "alpha")
    monkeypatch.setattr(join_service, "_PATIENCE", 0.2)
    with pytest.raises(Mistake, match=f"journalctl --user -fu {UNIT}"):
        join_service.begin(TALK, home, "alpha")


def test_an_update_restarts_every_service_and_clears_up(
    tally: Any, home: JoinHome, systemd: Path
):
    for name in ("alpha", "beta"):
        set_up(home, name)
    (home.root / "program-old").mkdir()
    offer = {
        "name": "pool",
        "workerpool": ADDRESS,
        "chain_id": 1,
        "hub": ADDRESS,
        "scheduler_url": "http://127.0.0.1:1",
        "deposit_nrlc": 0,
        "minimum_eth_wei": 0,
        "folder": "pool-ababab",
    }
    with (
        pool(200, json.dumps(offer).encode()) as url,
        answering(home, "alpha"),
        answering(home, "beta"),
    ):
        done = tally("worker", "join", url, "--home", home.root, "--update", "--yes")
    assert done.code == 0, done.err
    told = systemd.read_text()
    assert f"restart {UNIT}" in told
    assert f"restart {UNIT.replace('alpha', 'beta')}" in told
    assert not (home.root / "program-old").exists()
    assert f"Update it:   curl -fsSL {url}/join-worker-pool.sh | sh -s -- --update" in done.out


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, b"", "lets nobody join"),
        (200, b"<html>", "not the offer of a pool"),
        (200, json.dumps({"folder": "../.."}).encode(), "not the offer of a pool"),
    ],
)
def test_what_is_no_pool_is_refused(tally: Any, status: int, body: bytes, told: str):
    with pool(status, body) as url:
        done = tally("worker", "join", url, "--yes")
    assert done.code == 1
    assert done.err.startswith("[ERROR] ")
    assert told in done.err


def test_nobody_there(tally: Any):
    done = tally("worker", "join", "http://127.0.0.1:1", "--yes")
    assert (done.code, "does not answer" in done.err) == (1, True)


def test_a_wallet_belongs_to_one_worker(home: JoinHome, tmp_path: Path):
    wallet = set_up(home, "alpha")
    with pytest.raises(Mistake, match="another worker"):
        chosen(TALK, home, "beta", wallet, tmp_path / "alpha.password")
    with pytest.raises(Mistake, match="no wallet file"):
        chosen(TALK, home, "beta", tmp_path / "none.json", None)


def test_with_yes_no_wallet_is_taken_that_was_not_named(
    home: JoinHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = tmp_path / ".ethereum/keystore"
    keys.mkdir(parents=True)
    mine = Wallet.create(keys / "mine", "long enough", work=LIGHT)
    path, password = chosen(TALK, home, "alpha", None, None)
    secret = password.read_text().strip()
    assert Wallet.load(path, secret).address != mine.address
    assert len(secret) >= 24
    assert password.stat().st_mode & 0o777 == 0o600


def test_leaving_asks_which_and_whether(tally: Any, home: JoinHome):
    assert "No worker" in tally("worker", "leave", "--home", home.root, "--yes").err
    wallets = [set_up(home, name) for name in ("alpha", "beta")]
    unclear = tally("worker", "leave", "--home", home.root, "--yes")
    assert (unclear.code, "alpha, beta" in unclear.err) == (1, True)
    unasked = tally("worker", "leave", "--home", home.root, "--name", "alpha")
    assert (unasked.code, "no terminal" in unasked.err) == (1, True)
    dry = tally("worker", "leave", "--home", home.root, "--name", "alpha", "--dry-run")
    assert (dry.code, home.workers) == (0, ["alpha", "beta"])
    assert tally("worker", "leave", "--home", home.root, "--name", "alpha", "--yes").code == 0
    assert home.workers == ["beta"]
    assert tally("worker", "leave", "--home", home.root, "--yes").code == 0
    assert not home.root.exists()
    assert all(wallet.exists() for wallet in wallets)


def test_leaving_finds_the_only_pool(tally: Any):
    assert "Which pool?" in tally("worker", "leave", "--yes").err
    homes = [JoinHome(user_data_path() / f"tallystick-worker-{name}") for name in ("a", "b")]
    set_up(homes[0], "alpha")
    assert tally("worker", "leave", "--yes").code == 0
    for number, home in enumerate(homes):
        set_up(home, f"w{number}")
    assert str(homes[1].root) in tally("worker", "leave", "--yes").err


def test_a_program_that_runs_is_not_removed(home: JoinHome):
    program = home.root / "program-used" / "bin"
    program.mkdir(parents=True)
    (program / "python").symlink_to(sys.executable)
    words = [str(program / "python"), "-c", "input(0)", "worker", "start"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"0"  # it runs, so the system can tell its words
        home.tidy()
        kept = program.exists()
        assert process.stdin is not None
        process.stdin.close()
    assert kept
    home.tidy()
    assert not program.exists()
