"""The workers of a pool: who they are, and when they were last heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from tallystick.engine.journal import Journal
from tallystick.poco.values import Address
from tallystick.wire.scheduler import WorkerModel

_KEY, _INSTANCE, _OWNER, _PROGRAM = "worker ", "instance ", "owner ", "program "

AT_WORK = 60.0
"""Seconds since its last sign of life for which a worker keeps its wallet to itself."""


class WalletTaken(Exception):
    """Another running worker has registered with this wallet; the sentence names it."""


class Roster:
    """Registrations survive a restart; signs of life do not, so all start as just heard."""

    def __init__(
        self, journal: Journal[Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._journal, self._clock = journal, clock
        self._models = {
            Address(key.removeprefix(_KEY)): WorkerModel.model_validate_json(text)
            for key, text in journal.notes(_KEY).items()
        }
        self._instances = {
            Address(key.removeprefix(_INSTANCE)): text
            for key, text in journal.notes(_INSTANCE).items()
        }
        """Which process uses a wallet; "" for a peer of another make, which does not tell."""
        self._programs: dict[Address, str] = {}
        self._owners: dict[Address, str] = {}
        """Who runs a worker, where somebody said so."""
        self._hosts: dict[Address, str] = {}
        """Where a worker called from when it registered; unknown for those of this machine."""
        self._kin: dict[str, frozenset[Address]] = {}
        self.read_again()
        self._heard = dict.fromkeys(self._models, clock())
        self._left: set[Address] = set()
        """Said goodbye: silent from then on, and their wallet may be used elsewhere."""

    def register(
        self,
        worker: Address,
        model: WorkerModel,
        *,
        instance: str = "",
        takeover: bool = False,
    ) -> WorkerModel:
        """Remember what `worker` says of itself. Raises WalletTaken while another instance
        that uses the same wallet is alive, unless this one is to take over."""
        if instance and not takeover:
            self._require_free(worker, instance)
        self._journal.note(f"{_INSTANCE}{worker}", instance)
        self._instances[worker] = instance
        model = model.model_copy(update={"wallet_address": worker})
        self._journal.note(f"{_KEY}{worker}", model.model_dump_json(by_alias=True))
        self._models[worker] = model
        self._left.discard(worker)
        self.heard(worker)
        return model

    def read_again(self) -> None:
        """Who runs which worker, perhaps as another scheduler of the pool was told."""
        self._owners, self._programs = self._noted(_OWNER), self._noted(_PROGRAM)
        self._kin.clear()

    def _noted(self, kind: str) -> dict[Address, str]:
        notes = self._journal.notes(kind)
        return {Address(key.removeprefix(kind)): text for key, text in notes.items()}

    def owned(self, worker: Address, owner: str) -> None:
        """Remember who runs a worker; "" forgets it. Wallets of one owner are no second
        opinion about each other."""
        if owner:
            self._journal.note(f"{_OWNER}{worker}", owner)
            self._owners[worker] = owner
        else:
            self._journal.forget(f"{_OWNER}{worker}")
            self._owners.pop(worker, None)
        self._kin.clear()

    def calls_from(self, worker: Address, host: str) -> None:
        """Note the address that a worker registered from: of workers whose owners nobody named,
        those behind one address count as one owner's."""
        if host and not host.startswith("127.") and host not in ("::1", "localhost"):
            self._hosts[worker] = host
        else:
            self._hosts.pop(worker, None)
        self._kin.clear()

    def owner(self, worker: Address) -> str:
        """Who runs a worker, as far as is known; "" when it is not."""
        return self._owners.get(worker) or self._hosts.get(worker, "")

    def kin(self, worker: Address) -> frozenset[Address]:
        """Other wallets of the same owner."""
        owner = self.owner(worker)
        if not owner:
            return frozenset()
        if not self._kin:
            self._kin = self._families()
        return self._kin.get(owner, frozenset()) - {worker}

    def _families(self) -> dict[str, frozenset[Address]]:
        families: dict[str, set[Address]] = {}
        for worker in self._owners.keys() | self._hosts.keys():
            families.setdefault(self.owner(worker), set()).add(worker)
        return {owner: frozenset(workers) for owner, workers in families.items()}

    def heard(self, worker: Address) -> None:
        """A sign of life."""
        self._heard[worker] = self._clock()

    def left(self, worker: Address) -> None:
        """The worker ends, by its own word; only a registration brings it back, since one of
        its last requests may come later than this."""
        self._left.add(worker)

    def speaks(self, worker: Address, instance: str) -> bool:
        """Whether this process speaks for the wallet: the one that registered last does."""
        current = self._instances.get(worker)
        return not instance or current is None or instance == current

    def require_current(self, worker: Address, instance: str) -> None:
        """Only the process that registered last speaks for a wallet. Raises WalletTaken."""
        if not self.speaks(worker, instance):
            raise WalletTaken(f"The wallet {worker} is used by {self._name(worker)} now.")

    def _require_free(self, worker: Address, instance: str) -> None:
        since = self._clock() - self._heard.get(worker, -AT_WORK)
        if (
            worker in self._left
            or self._instances.get(worker) in (None, "", instance)
            or since >= AT_WORK
        ):
            return
        raise WalletTaken(
            f"wallet already used by {self._name(worker)}, last seen {since:.0f} s ago; stop it"
            " or use another wallet"
        )

    def _name(self, worker: Address) -> str:
        model = self._models.get(worker)
        return f"worker {model.name if model else '?'}"

    def runs(self, worker: Address, program: str) -> None:
        """Note what the worker's program calls itself (User-Agent)."""
        if program != self._programs.get(worker, ""):
            self._journal.note(f"{_PROGRAM}{worker}", program)
            self._programs[worker] = program

    def program(self, worker: Address) -> str:
        """What the worker's program called itself (User-Agent) when it last registered."""
        return self._programs.get(worker, "")

    def instance(self, worker: Address) -> str:
        """Which process uses the wallet; "" for a peer of another make."""
        return self._instances.get(worker, "")

    def has_left(self, worker: Address) -> bool:
        """Whether the worker said goodbye."""
        return worker in self._left

    def model(self, worker: Address) -> WorkerModel | None:
        """What `worker` said of itself, if it registered."""
        return self._models.get(worker)

    def silent(self, seconds: float) -> Iterator[Address]:
        """Registered workers that were not heard for so long, or that said goodbye."""
        oldest, left = self._clock() - seconds, self._left
        return (w for w in self._models if w in left or self._heard.get(w, oldest) <= oldest)

    def alive(self, seconds: float) -> list[Address]:
        """Registered workers that were heard within so many seconds."""
        lost = set(self.silent(seconds))
        return [worker for worker in self._models if worker not in lost]

    def __iter__(self) -> Iterator[tuple[Address, WorkerModel, float]]:
        """Every worker with what it said and the seconds since it was heard."""
        now = self._clock()
        for worker, model in self._models.items():
            yield worker, model, now - self._heard.get(worker, now)
