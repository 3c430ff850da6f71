"""Where one job's files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tallystick.execution.netns import NetworkNamespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one job's files are on the host."""

    folder: Path
    """The job's own; removed with everything in it when the job has ended."""
    rootfs: Path
    disk: Path | None
    """A file system for the output, when there is one; else it goes to `output`."""
    base: int | None
    """Host user that user 0 of the job is; None when the job's only user is ours."""
    network: NetworkNamespace | None = None
    """Where the job is to be started; None: the runtime makes it a network of its own."""

    @property
    def output(self) -> Path:
        """What the job sees as `/iexec_out`, unless it has a disk."""
        return self.folder / "out"
