"""A sandbox as the `config.json` of an OCI bundle, for runc and crun. Pure."""

from __future__ import annotations

from typing import Any

from tallystick.execution import seccomp
from tallystick.execution.sandbox import INPUT, MASKED, OUTPUT, READ_ONLY, Sandbox

_PERIOD = 100_000
"""Microseconds over which processor time is shared out."""
_CLOSED = ["nosuid", "nodev"]


def bundle(
    sandbox: Sandbox,
    *,
    rootfs: str,
    output: str,
    base: int,
    cgroup: str,
    machine: str,
    own_network: bool = True,
) -> dict[str, Any]:
    """The whole configuration.

    `rootfs` and `output` are folders on the host; user 0 of the job is user `base` of the
    host, and so on upwards, in a user namespace unless `base` is 0; `cgroup` is the path of
    the job's own control group. Without `own_network` the job has the network in which the
    runtime is started.
    """
    mapping = [{"containerID": 0, "hostID": base, "size": 65_536}] if base else []
    kinds = ["pid", "ipc", "uts", "mount", "cgroup"]
    kinds += ["network"] if own_network else []
    kinds += ["user"] if base else []
    return {
        "ociVersion": "1.0.2",
        "hostname": sandbox.hostname,
        "root": {"path": rootfs, "readonly": True},
        "process": _process(sandbox),
        "mounts": _mounts(sandbox, output),
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "uidMappings": mapping,
            "gidMappings": mapping,
            "cgroupsPath": cgroup,
            "resources": _resources(sandbox),
            "seccomp": seccomp.oci(machine),
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
    }


def _process(sandbox: Sandbox) -> dict[str, Any]:
    kinds = ("bounding", "effective", "inheritable", "permitted", "ambient")
    who = sandbox.who
    return {
        "terminal": False,
        "user": {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)},
        "args": list(sandbox.argv),
        "env": [f"{name}={value}" for name, value in sandbox.env],
        "cwd": sandbox.cwd,
        "capabilities": {kind: [] for kind in kinds},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "noNewPrivileges": True,
    }


def _mounts(sandbox: Sandbox, output: str) -> list[dict[str, Any]]:
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    who = sandbox.who
    fixed = [
        _mount("proc", "/proc", "proc", [*_CLOSED, "noexec"]),
        _mount("tmpfs", "/dev", "tmpfs", ["nosuid", "ro", "mode=755", "size=64k"]),
        _mount("devpts", "/dev/pts", "devpts", pts),
        _mount("shm", "/dev/shm", "tmpfs", [*_CLOSED, "mode=1777", f"size={sandbox.shm}"]),
    ]
    scratch = [
        _mount(
            "tmpfs",
            place.path,
            "tmpfs",
            [*_CLOSED, f"mode={place.mode:o}", f"size={place.size}", f"uid={who.uid}",
             f"gid={who.gid}"],
        )
        for place in sandbox.tmpfs
    ]  # fmt: skip
    return [
        *fixed,
        *scratch,
        _mount(str(sandbox.input_dir), INPUT, "bind", ["bind", "ro", *_CLOSED]),
        _mount(output, OUTPUT, "bind", ["bind", "rw", *_CLOSED]),
    ]


def _mount(source: str, target: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _resources(sandbox: Sandbox) -> dict[str, Any]:
    limits = sandbox.limits
    return {
        "memory": {"limit": limits.memory, "swap": limits.memory},
        "cpu": {"quota": max(1_000, int(limits.cpus * _PERIOD)), "period": _PERIOD},
        "pids": {"limit": limits.pids},
    }
