"""The cheapest offers that fit are taken; what does not fit is explained."""

import pytest

from tallystick.poco.orders import NO_DATASET_ORDER, AppOrder, WorkerpoolOrder
from tallystick.poco.values import ZERO_HASH, Address
from tallystick.requester.book import Offer
from tallystick.requester.offers import Terms, settle
from tallystick.requester.orders import Wish
from tallystick.requester.refusals import CannotBuy

pytestmark = pytest.mark.anyio

ME = Address(b"\1" * 20)
APP = AppOrder(app=Address(b"\2" * 20), price=5, volume=10, salt=ZERO_HASH)


def pool(price: int, *, category: int = 0, trust: int = 1000) -> WorkerpoolOrder:
    return WorkerpoolOrder(
        workerpool=Address(price.to_bytes(20, "big")),
        price=price,
        category=category,
        trust=trust,
        salt=ZERO_HASH,
    )


async def plenty(_: Offer) -> int:
    return 1_000


async def agreed(wish: Wish, *pools: WorkerpoolOrder, left: object = plenty) -> Terms:
    return await settle(
        wish,
        app=APP,
        dataset=NO_DATASET_ORDER,
        pools=pools,
        requester=ME,
        remaining=left,  # type: ignore[arg-type]
    )


async def test_the_cheapest_that_fits_is_taken() -> None:
    terms = await agreed(
        Wish(trust=5), pool(30), pool(20), pool(10, trust=1), pool(9, category=1)
    )
    assert terms.workerpool.price == 20
    assert terms.price == 25


async def test_an_offer_that_is_used_up_is_passed_over() -> None:
    async def left(offer: Offer) -> int:
        return 0 if offer.price == 10 else 3

    assert (await agreed(Wish(), pool(10), pool(11), left=left)).workerpool.price == 11


async def test_the_request_is_bound_to_what_was_agreed() -> None:
    terms = await agreed(Wish(count=3, trust=2, params="{}"), pool(10))
    request = terms.request(Wish(count=3, trust=2, params="{}"), requester=ME, salt=ZERO_HASH)
    assert (request.volume, request.trust, request.workerpool) == (3, 2, pool(10).workerpool)
    assert request.beneficiary == request.requester == ME


async def test_a_price_above_the_limit_is_refused_with_its_parts() -> None:
    with pytest.raises(CannotBuy, match=r"0\.000000015 RLC a task .*--max-price"):
        await agreed(Wish(max_price=14), pool(10))
    assert (await agreed(Wish(max_price=15), pool(10))).price == 15


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(category=4), "category 4"),
        (Wish(trust=5000), "trust 5000"),
    ],
)
async def test_why_nobody_fits_is_said(wish: Wish, why: str) -> None:
    with pytest.raises(CannotBuy, match=why):
        await agreed(wish, pool(10))


async def test_no_pool_at_all_is_said() -> None:
    with pytest.raises(CannotBuy, match="No workerpool offers anything"):
        await agreed(Wish())
