"""Gas for a vote that decides, although few others had voted when its gas was estimated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tallystick.bench.gas_lives import RIGHT
from tallystick.bench.gas_stage import Offer, Stage, stage
from tallystick.chain.call import Call
from tallystick.chain.fees import CONTRIBUTE_GAS
from tallystick.chain.sender import GAS_MARGIN
from tallystick.devnet.packages import PocoPackages


def estimated(stage: Stage, sender: Any, call: Call) -> int:
    """The gas that a sender would give the call, by what a node estimates now."""
    step = {"from": str(sender.address), "to": str(call.to), "data": "0x" + call.data.hex()}
    found = int(stage.console.call("eth_estimateGas", step), 16)
    return int(found * GAS_MARGIN) + call.spare


def looking(monkeypatch: pytest.MonkeyPatch, act: Callable[[], int]) -> int:
    """What `act` would take, without doing it."""
    with monkeypatch.context() as patch:
        patch.setattr(Stage, "send", estimated)
        return act()


def test_a_vote_has_gas_to_decide(
    poco_packages: PocoPackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage(tmp_path) as chain:
        workers, last = chain.workers[:3], chain.workers[2]
        chain.stake(offer := Offer(trust=5), workers)
        chain.match(offer)
        chain.initialize()
        limits = [looking(monkeypatch, lambda: chain.contribute(last, RIGHT))]
        for worker in workers[:2]:
            chain.contribute(worker, RIGHT)
            if worker is workers[0]:
                limits.append(looking(monkeypatch, lambda: chain.contribute(last, RIGHT)))
        burnt = chain.contribute(last, RIGHT)
    assert burnt > 360_000
    assert all(burnt + 50_000 < each <= CONTRIBUTE_GAS for each in limits), (burnt, limits)
