"""The four orders: what each side signs, how it is hashed, which of them fit together.

Hashes are EIP-712; the contracts know an order by its hash alone (its signature, how much of
it is consumed). `sign` belongs to the order on the wire and is never hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import lru_cache
from typing import Final, TypeAlias

from eth_hash.auto import keccak

from tallystick.poco import tags
from tallystick.poco.values import (
    NO_TAG,
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    FixedBytes,
    Hash,
    Nrlc,
    Tag,
)

UINT256: Final = 1 << 256
_NUMBERS: Final = frozenset(
    (
        *("price", "volume", "category", "trust"),
        *("app_max_price", "dataset_max_price", "workerpool_max_price"),
    )
)


class BadOrder(ValueError):
    """A number in the order is none that a contract can hold."""


def _check_numbers(order: Order) -> None:
    """Orders come from strangers: refuse early what would fail in the middle of a hash."""
    for name in _NUMBERS.intersection(order.__slots__):
        amount = getattr(order, name)
        if not 0 <= amount < UINT256:
            raise BadOrder(f"{name} of a {type(order).__name__} is {amount}: out of range.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOrder:
    """The app's owner lets others run it. A restriction of zero admits anyone."""

    app: Address
    price: Nrlc = 0
    """For one task."""
    volume: int = 1
    """How many tasks the order serves in total."""
    tag: Tag = NO_TAG
    dataset_restrict: Address = ZERO_ADDRESS
    workerpool_restrict: Address = ZERO_ADDRESS
    requester_restrict: Address = ZERO_ADDRESS
    salt: Hash
    """Makes two otherwise equal orders two."""
    sign: bytes = b""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOrder:
    """The dataset's owner lets apps read it."""

    dataset: Address
    price: Nrlc = 0
    volume: int = 1
    tag: Tag = NO_TAG
    app_restrict: Address = ZERO_ADDRESS
    workerpool_restrict: Address = ZERO_ADDRESS
    requester_restrict: Address = ZERO_ADDRESS
    salt: Hash
    sign: bytes = b""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerpoolOrder:
    """The workerpool's owner, its scheduler, offers to compute."""

    workerpool: Address
    price: Nrlc = 0
    volume: int = 1
    tag: Tag = NO_TAG
    category: int = 0
    trust: int = 1
    """The highest trust a request may ask for."""
    app_restrict: Address = ZERO_ADDRESS
    dataset_restrict: Address = ZERO_ADDRESS
    requester_restrict: Address = ZERO_ADDRESS
    salt: Hash
    sign: bytes = b""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOrder:
    """The requester asks for tasks and says what it pays at most for each."""

    app: Address
    app_max_price: Nrlc = 0
    dataset: Address = ZERO_ADDRESS
    """Zero for no dataset."""
    dataset_max_price: Nrlc = 0
    workerpool: Address = ZERO_ADDRESS
    """A restriction like the others: zero for any workerpool."""
    workerpool_max_price: Nrlc = 0
    requester: Address
    volume: int = 1
    tag: Tag = NO_TAG
    category: int = 0
    trust: int = 1
    beneficiary: Address = ZERO_ADDRESS
    callback: Address = ZERO_ADDRESS
    params: str = ""
    salt: Hash
    sign: bytes = b""

    def __post_init__(self) -> None:
        _check_numbers(self)


Order: TypeAlias = AppOrder | DatasetOrder | WorkerpoolOrder | RequestOrder

NO_DATASET_ORDER: Final = DatasetOrder(dataset=ZERO_ADDRESS, volume=0, salt=ZERO_HASH)
"""Stands for the dataset's order when the request names no dataset; needs no signature."""


class Operation(IntEnum):
    """What the owner of an order may tell the chain about it."""

    SIGN = 0
    """The order counts as signed, whatever its `sign`."""
    CLOSE = 1
    """The order counts as used up."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Which chain and which hub a signature is good for, and no other."""

    chain_id: int
    hub: Address

    @property
    def separator(self) -> Hash:
        """EIP-712: binds every signature to this hub on this chain."""
        return _separator(self.chain_id, self.hub)


