"""Other systems that can be measured on this machine: Docker, Slurm's `srun`, the BOINC client.

Only where their Debian packages are installed; each runs in a folder of its own, on ports that
the kernel chose, and is gone afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tallystick.bench.load import processor_time

_READY = 30.0
"""Seconds until a system counts as one that does not start here."""
_SETTLE = 5.0
_SLURM = ("srun", "sinfo", "slurmctld", "slurmd", "munged", "mungekey")
_SLURM_CONF = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
PartitionName=p Nodes=n1 Default=YES State=UP
"""


class NotHere(Exception):
    """The system cannot be measured on this machine; the sentence says why."""


@contextmanager
def docker() -> Iterator[None]:
    """The Docker daemon that answers here, or else one of our own for a while. Whoever asks for
    the daemon meanwhile finds it by the environment. Without any, nothing happens."""
    answers = _docker_answers()
    if answers or not shutil.which("dockerd") or os.geteuid() != 0:
        yield
        return
    with TemporaryDirectory(prefix="tally-docker-", ignore_cleanup_errors=True) as name:
        folder, host = Path(name), f"unix://{name}/docker.sock"
        places = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "docker.pid"}
        words = [
            "dockerd",
            "-H",
            host,
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]
        for option, place in places.items():
            words += [option, str(folder / place)]
        with _process(words, dict(os.environ), folder), _named("DOCKER_HOST", host):
            with suppress(NotHere):  # what needs it then says so itself
                _until(_docker_answers, "the Docker daemon did not start")
            yield


def _docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    return (
        subprocess.run(("docker", "version"), capture_output=True, check=False).returncode == 0
    )


@contextmanager
def _named(name: str, value: str) -> Iterator[None]:
    """An environment variable, for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextmanager
def srun(folder: Path) -> Iterator[Callable[[Sequence[str]], float]]:
    """A cluster of one node: what gives the seconds of a command run by `srun`.

    Raises NotHere.
    """
    _need("Slurm", "slurm-wlm munge", _SLURM)
    if os.geteuid() != 0:
        raise NotHere("not here: Slurm's programs want root")
    (folder / "state").mkdir(parents=True)
    folder.chmod(0o755)
    ports, host = _free_ports(2), socket.gethostname().partition(".")[0]
    text = _SLURM_CONF.format(folder=folder, ports=ports, host=host)
    (folder / "slurm.conf").write_text(text)
    settings = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    with ExitStack() as stack:
        for words in _daemons(folder):
            stack.enter_context(_process(words, settings, folder))
        _until(lambda: _idle_node(settings), "not here: Slurm's node did not come up")

        def timed(command: Sequence[str]) -> float:
            began = time.perf_counter()
            words = ("srun", "--quiet", *command)
            subprocess.run(words, env=settings, check=True, capture_output=True, timeout=60)
            return time.perf_counter() - began

        yield timed


def _daemons(folder: Path) -> tuple[tuple[str, ...], ...]:
    key = folder / "munge.key"
    subprocess.run(("mungekey", "--create", "--keyfile", key), check=True)
    munged = ("munged", "--foreground", "--force", "--key-file", str(key))
    files = ("log-file=munge.log", "pid-file=munge.pid", "seed-file=munge.seed")
    named = tuple(f"--{name.replace('=', f'={folder}/')}" for name in files)
    config = ("-f", str(folder / "slurm.conf"))
    return (
        (*munged, f"--socket={folder}/munge.sock", *named),
        ("slurmctld", "-D", *config),
        ("slurmd", "-D", "-N", "n1", *config),
    )


def _idle_node(settings: dict[str, str]) -> bool:
    asked = ("sinfo", "--noheader", "--format=%t")
    told = subprocess.run(asked, env=settings, capture_output=True, text=True, check=False)
    return told.stdout.strip() == "idle"


def boinc_idle(folder: Path, window: float) -> tuple[float, float]:
    """MiB and percent of a core of a BOINC client that is attached to no project.

    Raises NotHere.
    """
    _need("the BOINC client", "boinc-client", ("boinc",))
    folder.mkdir(parents=True)
    port = str(_free_ports(1)[0])
    words = (
        "boinc",
        "--dir",
        str(folder),
        "--gui_rpc_port",
        port,
        "--no_gpus",
        "--no_info_fetch",
    )
    with _process(words, dict(os.environ), folder) as process:
        time.sleep(_SETTLE)
        before = processor_time(process.pid)
        time.sleep(window)
        if process.poll() is not None:
            raise NotHere("not here: the BOINC client ended at once")
        told = Path(f"/proc/{process.pid}/status").read_text()
        used = processor_time(process.pid) - before
        return int(told.split("VmRSS:", 1)[1].split()[0]) / 1024, 100 * used / window


def _need(system: str, package: str, programs: Sequence[str]) -> None:
    if not all(shutil.which(name) for name in programs):
        raise NotHere(f"not here: {system} is not installed (apt-get install {package})")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


@contextmanager
def _process(
    words: Sequence[str], settings: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the foreground, with its words in a file; ended afterwards."""
    with (
        (folder / f"{Path(words[0]).name}.said").open("wb") as said,
        subprocess.Popen(
            words,
            env=settings,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_READY)
            with suppress(ProcessLookupError):  # and whatever it started itself
                os.killpg(process.pid, signal.SIGKILL)


def _until(met: Callable[[], bool], otherwise: str) -> None:
    give_up = time.monotonic() + _READY
    while not met():
        if time.monotonic() > give_up:
            raise NotHere(otherwise)
        time.sleep(0.1)
