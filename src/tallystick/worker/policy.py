"""Which work an operator wants, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from tallystick.poco import tags
from tallystick.poco.deal import Deal
from tallystick.poco.values import ZERO_ADDRESS, Address, Nrlc
from tallystick.worker.hours import Window, now_open, window
from tallystick.worker.reason import Reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Generic[T]):
    """What is taken: nothing that is denied; of the rest all, or only what is allowed."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    allow: tuple[T, ...] = ()
    """Empty: whatever is not denied."""
    deny: tuple[T, ...] = ()


def _zone_info(name: str) -> tzinfo:
    """Loaded only for those who name a zone."""
    zone: tzinfo = import_module("zoneinfo").ZoneInfo(name)
    return zone


def _known_zone(name: str) -> str:
    if name:
        try:
            _zone_info(name)
        except (OSError, KeyError, ValueError) as problem:
            raise ValueError(f"{name!r} is no time zone that this machine knows") from problem
    return name


def _known_tag(name: str) -> str:
    if name not in tags.NAMES:
        raise ValueError(f"{name!r} is no tag; there are {', '.join(tags.NAMES)}")
    return name


_Share = Annotated[float, Field(gt=0, le=1)]
_Hours = Annotated[Window, BeforeValidator(window)]
_Tag = Annotated[str, AfterValidator(_known_tag)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What the operator allows; the default allows everything at any time."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    apps: Choice[Address] = Choice()
    images: Choice[str] = Choice()
    """Whole names of images; `*` stands for anything: `docker.io/acme/*`. A name without a tag
    means every tag."""
    requesters: Choice[Address] = Choice()
    datasets: Choice[Address] = Choice()
    """A task without a dataset is not concerned."""
    tags: Choice[_Tag] = Choice()
    """Properties a deal asks for: tee, gpu, ... A task without any is not concerned."""
    categories: Choice[int] = Choice()
    min_price: Annotated[Nrlc, Field(ge=0)] = 0
    """nRLC that the workers of a task must get together, after the scheduler's part."""
    hours: tuple[_Hours, ...] = ()
    """When work is asked for, as `mon-fri 18:00-08:00`; empty: always."""
    time_zone: Annotated[str, AfterValidator(_known_zone)] = ""
    """Of `hours`, as `Europe/Paris`; empty: this machine's."""
    idle_minutes: Annotated[float, Field(ge=0)] = 0
    """Ask only when nobody typed on a terminal of this machine for so long; 0: always."""
    max_load: Annotated[float, Field(ge=0)] = 0
    """Ask only while what others do here loads a processor less than this; 0: always."""
    on_battery: Literal["pause", "work"] = "work"
    cpu_share: _Share = 1.0
    """Part of this machine's processors that apps may take together."""
    memory_share: _Share = 1.0
    """Part of this machine's memory that apps may take together."""
    max_parallel: Annotated[int, Field(ge=1)] | None = None
    """Tasks computed at a time, when that is less than the worker's slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """How busy this machine is with other things. None: it cannot be told here."""

    load: float | None = None
    """Processes that want to run for each processor, without the worker's own apps."""
    idle_minutes: float | None = None
    """Since somebody typed on a terminal."""
    on_battery: bool | None = None


HEEDED = frozenset({"load", "idle_minutes", "on_battery"})
"""What of a machine's surroundings policies can be about."""


def heeded(policies: Policies) -> frozenset[str]:
    """Which of `HEEDED` matter to `policies`: looking at the rest would be in vain."""
    asked = {
        "load": policies.max_load > 0,
        "idle_minutes": policies.idle_minutes > 0,
        "on_battery": policies.on_battery == "pause",
    }
    return frozenset(name for name, matters in asked.items() if matters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a machine has, and what an app of this worker takes of it."""

    cpus: int
    memory: int
    """Bytes."""
    app_cpus: float
    app_memory: int
    """Bytes."""
    slots: int


def zone_of(policies: Policies) -> tzinfo | None:
    """The operator's time zone; None: this machine's."""
    return _zone_info(policies.time_zone) if policies.time_zone else None


def workers_part(deal: Deal) -> Nrlc:
    """What the workers of one task of `deal` get together when all of them are right."""
    return deal.workerpool.price * (100 - deal.scheduler_reward_ratio) // 100


def objections(policies: Policies, deal: Deal, image: str | None = None) -> Iterator[Reason]:
    """Everything that speaks against a task of `deal`; `image` is its app's, when known."""
    yield from _choose("APP", policies.apps, deal.app.pointer)
    yield from _choose("REQUESTER", policies.requesters, deal.requester)
    if deal.dataset.pointer != ZERO_ADDRESS:
        yield from _choose("DATASET", policies.datasets, deal.dataset.pointer)
    for name in tags.names(deal.tag):
        yield from _choose("TAG", policies.tags, name)
    yield from _choose("CATEGORY", policies.categories, deal.category)
    if image is not None:
        yield from _choose_image(policies.images, image)
    if (part := workers_part(deal)) < policies.min_price:
        yield Reason(
            "PRICE_TOO_LOW",
            f"Its workers get {part} nRLC, and policies.min_price is {policies.min_price}.",
        )


def closed(policies: Policies, now: datetime, around: Surroundings) -> Reason | None:
    """Why no work is wanted at `now`, which is in the operator's time zone."""
    return next(_hindrances(policies, now, around), None)


def slots_allowed(policies: Policies, room: Room) -> int:
    """How many tasks may be computed at a time; 0 when not even one fits into the shares."""
    by_cpu = int(room.cpus * policies.cpu_share / room.app_cpus + 1e-9)
    by_memory = int(room.memory * policies.memory_share / room.app_memory + 1e-9)
    unshared = [room.slots, policies.max_parallel or room.slots]
    return min(
        unshared
        + ([by_cpu] if policies.cpu_share < 1 else [])
        + ([by_memory] if policies.memory_share < 1 else [])
    )


def share_used(policies: Policies, room: Room, busy: int) -> Reason | None:
    """Why no further task fits into the operator's shares of the machine."""
    allowed = slots_allowed(policies, room)
    if allowed == 0:
        return Reason(
            "SHARE_TOO_SMALL",
            f"Not one app fits into policies.cpu_share {policies.cpu_share:g} and memory_share"
            f" {policies.memory_share:g} of {room.cpus} processors and {room.memory >> 20} MiB:"
            f" an app may take {room.app_cpus:g} processors and {room.app_memory >> 20} MiB."
            " Lower max_cpus or max_memory, or raise the shares.",
        )
    if busy < allowed or allowed >= room.slots:
        return None
    return Reason(
        "SHARE_USED",
        f"{busy} tasks are computed, and the policies allow {allowed} at a time.",
    )


def _choose(what: str, choice: Choice[T], value: T) -> Iterator[Reason]:
    kind = what.lower()
    table = {"category": "categories"}.get(kind, f"{kind}s")
    if value in choice.deny:
        yield Reason(f"{what}_DENIED", f"The {kind} {value} is in policies.{table}.deny.")
    elif choice.allow and value not in choice.allow:
        yield Reason(
            f"{what}_NOT_ALLOWED", f"The {kind} {value} is not in policies.{table}.allow."
        )


def _choose_image(choice: Choice[str], image: str) -> Iterator[Reason]:
    denied = next((each for each in choice.deny if _matches(image, each)), None)
    if denied is not None:
        yield Reason(
            "IMAGE_DENIED", f"The image {image} is in policies.images.deny as {denied!r}."
        )
    elif choice.allow and not any(_matches(image, each) for each in choice.allow):
        yield Reason("IMAGE_NOT_ALLOWED", f"The image {image} is not in policies.images.allow.")


def _matches(image: str, pattern: str) -> bool:
    """A pattern without a tag is good for every tag."""
    place, slash, last = image.rpartition("/")
    untagged = place + slash + last.partition(":")[0]
    return fnmatchcase(image, pattern) or fnmatchcase(untagged, pattern)


def _hindrances(policies: Policies, now: datetime, around: Surroundings) -> Iterator[Reason]:
    if not now_open(policies.hours, now):
        opening = min(each.next_opening(now) for each in policies.hours)
        yield Reason(
            "OUT_OF_HOURS",
            f"It is {now:%a %H:%M} ({_zone(policies, now)}), outside of policies.hours"
            f" {', '.join(each.text for each in policies.hours)}: work is asked for again on"
            f" {opening:%a at %H:%M}.",
        )
    if policies.on_battery == "pause" and around.on_battery:
        yield Reason("ON_BATTERY", "This machine runs on its battery: plug it in.")
    idle = around.idle_minutes
    if policies.idle_minutes and idle is not None and idle < policies.idle_minutes:
        yield Reason(
            "USER_ACTIVE",
            f"Somebody typed on this machine {idle:.0f} minutes ago; work is asked for after"
            f" {policies.idle_minutes:g} minutes of silence (policies.idle_minutes).",
        )
    if policies.max_load and around.load is not None and around.load >= policies.max_load:
        yield Reason(
            "LOAD_TOO_HIGH",
            f"Other programs load each processor with {around.load:.2f}, and policies.max_load"
            f" is {policies.max_load:g}.",
        )


def _zone(policies: Policies, now: datetime) -> str:
    return policies.time_zone or now.tzname() or "this machine's time"
