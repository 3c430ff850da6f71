"""Several workers on one machine, what they tell Prometheus, and policies that change."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from market_lab import DEV, Lab, market_lab, only

from tallystick.devnet.faucet import pour
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import password_in
from tallystick.devnet.services import Plan, services
from tallystick.devnet.supervise import Service
from tallystick.poco.values import Address

pytestmark = [pytest.mark.anyio, pytest.mark.long]

HUSH = "a-password-for-nobody"


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody has, below those the kernel gives."""
    for first in range(21000 + os.getpid() % 5000, 32000, count):
        with contextmanager(_held)(range(first, first + count)) as held:
            if held:
                return first
    raise AssertionError("no ports are free")


def _held(ports: range) -> Iterator[bool]:
    sockets = [socket.socket() for _ in ports]
    try:
        for one, port in zip(sockets, ports, strict=True):
            one.bind(("127.0.0.1", port))
        yield True
    except OSError:
        yield False
    finally:
        for one in sockets:
            one.close()


METRICS = free_ports(3)


def with_metrics(plan: Plan, console: Any, memory: Any) -> list[Service]:
    """Only one worker of the market, which serves metrics."""
    children = only(1, children=services)(plan, console, memory)
    with plan.places.config("worker-1").open("a") as file:
        file.write(f"metrics_port = {METRICS}\n")
    return children


