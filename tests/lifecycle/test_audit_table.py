"""Audits, case by case: who is asked, who may vote, what holds a payment up.

A second opinion comes in time for a vote until 380 s, and for the payment until 530 s.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from lifecycle_lives import DIGESTS, TASK, WORKERS
from lifecycle_states import DEAL, S, active, decided, ended, rep, unset

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.audit import (
    Authorize,
    Conclude,
    goes_on,
    is_refuted,
    is_second_opinion,
    owed_audits,
    waits,
    wants_opinion,
    withholds,
)
from tallystick.lifecycle.facts import Audit, Scrutiny
from tallystick.lifecycle.replicate import Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Address, Digest, Signature

A, B, C = WORKERS
D = Address(b"\x0d" * 20)
RIGHT, WRONG = DIGESTS
OTHER = Digest(b"\7" * 32)
PERMIT = Signature(bytes(65))
ALONE = replace(DEAL, trust=1)
DRAWN, NEEDED, OPINION = {"audit": Audit.DRAWN}, {"audit": Audit.NEEDED}, {"audits": True}
OURS = {"audits": True, "trusted": True}
AHEAD = {"audits": True, "ahead": True}
Terms = dict[str, object]


def first(
    worker: Address,
    terms: Terms,
    digest: Digest | None,
    status: Status = S.COMPUTED,
    **known: object,
) -> Replicate:
    """Of a worker that hands in its digest before it may vote."""
    scrutiny = Scrutiny(**{"digest_first": True} | terms)  # type: ignore[arg-type]
    return rep(status, worker, **{"scrutiny": scrutiny, "digest": digest} | known)


def holds(
    worker: Address,
    terms: Terms,
    digest: Digest | None,
    status: Status = S.CONTRIBUTED,
    **known: object,
) -> Replicate:
    """Of a worker that held its authorization from the start, and told no digest but a vote."""
    vote = None if digest is None else result_hash(TASK, digest)
    told = {"vote": vote, "authorization": PERMIT}
    return first(worker, {"digest_first": False} | terms, None, status, **told | known)


def asked(worker: Address = B, status: Status = S.STARTED, **known: object) -> Replicate:
    """Somebody that computes a second opinion."""
    return first(worker, OPINION, None, status, **known)


# --- who goes on, who waits -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicates", "goes"),
    [
        ([], False),
        ([rep(S.STARTED, A), holds(B, DRAWN, RIGHT)], False),
        ([first(A, {}, None), holds(B, DRAWN, RIGHT)], False),
        ([first(A, OPINION, None), holds(B, DRAWN, RIGHT)], True),
        ([first(A, OPINION, None), first(B, DRAWN, RIGHT)], False),
        ([first(A, OPINION, None), rep(S.STARTED, B)], False),
    ],
)
def test_who_goes_on_though_others_decided(replicates: list[Replicate], goes: bool) -> None:
    assert goes_on(active(*replicates), A) is goes


COMPUTED = (
    *(S.COMPUTED, S.CHECKED, S.PUBLISHED, S.CONTRIBUTED),
    *(S.REVEALED, S.UPLOAD_REQUESTED, S.UPLOADED),
)


@pytest.mark.parametrize("status", Status)
def test_who_waits_for_its_authorization(status: Status) -> None:
    mine = first(A, {}, RIGHT, status)
    assert waits(mine) is (status in COMPUTED)
    assert not waits(replace(mine, authorization=PERMIT))
    assert not waits(replace(mine, scrutiny=Scrutiny()))
    assert not waits(replace(mine, scrutiny=None))


# --- what is due ------------------------------------------------------------------------------


def may(worker: Address) -> Authorize:
    return Authorize(TASK, worker)


def found(worker: Address, agreed: bool, owner: str = "", counts: bool = True) -> Conclude:
    return Conclude(TASK, worker, agreed, owner, counts)


AGREED = {"agreed": True}
PLAIN = first(A, {}, RIGHT)
BY_OURS = first(B, OURS, RIGHT)
PROVEN = first(A, DRAWN, RIGHT, **AGREED)
"""Somebody has computed the same."""
EAGER = first(B, AHEAD, RIGHT, **AGREED)
HERE = first(B, OPINION, RIGHT, authorization=PERMIT, **AGREED)
"""Of the same opinion, and may vote."""
GONE, BACK = f.Lost(B), f.Recovering(B)
LIED = first(B, OPINION, WRONG, authorization=PERMIT, agreed=False, status=S.FAILED)
FIRM = first(C, OURS, RIGHT)


@pytest.mark.parametrize(
    ("task", "now", "due"),
    [
        (active(rep(S.COMPUTED, A, digest=RIGHT)), 0, []),
        # Nothing speaks against it.
        (active(PLAIN), 0, [may(A)]),
        (active(PLAIN, rep(S.STARTED, B)), 0, [may(A)]),
        (active(PLAIN), 409, [may(A)]),
        (active(PLAIN), 410, []),
        (unset(PLAIN), 0, []),
        (decided(PLAIN), 0, []),
        (active(replace(PLAIN, digest=None)), 0, []),
        (active(replace(PLAIN, status=S.DATA_FETCHED)), 0, []),
        (active(replace(PLAIN, authorization=PERMIT)), 0, []),
        # It is to be compared, and nobody has come.
        (active(first(A, DRAWN, RIGHT)), 379, []),
        (active(first(A, DRAWN, RIGHT)), 380, [may(A)]),
        (active(first(A, NEEDED, RIGHT)), 380, []),
        (active(first(A, OPINION, RIGHT)), 380, []),
        (active(first(A, NEEDED, RIGHT, **AGREED)), 0, [may(A)]),
        (active(first(A, DRAWN, RIGHT), PLAIN_B := first(B, {}, WRONG)), 0, [may(B)]),
        # Two others have, and all differ.
        (
            active(first(A, DRAWN, RIGHT), first(B, OPINION, WRONG), first(C, OPINION, OTHER)),
            0,
            [may(A)],
        ),
        # What the operator's own worker says decides; first all is told, then somebody votes.
        (active(first(A, DRAWN, RIGHT), BY_OURS), 0, [found(A, True)]),
        (active(first(A, NEEDED, WRONG), BY_OURS), 0, [found(A, False)]),
        (active(first(A, DRAWN, RIGHT), BY_OURS), 410, [found(A, True)]),
        (decided(first(A, DRAWN, RIGHT), BY_OURS), 0, [found(A, True)]),
        (active(first(A, DRAWN, RIGHT), BY_OURS, first(C, {}, RIGHT)), 0, [found(A, True)]),
        (active(first(A, DRAWN | {"owner": "me"}, RIGHT), BY_OURS), 0, [found(A, True, "me")]),
        (active(first(A, OPINION, WRONG), BY_OURS), 0, [found(A, False, counts=False)]),
        (active(first(A, DRAWN, None), BY_OURS, deal=ALONE), 0, [may(B)]),
        (active(first(A, {}, WRONG, authorization=PERMIT), BY_OURS), 0, [may(B)]),
        (active(holds(A, DRAWN, WRONG), BY_OURS), 0, [found(A, False)]),
        (active(holds(A, DRAWN, RIGHT), BY_OURS), 0, [found(A, True)]),
        # So do two owners that say the same.
        (
            active(first(A, DRAWN, RIGHT), first(B, OPINION, RIGHT)),
            0,
            [found(A, True), found(B, True, counts=False)],
        ),
        (
            active(holds(A, DRAWN, RIGHT), first(B, OPINION, RIGHT)),
            0,
            [found(A, True), found(B, True, counts=False)],
        ),
        (
            active(
                first(A, DRAWN | {"owner": "x"}, RIGHT),
                first(B, OPINION | {"owner": "x"}, RIGHT),
            ),
            0,
            [],
        ),
        (
            active(
                first(A, DRAWN, WRONG, **AGREED),
                first(B, OPINION, WRONG, **AGREED),
                first(C, OURS, RIGHT),
                deal=ALONE,
            ),
            0,
            [may(C)],
        ),
        (
            active(first(A, OURS, None), first(B, OPINION, RIGHT), first(C, DRAWN, RIGHT)),
            0,
            [found(B, True, counts=False), found(C, True)],
        ),
        # Where one vote is not enough all of that opinion vote.
        (active(PROVEN, BY_OURS), 0, [may(A), may(B)]),
        (active(PROVEN, BY_OURS, deal=replace(DEAL, trust=2)), 0, [may(A), may(B)]),
        (active(replace(PROVEN, away=f.Lost(A)), BY_OURS), 0, [may(B)]),
        (active(replace(PROVEN, away=f.Recovering(A)), BY_OURS), 0, [may(A), may(B)]),
        (active(first(A, DRAWN, WRONG, agreed=False), BY_OURS), 0, [may(B)]),
        # Whoever goes ahead does so, while it is there.
        (active(PROVEN, EAGER), 379, [may(B)]),
        (active(PROVEN, EAGER), 380, [may(B), may(A)]),
        (active(PROVEN, replace(EAGER, authorization=PERMIT)), 0, []),
        (active(PROVEN, replace(EAGER, away=GONE, authorization=PERMIT)), 0, [may(A)]),
        (active(PROVEN, replace(EAGER, away=BACK, authorization=PERMIT)), 0, []),
        (active(PROVEN, replace(EAGER, status=S.FAILED, authorization=PERMIT)), 0, [may(A)]),
        (
            active(PROVEN, replace(EAGER, vote=result_hash(TASK, RIGHT), authorization=PERMIT)),
            0,
            [may(A)],
        ),
        (active(PROVEN, FIRM, first(B, AHEAD, WRONG, agreed=False)), 0, [may(A), may(C)]),
        # Where one vote decides only one does, and whoever goes ahead is the one.
        (active(PROVEN, BY_OURS, deal=ALONE), 0, [may(A)]),
        (active(PROVEN, EAGER, deal=ALONE), 0, [may(B)]),
        (active(PROVEN, HERE, deal=ALONE), 0, []),
        (active(PROVEN, replace(HERE, away=BACK), deal=ALONE), 0, []),
        (active(PROVEN, replace(HERE, away=GONE), deal=ALONE), 0, [may(A)]),
        (active(PROVEN, replace(HERE, status=S.FAILED), deal=ALONE), 0, [may(A)]),
        (
            active(
                PROVEN,
                replace(HERE, status=S.CONTRIBUTED, vote=result_hash(TASK, RIGHT)),
                deal=ALONE,
            ),
            0,
            [],
        ),
        (active(PROVEN, FIRM, replace(LIED, status=S.COMPUTED), deal=ALONE), 0, [may(A)]),
        (active(PROVEN, rep(S.STARTED, B), FIRM, deal=ALONE), 0, [may(A)]),
    ],
)
def test_what_is_due(task: Task, now: int, due: list[Conclude | Authorize]) -> None:
    assert list(owed_audits(task, now)) == due


BROKEN = first(A, {}, RIGHT, S.REVEALED, vote=result_hash(TASK, WRONG), authorization=PERMIT)
KEPT = replace(BROKEN, vote=result_hash(TASK, RIGHT))


@pytest.mark.parametrize(
    ("mine", "due"),
    [
        (BROKEN, [found(A, False)]),
        (
            replace(BROKEN, scrutiny=Scrutiny(digest_first=True, owner="me")),
            [found(A, False, "me")],
        ),
        (replace(BROKEN, agreed=True), [found(A, False)]),
        (replace(BROKEN, agreed=False), []),
        (KEPT, []),
        (replace(BROKEN, scrutiny=Scrutiny()), []),
        (replace(BROKEN, digest=None), []),
        (replace(BROKEN, vote=None), []),
    ],
)
def test_who_votes_for_something_else_than_it_handed_in(
    mine: Replicate, due: list[Conclude]
) -> None:
    won = mine.vote or result_hash(TASK, WRONG)
    task = decided(mine, consensus=won)
    assert list(owed_audits(task, 0)) == due
    is_known = mine.agreed is False or due != []
    assert is_refuted(task) is is_known
    assert withholds(task, 0) is is_known


VOTED = {"status": S.REVEALED, "authorization": PERMIT, "vote": result_hash(TASK, WRONG)}
COPIED = first(A, {}, RIGHT, **VOTED)  # type: ignore[arg-type]
"""Voted for what it had not handed in."""
FOUND_OUT = replace(COPIED, agreed=False)
STANDS = first(B, {}, WRONG, **VOTED)  # type: ignore[arg-type]
"""Voted for what it had handed in."""


@pytest.mark.parametrize(
    ("replicates", "is_known"),
    [
        ([COPIED], True),
        ([COPIED, replace(COPIED, worker=B)], True),
        # Somebody stands by it, and nothing speaks against it.
        ([COPIED, STANDS], False),
        ([FOUND_OUT, STANDS], False),
        ([FOUND_OUT, holds(B, {}, WRONG)], False),
        ([FOUND_OUT, STANDS, first(C, OPINION, RIGHT, S.FAILED)], True),
        # What it had handed in is what somebody else computed, too.
        ([FOUND_OUT, STANDS, first(C, OURS, RIGHT)], True),
        ([FOUND_OUT, STANDS, first(C, OURS, WRONG)], False),
        ([FOUND_OUT, STANDS, first(C, OPINION, WRONG)], False),
        ([FOUND_OUT, replace(STANDS, agreed=False)], True),
        ([STANDS, first(C, OURS, RIGHT)], False),
        ([STANDS, replace(STANDS, worker=C, agreed=False)], True),
    ],
)
def test_a_copied_vote_speaks_neither_for_nor_against_whom_it_agrees_with(
    replicates: list[Replicate], is_known: bool
) -> None:
    task = decided(*replicates, consensus=result_hash(TASK, WRONG))
    assert is_refuted(task) is is_known


# --- whether somebody is asked ----------------------------------------------------------------

TOLD = first(A, DRAWN, RIGHT)


@pytest.mark.parametrize(
    ("task", "now", "wants"),
    [
        (active(), 0, False),
        (active(TOLD), 379, True),
        (active(TOLD), 380, False),
        (decided(TOLD), 0, True),
        (unset(TOLD), 0, False),
        (ended(TOLD), 0, False),
        (ended(TOLD, status=TaskStatus.FAILED), 0, False),
        (active(first(A, NEEDED, RIGHT)), 0, True),
        (active(first(A, {}, RIGHT)), 0, False),
        (active(rep(S.COMPUTED, A, digest=RIGHT)), 0, False),
        (active(replace(TOLD, agreed=True)), 0, False),
        (active(replace(TOLD, agreed=False)), 0, False),
        # It has to have computed, and to have told what.
        (active(first(A, DRAWN, None)), 0, False),
        (active(first(A, DRAWN, None, S.CONTRIBUTED, vote=result_hash(TASK, RIGHT))), 0, True),
        (active(holds(A, DRAWN, None, S.COMPUTED)), 0, True),
        (active(holds(A, DRAWN, None, S.CHECKED)), 0, False),
        (active(holds(A, DRAWN, RIGHT)), 0, True),
        # Not twice at a time, and not of whom it would be in vain.
        (active(TOLD, asked()), 0, False),
        (active(TOLD, asked(away=BACK)), 0, False),
        (active(TOLD, asked(away=GONE)), 0, True),
        (active(TOLD, asked(status=S.FAILED)), 0, True),
        (active(TOLD, first(B, {}, None, S.STARTED)), 0, True),
        (active(TOLD, rep(S.STARTED, B)), 0, True),
        (active(TOLD, first(B, OPINION, WRONG)), 0, True),
        (active(TOLD, first(B, {}, WRONG), first(C, {}, OTHER)), 0, True),
        (active(TOLD, asked(status=S.FAILED), asked(C, S.FAILED)), 0, True),
        (active(TOLD, first(B, OPINION, WRONG), first(C, OPINION, OTHER)), 0, False),
        # What is known to be right needs no other opinion.
        (active(TOLD, first(B, {}, RIGHT)), 0, False),
        (active(TOLD, first(B, {"trusted": True}, WRONG)), 0, False),
    ],
)
def test_whether_somebody_computes_it_again(task: Task, now: int, wants: bool) -> None:
    assert wants_opinion(task, now) is wants
    assert is_second_opinion(task) is (wants or now >= 380)


@pytest.mark.parametrize("status", Status)
def test_whose_result_is_doubted(status: Status) -> None:
    is_compared = status in (*COMPUTED, S.ABORTED, S.FAILED)
    assert wants_opinion(active(replace(TOLD, status=status)), 0) is is_compared


# --- what holds a payment up ------------------------------------------------------------------

SAID = result_hash(TASK, RIGHT)
CHANCE, DOUBT = holds(A, DRAWN, RIGHT), holds(A, NEEDED, RIGHT)


@pytest.mark.parametrize(
    ("replicates", "now", "held"),
    [
        ([CHANCE], 379, True),
        ([CHANCE], 380, False),
        ([DOUBT], 380, True),
        ([CHANCE, asked()], 529, True),
        ([CHANCE, asked()], 530, False),
        ([DOUBT, asked()], 530, True),
        ([CHANCE, first(B, OPINION, WRONG), first(C, OPINION, OTHER)], 0, False),
        ([CHANCE, first(B, OPINION, WRONG)], 0, True),
        ([CHANCE, first(B, OURS, RIGHT)], 599, True),
        ([replace(CHANCE, agreed=True), first(B, OURS, RIGHT)], 0, False),
        ([replace(CHANCE, agreed=False), first(B, OURS, WRONG)], 0, True),
        ([holds(A, {}, RIGHT)], 0, False),
        ([replace(CHANCE, scrutiny=None)], 0, False),
        ([first(A, DRAWN, RIGHT, S.CONTRIBUTED, vote=SAID)], 0, False),
        ([holds(A, DRAWN, WRONG), holds(B, {}, RIGHT)], 0, False),
    ],
)
def test_what_holds_a_payment_up(replicates: list[Replicate], now: int, held: bool) -> None:
    assert withholds(decided(*replicates, consensus=SAID), now) is held
