"""Why a worker earns nothing, in the order of what matters; what single tasks came to."""

from __future__ import annotations

from typing import Any

import pytest
from worker_lab import DEAL, ME

from tallystick.engine.journal import ChainRef, Entry
from tallystick.lifecycle.facts import (
    Aborted,
    Assigned,
    Began,
    ConsensusReached,
    Contributed,
    Fact,
    Failed,
    Finalized,
    Initialized,
    Ordered,
    Revealed,
    Started,
    Step,
)
from tallystick.poco.values import Address, Digest, Hash
from tallystick.worker.chronicle import as_history, as_row, chronicle
from tallystick.worker.contact import Contact
from tallystick.worker.why import causes, upshot

OTHER = Address(b"\x02" * 20)
MINE, THEIRS = Hash(b"\x0a" * 32), Hash(b"\x0b" * 32)
DIGEST = Digest(b"\x0c" * 32)


def healthy(**more: Any) -> dict[str, Any]:
    return {
        "closed": [],
        "policies_trouble": None,
        "scheduler": {
            "broken": False,
            "heard_at": 1.0,
            "trouble": None,
            "trouble_at": None,
            "answer": None,
            "answer_sentence": None,
            "answered_at": None,
        },
        "chain": {"age": 1.0},
        "decisions": [],
        "assumptions": {"eth_per_rlc": 0.001, "min_profit": 0, "network": "full"},
    } | more


def codes(status: dict[str, Any], rows: Any = ()) -> list[tuple[str, str]]:
    return [(each.weight, each.code) for each in causes(status, list(rows))]


def gate(code: str) -> dict[str, str]:
    return {"code": code, "sentence": f"{code}."}


def declined(code: str, at: float) -> dict[str, Any]:
    return {"kind": "declined", "at": at, "task": "0x1", **gate(code)}


def test_a_worker_that_may_earn_has_no_causes():
    assert codes(healthy()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"closed": [gate("PAUSED")]}, ("stops", "PAUSED")),
        ({"closed": [gate("SLOTS_FULL")]}, ("note", "SLOTS_FULL")),
        ({"closed": [gate("STAKE_TOO_LOW")]}, ("stops", "STAKE_TOO_LOW")),
        ({"closed": [gate("OUT_OF_HOURS")]}, ("stops", "OUT_OF_HOURS")),
        ({"policies_trouble": gate("BAD_POLICIES")}, ("limits", "BAD_POLICIES")),
        ({"chain": {"age": None}}, ("stops", "CHAIN_AWAY")),
        ({"chain": {"age": 400.0}}, ("stops", "CHAIN_AWAY")),
        ({"decisions": [declined("APP_DENIED", 5.0)]}, ("limits", "APP_DENIED")),
        (
            {"decisions": [declined("DENIED", 5.0) | {"kind": "failed"}]},
            ("limits", "DENIED"),
        ),
        ({"decisions": [declined("DENIED", 5.0) | {"kind": "denied"}]}, ("note", "DENIED")),
        ({"decisions": [declined("ASKING", 5.0) | {"kind": "asking"}]}, None),
        (
            {"assumptions": {"eth_per_rlc": None, "min_profit": 0, "network": "full"}},
            ("note", "PROFIT_UNKNOWN"),
        ),
        (
            {"assumptions": {"eth_per_rlc": 1.0, "min_profit": 7, "network": "full"}},
            ("note", "MIN_PROFIT"),
        ),
        (
            {"assumptions": {"eth_per_rlc": 1.0, "min_profit": 0, "network": "none"}},
            ("note", "NETWORK_NONE"),
        ),
    ],
)
def test_each_hindrance_is_told(change: dict[str, Any], expected: tuple[str, str] | None):
    assert codes(healthy(**change)) == ([expected] if expected else [])


@pytest.mark.parametrize("word", ["NO_TASK", "ENOUGH_WORKERS", "ALREADY_HAD", "NEEDS_ENCLAVE"])
def test_the_schedulers_reason_is_told_with_our_own_sentence_and_a_remedy(word: str):
    contact = Contact(clock=lambda: 100.0)
    contact.answered(word)
    (cause,) = causes(healthy(scheduler=contact.told()), [])
    assert (cause.weight, cause.code, cause.at) == ("limits", word, 100.0)
    assert cause.sentence
    assert cause.remedy


def test_a_strange_reason_is_not_repeated():
    contact = Contact(clock=lambda: 100.0)
    contact.answered("\x1b[31m<script>")
    (cause,) = causes(healthy(scheduler=contact.told()), [])
    assert cause.code == "NO_WORK"
    assert "script" not in cause.sentence


def test_a_scheduler_that_went_away_comes_before_its_last_answer():
    now = [1.0]
    contact = Contact(clock=lambda: now[0])
    contact.answered("NO_TASK")
    now[0] = 2.0
    contact.met("did not answer")
    assert codes(healthy(scheduler=contact.told())) == [("stops", "SCHEDULER_AWAY")]
    now[0] = 3.0
    contact.heard()
    assert codes(healthy(scheduler=contact.told())) == [("limits", "NO_TASK")]
    contact.answered(None)
    assert codes(healthy(scheduler=contact.told())) == []


