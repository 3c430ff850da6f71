"""Where everything of a local market lies in its folder."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Setting: TypeAlias = str | int | float | bool | Path | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Places:
    """The files and folders below a market's folder."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held while the market runs."""
        return self.root / "up.lock"

    @property
    def market(self) -> Path:
        """What runs now; there only while it runs."""
        return self.root / "market.json"

    @property
    def ports(self) -> Path:
        """The first of the ports that were used last."""
        return self.root / "port"

    @property
    def foundation(self) -> Path:
        """What was founded: contracts, apps, the pool."""
        return self.root / "foundation.json"

    @property
    def state(self) -> Path:
        """The chain's last dump."""
        return self.chain / "state.gz"

    @property
    def chain(self) -> Path:
        """Where the chain's state is kept."""
        return self.root / "chain"

    @property
    def password(self) -> Path:
        """The password of every wallet of the market."""
        return self.root / "password"

    @property
    def orders(self) -> Path:
        """The order book."""
        return self.root / "orders.json"

    @property
    def shelf(self) -> Path:
        """The images that the registry offers."""
        return self.root / "registry"

    @property
    def logs(self) -> Path:
        """What the processes say, a file each."""
        return self.root / "logs"

    def wallet(self, role: str) -> Path:
        """The keystore of `role`."""
        return self.root / "wallets" / f"{role}.json"

    def config(self, name: str) -> Path:
        """The settings of the service `name`."""
        return self.root / "config" / f"{name}.toml"

    def data(self, name: str) -> Path:
        """A service's own folder."""
        return self.root / name


def password_in(path: Path) -> str:
    """The password in the file; a new one in a new file, which only its owner may read."""
    try:
        return path.read_text().splitlines()[0]
    except (FileNotFoundError, IndexError):
        write_private(path, secrets.token_urlsafe(24) + "\n")
        return path.read_text().splitlines()[0]


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_settings(path: Path, settings: Mapping[str, Setting]) -> None:
    """A TOML file of flat settings; what is None is left to its default."""
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items() if value is not None]
    write_private(path, "\n".join(lines) + "\n")


def _toml(value: Setting) -> str:
    # JSON's strings, numbers, truth values and lists are TOML's too.
    return json.dumps(value, default=str, ensure_ascii=False)
