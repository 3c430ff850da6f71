"""Orders: hashed as the contracts hash them, and told apart in sentences."""

from dataclasses import replace
from typing import Any

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from tallystick.poco import tags
from tallystick.poco.orders import _TYPES as TYPES
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    BadOrder,
    DatasetOrder,
    Domain,
    Operation,
    Order,
    Refusal,
    RequestOrder,
    WorkerpoolOrder,
    as_tuple,
    match_refusals,
    operation_hash,
    order_hash,
)
from tallystick.poco.values import ZERO_ADDRESS, Address, Hash, Tag

addresses = st.binary(min_size=20, max_size=20).map(Address)
hashes = st.binary(min_size=32, max_size=32).map(Hash)
labels = st.binary(min_size=32, max_size=32).map(Tag)
amounts = st.integers(0, 2**256 - 1)
BY_TYPE = {Address: addresses, Hash: hashes, Tag: labels, int: amounts, str: st.text()}


def orders_of(kind: type) -> st.SearchStrategy[Order]:
    from typing import get_type_hints

    hints = {name: hint for name, hint in get_type_hints(kind).items() if name != "sign"}
    return st.builds(kind, **{name: BY_TYPE[hint] for name, hint in hints.items()})


any_order = st.one_of(*(orders_of(kind) for kind in TYPES))


def members(text: str) -> list[dict[str, str]]:
    listed = text[text.index("(") + 1 : -1].split(",")
    return [dict(zip(("type", "name"), pair.split(), strict=True)) for pair in listed]


def typed(order: Order) -> tuple[list[dict[str, str]], dict[str, object]]:
    kinds = members(TYPES[type(order)])
    values = as_tuple(order)
    return kinds, {kind["name"]: value for kind, value in zip(kinds, values, strict=False)}


def second_opinion(domain: Domain, types: dict, message: dict) -> bytes:
    told = {
        "name": "iExecODB",
        "version": "5.0.0",
        "chainId": domain.chain_id,
        "verifyingContract": str(domain.hub),
    }
    return _hash_eip191_message(encode_typed_data(told, types, message))


@pytest.mark.parametrize(
    ("kind", "start", "end"),
    [
        (AppOrder, "60815a0e", "d008"),
        (DatasetOrder, "6cfc932a", "d47c"),
        (WorkerpoolOrder, "aa3429fb", "22bb"),
        (RequestOrder, "f24e8530", "fae0"),
    ],
)
def test_the_types_are_those_of_the_contracts(kind: type, start: str, end: str):
    found = keccak(TYPES[kind].encode()).hex()
    assert (found[:8], found[-4:]) == (start, end)


@given(order=any_order, chain=st.integers(1, 2**64), hub=addresses)
def test_an_order_hashes_as_typed_data(order: Order, chain: int, hub: Address):
    domain = Domain(chain, hub)
    kinds, message = typed(order)
    assert order_hash(order, domain) == second_opinion(
        domain, {type(order).__name__: kinds}, message
    )


@given(order=any_order, operation=st.sampled_from(Operation))
def test_an_operation_hashes_as_typed_data(order: Order, operation: Operation):
    domain = Domain(134, Address(b"\x07" * 20))
    name = type(order).__name__
    kinds, message = typed(order)
    fields = [{"type": name, "name": "order"}, {"type": "uint256", "name": "operation"}]
    assert operation_hash(order, operation, domain) == second_opinion(
        domain,
        {f"{name}Operation": fields, name: kinds},
        {"order": message, "operation": int(operation)},
    )


@given(any_order)
def test_a_signature_is_no_part_of_the_hash(order: Order):
    domain = Domain(1, Address(bytes(20)))
    assert order_hash(replace(order, sign=b"any"), domain) == order_hash(order, domain)
    assert as_tuple(replace(order, sign=b"any"))[-1] == b"any"


