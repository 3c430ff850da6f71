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
    RequestOrder,
    WorkerpoolOrder,
    as_tuple,
    match_refusals,
    operation_hash,
    order_hash,
)
from tallystick.poco.values import Address, Hash, Tag

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


@pytest.mark.parametrize("volume", [-1, 2**256])
def test_a_number_that_no_contract_holds_is_refused(volume: int):
    with pytest.raises(BadOrder, match="volume"):
        AppOrder(app=Address(bytes(20)), volume=volume, salt=Hash(bytes(32)))


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


def codes(*changed: Order, **more: Any) -> list[int]:
    chosen: dict[type, Any] = {
        type(order): order for order in (app, dataset, pool, request, *changed)
    }
    found = match_refusals(
        chosen[AppOrder],
        chosen[DatasetOrder],
        chosen[WorkerpoolOrder],
        chosen[RequestOrder],
        **more,
    )
    assert all(str(refusal).endswith(".") for refusal in found)
    return [refusal.code for refusal in found]


def test_orders_made_for_each_other_match():
    assert codes() == []
    assert codes(replace(request, dataset=NO_DATASET_ORDER.dataset), NO_DATASET_ORDER) == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (replace(pool, category=1), 0x00),
        (replace(request, trust=5), 0x02),
        (replace(app, price=4), 0x03),
        (replace(dataset, price=3), 0x04),
        (replace(pool, price=6), 0x05),
        (replace(request, tag=tags.tag_of(tags.GPU)), 0x06),
        (replace(request, app=DATASET), 0x10),
        (replace(request, dataset=APP), 0x11),
        (replace(request, workerpool=APP), 0x12),
        (replace(app, dataset_restrict=APP), 0x13),
        (replace(app, workerpool_restrict=APP), 0x14),
        (replace(app, requester_restrict=YOU), 0x15),
        (replace(dataset, app_restrict=POOL), 0x16),
        (replace(dataset, workerpool_restrict=APP), 0x17),
        (replace(dataset, requester_restrict=YOU), 0x18),
        (replace(pool, app_restrict=POOL), 0x19),
        (replace(pool, dataset_restrict=APP), 0x1A),
        (replace(pool, requester_restrict=YOU), 0x1B),
    ],
)
def test_each_disagreement_has_its_number(changed: Order, code: int):
    assert codes(changed) == [code]


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
