"""`tally worker install-service`: a worker that systemd keeps running."""

from __future__ import annotations

import getpass
import os
import pwd
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from tallystick.cli.failure import Mistake
from tallystick.cli.terminal import Json, Voice
from tallystick.execution.network import Reach
from tallystick.worker.config import WorkerConfig
from tallystick.worker.settings import read

NAME: Final = "tally-worker.service"
UNITS: Final = Path("/etc/systemd/system")
SYSTEMD: Final = Path("/run/systemd/system")
"""There when systemd runs the machine."""
DOCKER: Final = Path("/var/run/docker.sock")

_NO_SYSTEMD = (
    "systemd does not run this machine, so nothing was installed. --output FOLDER writes the"
    " unit for another machine, --dry-run prints it. Here something else has to keep `tally"
    " worker start` running: a container with a restart policy, or another init system."
)
_EMBEDDED: Final = (
    "ProtectKernelModules=yes",
    "LockPersonality=yes",
    "RestrictNamespaces=no",
    "Delegate=yes",
)
"""The worker itself makes namespaces and control groups, for apps or for their networks."""
_DAEMON: Final = (
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "PrivateDevices=yes",
    "CapabilityBoundingSet=",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
)
"""Apps in containers of a daemon, without a network: all it needs is files and sockets."""


def attach(group: typer.Typer) -> None:
    """Add `tally worker install-service`."""
    group.command("install-service")(install_service)


def install_service(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The worker's settings.")
    ] = Path("/etc/tallystick/worker.toml"),
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help="Who it runs as.", show_default="who asks, by sudo"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the unit, and write nothing.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FOLDER", help="Write it there, for any machine."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a systemd unit that keeps this worker running, with as few rights as it needs. The
    password stays in its file; systemd hands it over."""
    voice = Voice(json=json)
    if not (dry_run or output or SYSTEMD.is_dir()):
        raise Mistake(_NO_SYSTEMD)
    service = _service(config.resolve(), user)
    text = rendered(service)
    path = (output or UNITS) / NAME
    if dry_run:
        voice.say(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        for line in _next(path, service, installed=output is None):
            voice.say(line)
    voice.answer({"path": None if dry_run else str(path), "unit": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A worker as systemd should run it."""

    user: str
    group: str | None
    """One more that the user needs, for the socket of Docker."""
    command: tuple[str, ...]
    config: Path
    password_file: Path
    writable: tuple[Path, ...]
    daemon: bool
    """Whether a daemon does everything that needs rights."""


def _service(config: Path, user: str | None) -> Service:
    settings = read(config, {}, password_later=True).config
    if settings.password_file is None:
        raise Mistake(
            "A service can ask nobody for the wallet's password: write it into a file with mode"
            f" 0600, and its name as password_file into {config}."
        )
    return Service(
        user=_known(user or os.environ.get("SUDO_USER") or getpass.getuser()),
        group=_docker_group(settings),
        command=(sys.executable, "-m", "tallystick"),
        config=config,
        password_file=settings.password_file.absolute(),
        writable=_writable(settings),
        daemon=_with_daemon(settings) and not _connects(settings),
    )


def _known(user: str) -> str:
    try:
        return pwd.getpwnam(user).pw_name
    except KeyError:
        raise Mistake(
            f"There is no user {user} here: `useradd --system {user}` makes one."
        ) from None


def _with_daemon(settings: WorkerConfig) -> bool:
    return settings.executor == "docker" or (settings.executor is None and DOCKER.exists())


def _connects(settings: WorkerConfig) -> bool:
    """Whether any app gets a network, which the worker itself has to make."""
    policies = (settings.network, *settings.app_networks.values())
    return any(policy.reach is not Reach.NONE for policy in policies)


def _docker_group(settings: WorkerConfig) -> str | None:
    """The group of Docker's socket, by number when it has no name."""
    try:
        found = DOCKER.stat()
    except OSError:
        return None
    mine = stat.S_ISSOCK(found.st_mode) and _with_daemon(settings) and found.st_gid
    return str(found.st_gid) if mine else None


def _writable(settings: WorkerConfig) -> tuple[Path, ...]:
    """Its own folder, its images, and where the lock of its wallet lies."""
    home = settings.base_dir.absolute()
    others = (settings.images.absolute(), settings.wallet.absolute().parent)
    return home, *(folder for folder in others if home not in (folder, *folder.parents))


def unit_text(config: Path, *, personal: bool) -> str:
    """The unit of the worker whose settings are `config`: for the machine's systemd, or for the
    `personal` one of the user, which gives no rights and so cannot take many away. Raises
    Mistake, BadSettings."""
    service = _service(config.resolve(), getpass.getuser())
    return (
        _filled("tally-worker-personal.service.in", service) if personal else rendered(service)
    )


def rendered(service: Service) -> str:
    """The text of the unit."""
    return _filled(f"{NAME}.in", service)


def _filled(name: str, service: Service) -> str:
    template = resources.files("tallystick.cli").joinpath(name).read_text()
    given = {
        "user": word(service.user),
        "start": " ".join(map(word, (*service.command, "worker", "start"))),
        "config": word(service.config),
        "password": word(service.password_file),
        # What is missing must not keep systemd from starting the worker, which makes it.
        "writable": " ".join(word(f"-{folder}") for folder in service.writable),
        "rights": "\n".join(_rights(service)),
    }
    for place, value in given.items():
        template = template.replace(f"@{place}@", value)
    return template


def _rights(service: Service) -> Iterator[str]:
    if service.group:
        yield f"SupplementaryGroups={service.group}"
    # What lies below /tmp must be the same for a daemon that mounts it.
    shared = any(Path(top) in path.parents for path in service.writable for top in _TEMPORARY)
    yield f"PrivateTmp={'no' if shared else 'yes'}"
    yield from _DAEMON if service.daemon else _EMBEDDED


_TEMPORARY: Final = ("/tmp", "/var/tmp")


def word(value: object) -> str:
    """One word of a unit file. Raises Mistake for what cannot be written there."""
    text = str(value)
    if any(ord(letter) < 32 for letter in text):
        raise Mistake(f"{text!r} holds a line break or the like: a unit file cannot name it.")
    text = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if " " in text or '"' in text or "'" in text else text


def _next(path: Path, service: Service, *, installed: bool) -> Iterator[str]:
    yield f"The unit is {path}. Next:"
    if not installed:
        yield f"  sudo cp {quote(str(path))} {UNITS}/"
    home = service.writable[0]
    yield f"  sudo install -d -m 0700 -o {service.user} {quote(str(home))}"
    yield "  sudo systemctl daemon-reload"
    yield f"  sudo systemctl enable --now {NAME}"
    yield f"  journalctl -fu {NAME}                # it says when it is all set"
    yield f"  sudo systemctl reload {NAME}         # read the policies again"
    yield f"  sudo systemctl kill -s USR1 {NAME}   # finish what was begun, then end"