FULL = {
    AppOrder: AppOrder(
        app=Address(b"\x01" * 20),
        price=2,
        volume=3,
        tag=Tag(b"\x04" * 32),
        dataset_restrict=Address(b"\x05" * 20),
        workerpool_restrict=Address(b"\x06" * 20),
        requester_restrict=Address(b"\x07" * 20),
        salt=Hash(b"\x08" * 32),
    ),
    DatasetOrder: DatasetOrder(
        dataset=Address(b"\x01" * 20),
        price=2,
        volume=3,
        tag=Tag(b"\x04" * 32),
        app_restrict=Address(b"\x05" * 20),
        workerpool_restrict=Address(b"\x06" * 20),
        requester_restrict=Address(b"\x07" * 20),
        salt=Hash(b"\x08" * 32),
    ),
    WorkerpoolOrder: WorkerpoolOrder(
        workerpool=Address(b"\x01" * 20),
        price=2,
        volume=3,
        tag=Tag(b"\x04" * 32),
        category=5,
        trust=6,
        app_restrict=Address(b"\x07" * 20),
        dataset_restrict=Address(b"\x08" * 20),
        requester_restrict=Address(b"\x09" * 20),
        salt=Hash(b"\x0a" * 32),
    ),
    RequestOrder: RequestOrder(
        app=Address(b"\x01" * 20),
        app_max_price=2,
        dataset=Address(b"\x03" * 20),
        dataset_max_price=4,
        workerpool=Address(b"\x05" * 20),
        workerpool_max_price=6,
        requester=Address(b"\x07" * 20),
        volume=8,
        tag=Tag(b"\x09" * 32),
        category=10,
        trust=11,
        params="é",
        beneficiary=Address(b"\x0c" * 20),
        callback=Address(b"\x0d" * 20),
        salt=Hash(b"\x0e" * 32),
    ),
}
"""Orders whose fields all differ."""


@pytest.mark.parametrize(
    ("kind", "known_as", "closing"),
    [
        (
            AppOrder,
            "3c16c46c269045ba085c7d8c5d8f15a1719d819f07c35ca80f8dbf86d9c8a095",
            "205183f657fb6c47ae80e25dcef8525b1ad119ef24a49c7de7dcda3514649b45",
        ),
        (
            DatasetOrder,
            "014d1637bd46cd1376204fced73c71d1be61da39f61a6f609a0d2b25a616ace8",
            "01050ae37db04205f6fe2f6a01c1e16a6d9b4f31f7d7e1f2540c60037e4c615f",
        ),
        (
            WorkerpoolOrder,
            "e55a4fc5fdf7e7b5a042c0636691c998f412bed80d2c8b5a87b66d4bfc527b4c",
            "4dbd0df535ce2ed57bafa790cc91da2d2f4f4e863b79ec30b7517e8588a3fcca",
        ),
        (
            RequestOrder,
            "16110ba203e1dbe56905218635f86983c8e85f722d114d4bc4d0e5d5c32cee8e",
            "00e160268d9e6627cd8ab30badc2a243f4649ce26270263a8f15acc7a7d04e1e",
        ),
    ],
)
def test_known_orders_have_known_hashes(kind: type, known_as: str, closing: str):
    """The hashes are eth-account's."""
    domain = Domain(134, Address("0x3eca1b216a7df1c7689aeb259ffb83adfb894e7f"))
    assert order_hash(FULL[kind], domain).hex() == known_as
    assert operation_hash(FULL[kind], Operation.CLOSE, domain).hex() == closing
    assert order_hash(FULL[kind], replace(domain, chain_id=1)).hex() != known_as
    assert order_hash(FULL[kind], replace(domain, hub=ZERO_ADDRESS)).hex() != known_as


NUMBERS = {
    AppOrder: ("price", "volume"),
    DatasetOrder: ("price", "volume"),
    WorkerpoolOrder: ("price", "volume", "category", "trust"),
    RequestOrder: (
        *("app_max_price", "dataset_max_price", "workerpool_max_price"),
        *("volume", "category", "trust"),
    ),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in NUMBERS.items() for name in names]
)
def test_a_number_that_no_contract_holds_is_refused(kind: type, name: str):
    whole = {AppOrder: app, DatasetOrder: dataset, WorkerpoolOrder: pool, RequestOrder: request}
    for fits in (0, 1, 2**256 - 1):
        assert getattr(replace(whole[kind], **{name: fits}), name) == fits
    for bad in (-1, 2**256):
        told = f"^{name} of a {kind.__name__} is {bad}: out of range.$"
        with pytest.raises(BadOrder, match=told):
            replace(whole[kind], **{name: bad})


APP, DATASET, POOL, ME, YOU = (Address(bytes([n]) * 20) for n in range(1, 6))
SALT = Hash(b"s" * 32)
app = AppOrder(app=APP, price=3, salt=SALT)
dataset = DatasetOrder(dataset=DATASET, price=2, salt=SALT)
pool = WorkerpoolOrder(workerpool=POOL, price=5, trust=4, salt=SALT)
request = RequestOrder(
    app=APP,
    app_max_price=3,
    dataset=DATASET,
    dataset_max_price=2,
    workerpool_max_price=5,
    requester=ME,
    salt=SALT,
)


def refusals(*changed: Order, **more: Any) -> tuple[Refusal, ...]:
    chosen: dict[type, Any] = {
        type(order): order for order in (app, dataset, pool, request, *changed)
    }
    return match_refusals(
        chosen[AppOrder],
        chosen[DatasetOrder],
        chosen[WorkerpoolOrder],
        chosen[RequestOrder],
        **more,
    )


