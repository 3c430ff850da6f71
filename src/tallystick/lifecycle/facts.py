"""Everything that can happen to a task, each with the one party that may assert it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, Digest, Hash, Instant, Signature


class IllegalFact(Exception):
    """The fact cannot follow from the state it was asserted on."""


# Asserted by the chain: seen in a confirmed log, never taken from a peer.


@dataclass(frozen=True, slots=True)
class Ordered:
    """A deal bought this task. Told again, with another start, when a reorg moved the deal."""

    deal: Deal
    index: int


@dataclass(frozen=True, slots=True)
class Initialized:
    """The task is open for contributions."""


@dataclass(frozen=True, slots=True)
class Contributed:
    """A worker voted and locked its stake."""

    worker: Address
    result_hash: Hash
    weight: int


@dataclass(frozen=True, slots=True)
class ConsensusReached:
    """One result won; its voters may reveal until the deadline."""

    result_hash: Hash
    reveal_deadline: Instant


@dataclass(frozen=True, slots=True)
class Revealed:
    """A winner proved that it knew the digest."""

    worker: Address
    digest: Digest


@dataclass(frozen=True, slots=True)
class Reopened:
    """No winner revealed in time: the losing votes stand, the winning ones are void."""


@dataclass(frozen=True, slots=True)
class Finalized:
    """Everyone is paid."""

    link: str = ""
    """What the chain says about where the result is; empty when it is unreadable."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The requester took its money back."""


# Asserted by the scheduler.


class Audit(StrEnum):
    """Whether a result is computed a second time before it counts."""

    NO = "no"
    DRAWN = "drawn"
    """The draw fell on it. When nobody computes it again in time it counts all the same."""
    NEEDED = "needed"
    """Nobody vouches for this worker enough yet: without an audit the result never counts."""


@dataclass(frozen=True, slots=True)
class Scrutiny:
    """Under what terms a pool that audits has given a replicate away."""

    audit: Audit = Audit.NO
    owner: str = ""
    """Who runs the worker, as far as it was known then."""
    trusted: bool = False
    """Whether the worker is the operator's own: what it says decides."""
    audits: bool = False
    """Whether it was asked for a second opinion."""
    digest_first: bool = False
    """Whether it hands in its digest before it gets its authorization."""
    ahead: bool = False
    """Whether it votes before those whom it agrees with: who votes is paid. Only of a second
    opinion that is not the operator's own."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """A worker has a replicate, and an authorization to contribute unless that comes later."""

    worker: Address
    weight: int
    authorization: Signature | None = None
    """The scheduler's signature that the contract asks for; None where nobody signs."""
    alone: bool = False
    """Whether one vote decides and nobody else was asked: then the worker may vote, prove and
    finalize in one transaction, and locks no stake."""
    scrutiny: Scrutiny | None = None
    """None where the pool does not audit."""


@dataclass(frozen=True, slots=True)
class Audited:
    """The result was compared with what others computed. This is what the pool learns from."""

    worker: Address
    agreed: bool
    owner: str = ""
    """Who runs the worker; empty when it is not known."""
    counts: bool = True
    """Whether agreeing speaks for the worker: not where it was asked for a second opinion."""


@dataclass(frozen=True, slots=True)
class Authorized:
    """A worker that has handed in its digest may vote for it."""

    worker: Address
    authorization: Signature


