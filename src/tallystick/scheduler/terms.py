"""What the operator wants to sell: terms of a workerpool order, before it is signed. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.poco import tags
from tallystick.poco.orders import UINT256, WorkerpoolOrder
from tallystick.poco.values import ZERO_ADDRESS, Address, Hash, Nrlc, Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """One workerpool order that the pool keeps on offer, and renews when it is used up."""

    category: int
    """The class of time that is sold; one order sells one."""
    price: Nrlc
    """Of one task, in nRLC (10**9 are one RLC). The pool's part; app and dataset have their own
    prices."""
    volume: int = 1_000
    """Tasks that one signature sells. The stake of a deal is locked for all of its tasks."""
    trust: int = 1
    """The highest trust that a request may ask for."""
    tag: tuple[str, ...] = ()
    """What the workers of the pool have to offer: tee, scone, gramine, tdx, gpu."""
    app: Address = ZERO_ADDRESS
    """Only this app; zero: any."""
    dataset: Address = ZERO_ADDRESS
    """Only with this dataset; zero: any."""
    requester: Address = ZERO_ADDRESS
    """Only for this requester; zero: any."""

    def __post_init__(self) -> None:
        bits(self.tag)
        for name in ("category", "price", "volume", "trust"):
            if not 0 <= getattr(self, name) < UINT256:
                raise ValueError(f"{name} is out of range: no contract can hold it")
        if self.volume == 0:
            raise ValueError("volume has to be at least 1: an order of 0 sells nothing")

    def order(self, workerpool: Address, salt: Hash) -> WorkerpoolOrder:
        """The order, not signed yet."""
        return WorkerpoolOrder(
            workerpool=workerpool,
            price=self.price,
            volume=self.volume,
            tag=bits(self.tag),
            category=self.category,
            trust=self.trust,
            app_restrict=self.app,
            dataset_restrict=self.dataset,
            requester_restrict=self.requester,
            salt=salt,
        )


def bits(names: tuple[str, ...]) -> Tag:
    """The tag with these properties. Raises ValueError for a word that is none."""
    unknown = [name for name in names if name not in tags.NAMES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no tag; there are {', '.join(tags.NAMES)}")
    return tags.tag_of(*(tags.NAMES[name] for name in names))
