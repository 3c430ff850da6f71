"""The inside of a v9 scheduler: what becomes of tasks and replicates, and who is told.

Written from sections 2.6, 3, 4 and 5 of the wire protocol. Time passes by `tick`, which does
what the Java scheduler's watchers do every few seconds; detectors that wait for minutes are
methods that a test calls.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from v9_chain import ACTIVE, COMPLETED, CONTRIBUTED, REVEALED, REVEALING, Chain, hexed, packed
from v9_models import ZERO
from v9_proxy import V9Proxy
from v9_tasks import FAILED_EARLY, OVER, CoreTask, CoreWorker, Replicate, before

_GAS = 2_000_000
_TRIES = 3
_RUNNING_FROM, _RUNNING_TO = "STARTED", "CONTRIBUTE_AND_FINALIZE_DONE"
_SUCCESSES = (
    *("CREATED", "STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED"),
    *("DATA_DOWNLOADING", "DATA_DOWNLOADED", "COMPUTING", "COMPUTED", "CONTRIBUTING"),
    *("CONTRIBUTED", "REVEALING", "REVEALED"),
)
_ANSWERS = {
    "STARTED": "PLEASE_DOWNLOAD_APP",
    "APP_DOWNLOADED": "PLEASE_DOWNLOAD_DATA",
    "DATA_DOWNLOADED": "PLEASE_COMPUTE",
    **dict.fromkeys(("CONTRIBUTED", "REVEALED", "RESULT_UPLOADED", "COMPLETED"), "PLEASE_WAIT"),
    "CONTRIBUTE_AND_FINALIZE_DONE": "PLEASE_WAIT",
}
_EXCUSED = {
    "APP_DOWNLOAD_FAILED": ("APP_IMAGE_DOWNLOAD_FAILED",),
    "DATA_DOWNLOAD_FAILED": (
        *("DATASET_FILE_DOWNLOAD_FAILED", "DATASET_FILE_BAD_CHECKSUM"),
        "INPUT_FILES_DOWNLOAD_FAILED",
    ),
}
"""Failures of a download whose error is voted on."""

Shortcut = Callable[[CoreTask], bool]
Gate = Callable[[str, CoreTask], Awaitable[None]]
"""Called with each report before it is looked at."""


def for_enclaves(task: CoreTask) -> bool:
    """When a Java scheduler asks to contribute and finalize (4.12)."""
    return task.trust == 1 and task.enclave


async def straight_on(status: str, task: CoreTask) -> None:
    """Nothing happens before a report."""


@dataclass
class Core:
    """All that outlives a process is in `tasks` and `workers`."""

    chain: Chain
    pool: str
    proxy: V9Proxy
    publish: Callable[[str, str], int]
    tasks: dict[str, CoreTask] = field(default_factory=dict)
    workers: dict[str, CoreWorker] = field(default_factory=dict)
    shortcut: Shortcut = for_enclaves
    muted: set[str] = field(default_factory=set)
    """Notifications of these types are lost on their way."""
    unproven: set[str] = field(default_factory=set)
    """Reports of these statuses are not borne out, whatever the chain says."""
    gate: Gate = straight_on
    lost: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    """Reports that were answered by PLEASE_ABORT: wallet, status, why."""
    bell: anyio.Event = field(default_factory=anyio.Event)
    start_block: int = 0
    """Where the deals begin that it looks at."""

    # -- time -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            bell = self.bell
            await self.tick()
            with anyio.move_on_after(0.3):
                await bell.wait()

    def ring(self) -> None:
        """Something happened: do not wait for the next tick."""
        self.bell.set()
        self.bell = anyio.Event()

    async def tick(self) -> None:
        await self._deals()
        for task in list(self.tasks.values()):
            if not task.over:
                await self.update(task)

    async def _deals(self) -> None:
        head = await self.chain.head()
        if head < self.start_block:
            return
        pool = "0x" + self.pool.removeprefix("0x").rjust(64, "0")
        for log in await self.chain.logs(
            "SchedulerNotice(address,bytes32)", self.start_block, pool
        ):
            await self._ordered(hexed(log["data"]))
        self.start_block = head + 1

    async def _ordered(self, id: str) -> None:
        deal = await self.chain.deal(id)
        time = int((await self.chain.call("viewCategory", deal[4]))[2])
        begin, first, size = deal[10], deal[11], deal[12]
        for index in range(first, first + size):
            task = packed(id, f"{index:064x}")
            late = await self.chain.now() >= begin + 7 * time
            if hexed(task) not in self.tasks and not late:
                self.tasks[hexed(task)] = CoreTask(
                    id=hexed(task),
                    deal_id=id,
                    index=index,
                    deal=deal,
                    contribution_deadline=begin + 7 * time,
                    final_deadline=begin + 10 * time,
                )

    # -- tasks (4.10) ---------------------------------------------------------------------

    async def update(self, task: CoreTask) -> None:
        """As far as it goes now."""
        async with task.lock:
            last = None
            while not task.over and last != task.status:
                last = task.status
                if await self.chain.now() >= task.final_deadline:
                    task.become("FINAL_DEADLINE_REACHED")
                    self._failed(task)
                    return
                await getattr(self, f"_when_{last.lower()}")(task)

    async def _when_received(self, task: CoreTask) -> None:
        if (await self.chain.task(task.id)).status:
            task.become("INITIALIZE_FAILED")
            self._failed(task)
            return
        task.become("INITIALIZING")
        event = "TaskInitialize(bytes32,address)"
        log = await self.chain.send(
            "initialize", event, task.id, task.index, first=task.deal_id, gas=_GAS
        )
        if log is None:
            task.become("INITIALIZE_FAILED")
            self._failed(task)
            return
        task.init_block = log["blockNumber"]
        task.become("INITIALIZED")

    async def _when_initializing(self, task: CoreTask) -> None:
        """A process before this one sent the transaction."""
        logs = await self.chain.logs("TaskInitialize(bytes32,address)", 0, task.id)
        if logs:
            task.init_block = logs[-1]["blockNumber"]
            task.become("INITIALIZED")

    async def _when_finalizing(self, task: CoreTask) -> None:
        """Likewise."""
        if (await self.chain.task(task.id)).status == COMPLETED:
            self._completed(task)

    async def _when_initialized(self, task: CoreTask) -> None:
        if await self._out_of_time(task):
            return
        if any(_runs(each.relevant) for each in task.replicates.values()):
            task.become("RUNNING")

    async def _when_running(self, task: CoreTask) -> None:
        if self.shortcut(task):
            done = task.with_status("CONTRIBUTE_AND_FINALIZE_DONE")
            if len(done) == 1:
                task.link = done[0].detail("resultLink")
                self._completed(task)
                return
        if await self._out_of_time(task):
            return
        view = await self.chain.task(task.id)
        if view.status != REVEALING:
            return
        task.consensus = view.consensus
        winners = [task.replicates[wallet] for wallet in task.winners()]
        known = [each for each in winners if each.relevant == "CONTRIBUTED"]
        if len(known) < view.winners:
            task.consensus = ""
            return
        logs = await self.chain.logs("TaskConsensus(bytes32,bytes32)", task.init_block, task.id)
        task.consensus_block = logs[-1]["blockNumber"]
        task.become("CONSENSUS_REACHED")
        self.notify(task, "PLEASE_REVEAL", task.winners(), block=task.consensus_block)
        if task.losers():
            self.notify(task, "PLEASE_ABORT", task.losers(), cause="CONSENSUS_REACHED")

    async def _when_consensus_reached(self, task: CoreTask) -> None:
        if task.with_status("REVEALED"):
            task.become("AT_LEAST_ONE_REVEALED")

    async def _when_at_least_one_revealed(self, task: CoreTask) -> None:
        if self._ask_for_upload(task):
            task.become("RESULT_UPLOADING")

    async def _when_result_uploading(self, task: CoreTask) -> None:
        for each in task.replicates.values():
            if each.relevant == "RESULT_UPLOADED":
                task.link = each.detail("resultLink") or ""
                task.callback_data = each.detail("chainCallbackData") or ""
                task.become("RESULT_UPLOADED")
                return
        if task.replicates[task.uploader].relevant == "RESULT_UPLOAD_FAILED":
            self._ask_for_upload(task)

    async def _when_result_uploaded(self, task: CoreTask) -> None:
        view = await self.chain.task(task.id)
        late = await self.chain.now() >= view.reveal_deadline
        enough = view.revealed == view.winners or (view.revealed > 0 and late)
        known = len(task.ever("REVEALED"))
        if view.status != REVEALING or not enough or view.revealed != known:
            return
        task.become("FINALIZING")
        data = bytes.fromhex(task.callback_data.removeprefix("0x"))
        event = "TaskFinalize(bytes32,bytes)"
        log = await self.chain.send(
            "finalize", event, task.id, task.link.encode(), data, gas=_GAS
        )
        if log is None:
            task.become("FINALIZE_FAILED")
            self._failed(task)
        else:
            self._completed(task)

    def _ask_for_upload(self, task: CoreTask) -> bool:
        chosen = next(iter(task.with_status("REVEALED")), None)
        if chosen is None:
            return False
        task.uploader = chosen.wallet
        chosen.add("RESULT_UPLOAD_REQUESTED")
        self.notify(task, "PLEASE_UPLOAD", [chosen.wallet], plain=True)
        return True

    async def _out_of_time(self, task: CoreTask) -> bool:
        if await self.chain.now() < task.contribution_deadline:
            return False
        if (await self.chain.task(task.id)).status != ACTIVE:
            return False
        task.become("CONTRIBUTION_TIMEOUT")
        self.notify(task, "PLEASE_ABORT", list(task.replicates), cause="CONTRIBUTION_TIMEOUT")
        self._failed(task)
        return True

    def _completed(self, task: CoreTask) -> None:
        task.become("FINALIZED")
        task.become("COMPLETED")
        self.notify(task, "PLEASE_COMPLETE", [], plain=True)
        self._freed(task)

    def _failed(self, task: CoreTask) -> None:
        task.become("FAILED")
        self.notify(task, "PLEASE_ABORT", [], plain=True)
        self._freed(task)

    def _freed(self, task: CoreTask) -> None:
        for worker in self.workers.values():
            if task.id in worker.computing:
                worker.computing.remove(task.id)

    # -- notifications (2.5, 2.6) ---------------------------------------------------------

    def notify(
        self,
        task: CoreTask,
        word: str,
        who: list[str],
        *,
        cause: str | None = None,
        block: int = 0,
        plain: bool = False,
    ) -> None:
        extra = None if plain else self._extra(cause, block)
        told = _notification(task.id, who, word, extra)
        self.told.append(told)
        if word in self.muted or not self.publish(f"/topic/task/{task.id}", json.dumps(told)):
            self.lost.append(told)

    @staticmethod
    def _extra(cause: str | None, block: int, authorization: Any = None) -> dict[str, Any]:
        return {
            "workerpoolAuthorization": authorization,
            "smsUrl": None,
            "blockNumber": block,
            "taskAbortCause": cause,
        }

    def authorization(self, task: CoreTask, wallet: str) -> dict[str, Any]:
        """Signed by the owner of the pool (3)."""
        return {
            "chainTaskId": task.id,
            "dealId": task.deal_id,
            "taskIndex": task.index,
            "workerWallet": wallet,
            "enclaveChallenge": ZERO,
            "signature": {"value": self.chain.personal(packed(wallet, task.id, ZERO))},
        }

    # -- work (5) -------------------------------------------------------------------------

    async def supply(self, wallet: str) -> CoreTask | None:
        """A task with a new replicate of this wallet; None when there is none for it."""
        worker = self.workers.get(wallet)
        if worker is None or len(worker.computing) >= worker.slots:
            return None
        open_ones = [t for t in self.tasks.values() if t.status in ("INITIALIZED", "RUNNING")]
        open_ones.sort(key=lambda t: (t.status == "INITIALIZED", t.contribution_deadline))
        for task in open_ones:
            late = await self.chain.now() >= task.contribution_deadline
            if task.enclave or late or wallet in task.replicates or not task.wants_more():
                continue
            if (await self.chain.task(task.id)).status != ACTIVE:
                continue
            weight = max(await self.chain.score(wallet) // 3, 3) - 1
            task.replicates[wallet] = Replicate(wallet, weight)
            worker.participating.append(task.id)
            worker.computing.append(task.id)
            return task
        return None

    # -- reports (4.3 to 4.5) -------------------------------------------------------------

    async def report(self, wallet: str, id: str, told: dict[str, Any]) -> tuple[int, str]:
        """Status and word of the answer; an empty word is an empty answer."""
        task, status = self.tasks.get(id), str(told["status"])
        replicate = task.replicates.get(wallet) if task else None
        details = {k: v for k, v in (told.get("details") or {}).items() if v is not None}
        if task is None or replicate is None:
            return self._refuse(wallet, status, "no such replicate")
        await self.gate(status, task)
        if status in replicate.history:
            return 208, "PLEASE_WAIT"
        if not replicate.may_become(status):
            return self._refuse(wallet, status, f"it is {replicate.status}")
        if problem := await self._unproven(task, replicate, status, details):
            return self._refuse(wallet, status, problem)
        if status in replicate.history:
            return 208, "PLEASE_WAIT"
        if not replicate.add(status, "WORKER", **details):
            return self._refuse(wallet, status, f"it is {replicate.status} by now")
        self._after(task, replicate, status)
        return 200, self._answer(task, status, details)

    def _refuse(self, wallet: str, status: str, why: str) -> tuple[int, str]:
        self.refused.append((wallet, status, why))
        return 202, "PLEASE_ABORT"

    async def _unproven(
        self, task: CoreTask, replicate: Replicate, status: str, details: dict[str, Any]
    ) -> str:
        """Why the chain or the proxy do not bear out a report (4.4); empty when they do."""
        if "exitCode" in details and replicate.detail("exitCode") is not None:
            return "a second exitCode"
        if status in self.unproven:
            return "as the test wants it"
        match status:
            case "CONTRIBUTE_FAILED" | "REVEAL_FAILED":
                return f"always refused: {details.get('cause')}"
            case "CONTRIBUTED" | "REVEALED":
                await self._reached(int(details["chainReceipt"]["blockNumber"]))
                good = (REVEALED,) if status == "REVEALED" else (CONTRIBUTED, REVEALED)
                return await self._unvoted(task, replicate, good)
            case "RESULT_UPLOADED":
                if not self.uploaded(task):
                    return "the proxy has no result"
                name = "chainCallbackData" if task.callback else "resultLink"
                return "" if details.get(name) else f"no {name}"
            case "RESULT_UPLOAD_FAILED":
                return "the result is there" if self.uploaded(task) else ""
            case "CONTRIBUTE_AND_FINALIZE_DONE":
                if problem := await self._unvoted(task, replicate, (REVEALED,)):
                    return problem
                done = (await self.chain.task(task.id)).status == COMPLETED
                return "" if done and self.uploaded(task) else "not finalized, or no result"
        return ""

    async def _reached(self, block: int) -> None:
        while await self.chain.head() < block:  # noqa: ASYNC110 (the node tells nobody)
            await anyio.sleep(0.5)

    async def _unvoted(
        self, task: CoreTask, replicate: Replicate, good: tuple[int, ...]
    ) -> str:
        for _ in range(_TRIES):
            status, result, _ = await self.chain.contribution(task.id, replicate.wallet)
            if status in good:
                replicate.contribution_hash = result
                return ""
            await anyio.sleep(1)
        return f"the contribution is {status} on the chain"

    def uploaded(self, task: CoreTask) -> bool:
        """4.7."""
        return task.callback or not task.ipfs or task.id in self.proxy.results

    def _after(self, task: CoreTask, replicate: Replicate, status: str) -> None:
        worker = self.workers[replicate.wallet]
        if status in ("COMPUTED", *FAILED_EARLY, *OVER) and task.id in worker.computing:
            worker.computing.remove(task.id)
        if status in OVER and task.id in worker.participating:
            worker.participating.remove(task.id)
        self.ring()

    def _answer(self, task: CoreTask, status: str, details: dict[str, Any]) -> str:
        """The next action (4.5)."""
        if status == "ABORTED":
            return ""
        if status.endswith("ING") or status == "CONTRIBUTE_AND_FINALIZE_ONGOING":
            return "PLEASE_CONTINUE"
        if status == "COMPUTED":
            and_finalize = self.shortcut(task)
            return "PLEASE_CONTRIBUTE_AND_FINALIZE" if and_finalize else "PLEASE_CONTRIBUTE"
        if details.get("cause") in _EXCUSED.get(status, ()):
            return "PLEASE_CONTRIBUTE"
        return _ANSWERS.get(status, "PLEASE_ABORT")

    # -- detectors (4.8) ------------------------------------------------------------------

    def lose(self, wallet: str) -> list[str]:
        """A minute without a ping."""
        hit = []
        for id in self.workers[wallet].participating:
            task = self.tasks[id]
            replicate = task.replicates[wallet]
            if not task.over and replicate.status not in OVER and replicate.add("WORKER_LOST"):
                hit.append(id)
        return hit

    async def detect_unnotified(self) -> None:
        """Votes and reveals that only the chain tells of (the thorough detectors)."""
        for task in [each for each in self.tasks.values() if not each.over]:
            for replicate in task.replicates.values():
                status, result, _ = await self.chain.contribution(task.id, replicate.wallet)
                if status in (CONTRIBUTED, REVEALED):
                    replicate.contribution_hash = result
                    self._catch_up(replicate, "CONTRIBUTED")
                if status == REVEALED:
                    self._catch_up(replicate, "REVEALED")
        self.ring()

    @staticmethod
    def _catch_up(replicate: Replicate, goal: str) -> None:
        last = replicate.relevant
        if last in _SUCCESSES and before(last, goal):
            begin, end = _SUCCESSES.index(last) + 1, _SUCCESSES.index(goal) + 1
            for missing in _SUCCESSES[begin:end]:
                replicate.add(missing)

    # -- recovery (4.9) -------------------------------------------------------------------

    async def interrupted(self, wallet: str) -> list[dict[str, Any]]:
        """How to go on with each task; asking for it changes replicates."""
        worker, found = self.workers.get(wallet), []
        for id in list(worker.participating) if worker else ():
            task = self.tasks[id]
            word, cause, block = await self._recovery(task, task.replicates[wallet])
            if word:
                extra = self._extra(cause, block, self.authorization(task, wallet))
                found.append(_notification(id, [wallet], word, extra))
                task.replicates[wallet].add("RECOVERING")
        self.ring()
        return found

    async def _recovery(self, task: CoreTask, r: Replicate) -> tuple[str, str | None, int]:
        word: str = ""
        match task.status:
            case "INITIALIZED" | "RUNNING":
                word = await self._recover_vote(task, r)
            case "CONTRIBUTION_TIMEOUT":
                return "PLEASE_ABORT", "CONTRIBUTION_TIMEOUT", 0
            case "CONSENSUS_REACHED" if "CONTRIBUTED" not in r.history:
                return "PLEASE_ABORT", "CONSENSUS_REACHED", 0
            case "CONSENSUS_REACHED" | "AT_LEAST_ONE_REVEALED" | "RESULT_UPLOADED":
                word = await self._recover_reveal(task, r)
            case "RESULT_UPLOADING":
                word = self._recover_upload(task, r)
            case "FINALIZING" | "FINALIZED" | "COMPLETED" if "REVEALED" in r.history:
                word = "PLEASE_COMPLETE" if task.status == "COMPLETED" else "PLEASE_WAIT"
        return word, None, await self._consensus_block(task) if word == "PLEASE_REVEAL" else 0

    async def _consensus_block(self, task: CoreTask) -> int:
        event = "TaskConsensus(bytes32,bytes32)"
        logs = await self.chain.logs(event, task.init_block, task.id)
        return int(logs[-1]["blockNumber"])

    async def _recover_vote(self, task: CoreTask, r: Replicate) -> str:
        if before(r.relevant, "CONTRIBUTING"):
            return "PLEASE_CONTRIBUTE"
        if r.relevant == "CONTRIBUTING":
            status, result, _ = await self.chain.contribution(task.id, r.wallet)
            if status not in (CONTRIBUTED, REVEALED):
                return "PLEASE_CONTRIBUTE"
            r.contribution_hash = result
            r.add("CONTRIBUTED")
        if r.relevant == "CONTRIBUTED":
            agreed = (await self.chain.task(task.id)).status == REVEALING
            return "PLEASE_REVEAL" if agreed else "PLEASE_WAIT"
        return ""

    async def _recover_reveal(self, task: CoreTask, r: Replicate) -> str:
        if r.relevant == "REVEALING":
            status, *_ = await self.chain.contribution(task.id, r.wallet)
            if status != REVEALED:
                return "PLEASE_REVEAL"
            r.add("REVEALED")
            await self.update(task)
        words = {
            "CONTRIBUTED": "PLEASE_REVEAL",
            "REVEALED": "PLEASE_WAIT",
            "RESULT_UPLOAD_REQUESTED": "PLEASE_UPLOAD",
        }
        return words.get(r.relevant, "")

    def _recover_upload(self, task: CoreTask, r: Replicate) -> str:
        if r.relevant == "RESULT_UPLOADING" and self.uploaded(task):
            r.add("RESULT_UPLOADED")
        words = {
            "RESULT_UPLOAD_REQUESTED": "PLEASE_UPLOAD",
            "RESULT_UPLOADING": "PLEASE_UPLOAD",
            "RESULT_UPLOADED": "PLEASE_WAIT",
        }
        return words.get(r.relevant, "")


def _runs(status: str) -> bool:
    inside = not before(status, _RUNNING_FROM) and not before(_RUNNING_TO, status)
    return inside and status != "START_FAILED"


def _notification(
    task: str, who: list[str], word: str, extra: dict[str, Any] | None
) -> dict[str, Any]:
    """As Java writes it, with one field more than its own strict reader takes (1.10, 2.5)."""
    cause = (extra or {}).get("taskAbortCause") or "UNKNOWN"
    return {
        "chainTaskId": task,
        "workersAddress": who,
        "taskNotificationType": word,
        "taskNotificationExtra": extra,
        "taskAbortCause": cause,
    }
