"""One worker's share of one task.

The two tables are the whole machine. Worker, scheduler, simulator and documentation read
them; none of them adds a rule. They do not know which side they run on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from tallystick.lifecycle.facts import (
    Aborted,
    AppFetched,
    Audit,
    Audited,
    Authorized,
    Began,
    Checked,
    Completed,
    Computed,
    Contributed,
    DataFetched,
    Failed,
    Held,
    IllegalFact,
    Lost,
    Progress,
    Published,
    Recovering,
    ReplicateFact,
    Resumed,
    Revealed,
    RevealOverdue,
    Scrutiny,
    Started,
    Step,
    Uploaded,
    UploadOverdue,
    UploadRequested,
)
from tallystick.poco.values import Address, Digest, Hash, Instant, Signature


class Status(StrEnum):
    """The last thing that was achieved, or how it ended."""

    ASSIGNED = "assigned"
    STARTED = "started"
    APP_FETCHED = "app fetched"
    DATA_FETCHED = "data fetched"
    COMPUTED = "computed"
    CHECKED = "checked"
    PUBLISHED = "published"
    CONTRIBUTED = "contributed"
    REVEALED = "revealed"
    UPLOAD_REQUESTED = "upload requested"
    UPLOADED = "uploaded"
    COMPLETED = "completed"
    REJECTED = "rejected"
    ABORTED = "aborted"
    FAILED = "failed"


S = Status
BEFORE_VOTE = (
    *(S.ASSIGNED, S.STARTED, S.APP_FETCHED, S.DATA_FETCHED, S.COMPUTED, S.CHECKED),
    S.PUBLISHED,
)
OVER = (S.COMPLETED, S.REJECTED, S.ABORTED, S.FAILED)

TRANSITIONS: Mapping[type[Progress | UploadRequested], Mapping[Status, Status]] = (
    MappingProxyType(
        {
            Started: {S.ASSIGNED: S.STARTED},
            AppFetched: {S.STARTED: S.APP_FETCHED},
            DataFetched: {S.APP_FETCHED: S.DATA_FETCHED},
            Computed: {S.DATA_FETCHED: S.COMPUTED},
            Checked: {S.COMPUTED: S.CHECKED},
            Published: {S.CHECKED: S.PUBLISHED},
            # The chain is believed over a worker that has not reported yet, or that gave up
            # while its vote was on the way: what is locked must be revealed.
            Contributed: dict.fromkeys((*BEFORE_VOTE, S.ABORTED, S.FAILED), S.CONTRIBUTED),
            Revealed: dict.fromkeys((S.CONTRIBUTED, S.ABORTED, S.FAILED), S.REVEALED),
            UploadRequested: {S.REVEALED: S.UPLOAD_REQUESTED},
            Uploaded: {S.UPLOAD_REQUESTED: S.UPLOADED},
            # A winner that was away never heard that it was chosen to upload.
            Completed: dict.fromkeys((S.REVEALED, S.UPLOAD_REQUESTED, S.UPLOADED), S.COMPLETED),
        }
    )
)

STARTS_FROM: Mapping[Step, tuple[Status, ...]] = MappingProxyType(
    {
        Step.START: (S.ASSIGNED,),
        Step.FETCH_APP: (S.STARTED,),
        Step.FETCH_DATA: (S.APP_FETCHED,),
        Step.COMPUTE: (S.DATA_FETCHED,),
        Step.CHECK: (S.COMPUTED,),
        Step.PUBLISH: (S.CHECKED,),
        # To a peer checking and publishing are parts of it.
        Step.FINISH: (S.COMPUTED, S.CHECKED, S.PUBLISHED),
        # A v9 peer checks while it contributes, and so did we before there was a check. A
        # result is published for nothing when somebody else has voted meanwhile.
        Step.CONTRIBUTE: (S.COMPUTED, S.CHECKED, S.PUBLISHED),
        Step.REVEAL: (S.CONTRIBUTED,),
        Step.UPLOAD: (S.UPLOAD_REQUESTED,),
        Step.COMPLETE: (S.REVEALED, S.UPLOADED),
    }
)

MAY_ABORT = (*BEFORE_VOTE, S.CONTRIBUTED, S.REVEALED, S.UPLOAD_REQUESTED, S.UPLOADED)
"""What a worker may drop. What it has voted on it only says that it dropped: as long as the
task is open the vote stands, and may have to be revealed."""

UNPROVED = (*BEFORE_VOTE, S.CONTRIBUTED)
"""Where a worker that says it is done is ahead of what is known of the chain here."""

VOTED_ON = (Step.FETCH_APP, Step.FETCH_DATA)
"""Steps whose failure every honest worker meets alike, and which is therefore a result."""

VOTED_CAUSES = (
    "APP_IMAGE_DOWNLOAD_FAILED",
    "DATASET_FILE_DOWNLOAD_FAILED",
    "DATASET_FILE_BAD_CHECKSUM",
    "INPUT_FILES_DOWNLOAD_FAILED",
)
"""Why such a step may have failed. A peer that reports one of them votes on the error text,
though it does not tell the digest."""


AUDIT_DIFFERED = "AUDIT_DIFFERED"
"""Why a replicate ended whose result others did not confirm."""


@dataclass(frozen=True, slots=True)
class Replicate:
    """What is known of it. `doing` and `away` tell how it goes; `status` how far it got."""

    worker: Address
    weight: int
    status: Status = Status.ASSIGNED
    doing: Step | None = None
    away: Lost | Recovering | None = None
    held: str | None = None
    """Why the step under way cannot go on; None while it can."""
    failed: Step | None = None
    begun: bool = False
    """Whether the step that failed, or the reveal that was dropped, was under way. If not, a
    check before it failed."""
    cause: str | None = None
    gave_up: str | None = None
    """Why the worker dropped it, unless it took it up again. A vote that stands keeps the
    replicate in the task, or brings it back; when the task ends, this is how it ended."""
    tidied: bool = False
    """Whether the worker has said that it is done, though by what is known here nothing is
    paid yet; unless it went on. Its chain may be ahead, or ours on a branch that was left."""
    digest: Digest | None = None
    exit_code: int | None = None
    authorization: Signature | None = None
    scrutiny: Scrutiny | None = None
    """On what terms it was given away; None where the pool does not audit."""
    agreed: bool | None = None
    """Whether others computed the same; None while nobody has compared it."""
    alone: bool = False
    """Whether its vote finalizes the task: nobody else has voted, and one vote decides."""
    published: Published | None = None
    """Where its result lies already, before any vote."""
    vote: Hash | None = None
    revealed: bool = False
    upload_deadline: Instant | None = None
    link: str | None = None
    callback: str = ""
    """What the requester's contract is to be told, in hex."""

    @property
    def digest_first(self) -> bool:
        """Whether the worker hands in its digest before it may vote."""
        return self.scrutiny is not None and self.scrutiny.digest_first

    @property
    def was_missed(self) -> bool:
        """Whether it was to be compared, and counts though nobody did so in time."""
        drawn = self.scrutiny is not None and self.scrutiny.audit is not Audit.NO
        return drawn and self.digest_first and bool(self.authorization) and self.agreed is None

    @property
    def refuted(self) -> bool:
        """Whether others computed something else."""
        return self.agreed is False


