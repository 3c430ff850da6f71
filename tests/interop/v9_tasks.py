"""What a v9 scheduler remembers: tasks, their replicates, and workers (4.1, 4.10, 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import prod
from typing import Any

import anyio
from v9_models import ALLOWED, STATUSES, ZERO

FAILED_EARLY = ("START_FAILED", "APP_DOWNLOAD_FAILED", "DATA_DOWNLOAD_FAILED", "COMPUTE_FAILED")
OVER = ("COMPLETED", "FAILED")
_ASIDE = ("WORKER_LOST", "RECOVERING")
_KEYS: Mapping[str, type] = {
    "iexec_args": str,
    "iexec_input_files": list,
    "iexec_result_encryption": bool,
    "iexec_result_storage_provider": str,
    "iexec_result_storage_proxy": str,
    "iexec_secrets": dict,
    "bulk_cid": str,
}


def before(status: str, other: str) -> bool:
    """Whether a status comes before another in the order of 4.1."""
    return STATUSES.index(status) < STATUSES.index(other)


@dataclass
class Update:
    """One entry of a replicate's history."""

    status: str
    modifier: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Replicate:
    """One worker's part in a task."""

    wallet: str
    weight: int
    updates: list[Update] = field(default_factory=lambda: [Update("CREATED", "POOL_MANAGER")])
    contribution_hash: str = ""

    @property
    def status(self) -> str:
        return self.updates[-1].status

    @property
    def relevant(self) -> str:
        """The last status that is neither WORKER_LOST nor RECOVERING."""
        return next(u.status for u in reversed(self.updates) if u.status not in _ASIDE)

    @property
    def history(self) -> list[str]:
        return [update.status for update in self.updates]

    def may_become(self, status: str) -> bool:
        return status in ALLOWED[self.status]

    def add(self, status: str, modifier: str = "POOL_MANAGER", **details: Any) -> bool:
        """Whether it could be recorded: once only, and along the graph."""
        if status in self.history or not self.may_become(status):
            return False
        self.updates.append(Update(status, modifier, details))
        return True

    def detail(self, name: str) -> Any:
        """The last one of this name that was told."""
        found = (update.details.get(name) for update in reversed(self.updates))
        return next((each for each in found if each is not None), None)


@dataclass
class CoreTask:
    """One task and how far it is."""

    id: str
    deal_id: str
    index: int
    deal: Any
    """As the hub tells it."""
    contribution_deadline: int
    final_deadline: int
    statuses: list[str] = field(default_factory=lambda: ["RECEIVED"])
    replicates: dict[str, Replicate] = field(default_factory=dict)
    init_block: int = 0
    consensus: str = ""
    consensus_block: int = 0
    uploader: str = ""
    link: str = ""
    callback_data: str = ""
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def status(self) -> str:
        return self.statuses[-1]

    @property
    def over(self) -> bool:
        return self.status in OVER

    @property
    def trust(self) -> int:
        return max(1, int(self.deal[3]))

    @property
    def enclave(self) -> bool:
        return int(self.deal[5][-1]) & 0b1111 in (0b0011, 0b0101, 0b1001)

    @property
    def callback(self) -> bool:
        return str(self.deal[8]) != ZERO

    @property
    def ipfs(self) -> bool:
        return params(self.deal[9]).get("iexec_result_storage_provider") == "ipfs"

    def told(self) -> dict[str, Any]:
        """TaskModel (1.12), with the dates that no worker reads as null."""
        return {
            "chainTaskId": self.id,
            "replicates": None,
            "maxExecutionTime": (self.final_deadline - self.contribution_deadline) * 1000 // 3,
            "tag": "0x" + bytes(self.deal[5]).hex(),
            "dappType": "DOCKER",
            "dappName": "",
            "commandLine": params(self.deal[9]).get("iexec_args"),
            "initializationBlockNumber": self.init_block,
            "currentStatus": self.status,
            "trust": self.trust,
            "uploadingWorkerWalletAddress": self.uploader or None,
            "consensus": self.consensus or None,
            "contributionDeadline": _date(self.contribution_deadline),
            "revealDeadline": None,
            "finalDeadline": _date(self.final_deadline),
            "resultLink": self.link or None,
            "chainCallbackData": self.callback_data or None,
            "dateStatusList": [{"date": None, "status": each} for each in self.statuses],
        }

    def become(self, status: str) -> None:
        self.statuses.append(status)

    def winners(self) -> list[str]:
        return [r.wallet for r in self.replicates.values() if self._won(r)]

    def losers(self) -> list[str]:
        return [r.wallet for r in self.replicates.values() if not self._won(r)]

    def _won(self, replicate: Replicate) -> bool:
        return bool(self.consensus) and replicate.contribution_hash == self.consensus

    def with_status(self, status: str) -> list[Replicate]:
        """Replicates that have it now."""
        return [each for each in self.replicates.values() if each.status == status]

    def ever(self, status: str) -> list[Replicate]:
        return [each for each in self.replicates.values() if status in each.history]

    def wants_more(self) -> bool:
        """Whether another contribution is needed (5, step 6), all replicates being young."""
        groups: dict[str, int] = {}
        waiting = []
        for each in self.replicates.values():
            if each.relevant == "CONTRIBUTED":
                key = each.contribution_hash
                groups[key] = groups.get(key, 1) * each.weight
            elif each.relevant != "FAILED":
                waiting.append(each.weight)
        best = max(groups.values(), default=0)
        worst = sum(groups.values()) - best
        pending = prod(waiting) if waiting else 0
        best = (best or 1) * (pending or 1) if best or pending else 0
        return best * self.trust <= (1 + worst + best) * (self.trust - 1)


@dataclass
class CoreWorker:
    """A wallet that has registered."""

    wallet: str
    model: dict[str, Any]
    participating: list[str] = field(default_factory=list)
    computing: list[str] = field(default_factory=list)
    registrations: int = 1

    @property
    def slots(self) -> int:
        return 1 if self.model["gpuEnabled"] else int(self.model["cpuNb"])

    def told(self) -> dict[str, Any]:
        """The stored worker, which the Java worker ignores (1.7)."""
        tags = ["0x" + "0" * 62 + tail for tail in ("03", "05", "09")]
        return {
            "id": self.wallet,
            **self.model,
            "walletAddress": self.wallet,
            "maxNbTasks": self.slots,
            "tdxEnabled": self.model.get("tdxEnabled", False),
            "participatingChainTaskIds": self.participating,
            "computingChainTaskIds": self.computing,
            "lastAliveDate": "2026-05-13T10:11:12.345+00:00",
            "lastReplicateDemandDate": None,
            "excludedTags": tags,
        }


def _date(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")


def params(raw: str) -> dict[str, Any]:
    """Deal parameters; whatever is odd makes all of it the arguments (6.2)."""
    try:
        told = json.loads(raw)
    except ValueError:
        return {"iexec_args": raw}
    odd = not isinstance(told, dict) or any(
        name not in _KEYS or not isinstance(value, _KEYS[name]) for name, value in told.items()
    )
    return {"iexec_args": raw} if odd else dict(told)
