"""Policies at work: read again when their file changes, fed by what the machine tells."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from worker_lab import ME, settings, task_of

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import ImageRef, ImageUnavailable
from tallystick.lifecycle.facts import Assigned, Initialized
from tallystick.poco.values import Address
from tallystick.worker.policing import PolicyFile, PolicyGate, PolicyJudge
from tallystick.worker.policy import HEEDED, Choice, Policies, Surroundings, heeded
from tallystick.worker.surroundings import look_around

pytestmark = pytest.mark.anyio

APP = Address(b"\x0a" * 20)


def written(path: Path, text: str) -> None:
    """As an editor does it: another file takes the place."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_changed_file_holds_at_once_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "worker.toml"
    written(path, "name = 'w'\n")
    file = PolicyFile(path, Policies())
    assert file.current == Policies()
    written(path, "name = 'w'\n[policies]\nmin_price = 7\n")
    assert file.current.min_price == 7
    written(path, "[policies]\nmin_price = 8\nhours = ['noon']\n")
    assert file.current.min_price == 7
    assert file.current.min_price == 7
    assert file.trouble is not None
    assert "policies.hours.0" in file.trouble.sentence
    assert caplog.text.count("cannot be used") == 1
    written(path, "[policies]\nmin_price = 9\n")
    assert (file.current.min_price, file.trouble) == (9, None)
    path.unlink()
    assert file.current.min_price == 9
    assert file.trouble is not None


def test_policies_that_are_in_no_file_stay():
    assert PolicyFile(None, Policies(min_price=3)).current.min_price == 3


class Supplies:
    def __init__(self, image: str | Exception) -> None:
        self.found, self.asked = image, 0

    async def image(self, task: Any) -> ImageRef:
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return ImageRef.parse(self.found)


def judge(policies: Policies, image: str | Exception = "acme/digits:1") -> PolicyJudge:
    return PolicyJudge(PolicyFile(None, policies), Supplies(image))  # type: ignore[arg-type] # a double


async def test_an_image_is_looked_up_only_for_those_who_care():
    made = judge(Policies())
    assert await made.objection(task_of()) is None
    assert made.supplies.asked == 0
    choosy = judge(Policies(images=Choice(deny=("docker.io/acme/digits",))))
    reason = await choosy.objection(task_of())
    assert reason is not None
    assert reason.code == "IMAGE_DENIED"


async def test_an_app_without_an_image_is_not_on_an_allow_list():
    choosy = judge(Policies(images=Choice(allow=("docker.io/*",))), ImageUnavailable("none"))
    reason = await choosy.objection(task_of())
    assert reason is not None
    assert reason.code == "IMAGE_NOT_ALLOWED"


async def test_a_node_that_is_away_is_no_objection_but_no_yes_either():
    choosy = judge(Policies(images=Choice(allow=("docker.io/*",))), Unavailable("away"))
    with pytest.raises(Unavailable):
        await choosy.objection(task_of())


class States:
    def __init__(self, *tasks: Any) -> None:
        self.states = {str(task.id): task for task in tasks}


def gate(policies: Policies, tmp_path: Path, *tasks: Any, **more: Any) -> PolicyGate:
    return PolicyGate(
        PolicyFile(None, policies),
        ME,
        settings(tmp_path, slots=4),
        States(*tasks),  # type: ignore[arg-type] # a double
        root=tmp_path,
        clock=lambda: datetime(2026, 11, 24, 12, 0, tzinfo=UTC),
        **more,
    )


def machine(root: Path, *, load: str = "0.10", battery: str = "", plugged: str = "1") -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "loadavg").write_text(f"{load} 0.2 0.3 1/100 4242\n")
    if battery:
        for name, kind, field, value in (
            ("BAT0", "Battery", "status", battery),
            ("AC", "Mains", "online", plugged),
        ):
            place = root / "sys" / "class" / "power_supply" / name
            place.mkdir(parents=True, exist_ok=True)
            (place / "type").write_text(kind + "\n")
            (place / field).write_text(value + "\n")


def test_the_gate_looks_at_the_machine(tmp_path: Path):
    machine(tmp_path, battery="Discharging", plugged="0")
    made = gate(Policies(on_battery="pause"), tmp_path)
    reason = made.closed()
    assert reason is not None
    assert reason.code == "ON_BATTERY"
    machine(tmp_path, battery="Charging", plugged="1")
    assert made.closed() is None


def test_our_own_apps_are_no_load_of_others(tmp_path: Path):
    machine(tmp_path, load="2.0")
    assert look_around(0.0, root=tmp_path, cpus=2).load == 1.0
    assert look_around(2.0, root=tmp_path, cpus=2).load == 0.0
    assert look_around(5.0, root=tmp_path, cpus=2).load == 0.0


def test_parallelism_counts_what_is_computed(tmp_path: Path):
    busy = task_of(Initialized(), Assigned(ME, 2))
    policies = Policies(max_parallel=1)
    assert gate(policies, tmp_path).closed() is None
    reason = gate(policies, tmp_path, busy).closed()
    assert reason is not None
    assert reason.code == "SHARE_USED"


def test_typing_on_a_terminal_is_noticed(tmp_path: Path):
    terminals = tmp_path / "dev" / "pts"
    terminals.mkdir(parents=True)
    for name, at in (("0", 1_000), ("1", 4_000), ("ptmx", 9_999)):
        (terminals / name).touch()
        os.utime(terminals / name, (at, at))
    assert look_around(0, root=tmp_path, now=4_600).idle_minutes == 10.0


def test_a_machine_that_tells_nothing_hinders_nothing(tmp_path: Path):
    assert look_around(0, root=tmp_path) == Surroundings()
    everything = Policies(on_battery="pause", idle_minutes=10, max_load=0.1)
    assert gate(everything, tmp_path).closed() is None


def test_only_what_a_policy_heeds_is_looked_at(tmp_path: Path):
    machine(tmp_path, load="9.0", battery="Discharging", plugged="0")
    assert look_around(0, root=tmp_path, heeded=heeded(Policies())) == Surroundings()
    seen = look_around(0, root=tmp_path, cpus=1, heeded=heeded(Policies(max_load=1)))
    assert seen == Surroundings(load=9.0)
    every = Policies(max_load=1, idle_minutes=1, on_battery="pause")
    assert heeded(every) == HEEDED


def test_a_battery_that_is_full_or_plugged_is_no_reason(tmp_path: Path):
    for status, plugged, expected in (
        ("Discharging", "0", True),
        ("Discharging", "1", False),
        ("Full", "0", False),
    ):
        machine(tmp_path, battery=status, plugged=plugged)
        assert look_around(0, root=tmp_path).on_battery is expected
