"""The Join script of a live pool, on a machine that reaches the pool and nothing else."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from lone_machine import LoneMachine, lone_machine, relayed, why_no_link
from market_lab import Lab, market_lab, only

from tallystick.chain.wallet import LIGHT, Wallet
from tallystick.cli.pool_wheelhouse import wheelhouse
from tallystick.devnet.faucet import pour
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import write_settings
from tallystick.devnet.services import Plan
from tallystick.poco.values import Address

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.skipif(bool(why := why_no_link()), reason=why),
    pytest.mark.timeout(900),
]
SECRET = "correct horse $HOME 'battery'"


@dataclass
class Joined:
    """A pool that lets everybody join, and a machine that could."""

    lab: Lab
    machine: LoneMachine
    line: str
    """What stands in the first box of the Join page."""

    def script(self, words: str = "") -> str:
        """The line that people copy, with options."""
        return f"{self.line} -s -- {words}"

    @property
    def home(self) -> Path:
        (found,) = (self.machine.home / ".local/share").glob("tallystick-worker-*")
        return found

    async def workers(self) -> dict[str, dict[str, Any]]:
        """What the pool says of its workers, by name."""
        answer = await self.lab.http.get(f"{self.lab.market.scheduler_url}/workers")
        return {each["name"]: each for each in answer.json()}

    async def alive(self, name: str, *, alive: bool = True) -> dict[str, Any]:
        with anyio.fail_after(120):
            while True:
                found = (await self.workers()).get(name)
                if found is not None and found["alive"] == alive:
                    return found
                await anyio.sleep(0.1)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this Python needs."""
    folder = tmp_path_factory.mktemp("wheels")
    wheelhouse(folder, python=[f"3.{sys.version_info[1]}"])
    return folder


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneMachine]:
    with lone_machine(tmp_path_factory.mktemp("machine") / "home") as found:
        yield found


@pytest.fixture(scope="module")
async def joined(
    poco_packages: PocoPackages,
    wheels: Path,
    machine: LoneMachine,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Joined]:
    """A market without workers of its own, that is reached over the link alone."""
    with ExitStack() as stack:

        def children(plan: Plan, console: Any, memory: Any) -> Any:
            found = only()(plan, console, memory)
            path = plan.places.config("scheduler")
            known = tomllib.loads(path.read_text())
            path.unlink()
            ports = plan.ports
            told = {
                "name": "It's a $(pool)",
                "public_url": f"http://{machine.pool}:{ports.scheduler}",
                "worker_rpc_url": f"http://{machine.pool}:{ports.chain}",
                "results_url": f"http://{machine.pool}:{ports.results}",
                "join": True,
                "wheelhouse": wheels,
            }
            write_settings(path, known | told)
            ways = [f"{machine.pool}:{port}=127.0.0.1:{port}" for port in ports.all]
            stack.enter_context(relayed(ways))
            # Images of this market are published by the address of its registry.
            way = f"127.0.0.1:{ports.registry}={machine.pool}:{ports.registry}"
            stack.enter_context(relayed([way], machine.inside()))
            return found

        folder = tmp_path_factory.mktemp("market")
        async with market_lab(
            folder, workers=1, executor="bubblewrap", children=children, alive=0
        ) as lab:
            page = (await lab.http.get(f"{lab.market.scheduler_url}/join")).text
            box = re.search(r'<pre id="launch"[^>]*>(.*?)</pre>', page)
            assert box
            yield Joined(lab, machine, html.unescape(box[1]))


def wallet(folder: Path, name: str) -> tuple[Path, Path, Address]:
    path, secret = folder / f"{name}.json", folder / f"{name}.password"
    secret.touch(mode=0o600)
    secret.write_text(f"{SECRET}\n")
    return path, secret, Wallet.create(path, SECRET, work=LIGHT).address


async def in_thread(line: Any, *words: Any) -> Any:
    return await anyio.to_thread.run_sync(line, *words)


