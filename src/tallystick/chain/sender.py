"""One wallet's transactions: sent once, found again after a crash, paid within a cap."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from tallystick.chain import logs
from tallystick.chain.abi import BadAnswer, quantity
from tallystick.chain.answers import Reverted, RpcError
from tallystick.chain.book import Book, Entry, State, WrongBook
from tallystick.chain.call import Call
from tallystick.chain.fees import Fees
from tallystick.chain.heads import TRUST, Heads
from tallystick.chain.logs import Log
from tallystick.chain.outlook import Estimate, estimate
from tallystick.chain.pending import OutOfGas, Pending
from tallystick.chain.post import Post
from tallystick.chain.rpc import Rpc
from tallystick.chain.upkeep import Patience, Upkeep
from tallystick.chain.wallet import Wallet
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.timing import sent
from tallystick.poco.values import Hash, Wei

__all__ = ["Fees", "OutOfGas", "Patience", "Pending", "Receipt", "Sender", "WrongBook"]

log = logging.getLogger(__name__)

GAS_MARGIN: Final = 1.2
"""Gas limit by estimate: what a call takes changes with the calls before it."""

REWIND: Final = 5.0
"""Seconds for which a chain that lost blocks is not believed when it refuses a call."""

_NAP: Final = 30.0
"""Seconds between two looks while all is calm."""

_FIRST_PAUSE: Final = 0.02
_BUSY_PAUSE: Final = 0.25
_IDLE_PAUSE: Final = 1.0
"""Seconds between looks: right after news, while something waits, and otherwise."""

_HOPELESS: Final = (
    "exceeds block gas limit",
    "gas limit too high",
    "intrinsic gas too low",
    "oversized data",
    "exceeds maximum gas",
)
_POOR: Final = ("insufficient funds", "insufficient balance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A transaction that was mined and did what it was to do."""

    hash: Hash
    block: int
    block_hash: Hash
    gas_used: int
    status: int
    logs: tuple[Log, ...]
    """What the contract that was called reported; others' logs are left out."""


