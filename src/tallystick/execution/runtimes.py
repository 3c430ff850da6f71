"""What the embedded executor asks of a runtime."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from tallystick.execution.network import NetworkPolicy
from tallystick.execution.place import Place
from tallystick.execution.process import Tail
from tallystick.execution.sandbox import Sandbox

T = TypeVar("T")

NOT_STARTED = 127
"""Exit code of a job whose command could not be started, as of a shell."""

MEASURED_DISK = (
    "disk: no file system can be made for a job here, so what it writes is measured now and"
    " then, and it is killed when it is too much"
)


NO_USER_NAMESPACE = (
    "user namespace: the kernel does not let us make one, so a job's user 0 is this machine's,"
    " though without any capability and any way to get one"
)


class Run(Protocol):
    """One running job."""

    @property
    def output(self) -> Path:
        """What the job sees as `/iexec_out`; to be looked at by `Runtime.call` only."""
        ...

    @property
    def stdout(self) -> Tail:
        """What it said, the end of it."""
        ...

    @property
    def stderr(self) -> Tail:
        """What it complained about, the end of it."""
        ...

    @property
    def exit_code(self) -> int | None:
        """After `settle`: the job's own exit code, None when it was killed from outside."""
        ...

    @property
    def out_of_memory(self) -> bool:
        """After `settle`: whether the kernel killed something in it for memory."""
        ...

    def memory(self) -> int:
        """Bytes it uses, where somebody has to look at them; 0 where the kernel does."""
        ...

    async def finish(self) -> None:
        """Wait for the end, reading what the job says."""
        ...

    def kill(self) -> None:
        """SIGKILL to everything in the job; nothing happens when it has ended."""
        ...

    async def settle(self) -> None:
        """Wait for the last process to be gone, and learn how it ended."""
        ...


class Runtime(Protocol):
    """A program that makes sandboxes."""

    @property
    def name(self) -> str:
        """`runc`, `crun` or `bubblewrap`."""
        ...

    def running(self, sandbox: Sandbox, place: Place) -> AbstractAsyncContextManager[Run]:
        """Start the job; when the scope ends, nothing of it is left."""
        ...

    async def call(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread that sees the folders of running jobs."""
        ...

    def limits_not_enforced(self) -> tuple[str, ...]:
        """Sentences, as of Executor."""
        ...

    def network_refused(self, policy: NetworkPolicy) -> str | None:
        """As of Executor."""
        ...

    def close(self) -> None:
        """Give back threads."""
        ...
