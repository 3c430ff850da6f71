"""The order book in a file: written and read back, and refused when it is broken."""

import json
from pathlib import Path

import pytest

from tallystick.poco.orders import AppOrder, DatasetOrder, WorkerpoolOrder
from tallystick.poco.values import Address, Hash
from tallystick.requester.book import (
    Book,
    MalformedOrder,
    publish,
    read_book,
    to_json,
    write_book,
)

APP = AppOrder(
    app=Address(b"\1" * 20), price=7, volume=2**53 - 1, salt=Hash(b"\2" * 32), sign=b"\3" * 65
)
POOL = WorkerpoolOrder(
    workerpool=Address(b"\4" * 20), price=10**9, category=2, trust=1000, salt=Hash(b"\5" * 32)
)
DATA = DatasetOrder(dataset=Address(b"\6" * 20), salt=Hash(b"\7" * 32))


def test_a_book_is_read_as_it_was_written(tmp_path: Path) -> None:
    book = Book().with_offers(APP, POOL, DATA)
    write_book(tmp_path / "orders.json", book)
    assert read_book(tmp_path / "orders.json") == book


def test_orders_are_spelled_as_by_the_official_sdk() -> None:
    assert to_json(APP) == {
        "app": "0x" + "01" * 20,
        "appprice": "7",
        "volume": "9007199254740991",
        "tag": "0x" + "00" * 32,
        "datasetrestrict": "0x" + "00" * 20,
        "workerpoolrestrict": "0x" + "00" * 20,
        "requesterrestrict": "0x" + "00" * 20,
        "salt": "0x" + "02" * 32,
        "sign": "0x" + "03" * 65,
    }


def test_publishing_keeps_what_others_published(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    publish(path, APP)
    publish(path, POOL, APP)
    assert read_book(path) == Book(apps=(APP,), workerpools=(POOL,))


def test_no_file_is_an_empty_book(tmp_path: Path) -> None:
    assert read_book(tmp_path / "orders.json") == Book()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"appprice": "seven"}, "appprice"),
        ({"appprice": "-1"}, "appprice"),
        ({"appprice": True}, "appprice"),
        ({"volume": str(2**256)}, "volume"),
        ({"app": "0x12"}, "app"),
        ({"salt": None}, "salt"),
        ({"sign": "0xzz"}, "sign"),
        ({"tag": ...}, "tag"),
    ],
)
def test_a_malformed_order_is_named(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    order = {k: v for k, v in (to_json(APP) | change).items() if v is not ...}
    path = tmp_path / "orders.json"
    path.write_text(json.dumps({"apps": [order]}))
    with pytest.raises(MalformedOrder, match=complaint) as refusal:
        read_book(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"apps": 3}', '{"apps": [3]}'])
def test_a_file_that_is_no_book_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "orders.json").write_text(text)
    with pytest.raises(MalformedOrder):
        read_book(tmp_path / "orders.json")