class Sender:
    """Sends what one wallet signs, and keeps at it until it is mined.

    Before a transaction leaves, its nonce and its bytes are in the `book`; after a crash the
    same bytes are sent again, so that it is done at most once. `run` looks after what waits:
    raises prices within the cap, sends again what a node or a reorg forgot; while nothing waits
    it asks one short question a block. While it does not run, whoever waits in `send` does its
    work.
    """

    def __init__(
        self,
        rpc: Rpc,
        wallet: Wallet,
        book: Path | Book,
        *,
        chain_id: int,
        fees: Fees | None = None,
        heads: Heads | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Raises `WrongBook` when the file `book` is another wallet's."""
        self._fees, self._heads = fees or Fees(), heads
        self._post = Post(rpc, wallet, chain_id)
        if isinstance(book, Path):
            book = Book(book, wallet.address, chain_id)
        self._book = book
        self._upkeep = Upkeep(self._post, self._book, self._fees, patience or Patience())
        self._wanted: Counter[int] = Counter()
        self._complaints = Complaints(log)
        self._one_at_a_time = anyio.Lock()
        self._looked, self._poked = anyio.Event(), anyio.Event()
        self._running = False
        self._pause, self._news = _FIRST_PAUSE, 0
        self._seen: int | None = None
        """Which news of a block, as `Heads` counts them, the last look was about; None when it
        told less than that, or failed."""
        self._rest_until = 0.0
        self.calm: Callable[[], bool] = lambda: False
        """Whether nothing depends on this wallet's transactions, so that a look now and then
        will do while none waits."""
        self._highest, self._doubt_until = 0, 0.0

    @property
    def foreign(self) -> tuple[int, ...]:
        """Nonces that went to transactions which this book did not send, since the start:
        somebody else uses the wallet."""
        return self._upkeep.foreign

    def spent(self) -> Wei:
        """What all transactions of the wallet that the book tells of have cost. Raises
        DiskTrouble."""
        return self._book.spent()

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What waits to be mined, by nonce."""
        return tuple(
            Pending(
                what=entry.call.what,
                nonce=entry.nonce,
                since=entry.attempts[0].at,
                price=entry.attempts[-1].price.most,
                cap=entry.cap,
                capped=entry.id in self._upkeep.capped,
            )
            for entry in self._book.waiting()
        )

    def signed(self, call: Call) -> bool:
        """Whether a transaction that does what `call` does may still be mined, or was."""
        return self._book.signed(call)

    def strangers(self, count: int, pending: int) -> tuple[int, ...]:
        """Of the nonces from `count` up to `pending` those that this book never gave away:
        what a node holds of the wallet, and this machine did not send."""
        ours = self._book.nonces(count)
        return tuple(nonce for nonce in range(count, pending) if nonce not in ours)

    async def send(self, call: Call, *, cap: Wei | None = None) -> Receipt:
        """Send `call`, unless it is on its way already, and wait until it is mined.

        `cap` is the highest price of gas, for calls that are worth more than the others.
        Raises `Refused` when the contract would or did refuse it, `OutOfGas` when the wallet
        cannot pay, `Unavailable` when no node answers before it is written down. Once it is,
        being cancelled does not take it back: send it again to wait for it.
        """
        most = self._fees.cap if cap is None else cap
        entry = self._book.same(call) or await self._prepare(call, most)
        with self._wanting(entry.id):
            return await self._outcome(entry.id)

    async def run(self) -> None:
        """Look after all transactions until cancelled."""
        self._running, self._seen = True, None
        try:
            while True:
                await self._look_after()
                await self._wait()
        finally:
            self._running = False
            self._looked.set()

    def waiting(self) -> tuple[Call, ...]:
        """Calls that are signed and written down, and that the chain may still take."""
        return tuple(entry.call for entry in self._book.waiting())

    def wake(self) -> None:
        """Look now, also while all is calm: something depends on the wallet again."""
        self._poked.set()

    def close(self) -> None:
        """Close the book. What waits is looked after by the next who opens it."""
        self._book.close()

    async def _prepare(self, call: Call, cap: Wei) -> Entry:
        found = await estimate(self._post.rpc, self._post.address, call)
        gas = self._gas(call, found)
        price = self._fees.first(found.outlook.network, cap)
        self._require_money(call, gas * price.most + call.value, found.balance)
        entry, new = self._book.reserve(
            call,
            self._post.signer(call, gas, price),
            count=max(found.outlook.count, found.outlook.pending),
            gas=gas,
            cap=cap,
            block=found.outlook.block,
        )
        if new:
            await self._first_broadcast(entry)
        return entry

    def _gas(self, call: Call, found: Estimate) -> int:
        rewound = self._rewound(found.outlook.block)
        if found.gas is not None:
            return int(found.gas * GAS_MARGIN) + call.spare
        if rewound:
            raise Unavailable(
                f"Whether the contract would {call.what} is not decided: "
                "the chain has just lost blocks."
            )
        raise Refused(
            f"The contract would refuse to {call.what}"
            f" ({found.refusal or 'it gives no reason'}); nothing was sent."
        )

    def _rewound(self, block: int) -> bool:
        """Whether the chain was longer a moment ago: then others' transactions are missing."""
        now = time.monotonic()
        if block < self._highest:
            self._doubt_until = now + REWIND
        self._highest = block
        return now < self._doubt_until

    def _require_money(self, call: Call, need: Wei, balance: Wei | None) -> None:
        """An unreadable balance is unknown, not zero: then the node decides."""
        if balance is not None and balance < need:
            raise OutOfGas(
                f"The wallet {self._post.address} has {balance / 10**18:.6f} of the chain's "
                f"coin, but to {call.what} may take {need / 10**18:.6f}: top it up.",
                need=need,
            )

    async def _first_broadcast(self, entry: Entry) -> None:
        """Raises `Refused` when no node will ever take it; then its nonce is free again."""
        sent(f"tx {entry.call.what}")
        trouble = await self._post.broadcast(entry)
        self._pause = _FIRST_PAUSE
        self._poked.set()
        if trouble is None:
            return
        if _says(trouble, _POOR):
            self._book.give_up(entry, trouble.message)
            raise OutOfGas(
                f"The wallet {self._post.address} cannot pay to {entry.call.what}: "
                f"{trouble.message}. Top it up."
            )
        if isinstance(trouble, Reverted) or _says(trouble, _HOPELESS):
            self._book.give_up(entry, trouble.message)
            raise Refused(f"The node refuses to {entry.call.what}: {trouble.message}")

    @contextmanager
    def _wanting(self, id: int) -> Iterator[None]:
        self._wanted[id] += 1
        try:
            yield
        finally:
            self._wanted[id] -= 1

    async def _outcome(self, id: int) -> Receipt:
        while True:
            entry = self._book.entry(id)
            if entry.receipt is not None:
                return _receipt(entry, entry.receipt)
            if entry.state is State.GIVEN_UP:
                raise Refused(f"To {entry.call.what} was given up: {entry.reason}.")
            if self._running:
                await self._looked.wait()
            else:
                await self._wait()
                await self._look_after()

    async def _look_after(self) -> None:
        """One round of upkeep, by one task at a time."""
        async with self._one_at_a_time:
            if not self._at_rest():
                await self._look()
        woken, self._looked = self._looked, anyio.Event()
        woken.set()

    async def _look(self) -> None:
        heads, self._seen = self._heads, None
        news, tip = (heads.count, heads.latest) if heads is not None else (0, None)
        try:
            wanted = {self._book.entry(id).id for id, n in self._wanted.items() if n}
            block = await self._upkeep.round(wanted)
        except Unavailable as trouble:
            self._complaints.about("Looking after transactions", trouble)
            return
        self._complaints.over("Looking after transactions")
        self._rewound(block)
        if tip is not None and block >= tip.number:
            self._seen, self._rest_until = news, time.monotonic() + TRUST

    def _at_rest(self) -> bool:
        """Whether nothing can have happened since the last look: no block came, and nothing
        waits."""
        heads = self._heads
        return (
            heads is not None
            and heads.latest is not None  # or blocks come that it does not tell of
            and heads.count == self._seen
            and not self._upkeep.uneasy
            and time.monotonic() < self._rest_until
            and not self._some_wait()
        )

    def _some_wait(self) -> bool:
        """Whether something waits; also while the book cannot be read."""
        try:
            return bool(self._book.waiting())
        except Unavailable:
            return True

    async def _wait(self) -> None:
        """Until there may be something new to see."""
        news = self._news
        if self.calm() and not self._some_wait():
            with anyio.move_on_after(_NAP):
                await self._poked.wait()
            self._poked = anyio.Event()
        elif self._heads is not None:
            self._news = await self._heads.change(news, within=self._pause)
        else:
            with anyio.move_on_after(self._pause):
                await self._poked.wait()
            self._poked = anyio.Event()
        if self._news != news:
            self._pause = _FIRST_PAUSE
        elif self._heads is not None or not self._some_wait():
            self._pause = _IDLE_PAUSE
        else:
            self._pause = min(self._pause * 1.5, _BUSY_PAUSE)


def _receipt(entry: Entry, told: dict[str, Any]) -> Receipt:
    """Raises `Refused` when the transaction was mined in vain."""
    hash = Hash(told["transactionHash"])
    if quantity(told["status"]) != 1:
        raise Refused(
            f"The contract refused to {entry.call.what}: transaction {hash} is in block "
            f"{quantity(told['blockNumber'])}, without effect. Look at the task again."
        )
    return Receipt(
        hash=hash,
        block=quantity(told["blockNumber"]),
        block_hash=Hash(told["blockHash"]),
        gas_used=quantity(told["gasUsed"]),
        status=1,
        logs=tuple(_logs(entry, told)),
    )


def _logs(entry: Entry, told: dict[str, Any]) -> Iterator[Log]:
    """A stranger's contract may take part and report anything: only ours is believed."""
    for raw in told.get("logs") or ():
        if raw["address"].lower() != str(entry.call.to):
            continue
        try:
            known = logs.decode(raw)
        except BadAnswer:
            continue
        if known is not None:
            yield known


def _says(trouble: RpcError, signs: tuple[str, ...]) -> bool:
    return any(sign in trouble.message.lower() for sign in signs)
