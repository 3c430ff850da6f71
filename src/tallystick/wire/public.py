"""What a scheduler tells everybody: the bodies of its public routes.

The first half is that of the v9 peers, to the field; what follows `PoolMetrics` is ours.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tallystick.poco.values import Address, DealId, Hash, Tag, TaskId
from tallystick.wire.authorization import Body


class Receipt(Body):
    """Where a fact of the chain was seen."""

    block_number: int
    tx_hash: str | None = None


class UpdateDetails(Body):
    """What else is known of a status; what is not known is left out."""

    cause: str | None = None
    chain_receipt: Receipt | None = None


class StatusOfReplicate(Body):
    """One status of a replicate, and who said so."""

    status: str
    modifier: Literal["WORKER", "POOL_MANAGER"]
    date: str
    """ISO-8601, UTC."""
    cause: str | None
    details: UpdateDetails | None


class ReplicateModel(Body):
    """One worker's share of a task. Fields without a value are left out."""

    own: str = Field(alias="self")
    """Where this is."""
    chain_task_id: TaskId
    wallet_address: Address
    current_status: str
    status_update_list: list[StatusOfReplicate]
    result_link: str | None = None
    contribution_hash: Hash | None = None
    app_logs: str | None = None
    """Where the logs are, when they are kept; only the deal's requester may read them."""
    app_exit_code: int | None = None


class StatusOfTask(Body):
    """One status of a task."""

    date: str
    status: str


class TaskModel(Body):
    """One task, as v9 schedulers describe it."""

    chain_task_id: TaskId
    replicates: list[ReplicateModel] | None
    max_execution_time: int
    """Milliseconds."""
    tag: Tag
    dapp_type: Literal["DOCKER"]
    dapp_name: str
    command_line: str
    initialization_block_number: int
    current_status: str
    trust: int
    uploading_worker_wallet_address: Address | None
    consensus: Hash | None
    contribution_deadline: str
    reveal_deadline: str | None
    final_deadline: str
    result_link: str | None
    chain_callback_data: str | None
    date_status_list: list[StatusOfTask]


class ChallengeField(Body):
    """A field of typed data."""

    name: str
    type: str


class ChallengeDomain(Body):
    """For whom the challenge is."""

    name: str
    version: str
    chain_id: int


class LogChallenge(Body):
    """The EIP-712 typed data that a requester signs to read the logs of its tasks. They are
    then asked for with the header `Authorization: HASH_SIGNATURE_ADDRESS`."""

    types: dict[str, list[ChallengeField]]
    primary_type: str
    domain: ChallengeDomain
    message: dict[str, str]


class PrintedLogs(Body):
    """What the app of one replicate printed: the last 100,000 characters of each."""

    wallet_address: Address
    stdout: str
    stderr: str


class TaskLogs(Body):
    """What the app printed, replicate by replicate."""

    chain_task_id: TaskId
    compute_logs_list: list[PrintedLogs]


class PoolMetrics(Body):
    """`GET /metrics`."""

    alive_workers: int
    alive_computing_cpu: int
    alive_registered_cpu: int
    alive_computing_gpu: int
    alive_registered_gpu: int
    current_task_statuses_count: dict[str, int]
    deals_count: int


class TaskInShort(Body):
    """A task in a list."""

    chain_task_id: TaskId
    deal_id: DealId
    task_index: int
    current_status: str
    trust: int
    replicates: int
    """How many there are."""


class Told(Body):
    """One fact about a task: who says so, about whom, in words."""

    seq: int
    at: float
    """Seconds since the epoch."""
    kind: str
    by: Literal["chain", "scheduler", "worker"]
    worker: Address | None
    block: int | None
    transaction: str | None
    text: str


class ReplicateInBoth(Body):
    """A replicate as it is now, in both vocabularies."""

    worker: Address
    status: str
    modern: str
    seed: str
    doing: str | None
    cause: str | None
    exit_code: int | None
    weight: int
    vote: Hash | None
    link: str | None


class Timing(Body):
    """How long an act waited for us; both instants in seconds since the epoch."""

    what: str
    due: float
    sent: float


class TaskStory(Body):
    """Everything that happened to a task past a cursor."""

    task_id: TaskId
    status: str
    """UNKNOWN when no such task was bought here."""
    next: int
    """The cursor for the next question."""
    facts: list[Told]
    replicates: list[ReplicateInBoth]
    timings: list[Timing]


class HistoryRow(Body):
    """One line of a replicate's history, in both vocabularies."""

    at: float
    by: str
    fact: str
    seed: list[str]
    modern: list[str]
    cause: str | None
    block: int | None
    transaction: str | None


class WorkerInShort(Body):
    """Who computes for this pool."""

    name: str
    address: Address
    slots: int
    busy: int
    heard_seconds_ago: float
    alive: bool


class WorkerInFull(WorkerInShort):
    """One worker, with what it said of its machine and what it holds."""

    os: str
    cpu: str
    memory_size: int
    gpu_enabled: bool
    tee_enabled: bool
    tasks: list[TaskId]
    """Of those that are not over."""


class DealInShort(Body):
    """A deal with this pool."""

    deal_id: DealId
    requester: Address
    beneficiary: Address
    app: Address
    dataset: Address | None
    workerpool_price: int
    """nRLC for a task."""
    trust: int
    category: int
    tag: Tag
    start: str
    final_deadline: str
    bot_first: int
    bot_size: int
    tasks: dict[str, int]
    """How many of its tasks are known in which status."""


class PoolFigures(Body):
    """What this pool is, and how it does."""

    name: str
    """What its operator calls it."""
    workerpool: Address
    scheduler: Address
    """The wallet that signs for it."""
    chain_id: int
    hub: Address
    version: str
    head: int | None
    """The newest block that is taken over; null before the first."""
    workers: int
    workers_alive: int
    slots: int
    slots_busy: int
    deals: int
    tasks: dict[str, int]
    """How many in which status."""
    assignments: int
    """Since this process started."""


class Health(Body):
    """Whether a service lives, or may be used."""

    status: Literal["UP", "OUT_OF_SERVICE"]
    reasons: list[str] = Field(default_factory=list)
    """Why not, in sentences."""


class OrderOnOffer(Body):
    """A signed workerpool order that can still be used."""

    order_hash: Hash
    remaining: str
    """Tasks that it still sells."""
    order: dict[str, str]
    """As the official SDK writes it."""