def order_hash(order: Order, domain: Domain) -> Hash:
    """What the order is signed with and known by."""
    return _typed_data_hash(_struct_hash(order), domain)


def operation_hash(order: Order, operation: Operation, domain: Domain) -> Hash:
    """What the order's owner signs so that anybody may send `operation` to the chain."""
    name = type(order).__name__
    kind = f"{name}Operation({name} order,uint256 operation){_TYPES[type(order)]}"
    words = keccak(kind.encode()), _struct_hash(order), operation.to_bytes(32, "big")
    return _typed_data_hash(Hash(keccak(b"".join(words))), domain)


def as_tuple(order: Order) -> tuple[object, ...]:
    """The order as the contracts' functions take it, `sign` last."""
    return tuple(getattr(order, field.name) for field in fields(order))


_TYPES: Final[Mapping[type[Order], str]] = {
    AppOrder: (
        "AppOrder(address app,uint256 appprice,uint256 volume,bytes32 tag,"
        "address datasetrestrict,address workerpoolrestrict,address requesterrestrict,"
        "bytes32 salt)"
    ),
    DatasetOrder: (
        "DatasetOrder(address dataset,uint256 datasetprice,uint256 volume,bytes32 tag,"
        "address apprestrict,address workerpoolrestrict,address requesterrestrict,"
        "bytes32 salt)"
    ),
    WorkerpoolOrder: (
        "WorkerpoolOrder(address workerpool,uint256 workerpoolprice,uint256 volume,"
        "bytes32 tag,uint256 category,uint256 trust,address apprestrict,"
        "address datasetrestrict,address requesterrestrict,bytes32 salt)"
    ),
    RequestOrder: (
        "RequestOrder(address app,uint256 appmaxprice,address dataset,"
        "uint256 datasetmaxprice,address workerpool,uint256 workerpoolmaxprice,"
        "address requester,uint256 volume,bytes32 tag,uint256 category,uint256 trust,"
        "address beneficiary,address callback,string params,bytes32 salt)"
    ),
}


@lru_cache(maxsize=16)
def _separator(chain_id: int, hub: Address) -> Hash:
    kind = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    names = (keccak(text.encode()) for text in (kind, "iExecODB", "5.0.0"))
    return Hash(keccak(b"".join((*names, _word(chain_id), _word(hub)))))


def _struct_hash(order: Order) -> Hash:
    told = (_word(getattr(order, f.name)) for f in fields(order) if f.name != "sign")
    return Hash(keccak(b"".join((keccak(_TYPES[type(order)].encode()), *told))))


def _typed_data_hash(struct: Hash, domain: Domain) -> Hash:
    return Hash(keccak(b"\x19\x01" + domain.separator + struct))


def _word(value: FixedBytes | int | str) -> bytes:
    """One field of typed data as 32 bytes; text is replaced by its hash."""
    if isinstance(value, str):
        return keccak(value.encode())
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    return bytes(value).rjust(32, b"\0")


# What may be matched: the contracts' own checks of the terms, told as sentences.

Admits: TypeAlias = Callable[[Address, Address], bool]
"""Whether a restriction (first) lets an account or a contract (second) in."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the contracts would not match these orders."""

    code: int
    """The contract's number for it; `revert_reason` is how it shows on chain."""
    sentence: str

    @property
    def revert_reason(self) -> str:
        """What the contract says."""
        return f"iExecV5-matchOrders-0x{self.code:02x}"

    def __str__(self) -> str:
        return self.sentence


def admits_only_itself(restriction: Address, account: Address) -> bool:
    """Zero admits anyone, another address only itself.

    A restriction may also be a contract that lists its members (ERC-734). Only a node can
    tell; whoever has one passes another function.
    """
    return restriction in (ZERO_ADDRESS, account)


