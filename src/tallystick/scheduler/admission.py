"""Who may work for the pool, and why somebody may not: in sentences that operators read."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tallystick.engine.journal import Journal
from tallystick.poco.values import Address
from tallystick.scheduler.config import SchedulerConfig
from tallystick.wire.auth import Unauthorized
from tallystick.wire.scheduler import WorkerModel
from tallystick.wire.versions import OURS, SPOKEN, accepts

_BLOCKED: Final = "blocked "

_PROPERTIES: Final[Mapping[str, str]] = {
    "tee": "tee_enabled",
    "tdx": "tdx_enabled",
    "gpu": "gpu_enabled",
}
"""What a worker says of its machine, by the tag that asks for it."""


class NotListed(Unauthorized):
    """The wallet is none of those that may work here."""


class NotAdmitted(Exception):
    """The worker may not join the pool as it is; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """One wallet that gets no more work."""

    wallet: str
    why: str
    since: float
    """Seconds since the epoch."""


class Admission:
    """The pool's door. What is blocked outlives a restart."""

    def __init__(self, journal: Journal[Any], config: SchedulerConfig, owner: Address) -> None:
        """`owner` may always come in: the pool is its own."""
        self._journal, self._config, self._owner = journal, config, owner
        self._blocked: dict[Address, Block] = {}
        self.read_again()

    def read_again(self) -> list[Address]:
        """Who is blocked, perhaps at the word of another scheduler of the pool. Tells which
        wallets were blocked and are not any more."""
        before = self._blocked
        self._blocked = {
            Address(key.removeprefix(_BLOCKED)): Block(**json.loads(text))
            for key, text in self._journal.notes(_BLOCKED).items()
        }
        return [wallet for wallet in before if wallet not in self._blocked]

    def block(self, wallet: Address, why: str = "") -> Block:
        """Give `wallet` no more work, from now on."""
        found = Block(str(wallet), why, time.time())
        self._journal.note(f"{_BLOCKED}{wallet}", json.dumps(asdict(found)))
        self._blocked[wallet] = found
        return found

    def unblock(self, wallet: Address) -> bool:
        """Give it work again; whether it was blocked."""
        self._journal.forget(f"{_BLOCKED}{wallet}")
        return self._blocked.pop(wallet, None) is not None

    def blocked(self) -> list[Block]:
        """Who is blocked, longest first."""
        return sorted(self._blocked.values(), key=lambda each: each.since)

    def is_blocked(self, wallet: Address) -> bool:
        """Whether `wallet` gets no work, by the operator's word."""
        return wallet in self._blocked

    def require_listed(self, wallet: Address) -> None:
        """Raises NotListed when there is a whitelist without this wallet."""
        listed = self._config.whitelist
        if listed and wallet not in listed and wallet != self._owner:
            raise NotListed(
                f"Wallet {wallet} is not on this pool's whitelist: ask the pool's operator to"
                " add it, or choose another pool."
            )

    def require_fit(
        self, wallet: Address, model: WorkerModel, program: str, *, holds: bool
    ) -> None:
        """Raises NotAdmitted for whoever may not register.

        `program` is what the worker calls itself (User-Agent). A blocked worker that `holds` a
        replicate is let in all the same, to finish it.
        """
        sentences = [
            *self._against_block(wallet, holds=holds),
            *self._against_version(program),
            *self._against_machine(model),
        ]
        if sentences:
            raise NotAdmitted(" ".join(sentences))

    def objections(self, wallet: Address, program: str) -> list[tuple[str, str]]:
        """Why a worker that registered once gets nothing now, each with a word for it: the
        settings, or the operator's mind, may have changed since."""
        found = []
        if (block := self._blocked.get(wallet)) is not None:
            why = f": {block.why}" if block.why else "."
            found.append(("BLOCKED", f"Blocked by the pool's operator{why}"))
        listed = self._config.whitelist
        if listed and wallet not in listed and wallet != self._owner:
            found.append(("NOT_LISTED", "Not on the pool's whitelist: it cannot log in."))
        found += [("VERSION", sentence) for sentence in self._against_version(program)]
        return found

    def _against_block(self, wallet: Address, *, holds: bool) -> list[str]:
        found = self._blocked.get(wallet)
        if found is None or holds:
            return []
        why = f": {found.why}" if found.why else "; its operator gave no reason"
        return [f"The pool has blocked wallet {wallet}{why}."]

    def _against_version(self, program: str) -> list[str]:
        required = self._config.required_worker_version
        version = program.removeprefix(OURS).partition(" ")[0]
        if not program.startswith(OURS) or accepts(required, (version, SPOKEN)):
            return []
        return [
            f"The pool takes workers of version {required}, and this is Tallystick {version},"
            f" which speaks as iexec-worker {SPOKEN}: install a version that it takes."
        ]

    def _against_machine(self, model: WorkerModel) -> list[str]:
        missing = [
            name
            for name in self._config.required_tag
            if name in _PROPERTIES and not getattr(model, _PROPERTIES[name])
        ]
        if not missing:
            return []
        return [
            f"The pool takes only machines with {', '.join(missing)}, and this one says that it"
            " has none: set it up, or choose another pool."
        ]