def advance(replicate: Replicate, fact: ReplicateFact) -> Replicate:
    """The replicate after `fact`, or IllegalFact if it cannot follow."""
    match fact:
        case Lost() | Recovering():
            _require(replicate.status not in OVER and replicate.away != fact, replicate, fact)
            return replace(replicate, away=fact, doing=None, held=None)
        case Began(step=step):
            _require(replicate.status in STARTS_FROM[step], replicate, fact)
            after = replace(replicate, away=None, doing=step, held=None)
            after = replace(after, gave_up=None, tidied=False)
            # Whoever votes in the classic way says so, whatever it might have done.
            classic = step in (Step.CONTRIBUTE, Step.REVEAL)
            return replace(after, alone=False) if classic else after
        case Failed():
            return _fail(replicate, fact)
        case Aborted(cause=cause):
            _require(replicate.status in MAY_ABORT, replicate, fact)
            # Told while the chain was set back, it stands behind a vote that came again: in
            # either order the chain is the judge.
            voted = replicate.status not in BEFORE_VOTE
            after = _settle(replicate, replicate.status if voted else S.ABORTED)
            begun = replicate.doing is Step.REVEAL
            return replace(after, cause=cause, gave_up=cause, begun=begun)
        case RevealOverdue():
            _require(replicate.status is S.CONTRIBUTED, replicate, fact)
            after = _settle(replicate, S.FAILED)
            return replace(after, cause="REVEAL_TIMEOUT", alone=False)
        case Held() | Resumed() | UploadOverdue():
            return _delay(replicate, fact)
        case Completed() if replicate.status in UNPROVED:
            return replace(replicate, tidied=True)
        case Audited() | Authorized():
            return _judge(replicate, fact)
        case _:
            return _progress(replicate, fact)