@dataclass(frozen=True, slots=True)
class UploadRequested:
    """This winner was chosen to publish the result, by then."""

    worker: Address
    deadline: Instant


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker has not been heard for too long. Whatever it says next ends this."""

    worker: Address


@dataclass(frozen=True, slots=True)
class Recovering:
    """The worker is back and takes up where it stopped."""

    worker: Address


@dataclass(frozen=True, slots=True)
class RevealOverdue:
    """The worker voted with the winners and never revealed."""

    worker: Address


@dataclass(frozen=True, slots=True)
class UploadOverdue:
    """The winner that was chosen has published nothing in its time: another may be chosen.
    If it does so later, that is just as good."""

    worker: Address


# Asserted by the worker, about itself.


class Step(StrEnum):
    """What a worker does for a replicate, in order."""

    START = "start"
    FETCH_APP = "fetch app"
    FETCH_DATA = "fetch data"
    COMPUTE = "compute"
    CHECK = "check"
    """Before the vote: could it count, and can it be paid for?"""
    PUBLISH = "publish"
    """Bring the result to the store before a vote that finalizes at once."""
    FINISH = "contribute and finalize"
    """Vote, prove and finalize in one transaction."""
    CONTRIBUTE = "contribute"
    REVEAL = "reveal"
    UPLOAD = "upload"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Began:
    """Work on a step is under way. Tells, but moves nothing."""

    worker: Address
    step: Step


@dataclass(frozen=True, slots=True)
class Started:
    """Every check passed; the work may begin."""

    worker: Address


@dataclass(frozen=True, slots=True)
class AppFetched:
    """The image is on this machine."""

    worker: Address


@dataclass(frozen=True, slots=True)
class DataFetched:
    """Dataset and input files are on disk, or there are none."""

    worker: Address


@dataclass(frozen=True, slots=True)
class Computed:
    """The app ran, well or badly, and its output has a digest."""

    worker: Address
    digest: Digest | None
    """None when another party reports it: what travels does not carry the digest."""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A vote would count. The worker's own business: v9 peers check while they contribute."""

    worker: Address


@dataclass(frozen=True, slots=True)
class Published:
    """The result is where the vote will say. The worker's own business: to others it is part
    of contributing and finalizing at once."""

    worker: Address
    link: str
    callback: str = ""
    """What the deal's contract is to be called with, in hex; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The result can be fetched from this link."""

    worker: Address
    link: str
    callback: str = ""
    """What the requester's contract is to be told, in hex; empty without such a contract."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Nothing of the task is left on this machine."""

    worker: Address


@dataclass(frozen=True, slots=True)
class Failed:
    """A step failed. With a digest the failure is itself a result, and is voted on."""

    worker: Address
    step: Step
    cause: str
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The step under way cannot go on for now, and is tried again: the wallet is empty."""

    worker: Address
    step: Step
    cause: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """What held the worker up is gone."""

    worker: Address


@dataclass(frozen=True, slots=True)
class Aborted:
    """The worker dropped the replicate and cleaned up."""

    worker: Address
    cause: str


Progress: TypeAlias = (
    Started
    | AppFetched
    | DataFetched
    | Computed
    | Checked
    | Published
    | Contributed
    | Revealed
    | Uploaded
    | Completed
)
ReplicateFact: TypeAlias = (
    Progress
    | Began
    | Failed
    | Aborted
    | Held
    | Resumed
    | UploadRequested
    | UploadOverdue
    | RevealOverdue
    | Audited
    | Authorized
    | Lost
    | Recovering
)
ChainFact: TypeAlias = (
    Ordered
    | Initialized
    | Contributed
    | ConsensusReached
    | Revealed
    | Reopened
    | Finalized
    | Claimed
)
PoolFact: TypeAlias = (
    Assigned
    | Audited
    | Authorized
    | UploadRequested
    | UploadOverdue
    | Lost
    | Recovering
    | RevealOverdue
)
WorkerFact: TypeAlias = (
    Began
    | Started
    | AppFetched
    | DataFetched
    | Computed
    | Checked
    | Published
    | Uploaded
    | Completed
    | Failed
    | Aborted
    | Held
    | Resumed
)
Fact: TypeAlias = ChainFact | PoolFact | WorkerFact
TaskFact: TypeAlias = (
    Initialized | ConsensusReached | Reopened | Finalized | Claimed | Assigned | ReplicateFact
)
"""What may happen to a task that is known: every fact but its birth."""
