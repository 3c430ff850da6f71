"""Margins, needs, and who may have what: each condition alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lifecycle_lives import DIGESTS, WORKERS
from lifecycle_states import DEAL, S, active, decided, ended, rep, unset, won

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.facts import Audit, Scrutiny
from tallystick.lifecycle.fitness import (
    Applicant,
    Needs,
    NoWork,
    meets_kin,
    memory_named,
    needs_of,
    owed_stake,
    suits,
    unable,
)
from tallystick.lifecycle.margins import headroom, last_call, too_late, waited_enough
from tallystick.lifecycle.pool import busy_slots, fits, replicates_of, task_for
from tallystick.lifecycle.replicate import BEFORE_VOTE, Replicate, Status
from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.poco.deal import Deal
from tallystick.poco.tags import GPU, GRAMINE, SCONE, TDX, TEE, tag_of

A, B, C = WORKERS
SHORT = replace(DEAL, time_unit=21)
"""Votes until 147, end at 210, 5 s of headroom."""


@pytest.mark.parametrize(("unit", "room"), [(60, 10), (40, 10), (39, 9), (21, 5), (3, 0)])
def test_headroom(unit: int, room: int) -> None:
    assert headroom(replace(DEAL, time_unit=unit)) == room


@pytest.mark.parametrize(
    ("deal", "begin", "wait", "end"), [(DEAL, 350, 379, 529), (SHORT, 121, 131, 183)]
)
def test_the_last_second_before_it_is_late(deal: Deal, begin: int, wait: int, end: int) -> None:
    assert (too_late(deal, begin), too_late(deal, begin + 1)) == (False, True)
    assert (waited_enough(deal, wait), waited_enough(deal, wait + 1)) == (False, True)
    assert (last_call(deal, end), last_call(deal, end + 1)) == (False, True)


# --- fitness ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "memory"),
    [
        ("", 0),
        ('{"iexec_memory": 3}', 3),
        ('{"iexec_memory": 1}', 1),
        ('{"iexec_memory": 0}', 0),
        ('{"iexec_memory": -1}', 0),
        ('{"iexec_memory": true}', 0),
        ('{"iexec_memory": "3"}', 0),
        ('{"iexec_memory": 1.5}', 0),
        ('["iexec_memory"]', 0),
        ("iexec_memory: 3", 0),
        ('{"iexec_memory":' + "[" * 100_000, 0),
    ],
)
def test_the_memory_that_a_deal_names(params: str, memory: int) -> None:
    assert memory_named(params) == memory


def test_what_a_deal_asks() -> None:
    deal = replace(DEAL, tag=tag_of(GPU), params='{"iexec_memory": 2}', trust=1)
    assert needs_of(deal) == Needs(tag=tag_of(GPU), stake=5, memory=2, unstaked=True)
    assert not needs_of(replace(deal, trust=2)).unstaked
    assert needs_of(replace(deal, trust=0)).unstaked


ABLE, ENCLAVES = Applicant(wallet=A), (TEE, SCONE, GRAMINE, TDX)


@pytest.mark.parametrize(
    ("applicant", "needs", "reason"),
    [
        (ABLE, Needs(), None),
        (ABLE, Needs(tag=tag_of(GPU)), NoWork.NEEDS_GPU),
        (replace(ABLE, offers=tag_of(GPU)), Needs(tag=tag_of(GPU)), None),
        *((ABLE, Needs(tag=tag_of(bit)), NoWork.NEEDS_ENCLAVE) for bit in ENCLAVES),
        (ABLE, Needs(tag=tag_of(GPU, TEE)), NoWork.NEEDS_ENCLAVE),
        (replace(ABLE, offers=tag_of(TEE)), Needs(tag=tag_of(GPU, TEE)), NoWork.NEEDS_GPU),
        (ABLE, Needs(tag=tag_of(1 << 20)), None),
        (ABLE, Needs(memory=8), None),
        (replace(ABLE, memory=7), Needs(memory=8), NoWork.NEEDS_MEMORY),
        (replace(ABLE, memory=1), Needs(memory=8), NoWork.NEEDS_MEMORY),
        (replace(ABLE, memory=8), Needs(memory=8), None),
        (replace(ABLE, memory=8), Needs(), None),
        (replace(ABLE, stake=5), Needs(stake=5), None),
        (replace(ABLE, stake=4), Needs(stake=5), NoWork.STAKE_TOO_LOW),
        (ABLE, Needs(stake=5), None),
        (replace(ABLE, stake=0), Needs(), None),
        (replace(ABLE, stake=0, unstaked=True), Needs(stake=5, unstaked=True), None),
        (replace(ABLE, stake=0, unstaked=True), Needs(stake=5), NoWork.STAKE_TOO_LOW),
        (replace(ABLE, stake=0), Needs(stake=5, unstaked=True), NoWork.STAKE_TOO_LOW),
        (replace(ABLE, gas=False), Needs(), NoWork.OUT_OF_GAS),
    ],
)
def test_why_a_worker_cannot(applicant: Applicant, needs: Needs, reason: NoWork | None) -> None:
    assert unable(applicant, needs) is reason


KIN = replace(ABLE, kin=frozenset({B}))
DOUBTED = rep(S.COMPUTED, B, digest=DIGESTS[0], scrutiny=Scrutiny(audit=Audit.DRAWN))


@pytest.mark.parametrize(
    ("applicant", "task", "may"),
    [
        (replace(KIN, audits=False), active(), True),
        (replace(KIN, audits=False), active(rep(S.COMPUTED, B)), True),
        (ABLE, active(DOUBTED), True),
        (replace(ABLE, audits=False), active(DOUBTED), False),
        (KIN, active(DOUBTED), False),
        (replace(KIN, trusted=True), active(DOUBTED), True),
        (replace(KIN, trusted=True, audits=False), active(DOUBTED), False),
    ],
)
def test_who_may_give_a_second_opinion(applicant: Applicant, task: Task, may: bool) -> None:
    assert suits(applicant, task) is may


def test_kin_are_other_wallets_of_the_same_owner() -> None:
    assert meets_kin(KIN, active(rep(S.FAILED, B), rep(S.STARTED, C)))
    assert not meets_kin(KIN, active(rep(S.STARTED, C)))


@pytest.mark.parametrize("status", Status)
def test_the_stake_that_is_still_to_be_locked(status: Status) -> None:
    mine = rep(status)
    due = 5 if status in BEFORE_VOTE else 0
    assert owed_stake(active(mine), A) == due
    assert owed_stake(active(replace(mine, away=f.Recovering(A))), A) == due
    assert owed_stake(active(replace(mine, away=f.Lost(A))), A) == 0
    assert owed_stake(active(mine), B) == 0


# --- pool -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("applicant", "task", "now", "may"),
    [
        (ABLE, active(), 350, True),
        (ABLE, active(), 351, False),
        (ABLE, active(rep(S.STARTED, B)), 0, True),
        (ABLE, active(rep(S.FAILED, A)), 0, False),
        (ABLE, unset(), 0, False),
        (replace(ABLE, gas=False), active(), 0, False),
        (replace(ABLE, audits=False), active(DOUBTED), 0, False),
    ],
)
def test_what_fits_whom(applicant: Applicant, task: Task, now: int, may: bool) -> None:
    assert fits(applicant, task, now) is may


def test_the_most_urgent_task_that_fits() -> None:
    calm, urgent, over = active(), active(deal=SHORT), ended()
    assert task_for(A, [over, calm, urgent], 0) == urgent
    assert task_for(A, [over, calm, urgent], 130) == calm
    assert task_for(A, [over], 0) is None


def test_what_a_worker_holds() -> None:
    held = [rep(status) for status in Status]
    tasks = [*(active(each) for each in held), active(rep(S.STARTED, B)), active()]
    assert list(replicates_of(A, tasks)) == held
    assert busy_slots(A, tasks) == 4  # until it has computed
    assert (busy_slots(B, tasks), busy_slots(C, tasks)) == (1, 0)


# --- stages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (unset(), "RECEIVED"),
        (active(), "INITIALIZED"),
        (active(rep(), rep(S.ASSIGNED, B)), "INITIALIZED"),
        (active(rep(), rep(S.STARTED, B)), "RUNNING"),
        (decided(won(S.CONTRIBUTED)), "CONSENSUS_REACHED"),
        (decided(won(S.CONTRIBUTED), won(S.REVEALED, B)), "AT_LEAST_ONE_REVEALED"),
        (decided(won(S.REVEALED, vote=None)), "CONSENSUS_REACHED"),
        (decided(won(S.REVEALED), won(S.UPLOAD_REQUESTED, B)), "RESULT_UPLOADING"),
        (decided(won(S.REVEALED), won(S.UPLOADED, B, link="/ipfs/Qm")), "RESULT_UPLOADED"),
        (ended(), "COMPLETED"),
        (ended(status=TaskStatus.FAILED), "FAILED"),
    ],
)
def test_a_task_in_the_words_of_the_world(task: Task, name: str) -> None:
    assert task_status(task) == name


def test_how_a_task_is_seen() -> None:
    """What the agenda asks of a task, one by one."""
    loser, fallen = won(S.REJECTED, B), rep(S.STARTED, C)
    first: Replicate = won(S.UPLOADED, link="/ipfs/Qm", callback="0xab")
    task = decided(loser, fallen, first)
    assert list(task.winners) == [first]
    assert list(active(fallen).winners) == [], "no vote is no consensus"
    both = decided(won(S.REVEALED, B), first)
    assert (both.link, both.callback) == ("/ipfs/Qm", "0xab")
    assert (task.link, task.callback) == ("/ipfs/Qm", "0xab")
    assert (decided(loser).link, decided(loser).callback) == (None, "")
    assert list(task.in_status(S.STARTED, S.REJECTED)) == [loser, fallen]
    seen = [
        (t.takes_votes, t.is_decided, t.status.over) for t in (unset(), active(), task, ended())
    ]
    assert seen[0] == (False, False, False)
    assert seen[1:] == [(True, False, False), (False, True, False), (False, False, True)]
    assert TaskStatus.FAILED.over
