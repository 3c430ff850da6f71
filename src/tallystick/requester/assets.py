"""From what a person calls an app or a dataset to an order for it.

What is not on chain yet is registered by the requester.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tallystick.chain import contracts
from tallystick.chain.calls import Call
from tallystick.chain.queries import query, registered
from tallystick.chain.wallet import Wallet
from tallystick.execution.executor import ImageRef
from tallystick.poco.orders import NO_DATASET_ORDER, AppOrder, DatasetOrder
from tallystick.poco.values import Address, Hash
from tallystick.requester.checksums import image_digest, url_checksum
from tallystick.requester.offers import cheapest
from tallystick.requester.orders import app_offer, dataset_offer
from tallystick.requester.refusals import CannotBuy
from tallystick.requester.session import Session
from tallystick.requester.transact import transact


async def app_order(
    session: Session, wallet: Wallet, image: str, known: Mapping[str, Address]
) -> AppOrder:
    """An order for the app that `image` means: a name of `known`, an address, an image.

    An image whose app nobody registered becomes an app of `wallet`, bound to the digest that
    its registry tells now. Raises CannotBuy, ImageUnavailable, Unavailable.
    """
    app = known.get(image) or _address(image)
    if app is None:
        if "/" not in image and ":" not in image and known:
            raise CannotBuy(
                f"There is no app {image!r} here; there are {', '.join(sorted(known))}. "
                "Any other image is named with its registry, as registry.example:5000/name:tag."
            )
        app = await _app_of_image(session, wallet, ImageRef.parse(image))
    offers = (order for order in session.book.apps if order.app == app)
    return await cheapest(offers, session.remaining) or await _own_app(session, wallet, app)


async def _app_of_image(session: Session, wallet: Wallet, image: ImageRef) -> Address:
    digest = await image_digest(session.http, image)
    name = image.repository.rpartition("/")[2]
    return await register_app(session, wallet, name=name, image=str(image), digest=digest)


async def _own_app(session: Session, wallet: Wallet, app: Address) -> AppOrder:
    """The requester's own offer, when the app is its own."""
    if (await session.hub.app(app)).owner != wallet.address:
        raise CannotBuy(f"Nobody offers the app {app}: there is no order of its owner to take.")
    order = app_offer(app, price=0, owner=wallet, domain=session.hub.domain)
    session.publish(order)
    return order


async def dataset_order(session: Session, wallet: Wallet, dataset: str | None) -> DatasetOrder:
    """An order for the dataset that is at an address or at a URL; none for None.

    A URL is read once and registered by `wallet` with its sha256, so that every worker
    computes on the same bytes or on none. Raises CannotBuy, Unavailable and what fetching does.
    """
    if dataset is None:
        return NO_DATASET_ORDER
    address = _address(dataset) or await _dataset_at(session, wallet, dataset)
    offers = (order for order in session.book.datasets if order.dataset == address)
    offer = await cheapest(offers, session.remaining)
    return offer or await _own_dataset(session, wallet, address)


async def _dataset_at(session: Session, wallet: Wallet, url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CannotBuy(f"A dataset is the address of one or an http(s) URL, not {url!r}.")
    checksum = await url_checksum(url, private=session.place.private)
    name = Path(parts.path).name or parts.hostname
    return await register_dataset(session, wallet, name=name, url=url, checksum=checksum)


async def _own_dataset(session: Session, wallet: Wallet, dataset: Address) -> DatasetOrder:
    """The requester's own offer, when the dataset is its own: for nobody else."""
    if (await session.hub.dataset(dataset)).owner != wallet.address:
        raise CannotBuy(
            f"Nobody offers the dataset {dataset}: there is no order of its owner to take."
        )
    return dataset_offer(
        dataset, price=0, owner=wallet, domain=session.hub.domain, requester=wallet.address
    )


def _address(text: str) -> Address | None:
    """The address that `text` is; None when it is something else."""
    try:
        return Address(text) if text[:2] in ("0x", "0X") else None
    except ValueError:
        return None


async def register_app(
    session: Session, wallet: Wallet, *, name: str, image: str, digest: Hash
) -> Address:
    """The app of `wallet` that runs `image` with this manifest digest, created if need be."""
    multiaddr = image.encode()
    creation = session.hub.calls.create_app(
        wallet.address, name, multiaddr=multiaddr, checksum=digest
    )
    content = (wallet.address, name, "DOCKER", multiaddr, digest, b"")
    return await _ensure(session, wallet, creation, contracts.CREATE_APP, content)


async def register_dataset(
    session: Session, wallet: Wallet, *, name: str, url: str, checksum: Hash
) -> Address:
    """The dataset of `wallet` at `url` with this sha256, created if need be."""
    multiaddr = url.encode()
    creation = session.hub.calls.create_dataset(
        wallet.address, name, multiaddr=multiaddr, checksum=checksum
    )
    content = (wallet.address, name, multiaddr, checksum)
    return await _ensure(session, wallet, creation, contracts.CREATE_DATASET, content)


async def _ensure(
    session: Session, wallet: Wallet, creation: Call, signature: str, content: Sequence[Any]
) -> Address:
    """The asset that `creation` makes: its address follows from its content and its owner."""
    foretell = signature.replace("create", "predict", 1)
    hub, registry = session.hub, creation.to
    asset = await hub.ask(query(registry, foretell, *content, returns="address", read=Address))
    if not await hub.ask(registered(registry, asset)):
        await transact(session, wallet, creation)
    return asset
