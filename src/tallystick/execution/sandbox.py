"""What a job may see and do, as data. Pure: each runtime renders it in its own words.

The promises: no network but its own loopback, no capability, no new privilege, a system call
filter, a read-only root with `/iexec_out`, `/tmp` and HOME writable, `/iexec_in` read-only,
the image's user, and the limits of the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tallystick.execution.executor import MIB, ImageUnavailable, Job, Limits
from tallystick.execution.network import NAME_SERVER, Reach

INPUT, OUTPUT, TMP = "/iexec_in", "/iexec_out", "/tmp"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTNAME = "iexec"
"""The same on every worker: what an app can read should not differ between replicates."""

MASKED = (
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_SKELETON = frozenset(
    {".bashrc", ".profile", ".bash_logout", ".bash_profile", ".cshrc", ".tcshrc", ".cache"}
)
_MAX_ID = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about how to start it."""

    user: str = ""
    env: tuple[tuple[str, str], ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    cwd: str = "/"


def read_config(document: Any) -> ImageConfig:
    """The `config` object of an OCI image, or of Docker's inspection; anything else refused."""
    if not isinstance(document, dict):
        raise ImageUnavailable("The image's configuration is not a JSON object.")
    cwd = document.get("WorkingDir") or "/"
    if not isinstance(cwd, str) or not isinstance(document.get("User") or "", str):
        raise ImageUnavailable(
            "The image's configuration has a user or folder that is no text."
        )
    pairs = (line.partition("=") for line in _texts(document, "Env"))
    return ImageConfig(
        user=document.get("User") or "",
        env=tuple((name, value) for name, _, value in pairs if name),
        entrypoint=_texts(document, "Entrypoint"),
        cmd=_texts(document, "Cmd"),
        cwd=str(PurePosixPath("/") / cwd),
    )


def _texts(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = document.get(key) or []
    usable = isinstance(values, list) and all(
        isinstance(value, str) and "\0" not in value for value in values
    )
    if not usable or len(json.dumps(values)) > MIB:
        raise ImageUnavailable(f"The image's configuration has an unusable {key}.")
    return tuple(values)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the job is, by the numbers of the image."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve_user(user: str, passwd: str, group: str) -> Identity:
    """The image's USER (`name`, `uid`, either with `:group`), looked up in its own files.

    Raises ImageUnavailable when a name is not in them.
    """
    wanted, _, wanted_group = (user or "0").partition(":")
    rows = _rows(passwd, 6)
    named = [r for r in rows if r[0] == wanted] or [r for r in rows if r[2] == wanted]
    row = named[0] if named else None
    uid = _number(row[2] if row else wanted, user)
    gid = _number(row[3], user) if row else 0
    groups = _rows(group, 4)
    if wanted_group:
        number = next((r[2] for r in groups if r[0] == wanted_group), wanted_group)
        return Identity(uid, _number(number, user), (), (row[5] if row else "") or "/")
    members = (r for r in groups if row and row[0] in r[3].split(","))
    extra = sorted({int(r[2]) for r in members if r[2].isdecimal() and int(r[2]) <= _MAX_ID})
    return Identity(uid, gid, tuple(extra), (row[5] if row else "") or "/")


def _rows(text: str, columns: int) -> list[list[str]]:
    return [row for line in text.splitlines() if len(row := line.split(":")) >= columns]


def _number(text: str, user: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_ID:
        raise ImageUnavailable(f"The image runs as user {user!r}, whom its /etc/passwd lacks.")
    return int(text)


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A writable place in memory, gone with the job."""

    path: str
    size: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A job, its image and its limits, ready to be rendered for a runtime."""

    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    who: Identity
    tmpfs: tuple[Tmpfs, ...]
    shm: int
    """Bytes of /dev/shm."""
    input_dir: Path
    limits: Limits
    hostname: str = HOSTNAME
    name_server: str | None = None
    """Whom the job asks for names; None: nobody answers."""


def home_of(image: ImageConfig, who: Identity) -> str:
    """The home folder that the image means: its own HOME, else that of its user."""
    home = dict(image.env).get("HOME") or who.home
    return str(PurePosixPath("/") / home)


def is_vacant(entries: frozenset[str]) -> bool:
    """Whether a home folder holds nothing that an app could miss under a fresh one."""
    return entries <= _SKELETON


def prepare(job: Job, image: ImageConfig, who: Identity, *, home_vacant: bool) -> Sandbox:
    """Everything that a runtime has to be told about `job`.

    A home folder in which the image ships something stays as it is, read-only, and HOME
    then means `/tmp`: apps find what they were built with, and can write all the same.
    """
    argv = image.entrypoint + (job.args or image.cmd)
    if not argv or not argv[0]:
        raise ImageUnavailable(f"The image {job.image} names no command to run.")
    limits, home = job.limits, home_of(image, who)
    scratch = [Tmpfs(TMP, _share(limits, 2), 0o1777)]
    if home_vacant and _can_be_covered(home):
        scratch.append(Tmpfs(home, _share(limits, 4), 0o700))
    else:
        home = TMP
    env = (
        {"PATH": DEFAULT_PATH, "HOSTNAME": HOSTNAME}
        | dict(image.env)
        | {"HOME": home}
        | job.network.environment()
        | dict(job.env)
    )
    return Sandbox(
        name=job.name,
        argv=argv,
        env=tuple(env.items()),
        cwd=image.cwd,
        who=who,
        tmpfs=tuple(scratch),
        shm=_share(limits, 4),
        input_dir=job.input_dir.absolute(),
        limits=limits,
        name_server=NAME_SERVER if job.network.reach is Reach.FULL else None,
    )


def _share(limits: Limits, part: int) -> int:
    """Places in memory count against the job's memory; none may eat all of it."""
    return max(MIB, min(limits.disk, limits.memory // part))


def _can_be_covered(home: str) -> bool:
    """Whether a fresh folder may lie over `home`: not over the system, nor our own mounts."""
    parts = PurePosixPath(home).parts
    taken = {"proc", "sys", "dev", "tmp", "iexec_in", "iexec_out", "bin", "sbin", "etc"}
    if len(parts) < 2 or ".." in parts or parts[1] in taken or parts[1].startswith("lib"):
        return False
    return len(parts) > 2 or parts[1] not in {"usr", "var", "opt", "home", "srv", "run"}
