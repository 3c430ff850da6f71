"""`tally worker check|start|doctor` as an operator runs them: real processes, a real market."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from market_lab import Lab, market_lab, only

from tallystick.chain.wallet import LIGHT, Wallet
from tallystick.devnet.console import Console
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places, write_settings

pytestmark = [pytest.mark.anyio, pytest.mark.long]
ALL_SET = ("You worker is all set", "Cool, your iexec-worker is all set!")


@pytest.fixture(scope="module")
async def idle(
    poco_packages: PocoPackages, executor: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    """A market whose one worker has its settings, and is not running."""
    folder = tmp_path_factory.mktemp("market")
    async with market_lab(
        folder, workers=1, executor=executor, children=only(), alive=0
    ) as lab:
        yield lab


class Post:
    """A worker's settings, changed as a test needs them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder

    def config(self, **changes: Any) -> Path:
        known = tomllib.loads(Places(self.lab.market.data).config("worker-1").read_text())
        path = self.folder / "worker.toml"
        path.unlink(missing_ok=True)
        write_settings(path, known | {"base_dir": self.folder / "base"} | changes)
        return path

    def poor_wallet(self) -> Path:
        """The wallet of somebody who has nothing, with the market's password."""
        password = self.lab.market.password_file.read_text().splitlines()[0]
        path = self.folder / "poor.json"
        Wallet.create(path, password, work=LIGHT)
        return path

    def tally(self, *words: str, config: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tallystick", "worker", *words]
        return subprocess.run(
            [*command, "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def checks(self, config: Path) -> tuple[int, dict[str, dict[str, Any]]]:
        done = self.tally("check", "--json", config=config)
        assert "Traceback" not in done.stderr, done.stderr
        told = json.loads(done.stdout)
        assert told["exit"] == done.returncode
        return done.returncode, {each["check"]: each for each in told["checks"]}

    def refused_start(self, **changes: Any) -> tuple[int, str]:
        """A start that ends by itself: its exit code and all it said."""
        done = self.tally("start", config=self.config(**changes))
        said = done.stdout + done.stderr
        assert not any(words in said for words in ALL_SET), said
        assert "Traceback" not in said
        assert "this is a bug" not in said, said
        return done.returncode, said

    @contextmanager
    def started(self, **changes: Any) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "tallystick", "worker", "start", "--config"]
        with subprocess.Popen(
            [*command, str(self.config(**changes))], stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)  # it says goodbye: the wallet is free
                process.communicate()


@pytest.fixture
def post(idle: Lab, tmp_path: Path) -> Post:
    return Post(idle, tmp_path)


async def said(process: subprocess.Popen[str], words: str) -> str:
    """Everything up to the line with `words`."""
    assert process.stderr is not None
    lines = []
    with anyio.fail_after(30):
        while True:
            line = await anyio.to_thread.run_sync(process.stderr.readline)
            lines.append(line)
            if words in line:
                return "".join(lines)
            assert line, "".join(lines)


async def test_a_good_machine_and_every_line(post: Post) -> None:
    code, lines = post.checks(post.config())
    assert code == 0, [each for each in lines.values() if each["level"] == "FAIL"]
    assert {
        name: lines[name]["level"] for name in lines if lines[name]["level"] == "...."
    } == {}
    for name in ("shared folders", "wallet password", "scheduler", "version", "login", "hub"):
        assert lines[name]["level"] == "OK", lines[name]
    assert "ETH balance is fine [balance:100 ETH" in lines["ETH for gas"]["found"]
    assert (
        "200 RLC deposited, 0 RLC locked; 100 RLC in the wallet"
        in (lines["RLC deposited"]["found"])
    )


async def test_what_fails_hides_nothing_else(post: Post) -> None:
    """Nobody at the scheduler's address, no node, a bad password: the rest is told still."""
    wrong = post.folder / "wrong"
    wrong.write_text("not it\n")
    wrong.chmod(0o600)
    code, lines = post.checks(
        post.config(
            scheduler_url="http://127.0.0.1:9",
            rpc_urls=["http://127.0.0.1:9"],
            password_file=wrong,
        )
    )
    assert code == 3
    levels = {name: each["level"] for name, each in lines.items()}
    failed = {name for name, level in levels.items() if level == "FAIL"}
    assert failed == {"wallet password", "scheduler", "chain"}
    assert levels["shared folders"] == "OK"
    assert {levels[name] for name in ("version", "login", "hub", "ETH for gas")} == {"...."}


async def test_a_wallet_file_in_every_bad_state(post: Post) -> None:
    bad = post.folder / "wallet.json"
    bad.mkdir()
    assert (await _wallet_line(post, bad))[1].count("is a folder, not a wallet")
    bad.rmdir()
    for content, sentence in (
        (None, "There is no wallet"),
        ("PASTE_YOUR_WALLET_HERE\n", "still holds PASTE_YOUR_WALLET_HERE"),
        ('{"version": 3,', "with both braces"),
        ("{}", "is no V3 keystore"),
    ):
        if content is not None:
            bad.write_text(content)
        code, told = await _wallet_line(post, bad)
        assert (code, sentence in told) == (3, True), told


async def _wallet_line(post: Post, wallet: Path) -> tuple[int, str]:
    done = post.tally("check", "--json", config=post.config(wallet=wallet))
    lines = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    return done.returncode, lines["wallet file"]["found"]


async def test_an_editors_marks_and_line_ends_do_no_harm(post: Post) -> None:
    original = Places(post.lab.market.data).wallet("worker-1").read_text()
    pasted = post.folder / "wallet.json"
    pasted.write_bytes(b"\xef\xbb\xbf" + original.replace("\n", "\r\n").encode() + b"  \r\n")
    pasted.chmod(0o644)
    code, lines = post.checks(post.config(wallet=pasted))
    assert code == 0
    assert lines["wallet mode"]["level"] == "WARN"
    assert lines["wallet mode"]["remedy"] == f"chmod 600 {pasted}"


async def test_no_gas_says_which_wallet_to_refill_and_with_how_much(post: Post) -> None:
    wallet = post.poor_wallet()
    address = Wallet.load(wallet, post.lab.market.password_file.read_text().split()[0]).address
    code, told = post.refused_start(wallet=wallet)
    assert code == 4
    assert "ETH balance is empty, please refill gas now [balance:0 ETH, estimateTxNb:0" in told
    assert re.search(rf"Send at least [0-9.e-]+ ETH to {address}", told)
    assert str(address) not in await _workers(post)


async def test_rlc_in_the_wallet_is_no_deposit(post: Post) -> None:
    """The check fails and names the command; the worker starts, and waits for the deposit."""
    wallet = post.poor_wallet()
    address = Wallet.load(wallet, post.lab.market.password_file.read_text().split()[0]).address
    with Console(post.lab.market.rpc_url) as console:
        console.call("anvil_setBalance", str(address), hex(10**18))
    code, lines = post.checks(post.config(wallet=wallet))
    assert code == 4
    assert lines["ETH for gas"]["level"] == "OK"
    assert lines["RLC deposited"]["found"].startswith("0 RLC deposited, 0 RLC locked;")
    assert "Deposit needed: tally worker deposit '" in lines["RLC deposited"]["remedy"]
    with post.started(wallet=wallet) as process:
        told = await said(process, ALL_SET[1])
    assert "Deposit needed: tally worker deposit" in told


async def test_all_set_is_said_after_registration_only(post: Post) -> None:
    with post.started() as process:
        told = await said(process, ALL_SET[1])
        assert ALL_SET[0] in told
        assert str(post.lab.market.accounts["worker-1"]) in await _workers(post)
    order = [told.index(words) for words in ("Load wallet credentials [address:", *ALL_SET)]
    assert order == sorted(order)
    for part in ("unlock", "container probe", "registration"):
        assert re.search(rf"{part} [0-9.]+ s", told), told


async def _workers(post: Post) -> str:
    return (await post.lab.http.get(f"{post.lab.market.scheduler_url}/workers")).text


async def test_a_start_that_can_never_work_ends_with_its_code(post: Post) -> None:
    empty = post.folder / "empty.toml"
    empty.write_text("slots = 'many'\n")
    done = post.tally("start", config=empty)
    assert done.returncode == 2
    assert post.tally("check", config=empty).returncode == 2
    code, told = post.refused_start(wallet=post.folder / "nowhere.json")
    assert (code, "There is no wallet at" in told) == (3, True)
    code, told = post.refused_start(pool=f"0x{'12' * 20}")
    assert (code, "the settings name 0x1212" in told) == (2, True)
    code, told = post.refused_start(hub=f"0x{'12' * 20}")
    assert (code, "hub" in told) == (2, True)


@contextmanager
def unfriendly(post: Post, *, login: int, register: int) -> Iterator[str]:
    """A scheduler that introduces itself as the real one, and then refuses."""
    real = post.lab.market.scheduler_url

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path = self.path.partition("?")[0]
            self.rfile.read(int(self.headers.get("content-length") or 0))
            code = {"/workers/login": login, "/workers/register": register}.get(path, 200)
            body = b"a-token"
            if path in ("/version", "/workers/config", "/config/chain"):
                body = httpx2.get(f"{real}{path}").content.replace(
                    real.encode(), f"http://127.0.0.1:{self.server.server_port}".encode()
                )
            self.send_response(code)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "answers", [{"login": 403, "register": 200}, {"login": 200, "register": 403}]
)
async def test_a_scheduler_that_refuses_never_hears_that_all_is_set(
    post: Post, answers: dict[str, int]
) -> None:
    with unfriendly(post, **answers) as url:
        code, told = await anyio.to_thread.run_sync(
            lambda: post.refused_start(scheduler_url=url)
        )
    assert (code, "refused us at /workers/" in told) == (6, True), told


async def test_no_runtime_ends_with_7(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{post.folder}/nothing.sock")
    code, told = post.refused_start(executor="docker")
    assert (code, "no Docker daemon answers" in told) == (7, True)
    done = post.tally("doctor", config=post.config(executor="docker"))
    assert done.returncode == 7
    assert "FAIL  docker socket: The Docker daemon at" in done.stdout
    assert "OK    scheduler: TCP" in done.stdout


async def test_doctor_when_everything_is_down(post: Post) -> None:
    config = post.config(
        scheduler_url="https://no-such-host.invalid:18443", rpc_urls=["http://127.0.0.1:9"]
    )
    done = post.tally("doctor", config=config)
    assert done.returncode == 1
    assert "FAIL  scheduler: DNS: no-such-host.invalid:18443" in done.stdout
    assert "....  scheduler: TLS: DNS failed." in done.stdout
    assert "OK    node: DNS" in done.stdout
    assert "FAIL  node: TCP: 127.0.0.1:9" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


async def test_doctor_when_all_is_well(post: Post) -> None:
    done = post.tally("doctor", config=post.config())
    assert done.returncode == 0, done.stdout
    for line in ("scheduler: DNS", "scheduler: TCP", "message channel", "node in sync"):
        assert f"OK    {line}:" in done.stdout, done.stdout


async def test_the_deposit_that_was_asked_for(post: Post) -> None:
    """Once made, the check is content; a running worker has its wallet to itself."""
    config = post.config()
    _, before = post.checks(config)
    done = post.tally("deposit", "2.5 RLC", "--json", config=config)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert before["RLC deposited"]["found"].startswith("200 RLC deposited")
    assert told == {"stake": 202_500_000_000, "locked": 0}
    done = post.tally("deposit", "1000000 RLC", config=config)
    assert (done.returncode, "send it more" in done.stderr) == (4, True)
    with post.started() as process:
        await said(process, ALL_SET[1])
        done = post.tally("deposit", "1 RLC", config=post.folder / "worker.toml")
        assert done.returncode == 3, done.stderr


async def test_a_pool_that_asks_for_another_version(post: Post) -> None:
    """At the start it ends the worker with 5, in the words that are known. (The last test of
    this file: the scheduler stays as it is.)"""
    config = Places(post.lab.market.data).config("scheduler")
    original = config.read_text()
    config.write_text(f'required_worker_version = ">=99"\n{original}')
    try:
        await _restarted(post.lab, "scheduler")
        code, told = post.refused_start()
    finally:
        config.write_text(original)
    assert code == 5
    assert "Bad version, please upgrade your iexec-worker [current:" in told
    assert ", required:>=99]" in told


async def _restarted(lab: Lab, name: str) -> None:
    """Its supervisor starts it again, with what its settings say now."""
    url = f"{lab.market.scheduler_url}/version"
    lab.kill(name)
    with anyio.fail_after(30):
        gone = False
        while True:
            try:
                answered = (await lab.http.get(url)).status_code == 200
            except httpx2.TransportError:
                gone = True
                answered = False
            if answered and gone:
                return
            await anyio.sleep(0.05)