def paid(replicate: Replicate) -> Replicate:
    """What becomes of it when its task is finalized: a winner that said already that it is done
    will not say so again."""
    if replicate.tidied and replicate.status in TRANSITIONS[Completed]:
        return advance(replicate, Completed(replicate.worker))
    return dropped(replicate)


def dropped(replicate: Replicate) -> Replicate:
    """What becomes of it when its task has ended: whoever said that it dropped it will not say
    so again."""
    if replicate.gave_up is None or replicate.status in OVER:
        return replicate
    after = _settle(replicate, S.ABORTED)
    return replace(after, cause=replicate.gave_up, begun=replicate.begun)


def _judge(replicate: Replicate, fact: Audited | Authorized) -> Replicate:
    """What the pool makes of the digest that was handed in, or of the vote."""
    if isinstance(fact, Authorized):
        waits = replicate.authorization is None and replicate.status not in OVER
        _require(waits, replicate, fact)
        return replace(replicate, authorization=fact.authorization)
    news = replicate.agreed is None or (replicate.agreed and not fact.agreed)
    _require(news, replicate, fact)
    if not fact.agreed and replicate.status in BEFORE_VOTE:
        replicate = replace(_settle(replicate, S.FAILED), cause=AUDIT_DIFFERED, alone=False)
    return replace(replicate, agreed=fact.agreed)


def _fail(replicate: Replicate, fact: Failed) -> Replicate:
    step, cause, digest = fact.step, fact.cause, fact.digest
    # A worker that was given up for lost may come back in the middle of a step.
    _require(replicate.doing in (step, None), replicate, fact)
    may = replicate.status in STARTS_FROM[step]
    # A reorg takes back that a winner was asked to upload, but not that it tried; asked again,
    # it may fail where it did not before.
    tried = step is Step.UPLOAD and replicate.status in (S.REVEALED, S.UPLOADED)
    _require(may or tried, replicate, fact)
    _require(digest is None or step in VOTED_ON, replicate, fact)
    voted = digest or (step in VOTED_ON and cause in VOTED_CAUSES)
    after = _settle(replicate, S.COMPUTED if voted else S.FAILED)
    # A digest is never forgotten: a vote for it may be on its way.
    known, begun = digest or replicate.digest, replicate.doing is step
    return replace(after, failed=step, cause=cause, digest=known, begun=begun)


def _delay(replicate: Replicate, fact: Held | Resumed | UploadOverdue) -> Replicate:
    """Nothing is over, and nothing is further than it was."""
    match fact:
        case Held(step=step, cause=cause):
            may = replicate.status in STARTS_FROM[step] and replicate.doing in (step, None)
            _require(may and replicate.held != cause, replicate, fact)
            return replace(replicate, held=cause)
        case Resumed():
            _require(replicate.held is not None, replicate, fact)
            return replace(replicate, held=None)
        case UploadOverdue():
            late = replicate.status is S.UPLOAD_REQUESTED and replicate.failed is None
            _require(late, replicate, fact)
            begun = replicate.doing is Step.UPLOAD
            return replace(
                replicate,
                doing=None,
                failed=Step.UPLOAD,
                cause="RESULT_LINK_MISSING",
                begun=begun,
            )


def _progress(replicate: Replicate, fact: Progress | UploadRequested) -> Replicate:
    after = TRANSITIONS[type(fact)].get(replicate.status)
    _require(after is not None, replicate, fact)
    assert after is not None
    kept = replicate.failed if isinstance(fact, Checked) else None
    replicate = replace(_settle(replicate, after), failed=kept)
    match fact:
        case Computed(digest=digest, exit_code=exit_code):
            return replace(replicate, digest=digest, exit_code=exit_code)
        case Contributed(result_hash=vote, weight=weight):
            return replace(replicate, vote=vote, weight=weight)
        case UploadRequested(deadline=deadline):
            return replace(replicate, upload_deadline=deadline, alone=False)
        case Published():
            return replace(replicate, published=fact)
        case Uploaded(link=link, callback=callback):
            return replace(replicate, link=link, callback=callback)
        case Revealed():
            return replace(replicate, revealed=True)
        case Started() | AppFetched() | DataFetched() | Checked() | Completed():
            return replicate
        case _:
            assert_never(fact)


def _settle(replicate: Replicate, status: Status) -> Replicate:
    return replace(
        replicate, status=status, doing=None, away=None, held=None, failed=None, begun=False
    )


def _require(legal: bool, replicate: Replicate, fact: ReplicateFact) -> None:
    if not legal:
        raise IllegalFact(f"{fact} on a replicate that is {replicate.status}")
