"""A sandbox as the body of Docker's `POST /containers/create`. Pure."""

from __future__ import annotations

from typing import Any

from tallystick.execution.executor import MIB, Limits
from tallystick.execution.sandbox import INPUT, OUTPUT, Sandbox

LABEL = "tallystick.job"
"""On every container of ours, with the job's name, so that leftovers are found."""
_FSIZE_SLACK = 1 << 20


def body(sandbox: Sandbox, *, image: str, device: str | None) -> dict[str, Any]:
    """The container of one job.

    Its output goes to a volume of its own: a file system on `device`, where a file may be as
    large as it likes since the device is the limit; else a plain one.
    """
    config: dict[str, Any] = {
        "Image": image,
        "Hostname": sandbox.hostname,
        "Entrypoint": list(sandbox.argv[:1]),
        "Cmd": list(sandbox.argv[1:]),
        "Env": [f"{name}={value}" for name, value in sandbox.env],
        "WorkingDir": sandbox.cwd,
        "User": f"{sandbox.who.uid}:{sandbox.who.gid}",
        "Labels": {LABEL: sandbox.name},
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host(sandbox, device),
    }
    return config


def _host(sandbox: Sandbox, device: str | None) -> dict[str, Any]:
    limits = sandbox.limits
    ulimits = [{"Name": "core", "Soft": 0, "Hard": 0}]
    if device is None:
        size = limits.disk + _FSIZE_SLACK
        ulimits.append({"Name": "fsize", "Soft": size, "Hard": size})
    return {
        "NetworkMode": "none",
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": True,
        "Privileged": False,
        "GroupAdd": [str(group) for group in sandbox.who.groups],
        "Memory": limits.memory,
        "MemorySwap": limits.memory,
        "NanoCpus": int(limits.cpus * 1_000_000_000),
        "PidsLimit": limits.pids,
        "ShmSize": sandbox.shm,
        "IpcMode": "private",
        "Init": False,
        "OomKillDisable": False,
        "RestartPolicy": {"Name": "no"},
        "Ulimits": ulimits,
        "LogConfig": {"Type": "local", "Config": _log(limits)},
        "Tmpfs": {
            place.path: _tmpfs(sandbox, place.size, place.mode) for place in sandbox.tmpfs
        },
        "Mounts": [
            {
                "Type": "bind",
                "Source": str(sandbox.input_dir),
                "Target": INPUT,
                "ReadOnly": True,
            },
            _output(sandbox, device),
        ],
    }


def _log(limits: Limits) -> dict[str, str]:
    """What it says is read as it is said; this is for a worker that comes back after a crash.

    Two files by turns, so that a flood of words takes a few MB of the daemon's disk.
    """
    return {"max-size": str(max(MIB, 4 * limits.log)), "max-file": "2", "compress": "false"}


def _tmpfs(sandbox: Sandbox, size: int, mode: int) -> str:
    who = sandbox.who
    return f"rw,exec,nosuid,nodev,size={size},mode={mode:o},uid={who.uid},gid={who.gid}"


def _output(sandbox: Sandbox, device: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"NoCopy": True, "Labels": {LABEL: sandbox.name}}
    mount: dict[str, Any] = {"Type": "volume", "Target": OUTPUT, "VolumeOptions": options}
    if device:
        ext4 = {"type": "ext4", "device": device, "o": "nosuid,nodev,nobarrier"}
        options["DriverConfig"] = {"Name": "local", "Options": ext4}
    else:
        # By name, so that two containers can share it: see `preparing`.
        mount["Source"] = sandbox.name
    return mount


def preparing(sandbox: Sandbox, image: str) -> dict[str, Any]:
    """A container that never runs: by it the plain volume is given to the job's user."""
    return {
        "Image": image,
        "Cmd": ["-"],
        "Labels": {LABEL: sandbox.name},
        "HostConfig": {"NetworkMode": "none", "Mounts": [_output(sandbox, None)]},
    }
