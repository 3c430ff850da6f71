"""Deals that name a contract which is told the result: whatever it does, the task is paid."""

from __future__ import annotations

from pathlib import Path

import pytest
from market_lab import Lab, market_lab, only
from own_worker import usual

from tallystick.chain.records import ChainTask, TaskState
from tallystick.devnet.packages import PocoPackages
from tallystick.poco.values import Address
from tallystick.wire.results import result_link

pytestmark = pytest.mark.anyio

DATA = bytes(range(32))
CODES = {
    # Keeps the task (slot 0) and the first word of the result (slot 1), then fills four more
    # slots: some 133,000 gas of the 200,000 that the hub forwards.
    "listens": "6004356000556064356001556001600255600160035560016004556001600555" + "00",
    "refuses": "60006000fd",
    "burns all its gas": "5b600056",
    "is not there": "",
}
"""What contracts do that are told a result, as the code of the EVM."""


@pytest.mark.parametrize("alone", ["true", "false"], ids=["one transaction", "classic"])
async def test_a_contract_that_is_told_a_result_cannot_hold_up_its_task(
    poco_packages: PocoPackages, executor: str, cache: Path, tmp_path: Path, alone: str
):
    options = {"workers": 1, "executor": executor, "alive": 0, "children": only()}
    async with (
        market_lab(tmp_path, **options) as lab,
        usual(lab, contribute_and_finalize=alone) as worker,
    ):
        await lab.workers_are_back(1)
        image = lab.shelve("mischief", cache)
        for number, (what, code) in enumerate(CODES.items()):
            contract = Address(bytes([0xCA, *bytes(18), number + 1]))
            await lab.session.rpc.call("anvil_setCode", str(contract), "0x" + code)
            known = await told(lab, image, contract)
            calls = {"finish": alone == "true", "contribute": alone != "true"}
            for name, expected in calls.items():
                assert bool(worker.signed(known.id, name)) is expected, what
            if what == "listens":
                assert await slot(lab, contract, 0) == known.id
                assert await slot(lab, contract, 1) == DATA
                assert await slot(lab, contract, 5) != bytes(32), "it had all the gas it needs"


async def told(lab: Lab, image: str, contract: Address) -> ChainTask:
    """A paid task whose result is told to `contract`, as the chain knows it."""
    bought = await lab.buy(image, f"callback 0x{DATA.hex()}", callback=contract)
    ending = await lab.see(bought)
    assert ending.paid
    assert lab.gains(ending)["worker-1"] > 0
    assert lab.leftovers(ending.task) == []
    known = await lab.session.hub.task(ending.task)
    assert known is not None
    assert known.state is TaskState.COMPLETED
    assert known.callback == DATA
    assert known.results == result_link("ethereum", str(contract))
    return known


async def slot(lab: Lab, contract: Address, number: int) -> bytes:
    """A word of a contract's storage."""
    found = await lab.session.rpc.call("eth_getStorageAt", str(contract), hex(number), "latest")
    return bytes.fromhex(found.removeprefix("0x")).rjust(32, b"\0")
