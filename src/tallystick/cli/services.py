"""`tally scheduler|worker|results start`: the programs that run, nothing else loaded."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import anyio

from tallystick.cli import failure, logs
from tallystick.engine.heap import tidied

SERVICES: Mapping[str, str] = {
    "pool": "Run a workerpool: its scheduler, its orders, its money.",
    "scheduler": "Follow deals, give work to workers, finalize: run a workerpool.",
    "worker": "Compute tasks for a workerpool and get paid.",
    "results": "Keep results until their owners fetch them.",
}

_SCHEDULERS: Final = ("pool", "scheduler")

_LEVELS: Final = ("debug", "info", "warning", "error")

FLAGS: Final[Mapping[str, tuple[str, str]]] = {
    "--scheduler-url": ("URL", "the pool's scheduler"),
    "--wallet": ("FILE", "the keystore of this worker, and of no other"),
    "--password-file": ("FILE", "its first line opens the wallet"),
    "--base-dir": ("FOLDER", "where the worker keeps its journal and its tasks"),
    "--name": ("NAME", "what the worker is called at the pool"),
    "--pool": ("ADDRESS", "the workerpool that must be found at the scheduler"),
    "--hub": ("ADDRESS", "the hub that the pool must use"),
    "--trust-hub": ("ADDRESS", "a hub of no known network, that you vouch for"),
    "--chain-id": ("NUMBER", "the chain that the pool must work on"),
    "--rpc-url": ("URL", "nodes of the chain, separated by commas"),
    "--slots": ("NUMBER", "replicates computed at a time"),
    "--executor": ("NAME", "docker, runc, crun or bubblewrap"),
    "--image-cache": ("FOLDER", "unpacked images, shared by the workers of a machine"),
    "--gas-price-multiplier": ("FACTOR", "offered for gas, in prices of the network"),
    "--gas-price-cap": ("PRICE", "the highest price of gas: wei, or 22gwei"),
    "--metrics-port": ("PORT", "serve metrics for Prometheus on the loopback"),
    "--log-format": ("FORM", "text, or json: one object a line"),
    "--log-level": ("LEVEL", "debug, info, warning or error"),
}
"""Settings of a worker that are options too; they count for more than all other places."""


POOL_FLAGS: Final[Mapping[str, tuple[str, str]]] = {
    "--database": ("URL", "a PostgreSQL database that the schedulers of the pool share"),
}
"""Options of a scheduler. The password of a database comes from PGPASSFILE or PGPASSWORD."""


def flags_of(service: str) -> Mapping[str, tuple[str, str]]:
    """The options of a service beside its settings file."""
    if service in _SCHEDULERS:
        return POOL_FLAGS
    return FLAGS if service == "worker" else {}


def start(words: Sequence[str]) -> int:
    """Run the service that `words` (`worker start --config FILE`) name until it is stopped."""
    service = words[0]
    try:
        if service == "worker":
            return _work(_parsed(service, words[2:]))
        return _serve(service, _parsed(service, words[2:]))
    except KeyboardInterrupt:
        return 0  # asked to stop, and did


def names_service(words: Sequence[str]) -> bool:
    """Whether `words` start a service."""
    return len(words) > 1 and words[0] in SERVICES and words[1] == "start"


def worker_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields and values of the options that were given."""
    names = [flag[2:].replace("-", "_") for flag in (*FLAGS, "--takeover")]
    options = {name: given.get(name) for name in names}
    nodes = options.pop("rpc_url", None)
    return {
        **{name: value for name, value in options.items() if value is not None},
        **({"rpc_urls": nodes.split(",")} if nodes else {}),
    }


def _serve(service: str, options: argparse.Namespace) -> int:
    logs.configure(*_form_of_logs(options.config))
    package = "scheduler" if service in _SCHEDULERS else service
    serve = import_module(f"tallystick.{package}.app").serve
    if service in _SCHEDULERS and (database := _database(options.database)):
        serve = partial(serve, database=database)
    gc.enable()
    if service in _SCHEDULERS:
        _as_many_files_as_may_be()
        anyio.run(tidied(serve), options.config, backend_options=_loop())
    else:
        anyio.run(serve, options.config)
    return 0


def _loop() -> dict[str, Any]:
    """The quicker event loop where it is installed: for those who serve thousands at once."""
    try:
        import uvloop  # noqa: PLC0415 (not on every platform)
    except ImportError:
        return {}
    return {"loop_factory": uvloop.new_event_loop}


def _as_many_files_as_may_be() -> None:
    """Each request that is held open is a file, and 1,024 is what a process usually starts
    with."""
    try:
        import resource  # noqa: PLC0415 (not on every platform)
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _database(option: str | None) -> str:
    """As the command line or the environment says; empty: as the settings say."""
    if option is None:
        return os.environ.get("TALLYSTICK_DATABASE", "")
    checked: str = import_module("tallystick.engine.databases").without_password(option)
    return checked


def _form_of_logs(config: Path) -> tuple[str, str]:
    """As the settings say; what is wrong in them, the service itself tells."""
    try:
        found = tomllib.loads(config.read_text())
    except (OSError, ValueError):
        found = {}
    form, level = found.get("log_format"), found.get("log_level")
    return "json" if form == "json" else "text", level if level in _LEVELS else "info"


def _work(options: argparse.Namespace) -> int:
    settings = import_module("tallystick.worker.settings")
    wanted = settings.read(
        options.config, options=worker_options(vars(options)), password_later=_somebody_there()
    )
    settings.withdraw_secrets(os.environ)
    config = _unlockable(wanted.config)
    log = logs.configure(config.log_format, config.log_level)
    for note in wanted.notes:
        log.warning("%s", note)
    serve = import_module("tallystick.worker.app").serve
    gc.enable()
    anyio.run(serve, config)
    return 0


def _somebody_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _unlockable(config: Any) -> Any:
    """With a password, that somebody types when it stands nowhere."""
    if config.password is not None or config.password_file is not None:
        return config
    passwords, settings = (
        import_module(f"tallystick.{name}") for name in ("cli.passwords", "worker.settings")
    )
    return settings.with_password(config, passwords.ask_password(None, str(config.wallet)))


def _parsed(service: str, words: Sequence[str]) -> argparse.Namespace:
    works = service == "worker"
    parser = argparse.ArgumentParser(
        prog=f"tally {service} start", description=SERVICES[service], allow_abbrev=False
    )
    enough = " (not needed where the environment says enough)" if works else ""
    parser.add_argument(
        "--config", type=Path, required=not works, help=f"its settings, a TOML file{enough}"
    )
    for flag, (kind, meaning) in flags_of(service).items():
        parser.add_argument(flag, metavar=kind, help=meaning)
    if works:
        parser.add_argument(
            "--takeover", action="store_const", const=True, help="from a dead worker's wallet"
        )
    found = parser.parse_args(words)
    if found.config is not None and not found.config.is_file():
        raise failure.Mistake(f"There is no configuration file {found.config}.")
    return found