def test_what_stops_comes_first_and_repeated_refusals_are_counted():
    status = healthy(
        decisions=[declined("APP_DENIED", 5.0), declined("APP_DENIED", 9.0)],
        chain={"age": None},
        assumptions={"eth_per_rlc": None, "min_profit": 0, "network": "none"},
    )
    assert [weight for weight, _ in codes(status)] == ["stops", "limits", "note", "note"]
    declining = next(each for each in causes(status, []) if each.code == "APP_DENIED")
    assert "2 tasks" in declining.sentence
    assert declining.at == 9.0
    assert "[policies]" in declining.remedy


def told(*facts: Fact, money: dict[str, Any] | None = None) -> dict[str, Any]:
    entries = [
        Entry(n, "s", fact, 1_000.0 + n, ChainRef(n, "0x0", 0))
        for n, fact in enumerate((Ordered(DEAL, 0), Initialized(), *facts))
    ]
    found = chronicle(entries, ME)
    assert found is not None
    nothing = {"reward": 0, "lost": 0, "settled": False, "gas": 0, "last_lines": ""}
    return as_history(found) | nothing | {"decision": None} | (money or {})


VOTED = (Assigned(ME, 2), Contributed(ME, MINE, 2))


@pytest.mark.parametrize(
    ("history", "parts"),
    [
        (told(Assigned(ME, 2)), ["being worked on", "No stake was locked"]),
        (
            told(Assigned(ME, 2), Aborted(ME, "CONSENSUS_REACHED")),
            ["Others agreed", "No stake was locked, nothing was lost"],
        ),
        (
            told(
                Assigned(ME, 2),
                Aborted(ME, "ABORTED_BY_WORKER"),
                money={"decision": {"kind": "declined", "sentence": "Not at night."}},
            ),
            ["handed the task back: Not at night.", "No stake"],
        ),
        (
            told(
                Assigned(ME, 2), Began(ME, Step.START), Failed(ME, Step.START, "STAKE_TOO_LOW")
            ),
            ["STAKE_TOO_LOW", "No stake"],
        ),
        (told(*VOTED), ["We voted", "is locked", "released at 1970-01-01 00:10:00 UTC"]),
        (
            told(*VOTED, ConsensusReached(MINE, 500), Revealed(ME, DIGEST), Finalized()),
            ["over", "No stake of ours is in it any more"],
        ),
        (
            told(
                *VOTED,
                ConsensusReached(MINE, 500),
                Revealed(ME, DIGEST),
                Finalized(),
                money={"reward": 990, "settled": True},
            ),
            ["It is paid: 990 nRLC", "No stake of ours"],
        ),
        (
            told(
                *VOTED,
                Contributed(OTHER, THEIRS, 2),
                ConsensusReached(THEIRS, 500),
                Finalized(),
                money={"lost": 30, "settled": True},
            ),
            ["Another result won", "30 nRLC was lost"],
        ),
        (
            told(
                *VOTED,
                ConsensusReached(MINE, 500),
                Finalized(),
                money={"lost": 30, "settled": True},
            ),
            ["not revealed in time", "30 nRLC was lost"],
        ),
    ],
)
def test_what_a_task_came_to(history: dict[str, Any], parts: list[str]):
    text = " ".join(upshot(history)).replace("not decided or not finished yet", "over")
    for part in parts:
        assert part in text


def test_losses_and_failures_of_the_last_tasks_are_causes():
    lost = told(*VOTED, ConsensusReached(THEIRS, 500), Finalized(), money={"lost": 30})
    unrevealed = told(*VOTED, ConsensusReached(MINE, 500), Finalized(), money={"lost": 30})
    failed = told(Assigned(ME, 2), Started(ME), Began(ME, Step.FETCH_APP))
    failed |= {"cause": "APP_IMAGE_DOWNLOAD_FAILED", "over": True}
    beaten = told(Assigned(ME, 2), Aborted(ME, "CONSENSUS_REACHED"))
    found = codes(healthy(), [lost, unrevealed, failed, beaten])
    assert found == [
        ("limits", "LOST_VOTES"),
        ("limits", "NOT_REVEALED"),
        ("limits", "FAILED_TASKS"),
        ("note", "CONSENSUS_REACHED"),
    ]


def test_a_row_has_both_vocabularies_and_is_not_paid_for_being_completed():
    entries = [
        Entry(n, "s", fact, float(n), None)
        for n, fact in enumerate((Ordered(DEAL, 0), Initialized(), Assigned(ME, 2)))
    ]
    entries.append(Entry(9, "s", Aborted(ME, "CONTRIBUTION_TIMEOUT"), 9.0, None))
    found = chronicle(entries, ME)
    assert found is not None
    row = as_row(found)
    assert (row["status"], row["seed_status"]) == (
        "ABORTED",
        "ABORTED_ON_CONTRIBUTION_TIMEOUT",
    )
    assert (row["over"], row["ended"], row["in_consensus"]) == (True, 9.0, None)
