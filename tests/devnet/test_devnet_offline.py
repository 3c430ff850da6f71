"""A market that was up once needs nothing but the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.devnet.supervise import Supervisor

PROGRAM = """
import sys, socket, anyio
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_devnet_market import chain_and_registry
from tallystick.devnet.market import MarketOptions, running
async def main():
    options = MarketOptions(data=Path(sys.argv[1]), workers=1)
    async with running(options, print, chain_and_registry) as market:
        print([name for _, name in socket.if_nameindex()], sorted(market.apps))
anyio.run(main)
"""


@pytest.fixture
def only_loopback() -> list[str]:
    """What runs a shell line where the loopback is the whole network."""
    unshare, ip = shutil.which("unshare"), shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin")
    if unshare is None or ip is None:
        pytest.skip("unshare and ip are needed to make a network namespace")
    words = [unshare, "--net"] if os.getuid() == 0 else [unshare, "--map-root-user", "--net"]
    shell = [*words, "sh", "-c", f'{ip} link set lo up && exec "$@"', "sh"]
    if subprocess.run([*shell, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets us make no network namespace")
    return shell


def test_a_warm_start_needs_no_network(poco_packages, only_loopback, tmp_path):
    source = Path(sys.modules[Supervisor.__module__].__file__).parents[2]
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "market"), here]
    settings = {**os.environ, "PYTHONPATH": str(source)}
    for shell in ([], only_loopback):
        answer = subprocess.run(
            [*shell, *command], capture_output=True, text=True, env=settings, check=False
        )
        assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "['lo'] ['corpus', 'digits', 'words']"