async def test_unattended_until_it_is_paid_then_updated_and_removed(joined: Joined):
    machine, market = joined.machine, joined.lab.market
    nowhere = machine.sh("ip route; curl -sS --max-time 5 http://192.0.2.1/; echo $?")
    assert "default" not in nowhere.stdout
    assert nowhere.stdout.splitlines()[-1] != "0"  # really alone

    file, secret, who = wallet(machine.home, "alpha")
    given = f"--yes --name alpha --wallet {file} --password-file {secret}"
    dry = await in_thread(machine.sh, joined.script(f"{given} --dry-run"))
    assert (dry.returncode, list(machine.home.glob(".local/share/*"))) == (0, [])

    poor = await in_thread(machine.sh, joined.script(given))
    assert poor.returncode == 4, poor.stdout + poor.stderr
    assert "[OK] requirements.txt has the right checksum" in poor.stdout
    assert "0.100000 ETH for gas and 4.000000000 RLC to deposit" in poor.stderr
    assert who.checksummed in poor.stderr
    await in_thread(pour, market, who)

    with machine.running(joined.script(given)) as first:
        await in_thread(first.until, "worker is all set")
        assert "is installed already" in first.said  # it went on where it was
        assert "[OK] 4.000000000 RLC are deposited" in first.said
        seen = await joined.alive("alpha")
        assert seen["address"] == str(who)
        page = (await joined.lab.http.get(f"{market.scheduler_url}/dashboard/workers")).text
        assert "alpha" in page
        assert "Join Worker Pool" in page

        app = next(iter(market.apps))
        ending = await joined.lab.see(await joined.lab.buy(app))
        assert ending.paid
        account = await joined.lab.session.hub.account(who)
        assert account.stake + account.locked > 4 * 10**9  # it earned

        again = await in_thread(machine.sh, joined.script(given))
        assert (again.returncode, "runs already" in again.stdout) == (0, True), again.stderr
        status = await in_thread(
            machine.sh, f"{joined.home}/tally worker status --json --config {settings(joined)}"
        )
        assert json.loads(status.stdout)["name"] == "alpha", status.stderr

        # As if the pool served another version now.
        fetch = joined.line.partition(" | ")[0]
        change = f"{fetch} | sed 's/^MARK=.*/MARK=another/' > next.sh"
        assert (await in_thread(machine.sh, change)).returncode == 0
        with machine.running("sh next.sh --update --yes") as second:
            await in_thread(second.until, "worker is all set")
            assert [path.name for path in joined.home.glob("program-*")] == ["program-another"]
            assert await in_thread(first.ended) == 0
            await joined.alive("alpha")
            gone = await in_thread(machine.sh, joined.script("--remove --yes --name alpha"))
            assert gone.returncode == 0, gone.stdout + gone.stderr
            assert await in_thread(second.ended) == 0
    await joined.alive("alpha", alive=False)
    assert Wallet.load(file, SECRET).address == who
    assert secret.exists()
    assert not list(machine.home.glob(".local/share/*/program-*"))
    once_more = await in_thread(machine.sh, joined.script("--remove --yes"))
    assert (once_more.returncode, "No worker" in once_more.stdout) == (0, True)


def settings(joined: Joined) -> Path:
    return joined.home / "workers" / "alpha.toml"


async def test_somebody_at_a_terminal(joined: Joined):
    machine = joined.machine
    with machine.terminal(joined.script()) as screen:
        await in_thread(screen.answer, "Worker name (letters, digits, - and _)", "not a name")
        await in_thread(screen.answer, "Worker name (letters, digits, - and _)", "beta")
        await in_thread(screen.answer, "Do you trust this pool? [y/N]:", "y")
        await in_thread(screen.answer, "Do you want to create a new wallet", "y")
        await in_thread(screen.answer, "Password for the new wallet:", SECRET)
        await in_thread(screen.answer, "The same again:", SECRET)
        assert await in_thread(screen.ended) == 4, screen.screen
        assert SECRET not in screen.screen
    (made,) = (machine.home / ".ethereum/keystore").iterdir()
    who = Wallet.load(made, SECRET).address
    kept = joined.home / "passwords" / "beta"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (f"{SECRET}\n", 0o600)
    await in_thread(pour, joined.lab.market, who)
    with machine.terminal(joined.script()) as screen:
        await in_thread(screen.answer, "Do you agree? [y/N]:", "y")
        await in_thread(screen.until, "worker is all set")
        await joined.alive("beta")
        assert SECRET not in screen.screen
        assert told_elsewhere(SECRET) == []
        gone = await in_thread(machine.sh, joined.script("--remove --yes"))
        assert gone.returncode == 0, gone.stdout + gone.stderr
        assert await in_thread(screen.ended) == 0
    assert Wallet.load(made, SECRET).address == who
    assert kept.exists()


def told_elsewhere(secret: str) -> list[str]:
    """Processes whose command line or environment shows the password."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                text = (path / name).read_bytes()
            except OSError:
                continue
            if secret.encode() in text:
                found.append(f"{path}/{name}")
    return found


def test_the_relay_is_no_way_out(machine: LoneMachine):
    found = subprocess.run(
        ["ip", "-n", machine.namespace, "-j", "route"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [each["dst"] for each in json.loads(found.stdout)] == [
        ".".join((*machine.pool.split(".")[:3], "0")) + "/30"
    ]
