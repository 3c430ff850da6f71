"""Windows of the week in which work is wanted: `mon-fri 18:00-08:00`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"(?:([a-z,\s-]+)\s)?\s*(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """From `begin` until `end` on each of `days`; an end that is no later is the next day's."""

    text: str
    """As the operator wrote it."""
    days: frozenset[int]
    """0 is Monday. A window that goes past midnight belongs to the day it begins on."""
    begin: timedelta
    """After midnight."""
    end: timedelta

    def holds(self, now: datetime) -> bool:
        """Whether `now`, in the operator's time zone, lies in it."""
        return any(begin <= now < end for begin, end in self._spans(now))

    def next_opening(self, now: datetime) -> datetime:
        """When it begins next; it does within eight days."""
        return min(begin for begin, _ in self._spans(now) if begin > now)

    def _spans(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Its occurrences from yesterday to a week from now, by the wall clock."""
        midnight = datetime.combine(now.date(), time(), now.tzinfo)
        for offset in range(-1, 9):
            day = midnight + timedelta(days=offset)
            if day.weekday() in self.days:
                yield day + self.begin, day + self.end


def window(text: str) -> Window:
    """The window that `text` describes. Raises ValueError."""
    words = _FORM.fullmatch(text.strip().lower())
    if words is None:
        raise ValueError(f"{text!r} is no window of hours; write it as 'mon-fri 18:00-08:00'")
    days, *figures = words.groups()
    begin_hour, begin_minute, end_hour, end_minute = map(int, figures)
    begin, end = _instant(text, begin_hour, begin_minute), _instant(text, end_hour, end_minute)
    if end <= begin:
        end += timedelta(days=1)
    return Window(text.strip(), _days(text, days), begin, end)


def now_open(windows: Iterable[Window], now: datetime) -> bool:
    """Whether work is wanted now; without windows it always is."""
    windows = tuple(windows)
    return not windows or any(each.holds(now) for each in windows)


def _instant(text: str, hour: int, minute: int) -> timedelta:
    after_midnight = timedelta(hours=hour, minutes=minute)
    if minute > 59 or after_midnight > timedelta(hours=24):
        raise ValueError(f"{text!r} names {hour}:{minute:02}, which is no time of a day")
    return after_midnight


def _days(text: str, names: str | None) -> frozenset[int]:
    if not names or not names.strip():
        return frozenset(range(7))
    found: set[int] = set()
    for part in names.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        for name in (first, last) if dash else (first,):
            if name not in DAYS:
                raise ValueError(f"{text!r} names {name!r}, which is no day; write mon to sun")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        found |= {(start + n) % 7 for n in range((end - start) % 7 + 1)}
    return frozenset(found)
