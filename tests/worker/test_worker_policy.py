"""Which work an operator wants, and when: as tables, and as laws."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from worker_lab import DEAL

from tallystick.poco import tags
from tallystick.poco.deal import Asset
from tallystick.poco.values import Address
from tallystick.worker.hours import now_open, window
from tallystick.worker.policy import (
    Choice,
    Policies,
    Room,
    Surroundings,
    closed,
    objections,
    share_used,
    slots_allowed,
    workers_part,
)

A, B, C = (Address(bytes([n]) * 20) for n in (0xA, 0xB, 0xC))
TASK = replace(
    DEAL,
    app=Asset(A, price=5),
    dataset=Asset(B, price=7),
    workerpool=Asset(C, price=1_000),
    requester=C,
    category=2,
    tag=tags.tag_of(tags.GPU),
    scheduler_reward_ratio=1,
)
IMAGE = "docker.io/acme/digits:1.0"
READ = TypeAdapter(Policies)
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
"""A Tuesday."""
QUIET = Surroundings(load=0.0, idle_minutes=600.0, on_battery=False)


@pytest.mark.parametrize(
    ("policies", "codes"),
    [
        ({}, []),
        ({"apps": {"deny": [str(A)]}}, ["APP_DENIED"]),
        ({"apps": {"deny": [str(B)]}}, []),
        ({"apps": {"allow": [str(A)]}}, []),
        ({"apps": {"allow": [str(B)]}}, ["APP_NOT_ALLOWED"]),
        ({"apps": {"allow": [str(A)], "deny": [str(A)]}}, ["APP_DENIED"]),
        ({"requesters": {"deny": [str(C)]}}, ["REQUESTER_DENIED"]),
        ({"requesters": {"allow": [str(A), str(B)]}}, ["REQUESTER_NOT_ALLOWED"]),
        ({"datasets": {"deny": [str(B)]}}, ["DATASET_DENIED"]),
        ({"datasets": {"allow": [str(C)]}}, ["DATASET_NOT_ALLOWED"]),
        ({"tags": {"deny": ["gpu"]}}, ["TAG_DENIED"]),
        ({"tags": {"deny": ["tee"]}}, []),
        ({"tags": {"allow": ["tee"]}}, ["TAG_NOT_ALLOWED"]),
        ({"categories": {"deny": [2]}}, ["CATEGORY_DENIED"]),
        ({"categories": {"allow": [0, 1]}}, ["CATEGORY_NOT_ALLOWED"]),
        ({"images": {"deny": ["docker.io/acme/*"]}}, ["IMAGE_DENIED"]),
        ({"images": {"deny": ["docker.io/acme/digits"]}}, ["IMAGE_DENIED"]),
        ({"images": {"deny": ["docker.io/acme/digits:2*"]}}, []),
        ({"images": {"allow": ["*/acme/digits:1.*"]}}, []),
        ({"images": {"allow": ["ghcr.io/*"]}}, ["IMAGE_NOT_ALLOWED"]),
        ({"min_price": 990}, []),
        ({"min_price": 991}, ["PRICE_TOO_LOW"]),
        ({"min_price": 2000, "apps": {"deny": [str(A)]}}, ["APP_DENIED", "PRICE_TOO_LOW"]),
    ],
)
def test_what_speaks_against_a_task(policies: dict, codes: list[str]):
    found = list(objections(READ.validate_python(policies), TASK, IMAGE))
    assert [each.code for each in found] == codes
    assert all("policies." in each.sentence for each in found)


def test_a_task_without_dataset_or_tag_is_not_concerned_by_lists_of_them():
    strict = Policies(datasets=Choice(allow=(C,)), tags=Choice(allow=("tee",)))
    plain = replace(TASK, dataset=Asset(), tag=tags.tag_of())
    assert list(objections(strict, plain)) == []


def test_the_workers_part_leaves_the_scheduler_its_own():
    assert workers_part(TASK) == 990


addresses = st.sampled_from([A, B, C, Address(b"\x0d" * 20)])
choices = st.builds(
    lambda allow, deny: Choice(allow=tuple(allow), deny=tuple(deny)),
    st.lists(addresses, max_size=3),
    st.lists(addresses, max_size=3),
)


@given(choice=choices, app=addresses)
def test_deny_wins_and_an_empty_allow_allows_all(choice: Choice[Address], app: Address):
    deal = replace(TASK, app=Asset(app))
    wanted = not list(objections(Policies(apps=choice), deal))
    allowed = not choice.allow or app in choice.allow
    assert wanted == (app not in choice.deny and allowed)


@given(choice=choices, more=addresses, app=addresses)
def test_denying_more_never_admits_anything(choice, more, app):
    deal = replace(TASK, app=Asset(app))
    stricter = replace(choice, deny=(*choice.deny, more))
    if list(objections(Policies(apps=choice), deal)):
        assert list(objections(Policies(apps=stricter), deal))


@pytest.mark.parametrize(
    ("hours", "when", "is_open"),
    [
        ("18:00-08:00", "2026-11-24 19:00", True),
        ("18:00-08:00", "2026-11-24 07:59", True),
        ("18:00-08:00", "2026-11-24 08:00", False),
        ("mon-fri 18:00-08:00", "2026-11-28 07:00", True),  # Friday's night goes on
        ("mon-fri 18:00-08:00", "2026-11-28 19:00", False),
        ("mon-fri 18:00-08:00", "2026-11-30 07:00", False),  # Sunday has no night
        ("sat, sun 00:00-24:00", "2026-11-29 23:59", True),
        ("sat, sun 00:00-24:00", "2026-11-30 00:00", False),
        ("fri-mon 10:00-11:00", "2026-11-30 10:30", True),  # round the end of the week
        ("fri-mon 10:00-11:00", "2026-11-25 10:30", False),
        ("tue 09:00-09:00", "2026-11-25 08:59", True),  # a whole day
    ],
)
def test_windows_of_the_week(hours: str, when: str, is_open: bool):
    now = datetime.fromisoformat(when).replace(tzinfo=UTC)
    assert now_open([window(hours)], now) is is_open


def test_hours_are_those_of_the_named_zone_and_the_sentence_tells_when_they_begin():
    paris = ZoneInfo("Europe/Paris")
    policies = READ.validate_python({"hours": ["mon-fri 18:00-08:00"], "time_zone": str(paris)})
    assert (
        closed(policies, datetime(2026, 11, 24, 17, 30, tzinfo=UTC).astimezone(paris), QUIET)
        is None
    )
    reason = closed(
        policies, datetime(2026, 11, 24, 16, 30, tzinfo=UTC).astimezone(paris), QUIET
    )
    assert reason is not None
    assert reason.code == "OUT_OF_HOURS"
    assert "It is Tue 17:30 (Europe/Paris)" in reason.sentence
    assert "again on Tue at 18:00" in reason.sentence


@given(
    hours=st.lists(
        st.sampled_from(["18:00-08:00", "mon-fri 18:00-08:00", "sat 00:00-24:00"]),
        min_size=1,
        max_size=3,
    ),
    minutes=st.integers(0, 60 * 24 * 14),
)
def test_the_next_opening_is_open_and_not_long_away(hours: list[str], minutes: int):
    windows, now = [window(each) for each in hours], NOON + timedelta(minutes=minutes)
    for each in windows:
        opening = each.next_opening(now)
        assert now < opening <= now + timedelta(days=8)
        assert each.holds(opening)


@pytest.mark.parametrize(
    ("policies", "around", "code"),
    [
        ({}, Surroundings(load=9.0, idle_minutes=0.0, on_battery=True), None),
        ({"on_battery": "pause"}, Surroundings(on_battery=True), "ON_BATTERY"),
        ({"on_battery": "pause"}, Surroundings(on_battery=False), None),
        ({"on_battery": "pause"}, Surroundings(), None),
        ({"idle_minutes": 10}, Surroundings(idle_minutes=9.0), "USER_ACTIVE"),
        ({"idle_minutes": 10}, Surroundings(idle_minutes=10.0), None),
        ({"idle_minutes": 10}, Surroundings(), None),
        ({"max_load": 0.5}, Surroundings(load=0.5), "LOAD_TOO_HIGH"),
        ({"max_load": 0.5}, Surroundings(load=0.4), None),
        ({"max_load": 0.5}, Surroundings(), None),
    ],
)
def test_a_machine_that_is_wanted_by_others(policies: dict, around: Surroundings, code):
    reason = closed(READ.validate_python(policies), NOON, around)
    assert (reason and reason.code) == code


MACHINE = Room(cpus=8, memory=16 << 30, app_cpus=1.0, app_memory=2 << 30, slots=7)


@pytest.mark.parametrize(
    ("policies", "slots"),
    [
        ({}, 7),
        ({"max_parallel": 3}, 3),
        ({"max_parallel": 30}, 7),
        ({"cpu_share": 0.5}, 4),
        ({"cpu_share": 0.1}, 0),
        ({"memory_share": 0.25}, 2),
        ({"memory_share": 0.25, "cpu_share": 0.125}, 1),
    ],
)
def test_shares_of_the_machine_are_slots(policies: dict, slots: int):
    assert slots_allowed(READ.validate_python(policies), MACHINE) == slots


def test_shares_close_the_gate_when_they_are_used_up():
    half = Policies(cpu_share=0.5)
    assert share_used(half, MACHINE, 3) is None
    used = share_used(half, MACHINE, 4)
    assert used is not None
    assert used.code == "SHARE_USED"
    small = share_used(Policies(memory_share=0.1), MACHINE, 0)
    assert small is not None
    assert small.code == "SHARE_TOO_SMALL"
    assert "max_memory" in small.sentence


@pytest.mark.parametrize(
    ("mistake", "place"),
    [
        ({"apps": {"denny": []}}, "denny"),
        ({"appps": {}}, "appps"),
        ({"apps": {"deny": ["0x12"]}}, "40 hex digits"),
        ({"hours": ["workdays"]}, "mon-fri 18:00-08:00"),
        ({"hours": ["mon-fry 10:00-11:00"]}, "'fry'"),
        ({"hours": ["10:00-25:00"]}, "25:00"),
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"tags": {"deny": ["sgx"]}}, "there are tee"),
        ({"cpu_share": 0}, "greater than 0"),
        ({"cpu_share": 1.5}, "less than or equal to 1"),
        ({"min_price": -1}, "greater than or equal to 0"),
        ({"max_parallel": 0}, "greater than or equal to 1"),
        ({"on_battery": "maybe"}, "pause"),
    ],
)
def test_mistakes_are_named(mistake: dict, place: str):
    with pytest.raises(ValidationError) as refusal:
        READ.validate_python(mistake)
    assert place in str(refusal.value)
