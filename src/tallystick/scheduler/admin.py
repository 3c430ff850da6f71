"""What a running scheduler answers to its operator, and what it does at his word."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import anyio
from pydantic import TypeAdapter, ValidationError

from tallystick import __version__
from tallystick.chain.fees import Fees
from tallystick.chain.sender import Sender
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.journal import Entry, Journal
from tallystick.engine.settings import mistakes
from tallystick.lifecycle.facts import Fact
from tallystick.lifecycle.stages import task_status
from tallystick.poco.values import Address, Hash
from tallystick.scheduler import admin_figures as figures
from tallystick.scheduler.admin_course import Course, Helm
from tallystick.scheduler.admission import Admission
from tallystick.scheduler.company import Company
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.money import policy_mistake
from tallystick.scheduler.money_book import MoneyBook
from tallystick.scheduler.money_watch import MoneyWatch
from tallystick.scheduler.orders import Orders, Standing
from tallystick.scheduler.pool import Pool
from tallystick.scheduler.terms import OrderTerms
from tallystick.wire.control import Answer, BadRequest, Control, Request, number, text

log = logging.getLogger(__name__)

_TERMS = TypeAdapter(OrderTerms)
_OTHERS = 5.0
"""Seconds between two looks at what other schedulers of the pool have noted."""
_FAREWELL = 10.0
"""Seconds in which a drained scheduler asks the chain what the last tasks moved."""


@dataclass(slots=True, kw_only=True)
class Office:
    """Everything about a pool that is its operator's business, not its tasks'."""

    config: SchedulerConfig
    pool: Pool
    sender: Sender
    admission: Admission
    helm: Helm
    orders: Orders
    watch: MoneyWatch
    book: MoneyBook
    began: float
    company: Company

    async def run(self) -> None:
        """Keep orders, look after the money, answer the operator; until cancelled."""
        async with anyio.create_task_group() as tasks:
            for each in (self.orders.run, self.watch.run, self.book.run):
                tasks.start_soon(each)
            if self.config.database:
                tasks.start_soon(self._follow_others)
            await self.control().run(self.config.data_dir)

    async def until_drained(self) -> None:
        """Return when the pool was told to drain and has."""
        await self.helm.until_the_end(self.pool.tasks())
        with anyio.move_on_after(_FAREWELL):
            await self.book.settle()

    def heard(self, entry: Entry[Fact]) -> None:
        """A fact was recorded."""
        for each in (self.orders, self.watch, self.book):
            each.heard(entry)

    def control(self) -> Control:
        """Every word that the operator may say."""
        made = Control("pool")
        for handler in (
            *(self.status, self.workers, self.tasks, self.deals, self.offers),
            *(
                self.block,
                self.unblock,
                self.pardon,
                self.drain,
                self.publish,
                self.cancel,
                self.policy,
            ),
        ):
            made.on(handler.__name__, handler)
        return made

    def figures(self) -> dict[str, float | None]:
        """For whoever counts: what the pool's owner has, earned and paid."""
        purse, sum = (
            figures.purse_figures(self.watch),
            figures.earned(self.book.by_deal(), None),
        )
        return {
            "pool_deposit_free_nrlc": purse["free_nrlc"] or 0,
            "pool_deposit_locked_nrlc": purse["locked_nrlc"] or 0,
            "pool_wallet_wei": purse["balance_wei"] or 0,
            "pool_money_warnings": len(purse["warnings"]),
            "pool_orders_on_offer": len(self.orders.on_offer()),
            "pool_reward_nrlc": sum["reward_nrlc"],
            "pool_seized_nrlc": sum["seized_nrlc"],
            "pool_gas_wei": sum["gas_wei"],
        }

    async def status(self, request: Request) -> Answer:
        """How the pool is doing."""
        pool, clock = self.pool, self.pool.clock
        rows = figures.worker_rows(pool, self.admission, self.config.lost_after)
        alive = [row for row in rows if row["alive"]]
        return {
            "state": str(self.helm.course),
            "waits_for": len(list(self.helm.waited_for(pool.tasks()))),
            "name": self.config.name,
            "version": __version__,
            "pid": os.getpid(),
            "began": self.began,
            "now": time.time(),
            "url": self.config.url,
            "others": self.company.others(),
            "workerpool": str(self.config.workerpool),
            "wallet": str(pool.wallet.address),
            "chain_id": pool.hub.domain.chain_id,
            "block_age": round(clock.age, 1) if clock.known else None,
            "workers": {"alive": len(alive), "known": len(rows)},
            "slots": {
                "busy": sum(row["busy"] for row in alive),
                "total": sum(row["slots"] for row in alive),
            },
            "blocked": len(self.admission.blocked()),
            "tasks": dict(Counter(task_status(task) for task in pool.tasks())),
            "orders": len(self.orders.on_offer()),
            "refused_orders": figures.refused_rows(self.orders),
            "money": figures.purse_figures(self.watch),
            "earned": figures.earned(self.book.by_deal(), self.config.eth_per_rlc),
        }

    async def workers(self, request: Request) -> Answer:
        """Who computes here."""
        rows = figures.worker_rows(self.pool, self.admission, self.config.lost_after)
        return {"workers": rows}

    async def tasks(self, request: Request) -> Answer:
        """The newest tasks."""
        limit = number(request, "limit", 50, most=1_000_000)
        only = bool(request.get("unfinished"))
        return {"tasks": figures.task_rows(self.pool.tasks(), limit=limit, unfinished=only)}

    async def deals(self, request: Request) -> Answer:
        """What each deal brought and cost."""
        limit, rate = number(request, "limit", 50, most=1_000_000), self.config.eth_per_rlc
        await self.book.settle()
        rows = figures.deal_rows(self.pool.tasks(), self.book.by_deal(), rate)
        return {
            "deals": rows[:limit] if limit else rows,
            "total": figures.earned(self.book.by_deal(), rate),
            "eth_per_rlc": None if rate is None else f"{rate:f}",
        }

    async def offers(self, request: Request) -> Answer:
        """The pool's orders."""
        shown = self.orders.all() if request.get("all") else self.orders.on_offer()
        return {
            "orders": [figures.order_row(kept) for kept in shown],
            "refused": figures.refused_rows(self.orders),
            "state": str(self.helm.course),
        }

    async def block(self, request: Request) -> Answer:
        """Give a wallet no more work."""
        wallet = _wallet(request)
        found = self.admission.block(wallet, text(request, "why", most=500))
        self.company.tell_offices()
        return {**asdict(found), "holds": self._holds(wallet)}

    async def unblock(self, request: Request) -> Answer:
        """Give it work again."""
        wallet = _wallet(request)
        was = self.admission.unblock(wallet)
        self.company.tell_offices()
        self.pool.ring(wallet)  # it may be waiting
        return {"wallet": str(wallet), "was_blocked": was}

    async def pardon(self, request: Request) -> Answer:
        """Forget what audits found of a wallet, and of others of its owner."""
        wallet = _wallet(request)
        was = self.pool.audits.distrusts(wallet)
        pardoned = self.pool.audits.pardon(wallet)
        self.company.tell_offices()
        for each in pardoned:
            self.pool.ring(each)  # it may be waiting
        return {
            "wallet": str(wallet),
            "was_distrusted": was,
            "pardoned": [str(each) for each in pardoned],
        }

    async def drain(self, request: Request) -> Answer:
        """Sell nothing more, finish what was begun, end then; or take that back. Of several
        schedulers this one ends, and the others go on, unless the whole pool is meant."""
        others, course = self.company.others(), Course.DRAINING
        if request.get("off"):
            course = Course.WORKING
        elif others and not request.get("whole_pool"):
            course = Course.LEAVING
        elif request.get("all"):
            course = Course.CLOSING
        if course is not Course.LEAVING:
            self.company.steer("" if course is Course.WORKING else str(course))
        self.steered(course)
        waits = len(list(self.helm.waited_for(self.pool.tasks())))
        left = sum(not task.status.over for task in self.pool.tasks()) - waits
        return {
            "state": str(self.helm.course),
            "waits_for": waits,
            "left": left,
            "others": others,
        }

    async def publish(self, request: Request) -> Answer:
        """Sign an order on these terms too; without any, what was withdrawn."""
        if self.helm.ending:
            raise Refused("The pool is about to end and sells nothing: tally pool drain --off.")
        await self.orders.publish(_terms(request.get("terms")))
        self.company.tell_offices()
        return await self.offers({})

    async def cancel(self, request: Request) -> Answer:
        """Take an order off the offer; close it on the chain, unless told not to."""
        hash = _hash(request)
        kept = self.orders.withdraw(hash)
        self.company.tell_offices()
        if not request.get("close", True):
            return figures.order_row(kept)
        receipt = await self.sender.send(self.orders.closing(hash))
        kept = self.orders.withdraw(hash, Standing.CLOSED)
        return {**figures.order_row(kept), "transaction": str(receipt.hash)}

    async def policy(self, request: Request) -> Answer:
        """Change what workers stake and what the scheduler keeps."""
        stake = number(request, "worker_stake_ratio", 30, most=1 << 64)
        kept = number(request, "scheduler_reward_ratio", 1, most=1 << 64)
        if mistake := policy_mistake(stake, kept):
            raise BadRequest(mistake)
        call = self.pool.hub.calls.change_policy(self.config.workerpool, stake, kept)
        receipt = await self.sender.send(call)
        self.orders.poke()
        return {"transaction": str(receipt.hash), "gas_used": receipt.gas_used}

    async def _follow_others(self) -> None:
        """What operators tell other schedulers of the pool counts here too, soon after."""
        seen = self.company.office.count
        while True:
            seen = await self.company.office.next(seen, _OTHERS)
            try:
                for worker in (*self.admission.read_again(), *self.pool.audits.read_again()):
                    self.pool.ring(worker)
                self.pool.roster.read_again()
                self.book.read_again()
                self.orders.read_again()
            except Unavailable as trouble:
                log.debug("What others noted is read again: %s", trouble)

    def steered(self, course: str) -> None:
        """Take a course, at the operator's word to this scheduler or to another one."""
        course = Course(course or Course.WORKING)
        if self.helm.course is Course.LEAVING:
            return
        self.orders.paused = course is not Course.WORKING
        self.pool.giving.begin_new(course is not Course.DRAINING)
        self.helm.steer(course)
        self.orders.poke()

    def _holds(self, wallet: Address) -> int:
        return sum(
            wallet in task.replicates for task in self.pool.tasks() if not task.status.over
        )