def codes(*changed: Order, **more: Any) -> list[int]:
    found = refusals(*changed, **more)
    assert all(str(refusal).endswith(".") for refusal in found)
    return [refusal.code for refusal in found]


def test_orders_made_for_each_other_match():
    assert codes() == []
    assert codes(replace(request, dataset=NO_DATASET_ORDER.dataset), NO_DATASET_ORDER) == []


LIMITED = "The {} is restricted to {} {}; {} is not admitted."


@pytest.mark.parametrize(
    ("changed", "code", "sentence"),
    [
        (
            *(replace(pool, category=1), 0x00),
            "The request is of category 0, the workerpool's order of category 1.",
        ),
        (
            *(replace(request, trust=5), 0x02),
            "The request asks for trust 5, the workerpool offers at most 4.",
        ),
        (
            *(replace(app, price=4), 0x03),
            "The app costs 4 nRLC a task, the request pays at most 3 for it.",
        ),
        (
            *(replace(dataset, price=3), 0x04),
            "The dataset costs 3 nRLC a task, the request pays at most 2 for it.",
        ),
        (
            *(replace(pool, price=6), 0x05),
            "The workerpool costs 6 nRLC a task, the request pays at most 5 for it.",
        ),
        (
            *(replace(request, tag=tags.tag_of(tags.GPU, 1 << 20)), 0x06),
            "The workerpool does not offer what the deal needs: gpu, bit 20.",
        ),
        (
            *(replace(request, app=DATASET), 0x10),
            f"The request is for app {DATASET}, the order of {APP}.",
        ),
        (
            *(replace(request, dataset=APP), 0x11),
            f"The request is for dataset {APP}, the order of {DATASET}.",
        ),
        (
            *(replace(request, workerpool=APP), 0x12),
            LIMITED.format("request", "workerpool", APP, POOL),
        ),
        (
            *(replace(app, dataset_restrict=APP), 0x13),
            LIMITED.format("app's order", "dataset", APP, DATASET),
        ),
        (
            *(replace(app, workerpool_restrict=APP), 0x14),
            LIMITED.format("app's order", "workerpool", APP, POOL),
        ),
        (
            *(replace(app, requester_restrict=YOU), 0x15),
            LIMITED.format("app's order", "requester", YOU, ME),
        ),
        (
            *(replace(dataset, app_restrict=POOL), 0x16),
            LIMITED.format("dataset's order", "app", POOL, APP),
        ),
        (
            *(replace(dataset, workerpool_restrict=APP), 0x17),
            LIMITED.format("dataset's order", "workerpool", APP, POOL),
        ),
        (
            *(replace(dataset, requester_restrict=YOU), 0x18),
            LIMITED.format("dataset's order", "requester", YOU, ME),
        ),
        (
            *(replace(pool, app_restrict=POOL), 0x19),
            LIMITED.format("workerpool's order", "app", POOL, APP),
        ),
        (
            *(replace(pool, dataset_restrict=APP), 0x1A),
            LIMITED.format("workerpool's order", "dataset", APP, DATASET),
        ),
        (
            *(replace(pool, requester_restrict=YOU), 0x1B),
            LIMITED.format("workerpool's order", "requester", YOU, ME),
        ),
    ],
)
def test_each_disagreement_has_its_number(changed: Order, code: int, sentence: str):
    (found,) = refusals(changed)
    assert found.code == code
    assert str(found) == found.sentence == sentence
    assert found.revert_reason == f"iExecV5-matchOrders-0x{code:02x}"


def test_terms_may_be_met_exactly_and_restrictions_name_the_very_one():
    exact = {"app_restrict": APP, "requester_restrict": ME}
    assert not refusals(
        replace(app, dataset_restrict=DATASET, workerpool_restrict=POOL, requester_restrict=ME),
        replace(dataset, workerpool_restrict=POOL, **exact),
        replace(pool, dataset_restrict=DATASET, **exact),
        replace(request, workerpool=POOL, trust=4),
    )


def test_categories_end_somewhere():
    assert codes(categories=1) == []
    assert codes(replace(pool, category=1), replace(request, category=1), categories=1) == [1]


def test_an_enclave_must_be_asked_for_by_the_app_itself():
    tee = tags.tag_of(tags.TEE)
    assert codes(replace(request, tag=tee), replace(pool, tag=tee)) == [0x07]
    assert codes(replace(app, tag=tee), replace(pool, tag=tee)) == []


def test_a_restriction_may_be_a_group():
    def members(restriction: Address, account: Address) -> bool:
        return restriction == YOU and account == ME

    assert 0x15 not in codes(replace(app, requester_restrict=YOU), admits=members)


def test_everything_is_told_at_once():
    assert codes(replace(pool, price=9, category=3), replace(request, app=POOL)) == [0, 5, 0x10]
