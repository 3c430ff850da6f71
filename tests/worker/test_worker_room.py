"""A disk without room: no new work, and what is begun waits for it."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from worker_lab import DEAL, settings

from tallystick.engine.errors import NoRoom
from tallystick.lifecycle.facts import Step
from tallystick.worker.room import ANYWAY, LOOK, Room
from tallystick.worker.why import remedy

MIB = 1 << 20
TASK = DEAL.task_id(0)
FULL = OSError(errno.ENOSPC, "No space left on device")


@dataclass
class Disk:
    """What is free, and the time."""

    free: int = 0
    now: float = 100.0
    looked: list[Path] = field(default_factory=list[Path])

    def left(self, folder: Path) -> int:
        self.looked.append(folder)
        return self.free

    def room(self, base: Path, **more: object) -> Room:
        return Room(settings(base, **more), self.left, lambda: self.now)


def test_what_is_wanted_by_default_and_what_the_setting_says(tmp_path: Path):
    assert settings(tmp_path, max_result=10 * MIB).room == 266 * MIB
    assert settings(tmp_path, min_free_disk=5).room == 5


def test_no_work_is_asked_for_while_there_is_no_room(tmp_path: Path):
    disk = Disk(free=9 * MIB)
    room = disk.room(tmp_path, min_free_disk=10 * MIB, image_cache=tmp_path / "cache")
    reason = room.closed()
    assert reason is not None
    assert reason.code == "DISK_FULL"
    assert str(tmp_path / "worker") in reason.sentence
    assert str(tmp_path / "cache") in reason.sentence
    assert "10 MiB (min_free_disk)" in reason.sentence
    assert "min_free_disk" in remedy(reason.code)
    seen = len(disk.looked)
    disk.free = 10 * MIB
    assert room.closed() == reason
    assert len(disk.looked) == seen, "the disk is not looked at again and again"
    disk.now += LOOK
    assert room.closed() is None, "it opens by itself"
    assert set(disk.looked) == {tmp_path / "worker", tmp_path / "cache"}


def test_a_disk_that_is_gone_has_no_room(tmp_path: Path):
    def gone(folder: Path) -> int:
        raise OSError(errno.EIO, "Input/output error")

    assert Room(settings(tmp_path), gone).closed() is not None


def test_a_step_that_met_a_full_disk_is_not_tried_before_there_is_more(tmp_path: Path):
    disk, done = Disk(free=MIB), list[str]()
    room = disk.room(tmp_path, min_free_disk=10 * MIB)

    def work(trouble: Exception | None = None) -> None:
        with room.used(TASK, Step.COMPUTE):
            done.append("begun")
            if trouble:
                raise trouble

    with pytest.raises(NoRoom, match="is full") as first:
        work(FULL)
    for disk.free in (MIB, 2 * MIB):
        with pytest.raises(NoRoom) as again:
            work()
        assert str(again.value) == str(first.value), "so that it is said once"
    assert done == ["begun"]
    disk.free = 10 * MIB
    work()
    disk.free = 0
    work()
    assert len(done) == 3, "it is over, and forgotten"


def test_an_image_that_never_fits_is_not_tried_every_second(tmp_path: Path):
    disk, done = Disk(free=99 * MIB), list[float]()
    room = disk.room(tmp_path, min_free_disk=10 * MIB)

    def fetch() -> None:
        with room.used(TASK, Step.FETCH_APP):
            done.append(disk.now)
            raise NoRoom("no room for the image")

    for disk.now in (100.0, 101.0, 102.0, 99 + ANYWAY, 100 + ANYWAY, 101 + ANYWAY):
        with pytest.raises(NoRoom):
            fetch()
    assert done == [100, 100 + ANYWAY]


def test_other_troubles_are_not_ours(tmp_path: Path):
    room = Disk().room(tmp_path)
    with pytest.raises(PermissionError), room.used(TASK, Step.COMPUTE):
        raise PermissionError(errno.EACCES, "no")
    with room.used(TASK, Step.COMPUTE):
        pass
