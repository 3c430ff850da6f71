"""A worker's settings, layer by layer: defaults, file, environment, command line.

defaults < settings file < environment < command line ──▶ one WorkerConfig, or all mistakes
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, TypeAdapter, ValidationError

from tallystick.engine.settings import BadSettings, mistakes, secret, table
from tallystick.worker import environment
from tallystick.worker.config import WorkerConfig
from tallystick.worker.environment import Given

DEFAULT: Final = "default"
PAGE_BASE_DIR: Final = "/tmp/iexec-worker"
"""Where a worker without a settings file works."""
CREDENTIAL: Final = "wallet-password"
"""The name of the wallet's password among the credentials that systemd hands over."""

_SECRETS: Final = ("password", "password_file")
_NOT_IN_FILES: Final = ("file",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What came out of all layers."""

    config: WorkerConfig
    origins: Mapping[str, str]
    """Where each field's value comes from: a file, a variable, an option, or `default`."""
    notes: tuple[str, ...] = ()
    """Sentences for the operator; none of them keeps the worker from starting."""


def read(
    file: Path | None = None,
    surroundings: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    password_later: bool = False,
) -> Settings:
    """The settings of a worker. Raises BadSettings, which names every mistake at once.

    `surroundings` is the environment; `options` are those of the command line, by field.
    `password_later`: a missing password is no mistake, since somebody can be asked for it.
    """
    seen = os.environ if surroundings is None else surroundings
    layers = [_of_options(options or {}), environment.given(seen, _secret)]
    layers += [_of_systemd(seen), _of_file(file) if file else _of_page()]
    whole = _stack(layers)
    _complete(whole, password_later=password_later)
    return _validated(whole, file)


def with_password(config: WorkerConfig, password: str) -> WorkerConfig:
    """The same settings with the wallet's password."""
    return replace(config, password=SecretStr(password))


def withdraw_secrets(surroundings: MutableMapping[str, str]) -> None:
    """Take every secret out of the environment, and put proxies into it as HTTP clients want
    them. Nobody who is started from here sees a secret, nor does `/proc` of this process."""
    surroundings.update(environment.proxies(surroundings))
    names = environment.secret_names(list(surroundings))
    for name in names:
        if surroundings is os.environ:
            _blot_out(name)
        del surroundings[name]


def _blot_out(name: str) -> None:
    """Overwrite the value where the kernel put it when this process began: `unsetenv` only
    forgets where it is, and `/proc/PID/environ` would go on showing it."""
    import ctypes  # noqa: PLC0415 (only where there is a secret)

    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    place = libc.getenv(os.fsencode(name))
    if place:
        ctypes.memset(place, ord("*"), len(ctypes.string_at(place)))


def _of_options(options: Mapping[str, Any]) -> Given:
    found = Given()
    for name, value in options.items():
        if value not in (None, (), []):
            found.put(name, value, "--" + option_name(name))
    return found


def option_name(setting: str) -> str:
    """How a field is called on the command line."""
    return {"rpc_urls": "rpc-url"}.get(setting, setting.replace("_", "-"))


def _of_file(file: Path) -> Given:
    found = Given()
    try:
        read_in = table(file)
    except BadSettings as problem:
        found.mistakes.append(str(problem).rstrip("."))
        found.unread = True
        return found
    known = [each.name for each in fields(WorkerConfig)]
    for name, value in read_in.items():
        if name in known and name not in _NOT_IN_FILES:
            found.put(name, value, f"{file}: {name}")
            continue
        near = environment.nearest(name, known)
        hint = f"; the nearest that is one is {near}" if near else ""
        found.mistakes.append(f"{file}: {name} is no setting{hint}")
    return found


def _of_page() -> Given:
    return Given(values={"base_dir": PAGE_BASE_DIR}, places={"base_dir": DEFAULT})


def _of_systemd(surroundings: Mapping[str, str]) -> Given:
    found, folder = Given(), surroundings.get("CREDENTIALS_DIRECTORY")
    if folder and (path := Path(folder) / CREDENTIAL).is_file():
        found.put("password_file", path, f"systemd credential {CREDENTIAL}")
    return found


def _stack(layers: Iterable[Given]) -> Given:
    """All layers in one; the first that speaks of a field decides it."""
    whole = Given()
    for layer in layers:
        decided = any(name in whole.values for name in _SECRETS)
        for name, value in layer.values.items():
            if name not in whole.values and not (decided and name in _SECRETS):
                whole.put(name, value, layer.places[name])
        whole.mistakes += layer.mistakes
        whole.notes += layer.notes
        whole.unread = whole.unread or layer.unread
    return whole


def _complete(whole: Given, *, password_later: bool) -> None:
    """Say what is missing, by all the names that it could have been given by."""
    if whole.unread:
        return
    for each in fields(WorkerConfig):
        required = each.default is MISSING and each.default_factory is MISSING
        if required and each.name not in whole.values:
            whole.mistakes.append(_missing(each.name))
    if not password_later and not any(name in whole.values for name in _SECRETS):
        whole.mistakes.append(
            "the wallet's password is not set: IEXEC_WORKER_WALLET_PASSWORD_FILE,"
            " IEXEC_WORKER_WALLET_PASSWORD, --password-file, or password_file in a settings"
            " file"
        )


def _missing(setting: str) -> str:
    name = next(n for n in environment.names_of(setting) if not n.startswith(environment.OURS))
    other = f"--{option_name(setting)}, or {setting} in a settings file"
    also = "; there is no default wallet" if setting == "wallet" else ""
    return f"{setting} is not set: {name}, {other}{also}"


def _validated(whole: Given, file: Path | None) -> Settings:
    wrong, config = list(whole.mistakes), None
    try:
        config = TypeAdapter(WorkerConfig).validate_python(whole.values)
    except ValidationError as problem:
        wrong += _placed(problem, whole)
    if config is not None:
        wrong += _contradictions(config, whole)
    if wrong or config is None:
        raise BadSettings(_listed(wrong) + _noticed(whole.notes))
    config, more = _settled(config, whole)
    origins = {
        each.name: whole.places.get(each.name, DEFAULT)
        for each in fields(WorkerConfig)
        if each.name not in _NOT_IN_FILES
    }
    return Settings(
        config=replace(config, file=file), origins=origins, notes=(*whole.notes, *more)
    )


def _placed(problem: ValidationError, whole: Given) -> Iterator[str]:
    for place, why in mistakes(problem):
        setting, _, inside = place.partition(".")
        if setting not in whole.values:
            continue  # it is missing, which was said already
        where = whole.places[setting]
        yield f"{where}{'.' + inside if inside else ''}: {why}"


def _contradictions(config: WorkerConfig, whole: Given) -> Iterator[str]:
    def place(name: str) -> str:
        return whole.places.get(name, name)

    if config.min_pull_time > config.max_pull_time:
        yield (
            f"{place('min_pull_time')}: {config.min_pull_time:g} s is more than"
            f" {place('max_pull_time')} with {config.max_pull_time:g} s"
        )
    if config.trust_hub and config.hub and config.trust_hub != config.hub:
        yield f"{place('trust_hub')}: {place('hub')} names another hub"
    if config.reveal_cap is not None and config.reveal_cap < config.gas_price_cap:
        yield f"{place('reveal_cap')}: it is below {place('gas_price_cap')}"


def _settled(config: WorkerConfig, whole: Given) -> tuple[WorkerConfig, list[str]]:
    if not config.gpu or config.slots == 1:
        return config, []
    said = [f"{whole.places['slots']} is passed over: a worker with a GPU has one slot."]
    whole.places["slots"], told = whole.places["gpu"], "slots" in whole.values
    return replace(config, slots=1), said if told else []


def _noticed(notes: Iterable[str]) -> str:
    """A name that nobody knows may well be why another is not set."""
    told = "".join(f"\n  {each}" for each in notes)
    return f"\nNoticed as well:{told}" if told else ""


def _listed(wrong: list[str]) -> str:
    wrong = list(dict.fromkeys(wrong))
    if len(wrong) == 1:
        return f"The settings cannot be used: {wrong[0]}."
    return f"The settings cannot be used, for {len(wrong)} reasons:" + "".join(
        f"\n  {each}." for each in wrong
    )


def _secret(path: str) -> str:
    try:
        return secret(Path(path))
    except BadSettings as problem:
        raise ValueError(str(problem).rstrip(".")) from problem
