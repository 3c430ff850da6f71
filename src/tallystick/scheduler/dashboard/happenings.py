"""Facts in words, for whoever reads what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tallystick.engine.journal import Entry
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.history import authority
from tallystick.scheduler.dashboard.causes import in_words

_STEPS: Final[Mapping[f.Step, str]] = {
    f.Step.START: "checks the task",
    f.Step.FETCH_APP: "fetches the app",
    f.Step.FETCH_DATA: "fetches the data",
    f.Step.COMPUTE: "runs the app",
    f.Step.CHECK: "checks whether a vote would count",
    f.Step.PUBLISH: "publishes the result",
    f.Step.FINISH: "votes, proves and finalizes at once",
    f.Step.CONTRIBUTE: "sends its vote",
    f.Step.REVEAL: "sends its proof",
    f.Step.UPLOAD: "publishes the result",
    f.Step.COMPLETE: "tidies up",
}
_WORDS: Final[Mapping[type[object], str]] = {
    f.Ordered: "A deal bought it.",
    f.Initialized: "It is open for votes.",
    f.Contributed: "voted.",
    f.ConsensusReached: "One result won; its voters prove it now.",
    f.Revealed: "proved its vote.",
    f.Reopened: "No winner proved its vote in time: it is open again.",
    f.Finalized: "It is completed, and everybody is paid.",
    f.Claimed: "It has failed: the requester took its money back.",
    f.Assigned: "was given a replicate.",
    f.Authorized: "may vote for what it has handed in.",
    f.UploadRequested: "was chosen to publish the result.",
    f.Lost: "was not heard for too long.",
    f.Recovering: "is back, and takes up where it stopped.",
    f.RevealOverdue: "did not prove its vote in time.",
    f.UploadOverdue: "published nothing in its time.",
    f.Started: "takes it up: every check passed.",
    f.AppFetched: "has the app.",
    f.DataFetched: "has the data.",
    f.Computed: "has computed it.",
    f.Checked: "may vote.",
    f.Published: "has the result in the store.",
    f.Uploaded: "published the result.",
    f.Completed: "has tidied up.",
    f.Resumed: "can go on.",
}
_BAD: Final = (
    *(f.Failed, f.Aborted, f.Held, f.Lost, f.RevealOverdue, f.UploadOverdue),
    *(f.Claimed, f.Reopened),
)


@dataclass(frozen=True, slots=True)
class Happening:
    """One fact, to be shown: `worker` (if there is one) goes before the `text`."""

    at: float
    task: str
    worker: str
    text: str
    by: str
    """Who says so: worker, pool manager or chain."""
    bad: bool
    tx: str
    block: int | None


def words_of(fact: f.Fact) -> str:
    """What happened, without who did it."""
    match fact:
        case f.Began(step=step):
            return f"{_STEPS[step]}."
        case f.Failed(step=step, cause=cause):
            return f"could not go on: {step} failed. {_because(cause)}"
        case f.Held(step=step, cause=cause):
            return f"waits with {step}. {_because(cause)}"
        case f.Aborted(cause=cause):
            return f"dropped it. {_because(cause)}"
        case f.Audited(agreed=agreed):
            return (
                "computed what others did."
                if agreed
                else "computed something else than others."
            )
        case f.Computed(exit_code=int(code)) if code:
            return f"has computed it; the app ended with exit code {code}."
        case _:
            return _WORDS[type(fact)]


def _because(cause: str) -> str:
    return f"{in_words(cause)} ({cause})" if in_words(cause) else f"Cause: {cause}"


def happening(entry: Entry[f.Fact]) -> Happening:
    """The fact of this entry."""
    fact, ref = entry.fact, entry.ref
    return Happening(
        at=entry.at,
        task=entry.stream,
        worker=str(getattr(fact, "worker", "") or ""),
        text=words_of(fact),
        by=authority(fact),
        bad=isinstance(fact, _BAD),
        tx=(ref.tx or "") if ref else "",
        block=ref.block if ref else None,
    )
