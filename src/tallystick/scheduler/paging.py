"""Long lists, a page at a time: by the last element that was seen, so that nothing is shown
twice or left out while the list grows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Query

from tallystick.scheduler.denials import OddCursor

K = TypeVar("K")
V = TypeVar("V")

MOST = 1_000
Limit = Annotated[int, Query(ge=1, le=MOST, description="Elements of a page.")]
LINK = {"link": "Where the next page is (rel=next); missing on the last one."}


@dataclass(frozen=True, slots=True)
class Page(Generic[K, V]):
    """Some elements of a list, and the key of the last one when there are more."""

    elements: list[V]
    last: K | None

    def link(self, url: str, **asked: object) -> dict[str, str]:
        """The header that leads to the next page; `asked` are the other questions."""
        if self.last is None:
            return {}
        query = {name: str(value) for name, value in asked.items() if value is not None}
        return {"link": f'<{url}?{urlencode(query | {"after": str(self.last)})}>; rel="next"'}


def page(elements: Iterable[tuple[K, V]], after: K | None, limit: int) -> Page[K, V]:
    """At most `limit` of the keyed `elements` behind the key `after`; from the first one when
    that is None. Raises OddCursor for a key that is not there."""
    rest: Iterator[tuple[K, V]] = iter(elements)
    if after is not None:
        rest = dropwhile(lambda element: element[0] != after, rest)
        if next(rest, None) is None:
            raise OddCursor(f"{after} is not in this list: begin without `after`.")
    found = list(islice(rest, limit + 1))
    last = found[limit - 1][0] if len(found) > limit else None
    return Page([value for _, value in found[:limit]], last)
