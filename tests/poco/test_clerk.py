"""What becomes of four orders on the hub: a deal, and every reason why there is none."""

from dataclasses import replace
from typing import Any

import pytest
from poco_hub import (
    APP,
    DATA_OWNER,
    DATASET,
    HUB,
    OWNER,
    OWNER_KEY,
    POOL,
    REQUESTER,
    RICH,
    SCHEDULER,
    STRANGER,
    WORKERS,
    Market,
)

from tallystick.poco import tags
from tallystick.poco.clerk import OVERFLOW, Workerpool, signed_by
from tallystick.poco.deal import Asset, Deal, deal_id
from tallystick.poco.escrow import TOO_POOR, Revert
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    UINT256,
    Operation,
    Order,
    operation_hash,
    order_hash,
)
from tallystick.poco.signing import address_of, sign
from tallystick.poco.values import ZERO_ADDRESS, ZERO_HASH, Address, Hash

GROUP = Address(b"\x55" * 20)
KINDS = ("app", "dataset", "workerpool", "request")
TEE, SCONE, GPU = (tags.tag_of(bit) for bit in (tags.TEE, tags.SCONE, tags.GPU))
ALL = tags.union(TEE, SCONE, GPU)


def reason(code: int) -> str:
    return f"iExecV5-matchOrders-0x{code:02x}"