def match_refusals(
    app: AppOrder,
    dataset: DatasetOrder,
    workerpool: WorkerpoolOrder,
    request: RequestOrder,
    *,
    categories: int | None = None,
    admits: Admits = admits_only_itself,
) -> tuple[Refusal, ...]:
    """Everything in the terms that keeps these orders apart, in the contract's order.

    `categories` is how many the chain knows; None leaves that unchecked. Signatures, owners
    and what is left of each order are looked at in `tallystick.poco.matching`.
    """
    return (
        *_terms(
            app, dataset, workerpool, request, UINT256 if categories is None else categories
        ),
        *_tags(app, dataset, workerpool, request),
        *_restrictions(app, dataset, workerpool, request, admits),
    )


def _terms(
    app: AppOrder,
    dataset: DatasetOrder,
    pool: WorkerpoolOrder,
    request: RequestOrder,
    categories: int,
) -> Iterator[Refusal]:
    if request.category != pool.category:
        wants = f"The request is of category {request.category}"
        yield Refusal(0x00, f"{wants}, the workerpool's order of category {pool.category}.")
    if request.category >= categories:
        yield Refusal(0x01, f"There is no category {request.category} on this chain.")
    if request.trust > pool.trust:
        wants = f"The request asks for trust {request.trust}"
        yield Refusal(0x02, f"{wants}, the workerpool offers at most {pool.trust}.")
    for code, name, price, most in (
        (0x03, "app", app.price, request.app_max_price),
        (0x04, "dataset", dataset.price, request.dataset_max_price),
        (0x05, "workerpool", pool.price, request.workerpool_max_price),
    ):
        if price > most:
            costs = f"The {name} costs {price} nRLC a task"
            yield Refusal(code, f"{costs}, the request pays at most {most} for it.")


def _tags(
    app: AppOrder, dataset: DatasetOrder, pool: WorkerpoolOrder, request: RequestOrder
) -> Iterator[Refusal]:
    wanted = tags.union(app.tag, dataset.tag, request.tag)
    if not tags.offers(pool.tag, wanted):
        missing = ", ".join(tags.names(tags.without(wanted, pool.tag)))
        yield Refusal(0x06, f"The workerpool does not offer what the deal needs: {missing}.")
    if tags.needs_enclave(wanted) and not tags.needs_enclave(app.tag):
        yield Refusal(0x07, "The deal needs an enclave, but the app's order has no tee tag.")


def _restrictions(
    app: AppOrder,
    dataset: DatasetOrder,
    pool: WorkerpoolOrder,
    request: RequestOrder,
    admits: Admits,
) -> Iterator[Refusal]:
    if request.app != app.app:
        yield Refusal(0x10, f"The request is for app {request.app}, the order of {app.app}.")
    if request.dataset != dataset.dataset:
        wants = f"The request is for dataset {request.dataset}"
        yield Refusal(0x11, f"{wants}, the order of {dataset.dataset}.")
    for code, whose, restriction, kind, who in (
        (0x12, "request", request.workerpool, "workerpool", pool.workerpool),
        (0x13, "app's order", app.dataset_restrict, "dataset", dataset.dataset),
        (0x14, "app's order", app.workerpool_restrict, "workerpool", pool.workerpool),
        (0x15, "app's order", app.requester_restrict, "requester", request.requester),
        (0x16, "dataset's order", dataset.app_restrict, "app", app.app),
        (0x17, "dataset's order", dataset.workerpool_restrict, "workerpool", pool.workerpool),
        (0x18, "dataset's order", dataset.requester_restrict, "requester", request.requester),
        (0x19, "workerpool's order", pool.app_restrict, "app", app.app),
        (0x1A, "workerpool's order", pool.dataset_restrict, "dataset", dataset.dataset),
        (0x1B, "workerpool's order", pool.requester_restrict, "requester", request.requester),
    ):
        if not admits(restriction, who):
            limit = f"The {whose} is restricted to {kind} {restriction}"
            yield Refusal(code, f"{limit}; {who} is not admitted.")
