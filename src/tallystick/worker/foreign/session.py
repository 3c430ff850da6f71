"""A worker's dealings with a v9 scheduler: what ours is told and tells, in words of v9.

State, work and stakes are those of every worker; the chain moves them. The scheduler is asked
for work, told what was done, and heard: a notification that is lost costs nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field

import anyio

from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Began, Fact, Step
from tallystick.lifecycle.replicate import OVER, Status
from tallystick.lifecycle.task import Task
from tallystick.poco.contribution import weight
from tallystick.poco.deal import Deal
from tallystick.wire.notifications import TaskNotification
from tallystick.wire.scheduler import OwnOffer, PublicConfig, ReplicateOffer
from tallystick.wire.stomp_client import Channel
from tallystick.wire.v9 import FINISH, V9Client, topic, understood
from tallystick.worker.foreign.orders import Orders
from tallystick.worker.foreign.origin import block_before
from tallystick.worker.foreign.reports import Reports
from tallystick.worker.owed import TOLD
from tallystick.worker.session import OPEN, PING, Session

log = logging.getLogger(__name__)

SUBSCRIBE_SECONDS = 15.0
"""For which a task waits for its topic before it is told to have begun; after that it goes on
without: only an upload is asked for there, and that is looked for otherwise too."""
LOOK = 15.0
"""Seconds between two looks whether a request to upload was missed."""
_MOST_NEWS = 1_000


@dataclass(slots=True)
class V9Session(Session):
    """One session with a v9 scheduler."""

    v9: V9Client = field(init=False)
    channel: Channel = field(init=False)
    orders: Orders = field(init=False)
    reports: Reports = field(init=False)
    _period: float | None = None
    """Seconds between two demands; None before the scheduler has told."""
    _asked_at: float = -1e9
    _offer: ReplicateOffer | None = None
    """Given to us, but not taken up yet, for want of a node."""
    _in_flight: bool = False
    """Whether a demand has no answer yet."""
    _answered: Pulse = field(default_factory=Pulse)
    """Beats when a demand was answered, and when what it brought is taken up."""
    _news: deque[TaskNotification] = field(
        default_factory=lambda: deque[TaskNotification](maxlen=_MOST_NEWS)
    )
    _fresh: Pulse = field(default_factory=Pulse)
    _recovered: bool = False
    _taking: str = ""
    _with_token: str = ""
    """The token with which we have registered."""

    def __post_init__(self) -> None:
        Session.__post_init__(self)
        self.v9 = V9Client(self.client)
        url = f"{self.client.url}/connect"
        self.channel = Channel(url, self._overhear, ca=self.config.ca_file)
        self.orders = Orders(self, self.v9, self._accept, self._expect)
        self.reports = Reports(self, self.v9, self.orders, self._subscribed)

    async def run(self) -> None:
        """Keep up the session until cancelled."""
        log.info("The scheduler is of another make: the worker speaks as one of v9.")
        self._with_token = self.client.token
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.channel.keep)
            duties = (self._follow, self._listen, self._look, self._place, self._tell)
            for duty in (self._ping, self._ask, *duties):
                tasks.start_soon(self._insist, duty)

    async def _ping(self) -> None:
        word, known = (await self.client.ping()).strip().lower(), self._word
        self.contact.heard()
        changed = bool(word and known and word != known)
        if changed:
            log.warning("The scheduler began anew or has other settings: registering again.")
            self._recovered = False
            self._fresh.beat()
        if changed or self.client.token != self._with_token:
            self._heed(await self.client.config())
            await self.register()
            self._with_token = self.client.token
        self._word = word or known
        await anyio.sleep(PING)

    def _heed(self, told: PublicConfig) -> None:
        self._period = told.ask_for_replicate_period / 1000

    async def _ask(self) -> None:
        """One demand after the other, not more often than the scheduler wants."""
        if self._period is None:
            self._heed(await self.client.config())
        if self._offer is not None:
            await self._accept(self._offer)
            self._offer = None
            self._answered.beat()
        seen, reason = self.changes.count, self.why_idle()
        self.decisions.note("idle" if reason else "asking", None, reason or OPEN)
        wait = self._asked_at + (self._period or 0.0) - anyio.current_time()
        if reason is None and wait <= 0 and self._recovered:
            await self._demand_one()
        else:
            await self.changes.next(seen, min(LOOK, max(0.1, wait)))

    async def _demand_one(self) -> None:
        self.contact.asked()
        self._in_flight = True
        try:
            self._offer = await self.v9.offer(max(1, self.follower.head))
        finally:
            self._asked_at = anyio.current_time()  # it counts from when it has heard us
            self._in_flight = False
            self._answered.beat()
        self.contact.answered(None if self._offer else "")

    async def _accept(self, offer: ReplicateOffer) -> None:
        """Take up a replicate; the chain is read about it from before its deal on."""
        permission = offer.workerpool_authorization
        self._taking = str(permission.chain_task_id)
        self.channel.follow(topic(self._taking))
        deal = await self.hub.deal(permission.deal_id)
        start = await block_before(self.hub, deal.start) if deal is not None else 0
        told = OwnOffer(
            workerpool_authorization=permission,
            weight=weight(await self.hub.score(self.me)),
            from_block=start,
            alone=deal is not None and self._might_finish(deal),
        )
        await self._take(permission, told)
        self._taking = ""
        self.changes.beat()

    def _might_finish(self, deal: Deal) -> bool:
        """Whether we could finalize if the scheduler asked for it: where a result has to be
        uploaded, a v9 store takes none before the vote."""
        return self.config.contribute_and_finalize and deal.has_callback and deal.trust <= 1

    async def farewell(self) -> None:
        """There is no word for it. But what a demand brings that is on its way would wait for
        us for a whole period: it is handed back."""
        while self._in_flight or self._offer is not None:
            await self._answered.next(self._answered.count)
        await self.all_told()

    async def before_vote(self, task: Task) -> None:
        """The scheduler decides whether there is a vote, and of which kind: it answers so to
        what was computed."""
        stream = str(task.id)
        word = await self.reports.answer(stream)
        mine = self.engine.states[stream].replicates[self.me]
        if mine.alone and word != FINISH and mine.status is Status.COMPUTED:
            self._record(stream, Began(self.me, Step.CONTRIBUTE))
            self._record(stream, Began(self.me, Step.CHECK))

    async def _subscribed(self, stream: str) -> None:
        self.channel.follow(topic(stream))
        if not await self.channel.followed(topic(stream), SUBSCRIBE_SECONDS):
            log.warning("%s: begun without notifications of the scheduler.", stream)

    async def _follow(self) -> None:
        """Hear of the tasks that we take part in, and of no other."""
        seen = self.changes.count
        live = {
            topic(stream)
            for stream, task in self.engine.states.items()
            if (mine := task.replicates.get(self.me)) is not None and mine.status not in OVER
        }
        self.channel.follow_only(live | ({topic(self._taking)} if self._taking else set()))
        await self.changes.next(seen)

    async def _overhear(self, place: str, body: str) -> None:
        news = understood(body)
        if news is None or place != topic(news.chain_task_id):
            log.debug("What was said at %s is not understood.", place)
            return
        self._news.append(news)
        self._fresh.beat()

    async def _listen(self) -> None:
        """What the scheduler says, by itself or because we began."""
        seen = self._fresh.count
        if not self._recovered:
            await self._recover()
        while self._news:
            await self.orders.hear(self._news[0])
            self._news.popleft()
        await self._fresh.next(seen)

    async def _recover(self) -> None:
        for news in await self.v9.interrupted(max(1, self.follower.head)):
            self.reports.recovering.add(str(news.chain_task_id))
            await self.orders.hear(news, recovering=True)
        self._recovered = True
        self._fresh.beat()

    async def _look(self) -> None:
        """At what may have been said while nobody listened, above all in a new session."""
        sessions = self.channel.sessions
        with anyio.move_on_after(LOOK):
            while self.channel.sessions == sessions:
                await self.channel.changes.next(self.channel.changes.count)
        if await self.orders.missed():
            self._recovered = False
            self._fresh.beat()

    def _expect(self, stream: str, fact: Fact) -> None:
        if all(known != stream for known, _ in self._early):
            self._early.append((stream, fact))
        self._place_early()

    async def _tell(self) -> None:
        """Not before we were told how to go on: who reports a reveal and asks that right after
        is taken for recovering, and is not chosen to upload."""
        with anyio.move_on_after(LOOK):
            while not self._recovered:
                await self._fresh.next(self._fresh.count)
        await self.reports.tell(TOLD)
