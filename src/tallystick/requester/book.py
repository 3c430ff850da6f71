"""An order book in a file: the signed orders that a local market offers.

`{"apps": [...], "datasets": [...], "workerpools": [...]}`, each order in the JSON of the
official SDK: addresses, salts and signatures as 0x-hex, numbers as decimal strings.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from tallystick.poco.orders import AppOrder, DatasetOrder, WorkerpoolOrder
from tallystick.wire.orders import MalformedOrder, Offer, from_json, to_json

__all__ = ["Book", "MalformedOrder", "Offer", "publish", "read_book", "to_json", "write_book"]

_Offer = TypeVar("_Offer")
_O = TypeVar("_O", AppOrder, DatasetOrder, WorkerpoolOrder)


@dataclass(frozen=True, slots=True)
class Book:
    """Signed orders on offer, oldest first."""

    apps: tuple[AppOrder, ...] = ()
    datasets: tuple[DatasetOrder, ...] = ()
    workerpools: tuple[WorkerpoolOrder, ...] = ()

    def with_offers(self, *offers: Offer) -> Book:
        """This book and `offers`; an order that it already has is not repeated."""
        book = self
        for offer in offers:
            match offer:
                case AppOrder():
                    book = replace(book, apps=_with(book.apps, offer))
                case DatasetOrder():
                    book = replace(book, datasets=_with(book.datasets, offer))
                case WorkerpoolOrder():
                    book = replace(book, workerpools=_with(book.workerpools, offer))
        return book


def _with(orders: tuple[_Offer, ...], order: _Offer) -> tuple[_Offer, ...]:
    return orders if order in orders else (*orders, order)


def read_book(path: Path) -> Book:
    """The book in `path`; an empty one when there is no file. Raises MalformedOrder."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Book()
    except ValueError as error:
        raise MalformedOrder(f"{path} is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise MalformedOrder(f"{path} is no order book: expected a JSON object.")
    try:
        return Book(
            apps=_orders(AppOrder, content.get("apps", [])),
            datasets=_orders(DatasetOrder, content.get("datasets", [])),
            workerpools=_orders(WorkerpoolOrder, content.get("workerpools", [])),
        )
    except MalformedOrder as error:
        raise MalformedOrder(f"{path}: {error}") from error


def write_book(path: Path, book: Book) -> None:
    """Put `book` into `path`, all or nothing."""
    content = {
        field.name: [to_json(o) for o in getattr(book, field.name)] for field in fields(book)
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)


def publish(path: Path, *offers: Offer) -> Book:
    """Add `offers` to the book in `path`, also while other programs add theirs."""
    with _locked(path):
        book = read_book(path).with_offers(*offers)
        write_book(path, book)
    return book


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _orders(kind: type[_O], values: object) -> tuple[_O, ...]:
    if not isinstance(values, list):
        raise MalformedOrder(f"expected a list of {kind.__name__}s, found {values!r}.")
    return tuple(from_json(kind, value) for value in values)
