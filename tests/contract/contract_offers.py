"""Four orders that fit together, and small changes to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from contract_mirror import Mirror

from tallystick.devnet.actors import Actor
from tallystick.poco import tags
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    DatasetOrder,
    Order,
    RequestOrder,
    WorkerpoolOrder,
)
from tallystick.poco.values import Address, DealId, Hash, Tag, TaskId

APP_PRICE, DATASET_PRICE, POOL_PRICE = 1_000_000_001, 500_000_003, 10_000_000_007
UINT256_MAX = 2**256 - 1
STRANGER = Address(b"\x99" * 20)
TEE = tags.tag_of(tags.TEE)


@dataclass
class Offers:
    """Everybody's orders, signed. Changes to one of them are signed again."""

    mirror: Mirror
    app: AppOrder
    dataset: DatasetOrder
    workerpool: WorkerpoolOrder
    request: RequestOrder

    @property
    def four(self) -> tuple[AppOrder, DatasetOrder, WorkerpoolOrder, RequestOrder]:
        return self.app, self.dataset, self.workerpool, self.request

    def owner(self, order: Order) -> Actor:
        chain = self.mirror.chain
        match order:
            case WorkerpoolOrder():
                pool = chain.workerpool
                owner = self.mirror.ledger.clerk.registries.workerpools[pool].owner
                return next(actor for actor in chain.actors if actor.address == owner)
            case RequestOrder():
                return chain.requester
            case _:
                return chain.app_owner

    def sign(self, order: Any) -> Any:
        return replace(order, sign=self.mirror.signed(order, self.owner(order)))

    def but(self, **changes: dict[str, Any]) -> Offers:
        """With some fields changed: `but(app={"price": 3})`. Signed again."""
        changed = {
            name: self.sign(replace(getattr(self, name), **fields))
            for name, fields in changes.items()
        }
        return replace(self, **changed)

    def unsigned_but(self, **changes: dict[str, Any]) -> Offers:
        """With some fields changed and the signatures left as they are."""
        changed = {
            name: replace(getattr(self, name), **fields) for name, fields in changes.items()
        }
        return replace(self, **changed)

    def without_dataset(self) -> Offers:
        bare = self.but(request={"dataset": NO_DATASET_ORDER.dataset})
        return replace(bare, dataset=NO_DATASET_ORDER)

    def deal(self, **options: Any) -> DealId:
        """Match them, which must succeed."""
        assert self.mirror.match(*self.four, **options) is None
        return next(reversed(self.mirror.ledger.clerk.deals))

    def task(self) -> TaskId:
        """Match them and open the first task."""
        deal = self.mirror.ledger.clerk.deals[self.deal()]
        assert self.mirror.initialize(deal.id, deal.bot_first) is None
        return deal.task_id(deal.bot_first)


FLAWS: dict[int, Callable[[Offers], Offers]] = {
    0x00: lambda o: o.but(workerpool={"category": 1}),
    0x01: lambda o: o.but(workerpool={"category": 9}, request={"category": 9}),
    0x02: lambda o: o.but(request={"trust": 2}),
    0x03: lambda o: o.but(request={"app_max_price": 1}),
    0x04: lambda o: o.but(request={"dataset_max_price": 1}),
    0x05: lambda o: o.but(request={"workerpool_max_price": 1}),
    0x06: lambda o: o.but(dataset={"tag": tags.tag_of(tags.GPU)}),
    0x07: lambda o: o.but(request={"tag": TEE}, workerpool={"tag": TEE}),
    0x10: lambda o: o.but(request={"app": STRANGER}),
    0x11: lambda o: o.but(request={"dataset": STRANGER}),
    0x12: lambda o: o.but(request={"workerpool": STRANGER}),
    0x13: lambda o: o.but(app={"dataset_restrict": STRANGER}),
    0x14: lambda o: o.but(app={"workerpool_restrict": STRANGER}),
    0x15: lambda o: o.but(app={"requester_restrict": STRANGER}),
    0x16: lambda o: o.but(dataset={"app_restrict": STRANGER}),
    0x17: lambda o: o.but(dataset={"workerpool_restrict": STRANGER}),
    0x18: lambda o: o.but(dataset={"requester_restrict": STRANGER}),
    0x19: lambda o: o.but(workerpool={"app_restrict": STRANGER}),
    0x1A: lambda o: o.but(workerpool={"dataset_restrict": STRANGER}),
    0x1B: lambda o: o.but(workerpool={"requester_restrict": STRANGER}),
    0x20: lambda o: o.but(app={"app": o.dataset.dataset}, request={"app": o.dataset.dataset}),
    0x21: lambda o: o.unsigned_but(app={"price": 5}),
    0x30: lambda o: o.but(dataset={"dataset": o.app.app}, request={"dataset": o.app.app}),
    0x31: lambda o: o.unsigned_but(dataset={"price": 5}),
    0x40: lambda o: o.but(workerpool={"workerpool": o.app.app}),
    0x41: lambda o: o.unsigned_but(workerpool={"price": 5}),
    0x50: lambda o: o.unsigned_but(request={"params": "other"}),
    0x60: lambda o: o.but(workerpool={"volume": 0}),
}
"""What can be wrong with four orders, by the number that the contracts give it."""


_SALTS = count(1)


def offers(mirror: Mirror, **terms: Any) -> Offers:
    """Orders at the usual prices; `terms` are `category`, `trust`, `volume`, `tag`."""
    chain = mirror.chain
    volume, tag = terms.get("volume", 1), terms.get("tag", Tag(bytes(32)))
    category, trust = terms.get("category", 0), terms.get("trust", 1)
    salt = Hash(next(_SALTS).to_bytes(32, "big"))
    bare = Offers(
        mirror,
        AppOrder(app=chain.app, price=APP_PRICE, volume=volume, tag=tag, salt=salt),
        DatasetOrder(dataset=mirror.dataset, price=DATASET_PRICE, volume=volume, salt=salt),
        WorkerpoolOrder(
            workerpool=chain.workerpool,
            price=POOL_PRICE,
            volume=volume,
            tag=tag,
            category=category,
            trust=trust,
            salt=salt,
        ),
        RequestOrder(
            app=chain.app,
            app_max_price=UINT256_MAX,
            dataset=mirror.dataset,
            dataset_max_price=UINT256_MAX,
            workerpool_max_price=UINT256_MAX,
            requester=chain.requester.address,
            volume=volume,
            category=category,
            trust=trust,
            beneficiary=chain.requester.address,
            params='{"iexec_args":"a b"}',
            salt=salt,
        ),
    )
    return bare.but(app={}, dataset={}, workerpool={}, request={})
