"""Where a worker keeps what belongs to one task."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from tallystick.poco.values import Digest, TaskId
from tallystick.storage.tree import remove_tree
from tallystick.wire.scheduler import ComputeLogs

log = logging.getLogger(__name__)

LOG_LIMIT = 100_000
"""Characters of each log that are told: the end of it."""


def input_name(url: str) -> str:
    """The name under which an app finds the input file of this URL."""
    return "0x" + hashlib.sha256(url.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """`<base dir>/<worker name>/<task id>`, laid out as the v9 peers do."""

    home: Path
    task: TaskId

    @property
    def root(self) -> Path:
        """Everything of the task."""
        return self.home / str(self.task)

    @property
    def input(self) -> Path:
        """Seen by the app as /iexec_in."""
        return self.root / "input"

    @property
    def output(self) -> Path:
        """What the app left in /iexec_out."""
        return self.root / "output" / "iexec_out"

    @property
    def zip(self) -> Path:
        """The result as it is uploaded."""
        return self.root / "output" / "iexec_out.zip"

    @property
    def _verdict(self) -> Path:
        return self.root / "computed.json"

    @property
    def _logs(self) -> Path:
        return self.root / "logs.json"

    def make(self) -> None:
        """Have the folders, readable by nobody else."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.input.mkdir(exist_ok=True)
        self.output.parent.mkdir(exist_ok=True)

    def clear_output(self) -> None:
        """Forget what an interrupted run left."""
        remove_tree(self.root / "output")
        self._verdict.unlink(missing_ok=True)
        self.make()

    def remove(self) -> None:
        """Nothing of the task is left on this machine."""
        remove_tree(self.root)

    async def tidied(self) -> bool:
        """The same, whether it was possible: a folder that somebody else uses is in no task's
        way. It is tried again when another task has ended, and at the next start."""
        try:
            await to_thread.run_sync(self.remove)
        except OSError as trouble:
            log.warning("%s: %s cannot be removed yet: %s.", self.task, self.root, trouble)
            return False
        return True

    def keep(self, digest: Digest, exit_code: int | None) -> None:
        """The result is complete: after a crash it is taken, not computed again."""
        _write(self._verdict, json.dumps({"digest": str(digest), "exit_code": exit_code}))

    def kept(self) -> tuple[Digest, int | None] | None:
        """Digest and exit code of a complete result."""
        try:
            known = json.loads(self._verdict.read_text())
            return Digest(known["digest"]), known["exit_code"]
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def write_logs(self, stdout: str, stderr: str) -> None:
        """Keep the end of what the app printed, to be told with the result."""
        ends = {"stdout": stdout[-LOG_LIMIT:], "stderr": stderr[-LOG_LIMIT:]}
        _write(self._logs, json.dumps(ends))

    def logs(self) -> ComputeLogs | None:
        """What the app printed, while the folder lasts."""
        try:
            return ComputeLogs.model_validate_json(self._logs.read_bytes())
        except (FileNotFoundError, ValueError):
            return None


def _write(path: Path, text: str) -> None:
    """Write a file that is either whole or not there."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