@pytest.fixture(scope="module")
async def lab(
    poco_packages: PocoPackages, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("fleet")
    async with market_lab(
        folder, children=with_metrics, workers=1, executor="bubblewrap"
    ) as found:
        yield found


async def metrics(lab: Lab, port: int) -> dict[str, float]:
    """Every sample with its labels."""
    answer = await lab.http.get(f"http://127.0.0.1:{port}/metrics")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def until(met: Callable[[], bool], within: float = 60) -> None:
    """Other processes send no event that could be awaited."""
    with anyio.fail_after(within):
        while not met():  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def test_prometheus_is_told_what_a_task_was(lab: Lab):
    ending = await lab.see(await lab.buy("digits", category=DEV))
    assert ending.money.gains
    reward = lab.gains(ending)["worker-1"]
    with anyio.fail_after(30):
        while (await metrics(lab, METRICS)).get("tally_earned_nrlc_total") != reward:  # noqa: ASYNC110
            await anyio.sleep(0.2)
    told = await metrics(lab, METRICS)
    assert told['tally_replicates_ended_total{cause="",status="completed"}'] == 1
    assert told['tally_replicates{status="contributed"}'] == 0
    assert told['tally_step_seconds_count{step="compute"}'] == 1
    assert told['tally_step_seconds_sum{step="compute"}'] > 0
    assert told["tally_gas_spent_wei_total"] > 0
    assert told["tally_wallet_wei"] > 0
    assert told["tally_deposit_nrlc"] > 0
    assert (told["tally_slots"], told["tally_slots_busy"], told["tally_asking"]) == (1, 0, 1)
    assert told["tally_last_ping_age_seconds"] < 60
    assert 'name="worker-1"' in next(name for name in told if "info" in name)


async def test_policies_hold_without_a_restart(lab: Lab):
    config = lab.market.data / "config" / "worker-1.toml"
    log, before = lab.market.data / "logs" / "worker-1.log", config.read_text()
    pid = lab.pid("worker-1")
    config.write_text(before + "[policies]\nmin_price = 1\n")
    os.kill(pid, signal.SIGHUP)
    await until(lambda: "have changed, and hold from now on" in log.read_text())
    config.write_text(before + "[policies]\nmin_pryce = 1\n")
    await until(lambda: "cannot be used, so the ones before hold" in log.read_text())
    config.write_text(before)
    assert lab.pid("worker-1") == pid
    assert (await metrics(lab, METRICS))["tally_uptime_seconds"] > 0


def crew(lab: Lab, folder: Path, count: int) -> list[str]:
    """The command of a fleet with settings like those of the market's own worker."""
    shared = (lab.market.data / "config" / "worker-1.toml").read_text()
    kept = [
        line
        for line in shared.splitlines()
        if not re.match("name|wallet|password|base_dir|metrics", line)
    ]
    config = folder / "crew.toml"
    config.write_text(
        "\n".join([*kept, 'name = "crew"', f'base_dir = "{folder}/base"'])
        + f"\nmetrics_port = {METRICS + 1}\n"
    )
    program = [sys.executable, "-m", "tallystick", "worker", "fleet"]
    files = ["--wallets", str(folder / "wallets"), "--config", str(config)]
    return [*program, *files, "--count", str(count)]


def funded(lab: Lab, folder: Path, count: int) -> None:
    """Make the wallets, and give each what it is said to lack."""
    words = [*crew(lab, folder, count), "--funds", "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    workers = json.loads(ran.stdout)["workers"]
    assert "unknown" not in ran.stderr, ran.stderr
    assert [worker["worker"] for worker in workers] == [f"crew-{n + 1}" for n in range(count)]
    for worker in workers:
        assert (worker["missing_wei"] > 0, worker["missing_nrlc"]) == (True, 5 * 10**9)
        pour(lab.market, Address(worker["address"]))


async def test_the_environment_of_the_manual_starts_a_worker(lab: Lab, tmp_path: Path):
    """Nothing but what the manual's docker command says, and the hub that nobody knows."""
    market, log = lab.market, tmp_path / "log"
    host, port = market.scheduler_url.removeprefix("http://").split(":")
    password = password_in(market.password_file)
    given = {
        "IEXEC_WORKER_NAME": "MY_WORKER_NAME",
        "IEXEC_CORE_HOST": host,
        "IEXEC_CORE_PORT": port,
        "IEXEC_WORKER_WALLET_PATH": str(market.keystores["requester"]),
        "IEXEC_WORKER_WALLET_PASSWORD": password,
        "IEXEC_WORKER_BASE_DIR": str(tmp_path / "base"),
        "TALLY_TRUST_HUB": str(market.hub),
        "TALLY_EXECUTOR": "bubblewrap",
        "TALLY_LOG_FORMAT": "json",
    }
    with log.open("w") as said:
        process = subprocess.Popen(  # noqa: ASYNC220 (it lives as long as the test)
            [sys.executable, "-m", "tallystick", "worker", "start"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **given},
            stdin=subprocess.DEVNULL,
            stderr=said,
        )
    try:
        await until(lambda: "Cool, your iexec-worker is all set!" in log.read_text())
        assert password.encode() not in surroundings(process.pid)
    finally:
        process.terminate()
    assert await anyio.to_thread.run_sync(process.wait, 60) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert password not in log.read_text()
    assert (tmp_path / "base" / "MY_WORKER_NAME").is_dir()


@contextmanager
def fleet(lab: Lab, folder: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    words = crew(lab, folder, count)
    secret = {"IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD_0": HUSH}
    known = {"IEXEC_WORKER_DOCKER_REGISTRY_USERNAME_0": "me", **secret}
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            words,
            env={**os.environ, **known},
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def surroundings(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def pids(folder: Path) -> dict[str, int]:
    """The workers of the fleet that run, by name."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "--name" in words and str(folder / "crew.toml") in words and "-I" not in words:
            found[words[words.index("--name") + 1]] = int(path.parent.name)
    return found


async def test_a_fleet_runs_heals_and_stops(lab: Lab, tmp_path: Path):
    logs = tmp_path / "base" / "logs"

    def registered(name: str, times: int = 1) -> bool:
        log = logs / f"{name}.log"
        return (
            log.exists()
            and log.read_text().count("Cool, your iexec-worker is all set") >= times
        )

    funded(lab, tmp_path, 2)
    with fleet(lab, tmp_path, 2) as process:
        await until(lambda: registered("crew-1") and registered("crew-2"))
        known = (await lab.http.get(f"{lab.market.scheduler_url}/workers")).json()
        assert {"crew-1", "crew-2"} <= {worker["name"] for worker in known}
        said = (tmp_path / "said").read_text()
        for number in (1, 2):
            row = re.search(rf"crew-{number} +0x[0-9a-fA-F]{{40}} +- +", said)
            assert row, said
        first = pids(tmp_path)
        assert first.keys() == {"crew-1", "crew-2"}
        for number in (1, 2):
            told = await metrics(lab, METRICS + number)
            assert f'name="crew-{number}"' in next(name for name in told if "info" in name)
            assert HUSH.encode() not in surroundings(first[f"crew-{number}"])
        os.kill(first["crew-1"], signal.SIGKILL)
        await until(lambda: registered("crew-1", times=2))
        second = pids(tmp_path)
        assert second["crew-1"] != first["crew-1"]
        assert second["crew-2"] == first["crew-2"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert pids(tmp_path) == {}
        password = tmp_path / "wallets" / "password"
        assert password.stat().st_mode & 0o077 == 0
        assert password.read_text().strip() not in (tmp_path / "said").read_text()


async def test_a_worker_that_can_never_start_is_not_tried_for_ever(lab: Lab, tmp_path: Path):
    wallets = tmp_path / "wallets"
    wallets.mkdir()
    with fleet(lab, tmp_path, 1) as process:
        await until(lambda: bool(pids(tmp_path)))
        password = wallets / "password"
        password.write_text("wrong\n")
        os.kill(pids(tmp_path)["crew-1"], signal.SIGKILL)
        assert process.wait(60) != 0
    said = (tmp_path / "said").read_text()
    assert "It is not started again." in said
    assert "No worker is left" in said