def open_office(
    config: SchedulerConfig,
    pool: Pool,
    journal: Journal[Any],
    *,
    sender: Sender,
    fees: Fees,
    admission: Admission,
    company: Company,
) -> Office:
    """The office of a scheduler that starts."""
    owner = pool.wallet.address
    pool.giving.is_blocked = admission.is_blocked

    def on_offer() -> list[Any]:
        return [(kept.order, kept.remaining) for kept in orders.on_offer()]

    watch = MoneyWatch(hub=pool.hub, owner=owner, config=config, fees=fees, on_offer=on_offer)
    orders = Orders(
        journal=journal,
        hub=pool.hub,
        wallet=pool.wallet,
        workerpool=config.workerpool,
        settings=config.orders,
        judge=watch.objection,
    )
    book = MoneyBook(journal=journal, hub=pool.hub, wallet=owner, tasks=pool.engine.states)
    office = Office(
        config=config,
        pool=pool,
        sender=sender,
        admission=admission,
        helm=Helm(pool.changes),
        orders=orders,
        watch=watch,
        book=book,
        began=time.time(),
        company=company,
    )
    pool.engine.listen(office.heard)
    return office


def _wallet(request: Request) -> Address:
    try:
        return Address(text(request, "wallet").lower())
    except ValueError as problem:
        raise BadRequest("wallet has to be an address: 0x and 40 hex digits.") from problem


def _hash(request: Request) -> Hash:
    try:
        return Hash(text(request, "hash").lower())
    except ValueError as problem:
        raise BadRequest("hash has to be an order's: 0x and 64 hex digits.") from problem


def _terms(told: Any) -> OrderTerms | None:
    if told is None:
        return None
    try:
        return _TERMS.validate_python(told)
    except ValidationError as problem:
        found = "; ".join(f"{place}: {why}" for place, why in mistakes(problem))
        raise BadRequest(f"These are no terms of an order: {found}.") from problem
