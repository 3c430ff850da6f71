"""Founding a market: contracts, wallets, money, a workerpool, apps. Done before anything runs.

Everything is done on a chain of its own that nobody else uses yet, and saved at the end. What
is there already is kept; a later start only adds what has become necessary since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from tallystick.chain.wallet import LIGHT, Wallet
from tallystick.devnet.actors import (
    ETHER,
    RLC,
    Grant,
    create_workerpool,
    endow,
    hand_over,
    register_app,
)
from tallystick.devnet.anvil import Anvil, AnvilOptions
from tallystick.devnet.console import Console
from tallystick.devnet.deploy import CATEGORIES, Contracts, deploy
from tallystick.devnet.memory import Memory, resume
from tallystick.devnet.packages import PocoPackages
from tallystick.devnet.places import Places, password_in, write_private
from tallystick.poco.orders import Domain
from tallystick.poco.values import Address, Hash
from tallystick.requester.book import publish
from tallystick.requester.orders import POOL_PRICES, app_offer, pool_offers

OWNER, SCHEDULER, REQUESTER, APP_OWNER = "owner", "scheduler", "requester", "app-owner"

APP_PRICE = RLC // 10
"""nRLC that the owner of the example apps asks for a task."""

LOCAL_POOL_PRICE = RLC
"""nRLC per task in the categories that only local chains have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in the market's registry."""

    reference: str
    """`127.0.0.1:PORT/repository:tag`."""
    digest: str
    """`sha256:…`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredApp:
    """An app on chain, and the image it stands for."""

    address: Address
    image: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What a market's chain holds, besides what its users did."""

    contracts: Contracts
    workerpool: Address
    apps: Mapping[str, RegisteredApp]
    endowed: tuple[Address, ...]


_STORED = TypeAdapter(Foundation)


def roles(workers: int) -> tuple[str, ...]:
    """Who has a wallet in a market with so many workers."""
    return (OWNER, SCHEDULER, REQUESTER, APP_OWNER, *worker_names(workers))


def worker_names(workers: int) -> tuple[str, ...]:
    """What so many workers are called."""
    return tuple(f"worker-{number}" for number in range(1, workers + 1))


def open_wallets(places: Places, names: Sequence[str]) -> dict[str, Wallet]:
    """The wallets of these roles, made where they are missing. One password opens them all."""
    password = password_in(places.password)
    return {name: _wallet(places.wallet(name), password) for name in names}


def _wallet(path: Path, password: str) -> Wallet:
    if path.exists():
        return Wallet.load(path, password)
    return Wallet.create(path, password, work=LIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Founder:
    """Makes a market's chain what it has to be."""

    packages: PocoPackages
    places: Places
    chain_id: int
    wallets: Mapping[str, Wallet]
    images: Mapping[str, Image]

    def establish(self) -> Foundation:
        """The foundation as wanted. Blocks for about half a second when there is work to do."""
        found = _load(self.places)
        if found is not None and not self._lacking(found) and self.places.orders.exists():
            return found
        memory = Memory(self.places.state)
        self.places.chain.mkdir(parents=True, exist_ok=True)
        with Anvil(self._options(memory, anew=found is None)) as node:
            resume(node.console, block_time=0)
            begun = found or self._begin(node.console)
            complete = self._complete(node.console, begun)
            self._offer(found, complete)
            write_private(
                self.places.foundation, _STORED.dump_json(complete, indent=1).decode()
            )
            memory.save(node.console)
        return complete

    def _lacking(self, found: Foundation) -> bool:
        wanted = {wallet.address for wallet in self.wallets.values()}
        return bool(wanted - set(found.endowed)) or bool(self._new_images(found))

    def _new_images(self, found: Foundation) -> dict[str, Image]:
        known = {name: (app.image, app.digest) for name, app in found.apps.items()}
        return {
            name: image
            for name, image in self.images.items()
            if known.get(name) != (image.reference, image.digest)
        }

    def _options(self, memory: Memory, *, anew: bool) -> AnvilOptions:
        state = None
        if not anew:
            state = self.places.chain / "state.json"
            memory.unpack(state)
        return AnvilOptions(
            binary=self.packages.anvil,
            folder=self.places.chain,
            chain_id=self.chain_id,
            state=state,
            idle=True,
        )

    def _begin(self, console: Console) -> Foundation:
        contracts = deploy(console, self.packages.poco, chain_id=self.chain_id)
        hand_over(console, contracts, self.wallets[OWNER].address)
        pool = create_workerpool(
            console,
            contracts,
            owner=self.wallets[SCHEDULER].address,
            description="The pool of a local market",
        )
        return Foundation(contracts=contracts, workerpool=pool, apps={}, endowed=())

    def _complete(self, console: Console, found: Foundation) -> Foundation:
        poor = {
            name: wallet.address
            for name, wallet in self.wallets.items()
            if wallet.address not in found.endowed
        }
        endow(console, found.contracts, [_grant(name, to) for name, to in poor.items()])
        fresh = {
            name: RegisteredApp(
                address=register_app(
                    console,
                    found.contracts,
                    owner=self.wallets[APP_OWNER].address,
                    name=name,
                    image=image.reference,
                    digest=Hash(image.digest.removeprefix("sha256:")),
                ),
                image=image.reference,
                digest=image.digest,
            )
            for name, image in self._new_images(found).items()
        }
        return replace(
            found, apps={**found.apps, **fresh}, endowed=(*found.endowed, *poor.values())
        )

    def _offer(self, before: Foundation | None, now: Foundation) -> None:
        """Publish the orders of what is new, or of everything when the book is lost."""
        known = before.apps if before is not None and self.places.orders.exists() else {}
        domain = Domain(self.chain_id, now.contracts.hub)
        owner = self.wallets[APP_OWNER]
        offers = [
            app_offer(app.address, price=APP_PRICE, owner=owner, domain=domain)
            for name, app in now.apps.items()
            if known.get(name) != app
        ]
        publish(self.places.orders, *offers)
        if before is None or not known:
            prices = {number: LOCAL_POOL_PRICE for number in range(len(CATEGORIES))}
            scheduler = self.wallets[SCHEDULER]
            pool = pool_offers(
                now.workerpool,
                categories=prices | dict(POOL_PRICES),
                owner=scheduler,
                domain=domain,
            )
            publish(self.places.orders, *pool)


def _grant(role: str, to: Address) -> Grant:
    """What an account starts with."""
    match role:
        case "requester":
            return Grant(to=to, wei=1_000 * ETHER, rlc=10_000 * RLC, deposit=1_000 * RLC)
        case "scheduler":
            return Grant(to=to, wei=1_000 * ETHER, rlc=1_000 * RLC, deposit=1_000 * RLC)
        case "owner" | "app-owner":
            return Grant(to=to, wei=100 * ETHER, rlc=100 * RLC)
        case _:
            return Grant(to=to, wei=100 * ETHER, rlc=100 * RLC, deposit=200 * RLC)


def _load(places: Places) -> Foundation | None:
    """The foundation; None where there is none that is complete."""
    if not (places.foundation.is_file() and places.state.is_file()):
        return None
    return _STORED.validate_json(places.foundation.read_bytes())
