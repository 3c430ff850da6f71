"""`tally worker fleet`: several workers on one machine, each a process with its own wallet."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer

from tallystick.chain.wallet import Keystore, keystores
from tallystick.cli.failure import Mistake
from tallystick.cli.passwords import from_file
from tallystick.cli.terminal import Json, Voice
from tallystick.devnet.places import password_in
from tallystick.devnet.supervise import Service, Supervisor
from tallystick.engine.errors import Refused, Unavailable
from tallystick.worker.config import WorkerConfig
from tallystick.worker.environment import names_of
from tallystick.worker.funds import in_eth, in_rlc
from tallystick.worker.roster import Need, needs, wallets
from tallystick.worker.settings import read, withdraw_secrets

FINAL: Final = frozenset({2, 3, 5, 6})
"""Exit codes of a worker that would end in the same way again: settings, wallet, version, and
a scheduler that does not want it."""
GRACE = 60.0
"""Seconds that a worker has to hand back its tasks and remove its containers."""


def attach(group: typer.Typer) -> None:
    """Add `tally worker fleet`."""
    group.command("fleet")(fleet)


def fleet(
    count: Annotated[int, typer.Option("--count", min=1, help="How many workers.")],
    folder: Annotated[
        Path, typer.Option("--wallets", metavar="FOLDER", help="A wallet for each worker.")
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings that all of them share."),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="Opens all wallets. Without one: the file password in the folder of wallets,"
            " which is made when it is missing.",
        ),
    ] = None,
    *,
    funds: Annotated[
        bool, typer.Option("--funds", help="Only make the wallets and tell what they lack.")
    ] = False,
    json: Json = False,
) -> None:
    """Run several workers until told to stop, and start again what dies. Wallets that are
    missing are made. They share the settings and the images; each has a name, a wallet, a
    folder and a log of its own."""
    voice = Voice(json=json)
    crew = _crew(count, folder, config, password_file)
    anyio.run(_tell_needs, crew, voice)
    if not funds:
        anyio.run(_supervise, crew, voice)


@dataclass(frozen=True, slots=True)
class Crew:
    """Everything the processes are started with."""

    shared: WorkerConfig
    file: Path | None
    wallets: Sequence[Keystore]
    passwords: Path
    environment: Mapping[str, str]

    @property
    def services(self) -> list[Service]:
        """The workers as children."""
        return [self._service(number) for number in range(1, len(self.wallets) + 1)]

    def _service(self, number: int) -> Service:
        shared, file = self.shared, ("--config", str(self.file)) if self.file else ()
        options: dict[str, Any] = {
            "name": f"{shared.name}-{number}",
            "wallet": self.wallets[number - 1].path,
            "password-file": self.passwords,
            "base-dir": shared.base_dir,
            "image-cache": shared.images,
            "slots": shared.slots,
        }
        if shared.metrics_port is not None:
            options["metrics-port"] = shared.metrics_port + number - 1
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return Service(
            name=options["name"],
            command=(sys.executable, "-m", "tallystick", "worker", "start", *file, *words),
            environment=self.environment,
            grace=GRACE,
            final=FINAL,
        )


def _crew(count: int, folder: Path, file: Path | None, password_file: Path | None) -> Crew:
    passwords = password_file or folder / "password"
    secrets = [*names_of("password"), *names_of("password_file")]
    surroundings = {name: text for name, text in os.environ.items() if name not in secrets}
    withdraw_secrets(os.environ)
    options = {"password_file": str(passwords), "wallet": str(folder / "wallet.json")}
    found = read(file, surroundings, options)
    password = _password(passwords, made=password_file is None)
    shared = found.config
    if found.origins["slots"] == "default":
        shared = replace(shared, slots=max(1, shared.slots // count))
    environment = {**surroundings, "PYTHONUNBUFFERED": "1"}
    return Crew(shared, file, wallets(folder, count, password), passwords, environment)


def _password(path: Path, *, made: bool) -> str:
    if made and not path.exists() and keystores(path.parent):
        raise Mistake(
            f"There are wallets in {path.parent}, and no file with their password: name it with"
            " --password-file."
        )
    if made:
        return password_in(path)
    if not path.is_file():
        raise Mistake(f"There is no password file {path}.")
    return from_file(path)


async def _tell_needs(crew: Crew, voice: Voice) -> None:
    try:
        found = await needs(crew.shared, crew.wallets)
    except (Unavailable, Refused) as trouble:
        voice.say(f"What the wallets lack is unknown: {trouble}")
        found = [Need(each.address, None, None) for each in crew.wallets if each.address]
    names = [service.name for service in crew.services]
    if not voice.json:
        rows = [
            (name, each.wallet.checksummed, _word(each.eth, in_eth), _word(each.rlc, in_rlc))
            for name, each in zip(names, found, strict=True)
        ]
        voice.table(("worker", "address", "missing ETH", "missing deposit"), rows)
    lacks = [
        {"worker": name, "address": str(e.wallet), "missing_wei": e.eth, "missing_nrlc": e.rlc}
        for name, e in zip(names, found, strict=True)
    ]
    voice.answer({"workers": lacks, "password_file": str(crew.passwords)})


def _word(amount: int | None, show: Any) -> str:
    if amount is None:
        return "unknown"
    return str(show(amount)) if amount else "-"


async def _supervise(crew: Crew, voice: Voice) -> None:
    crew.shared.base_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    supervisor = Supervisor(crew.services, logs=crew.shared.base_dir / "logs", say=voice.say)
    voice.say(f"{len(crew.wallets)} workers start; their logs are in {supervisor.log('*')}.")
    asked = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(_obey, asked, group.cancel_scope)
        await supervisor.run()
        group.cancel_scope.cancel()
    if not asked.is_set():
        raise Mistake("No worker is left that could be started again.")


async def _obey(asked: anyio.Event, scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            asked.set()
            scope.cancel()