def terms(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Prices that can be told apart, three tasks in every order."""
    usual = {
        "app": {"price": 10, "volume": 3},
        "dataset": {"price": 7, "volume": 3},
        "workerpool": {"price": 1_003, "volume": 3},
        "request": {"volume": 3},
    }
    return {kind: {**usual[kind], **changes.get(kind, {})} for kind in usual}


def hashes(market: Market, orders: list[Any]) -> list[Hash]:
    return [order_hash(order, market.clerk.domain) for order in orders]


# A deal


def test_a_deal_is_what_its_orders_say():
    market = Market(now=5_000)
    market.clerk.registries.workerpools[POOL] = Workerpool(SCHEDULER, 35, 5)
    orders = market.offers(
        **terms(
            app={"tag": TEE},
            dataset={"tag": SCONE},
            workerpool={"tag": ALL, "trust": 4, "category": 1, "volume": 2},
            request={
                "tag": GPU,
                "trust": 3,
                "category": 1,
                "params": "--x",
                "beneficiary": WORKERS[0],
                "callback": WORKERS[1],
            },
        )
    )
    deal = market.deal(*orders)
    known_as = hashes(market, orders)
    assert market.clerk.deals == {deal.id: deal}
    assert deal == Deal(
        deal_id(known_as[3], 0),
        start=5_000,
        time_unit=1_200,
        trust=3,
        category=1,
        tag=ALL,
        app=Asset(APP, OWNER, 10),
        dataset=Asset(DATASET, DATA_OWNER, 7),
        workerpool=Asset(POOL, SCHEDULER, 1_003),
        requester=REQUESTER,
        beneficiary=WORKERS[0],
        callback=WORKERS[1],
        params="--x",
        bot_first=0,
        bot_size=2,
        worker_stake=351,
        scheduler_reward_ratio=5,
        sponsor=REQUESTER,
    )
    assert market.events == [
        *(("Transfer", (REQUESTER, HUB, 2_040)), ("Lock", (REQUESTER, 2_040))),
        *(("Transfer", (SCHEDULER, HUB, 600)), ("Lock", (SCHEDULER, 600))),
        ("SchedulerNotice", (POOL, deal.id)),
        ("OrdersMatched", (deal.id, *known_as, 2)),
    ]
    assert market.clerk.consumed == dict.fromkeys(known_as, 2)


def test_a_sponsor_pays_instead_of_the_requester():
    market = Market()
    market.escrow.deposit(STRANGER, RICH)
    deal = market.deal(*market.offers(**terms()), sponsor=STRANGER)
    assert (deal.requester, deal.sponsor) == (REQUESTER, STRANGER)
    assert market.escrow.locked == {STRANGER: 3_060, SCHEDULER: 900}
    assert market.events[-1] == ("DealSponsored", (deal.id, STRANGER))
    assert market.names().count("DealSponsored") == 1


def test_the_order_of_no_dataset_costs_nothing_and_is_never_used_up():
    market = Market()
    app, _, pool, request = market.offers(app={"price": 10}, request={"dataset_max_price": 3})
    empty = replace(NO_DATASET_ORDER, price=3)
    deal = market.deal(app, empty, pool, request)
    assert (deal.dataset, deal.task_price) == (Asset(), 10)
    known_as = hashes(market, [app, pool, request])
    assert market.clerk.consumed == dict.fromkeys(known_as, 1)
    matched = (deal.id, known_as[0], ZERO_HASH, *known_as[1:], 1)
    assert market.events[-1] == ("OrdersMatched", matched)


def test_trust_is_one_at_least():
    market = Market()
    assert market.deal(*market.offers(request={"trust": 0})).trust == 1


@pytest.mark.parametrize("scarce", KINDS)
def test_the_order_with_least_left_limits_the_deal(scarce: str):
    market = Market()
    short = market.offers(**terms(**{scarce: {"volume": 2}}))
    first = market.deal(*short)
    assert list(first.indices) == [0, 1]
    market.refuses("used up", market.deal, *short, reason=reason(0x60))
    others = market.offers(**terms())
    place = KINDS.index(scarce)
    again = [*short[:place], others[place], *short[place + 1 :]]
    rest = market.deal(*again)
    start = 0 if scarce == "request" else 2
    assert rest.indices == range(start, start + 1)
    assert rest.id == deal_id(order_hash(again[3], market.clerk.domain), start)
    assert len(market.clerk.deals) == 2


# Why there is none


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        ("workerpool", {"category": 1}, 0x00),
        ("request", {"trust": 2}, 0x02),
        ("request", {"app_max_price": 9}, 0x03),
        ("request", {"dataset_max_price": 6}, 0x04),
        ("request", {"workerpool_max_price": 1_002}, 0x05),
        ("dataset", {"tag": GPU}, 0x06),
        ("request", {"app": STRANGER}, 0x10),
        ("request", {"dataset": STRANGER}, 0x11),
        ("request", {"workerpool": STRANGER}, 0x12),
        ("app", {"requester_restrict": STRANGER}, 0x15),
        ("workerpool", {"workerpool": APP}, 0x40),
        ("app", {"volume": 0}, 0x60),
    ],
)
def test_orders_that_do_not_fit(kind: str, changes: dict, code: int):
    market = Market()
    orders = market.offers(**terms(**{kind: changes}))
    market.refuses(r"\.$", market.deal, *orders, reason=reason(code))


def test_a_category_must_exist():
    market = Market()
    unknown = {"workerpool": {"category": 2}, "request": {"category": 2}}
    orders = market.offers(**terms(**unknown))
    market.refuses("no category 2", market.deal, *orders, reason=reason(0x01))


def test_an_asset_must_be_of_its_kind():
    market = Market()
    swapped = market.offers(**terms(app={"app": DATASET}, request={"app": DATASET}))
    market.refuses("registry", market.deal, *swapped, reason=reason(0x20))
    swapped = market.offers(**terms(dataset={"dataset": POOL}, request={"dataset": POOL}))
    market.refuses("registry", market.deal, *swapped, reason=reason(0x30))
    nothing = market.offers(**terms(app={"app": STRANGER}, request={"app": STRANGER}))
    market.refuses("is no app, dataset or", market.deal, *nothing, reason="")


@pytest.mark.parametrize(("place", "code"), [(0, 0x21), (1, 0x31), (2, 0x41), (3, 0x50)])
def test_an_order_must_be_signed_by_its_owner(place: int, code: int):
    market = Market()
    orders = market.offers(**terms())
    stranger = sign(b"\x77" * 32, order_hash(orders[place], market.clerk.domain))
    for wrong in (stranger, bytes(65)):
        forged = [*orders]
        forged[place] = replace(orders[place], sign=wrong)
        market.refuses("has not signed", market.deal, *forged, reason=reason(code))
    forged[place] = replace(orders[place], sign=b"")
    market.refuses("65 bytes", market.deal, *forged, reason="invalid-signature-format")


def test_an_order_dies_when_its_asset_is_sold():
    market = Market()
    orders = market.offers(**terms())
    market.clerk.manage_order(OWNER, orders[0], Operation.SIGN)
    market.clerk.registries.apps[APP] = STRANGER
    market.refuses("has not signed", market.deal, *orders, reason=reason(0x21))


@pytest.mark.parametrize(("whose", "due"), [(REQUESTER, 3_060), (SCHEDULER, 900)])
def test_both_sides_must_bear_their_lock(whose: Address, due: int):
    market = Market()
    market.escrow.withdraw(whose, RICH - due + 1)
    orders = market.offers(**terms())
    market.refuses("must be locked", market.deal, *orders, reason=TOO_POOR)
    market.escrow.deposit(whose, 1)
    market.deal(*orders)
    assert market.escrow.balance(whose) == 0
    assert market.escrow.stake(whose) == due


HALF = UINT256 // 2


@pytest.mark.parametrize(
    ("changes", "ratio", "why"),
    [
        ({"workerpool": {"price": 1 << 128}}, 1 << 128, OVERFLOW),
        ({"workerpool": {"price": (1 << 128) - 1}}, 1 << 128, TOO_POOR),
        ({"app": {"price": HALF, "volume": 2}, "request": {"volume": 2}}, 30, OVERFLOW),
        ({"app": {"price": HALF - 1, "volume": 2}, "request": {"volume": 2}}, 30, TOO_POOR),
        ({"workerpool": {"price": UINT256 // 30 + 1}}, 29, TOO_POOR),
        ({"workerpool": {"price": UINT256 // 30 + 1}}, 30, OVERFLOW),
    ],
)
def test_products_that_no_contract_can_hold(changes: dict, ratio: int, why: str):
    market = Market()
    market.clerk.registries.workerpools[POOL] = Workerpool(SCHEDULER, ratio)
    pool = {"volume": 2, **changes.get("workerpool", {})}
    orders = market.offers(**{**changes, "workerpool": pool})
    market.refuses(r"\.$", market.deal, *orders, reason=why)


def test_a_group_admits_its_members():
    market = Market()
    limited = market.offers(**terms(app={"requester_restrict": GROUP}))
    market.clerk.groups[GROUP] = {STRANGER}
    market.refuses("not admitted", market.deal, *limited, reason=reason(0x15))
    market.clerk.groups[GROUP] = {STRANGER, REQUESTER}
    market.deal(*limited)


def test_nobody_can_ask_but_only_somebody_can_pay():
    """A malformed signature is the zero address's."""
    market = Market()
    ghost = market.offers(**terms(request={"requester": ZERO_ADDRESS}))
    ghost[3] = replace(ghost[3], sign=bytes(65))
    why = "IexecEscrow: Transfer from empty address"
    market.refuses("pays nothing", market.deal, *ghost, reason=why)
    assert market.deal(*ghost, sponsor=OWNER).requester == ZERO_ADDRESS


# Signatures


def test_a_signature_has_one_of_two_lengths():
    digest, me = Hash(b"d" * 32), address_of(OWNER_KEY)
    long = sign(OWNER_KEY, digest)
    folded = int.from_bytes(long[32:64], "big") | (long[64] - 27) << 255
    short = long[:32] + folded.to_bytes(32, "big")
    assert signed_by(me, digest, long)
    assert signed_by(me, digest, short)
    assert not signed_by(STRANGER, digest, long)
    assert not signed_by(STRANGER, digest, bytes(65))
    assert signed_by(ZERO_ADDRESS, digest, bytes(65))
    for wrong in (b"", short[1:], long + b"\0"):
        with pytest.raises(Revert) as refusal:
            signed_by(me, digest, wrong)
        assert refusal.value.reason == "invalid-signature-format"


@pytest.mark.parametrize("place", range(4))
def test_orders_are_signed_and_closed_on_chain(place: int):
    market = Market()
    orders = market.offers(**terms())
    signed = orders[place]
    known_as, kind = order_hash(signed, market.clerk.domain), type(signed).__name__
    owner = (OWNER, DATA_OWNER, SCHEDULER, REQUESTER)[place]
    bare = orders[place] = replace(signed, sign=b"")
    market.clerk.manage_order(owner, bare, Operation.SIGN)
    assert market.clerk.presigned == {known_as: owner}
    assert market.clerk.consumed == {}
    assert market.events == [(f"Signed{kind}", (known_as,))]
    market.deal(*orders)
    market.events.clear()
    market.clerk.manage_order(owner, bare, Operation.CLOSE)
    assert market.clerk.consumed[known_as] == 3
    assert market.events == [(f"Closed{kind}", (known_as,))]


def test_a_closed_order_makes_no_deal():
    market = Market()
    orders = market.offers(**terms())
    market.clerk.manage_order(SCHEDULER, orders[2], Operation.CLOSE)
    market.refuses("used up or closed", market.deal, *orders, reason=reason(0x60))


def test_who_has_the_owners_signature_may_manage_its_order():
    market = Market()
    order: Order = market.offers(**terms())[0]
    manage, why = market.clerk.manage_order, "invalid-sender-or-signature"
    warrant = sign(OWNER_KEY, operation_hash(order, Operation.CLOSE, market.clerk.domain))
    market.refuses("Only", manage, STRANGER, order, Operation.CLOSE, bytes(65), reason=why)
    market.refuses("Only", manage, STRANGER, order, Operation.SIGN, warrant, reason=why)
    unread = "invalid-signature-format"
    market.refuses("65 bytes", manage, STRANGER, order, Operation.CLOSE, reason=unread)
    manage(STRANGER, order, Operation.CLOSE, warrant)
    assert market.clerk.consumed == {order_hash(order, market.clerk.domain): 3}
