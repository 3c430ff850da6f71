"""Four signed orders that fit, for a test chain."""

from dataclasses import replace

from tallystick.chain.wallet import Wallet
from tallystick.poco.orders import (
    NO_DATASET_ORDER,
    AppOrder,
    RequestOrder,
    WorkerpoolOrder,
    order_hash,
)
from tallystick.poco.values import Hash


def signed(actor, order, domain):
    return replace(order, sign=Wallet(actor.key).sign_hash(order_hash(order, domain)))


def orders(chain, domain, *, salt=1, params="--fast", volume=1, trust=1):
    """App 1,000 nRLC, pool 10,000 nRLC for a task; of category XS."""
    salt = Hash(salt.to_bytes(32, "big"))
    app = AppOrder(app=chain.app, price=1_000, volume=1_000, salt=salt)
    pool = WorkerpoolOrder(
        workerpool=chain.workerpool, price=10_000, volume=1_000, trust=100, salt=salt
    )
    request = RequestOrder(
        app=chain.app,
        app_max_price=1_000,
        workerpool=chain.workerpool,
        workerpool_max_price=10_000,
        requester=chain.requester.address,
        beneficiary=chain.requester.address,
        volume=volume,
        trust=trust,
        params=params,
        salt=salt,
    )
    return (
        signed(chain.app_owner, app, domain),
        NO_DATASET_ORDER,
        signed(chain.scheduler, pool, domain),
        signed(chain.requester, request, domain),
    )
