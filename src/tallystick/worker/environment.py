"""What the environment says: every `IEXEC_*` name that a worker ever had, and ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from pydantic import SecretStr

from tallystick.worker.config import WorkerConfig
from tallystick.worker.legacy import DROPPED, LOG_LEVELS, NAMES

OURS: Final = "TALLY_"
"""Before the name of a field, in capitals: its name in the environment."""
_TABLES: Final = {"network", "app_networks", "registries", "policies"}
_REGISTRY: Final = re.compile(
    r"IEXEC_WORKER_DOCKER_REGISTRY_(ADDRESS|USERNAME|PASSWORD)_(\d{1,3})(_FILE)?", re.ASCII
)
_SECRET: Final = re.compile(r"(IEXEC|TALLY)_\w*(PASSWORD|PASSPHRASE|SECRET|PRIVATE_KEY)\w*")
_PLACES: Final = ("IEXEC_CORE_PROTOCOL", "IEXEC_CORE_HOST", "IEXEC_CORE_PORT")
_TYPO: Final = "EXEC_CORE_HOST"
_HTTP, _HTTPS = "18090", "18443"
"""Ports of a scheduler in the days when it had a protocol, a host and a port."""
PROXIES: Final = tuple(
    f"IEXEC_{scheme}_PROXY_{part}" for scheme in ("HTTP", "HTTPS") for part in ("HOST", "PORT")
)
_LOCAL: Final = "localhost,127.0.0.1,::1"


@dataclass(slots=True)
class Given:
    """What one layer of settings says."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    """By field."""
    places: dict[str, str] = field(default_factory=dict[str, str])
    """Where each of them stands."""
    mistakes: list[str] = field(default_factory=list[str])
    """Sentences without their full stop."""
    notes: list[str] = field(default_factory=list[str])
    """What an operator should know, and may leave as it is."""
    unread: bool = False
    """There is more, which could not be read: what seems to be missing may stand there."""

    def put(self, name: str, value: Any, place: str) -> None:
        """Take a value, unless one that counts for more is there."""
        if name not in self.values:
            self.values[name], self.places[name] = value, place
        elif self.values[name] != value:
            self.notes.append(f"{place} is passed over: {self.places[name]} is set as well.")


def field_names() -> dict[str, str]:
    """The names of ours for single values, with their fields."""
    own = (each.name for each in fields(WorkerConfig) if each.name not in _TABLES)
    return {OURS + name.upper(): name for name in own}


def names_of(setting: str) -> list[str]:
    """How a field is called in the environment, the first name counting for most."""
    known = [name for name, meant in field_names().items() if meant == setting]
    known += [name for name, meant in NAMES.items() if meant == setting]
    if setting == "scheduler_url":
        known += [*_PLACES, _TYPO]
    if setting == "registries":
        known += [f"IEXEC_WORKER_DOCKER_REGISTRY_{part}_0" for part in ("USERNAME", "PASSWORD")]
        known += [
            f"IEXEC_WORKER_DOCKER_REGISTRY_{part}_1"
            for part in ("ADDRESS", "USERNAME", "PASSWORD")
        ]
    return known


def secret_names(environment: Iterable[str]) -> list[str]:
    """Variables that hold a secret, whether or not we use it; not those that name a file."""
    return [n for n in environment if _SECRET.fullmatch(n) and not n.endswith("_FILE")]


def given(environment: Mapping[str, str], secret: Callable[[str], str]) -> Given:
    """The settings in `environment`. `secret` reads the file of a secret, and raises
    ValueError when it cannot. What is empty counts as not set."""
    told = {name: text for name, text in environment.items() if text.strip()}
    found = Given()
    for name, setting in {**field_names(), **NAMES}.items():
        if name in told:
            _take(found, name, setting, told[name])
    _scheduler(found, told)
    _registries(found, told, secret)
    _password(found)
    _remark(found, told)
    return found


def proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """What HTTP clients want to find in the environment, for `IEXEC_HTTP(S)_PROXY_HOST/PORT`;
    what is set already stays. Nothing on this machine is asked through a proxy."""
    wanted: dict[str, str] = {}
    for scheme, usual in (("HTTP", "80"), ("HTTPS", "443")):
        host = environment.get(f"IEXEC_{scheme}_PROXY_HOST", "").strip()
        port = environment.get(f"IEXEC_{scheme}_PROXY_PORT", "").strip() or usual
        if host:
            wanted[f"{scheme}_PROXY"] = f"http://{host}:{port}"
    if wanted:
        wanted["NO_PROXY"] = _LOCAL
    return {
        name: text
        for name, text in wanted.items()
        if not environment.get(name) and not environment.get(name.lower())
    }


def _take(found: Given, name: str, setting: str, text: str) -> None:
    value: Any = text
    if setting in ("rpc_urls", "ipfs_gateways"):
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif setting == "log_level":
        value = LOG_LEVELS.get(text.strip().lower(), text)
    elif setting == "eth_per_rlc":
        value = _number(text)
    elif setting == "password":
        value = SecretStr(text)
    elif setting != "password_file":
        value = text.strip()
    if name == "POOL_ADDRESS" and re.fullmatch(r"0x0*", value):
        return  # "any pool", as the original writes it
    found.put(setting, value, name)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _scheduler(found: Given, told: Mapping[str, str]) -> None:
    """An address out of protocol, host and port, where the whole address is not given."""
    typo = _TYPO in told
    if typo:
        found.notes.append(f"{_TYPO} is taken for IEXEC_CORE_HOST, which is the right name.")
    parts = {name: told[name].strip() for name in _PLACES if name in told}
    if typo:
        parts.setdefault("IEXEC_CORE_HOST", told[_TYPO].strip())
    if not parts:
        return
    place = " and ".join(name for name in (*_PLACES, _TYPO) if name in told)
    if "scheduler_url" in found.values:
        used = found.places["scheduler_url"]
        found.notes.append(f"{used} is used, so {place} is not looked at.")
        return
    found.mistakes += list(_wrong_parts(parts))
    found.put("scheduler_url", _address(parts), place)


def _address(parts: Mapping[str, str]) -> str:
    protocol = parts.get("IEXEC_CORE_PROTOCOL", "").lower()
    port = parts.get("IEXEC_CORE_PORT", "")
    if not protocol:
        protocol = "https" if port in ("443", _HTTPS) else "http"
    host = parts.get("IEXEC_CORE_HOST", "localhost")
    return f"{protocol}://{host}:{port or (_HTTPS if protocol == 'https' else _HTTP)}"


def _wrong_parts(parts: Mapping[str, str]) -> Iterator[str]:
    protocol = parts.get("IEXEC_CORE_PROTOCOL", "http")
    if protocol.lower() not in ("http", "https"):
        yield f"IEXEC_CORE_PROTOCOL: {protocol!r} is neither http nor https"
    host = parts.get("IEXEC_CORE_HOST", "localhost")
    if "/" in host or (":" in host and not host.startswith("[")):
        yield f"IEXEC_CORE_HOST: {host!r} is more than a host; use IEXEC_CORE_URL for it"
    port = parts.get("IEXEC_CORE_PORT", _HTTP)
    if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        yield f"IEXEC_CORE_PORT: {port!r} is no port"


def _registries(found: Given, told: Mapping[str, str], secret: Callable[[str], str]) -> None:
    logins: dict[int, dict[str, str]] = {}
    for name, text in sorted(told.items()):
        if (match := _REGISTRY.fullmatch(name)) is None:
            continue
        part, number, in_file = match[1].lower(), int(match[2]), match[3]
        try:
            value = secret(text) if in_file else text
        except ValueError as problem:
            found.mistakes.append(f"{name}: {problem}")
            value = "unreadable"
        logins.setdefault(number, {}).setdefault(part, value)
    usable = []
    for number, login in sorted(logins.items()):
        wrong = _login_mistake(number, login)
        if wrong:
            found.mistakes.append(wrong)
        elif "username" in login:
            hidden = {"password": SecretStr(login["password"])}
            usable.append({"address": "docker.io", **login, **hidden})
    if usable:
        found.put("registries", usable, "IEXEC_WORKER_DOCKER_REGISTRY_*")


def _login_mistake(number: int, login: Mapping[str, str]) -> str | None:
    name = f"IEXEC_WORKER_DOCKER_REGISTRY_{{}}_{number}".format
    if "username" in login and "password" not in login:
        return f"{name('USERNAME')}: there is no {name('PASSWORD')} for it"
    if "password" in login and "username" not in login:
        return f"{name('PASSWORD')}: there is no {name('USERNAME')} for it"
    if number and "username" in login and "address" not in login:
        return f"{name('USERNAME')}: there is no {name('ADDRESS')} for it"
    return None


def _password(found: Given) -> None:
    if {"password", "password_file"} <= found.values.keys():
        both = f"{found.places['password']} and {found.places['password_file']}"
        found.mistakes.append(f"{both} are both set: which one opens the wallet")
        del found.values["password_file"]


def _remark(found: Given, told: Mapping[str, str]) -> None:
    """Sentences about names that mean nothing (any more)."""
    for scheme in ("HTTP", "HTTPS"):
        host, port = (f"IEXEC_{scheme}_PROXY_{part}" for part in ("HOST", "PORT"))
        if port in told and host not in told:
            found.mistakes.append(f"{port}: there is no {host} for it")
        if port in told and not told[port].strip().isdigit():
            found.mistakes.append(f"{port}: {told[port]!r} is no port")
    known = {*NAMES, *field_names(), *DROPPED, *_PLACES, _TYPO, *PROXIES}
    for name in sorted(told):
        if name in DROPPED:
            found.notes.append(f"{name} changes nothing: {DROPPED[name]}.")
        elif name.startswith(("IEXEC_", OURS)) and not (
            name in known or _REGISTRY.fullmatch(name)
        ):
            found.notes.append(_unknown(name, known))


def _unknown(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    hint = f"; the nearest that is one is {near}" if near else ""
    return f"{name} is no setting of a worker{hint}."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, if any is."""
    from difflib import get_close_matches  # noqa: PLC0415 (only for those who mistyped)

    return next(iter(get_close_matches(name, known, n=1, cutoff=0.7)), None)
