"""The pool's workers, as all of its processes know them: registrations, slots, signs of life.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, LiteralString

import anyio

from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Unavailable
from tallystick.engine.fence import LEASE, Fence, Fenced
from tallystick.engine.postgres_link import Link
from tallystick.engine.postgres_statements import LIVING
from tallystick.poco.values import Address
from tallystick.scheduler.roster import Roster
from tallystick.scheduler.shared.bell import LOOK, Bell
from tallystick.wire.scheduler import WorkerModel

log = logging.getLogger(__name__)

_CALL: Final = "worker"
_HOST: Final = "host "
"""Notes: where a worker called from when it registered."""
_DEAF: Final = 5.0
"""Seconds without news of the other processes after which nobody is called silent."""

_REGISTERED: Final = f"""
INSERT INTO worker (wallet, instance, slots, body)
SELECT %(wallet)s::text, %(instance)s::text, %(slots)s::integer, %(body)s::text
WHERE EXISTS ({LIVING})
ON CONFLICT (wallet) DO UPDATE SET instance = excluded.instance, slots = excluded.slots,
    body = excluded.body, seen = clock_timestamp() RETURNING TRUE"""
_LEFT: Final = f"""
UPDATE worker SET seen = '-infinity' WHERE wallet = %(wallet)s AND EXISTS ({LIVING})
RETURNING TRUE"""
_HEARD: Final = f"""
WITH told AS (UPDATE worker SET seen = clock_timestamp()
    WHERE wallet = ANY(%(wallets)s::text[]) AND seen > '-infinity' AND EXISTS ({LIVING}))
SELECT TRUE WHERE EXISTS ({LIVING})"""
_ONE: Final = """
SELECT instance, body, seen = '-infinity',
    CASE WHEN seen = '-infinity' THEN 0
         ELSE extract(epoch FROM clock_timestamp() - seen)::float8 END
FROM worker WHERE wallet = %s"""
_LATELY: Final = """
SELECT wallet, instance, extract(epoch FROM clock_timestamp() - seen)::float8 FROM worker
WHERE seen > clock_timestamp() - %s * interval '1 second'"""


class SharedRoster(Roster):
    """A roster whose workers may speak to any process of the pool."""

    def __init__(
        self,
        journal: Any,
        link: Link,
        bell: Bell,
        life: Callable[[], Fence],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`life`: the right of this process to write. Whatever writes raises Fenced when it
        was not heard of lately, and DatabaseGone."""
        super().__init__(journal, clock)
        self._link, self._bell, self._life = link, bell, life
        self._fresh: set[Address] = set()
        self._synced = clock()
        self._complaints = Complaints(log)
        self.returned: Callable[[Address], None] = lambda worker: None
        """Called when a worker has started again and told another process so."""
        bell.hear(self._called)

    def register(
        self,
        worker: Address,
        model: WorkerModel,
        *,
        instance: str = "",
        takeover: bool = False,
    ) -> WorkerModel:
        """Remember it for all processes. Raises WalletTaken, Fenced, DatabaseGone."""
        self._fetch(worker)
        known = super().register(worker, model, instance=instance, takeover=takeover)
        body = known.model_dump_json(by_alias=True)
        row = {"wallet": str(worker), "instance": instance, "slots": known.slots}
        self._write(_REGISTERED, **row, body=body)
        self._bell.ring(f"{_CALL} {worker}")
        return known

    def read_again(self) -> None:
        """Who runs which worker, and where each called from, whichever process it spoke to."""
        super().read_again()
        self._hosts = self._noted(_HOST)

    def calls_from(self, worker: Address, host: str) -> None:
        """Note it for all processes: any of them may give the worker a task."""
        before = self._hosts.get(worker)
        super().calls_from(worker, host)
        if (now := self._hosts.get(worker)) == before:
            return
        if now is None:
            self._journal.forget(f"{_HOST}{worker}")
        else:
            self._journal.note(f"{_HOST}{worker}", now)

    def heard(self, worker: Address) -> None:
        """A sign of life; the others are told within a second."""
        super().heard(worker)
        self._fresh.add(worker)

    def left(self, worker: Address) -> None:
        """The worker ends, by its own word."""
        self._write(_LEFT, wallet=str(worker))
        super().left(worker)
        self._fresh.discard(worker)
        self._bell.ring(f"{_CALL} {worker}")

    def model(self, worker: Address) -> WorkerModel | None:
        """What `worker` said of itself, to whichever process."""
        known = super().model(worker)
        if known is None and self._fetch(worker):
            known = super().model(worker)
        return known

    def speaks(self, worker: Address, instance: str) -> bool:
        """Whether this process speaks for the wallet: the one that registered last does."""
        if not super().speaks(worker, instance):
            self._fetch(worker)
        return super().speaks(worker, instance)

    def silent(self, seconds: float) -> Iterator[Address]:
        """Workers that no process has heard for so long; none while we hear from no process."""
        if self._clock() - self._synced > _DEAF:
            return iter(())
        return super().silent(seconds)

    async def run(self) -> None:
        """Tell the others whom we heard, and learn whom they heard, until cancelled."""
        while True:
            try:
                self._exchange()
            except Unavailable as trouble:
                self._complaints.about("The signs of life of workers", trouble)
            else:
                self._complaints.over("The signs of life of workers")
            await anyio.sleep(LOOK)

    def _exchange(self) -> None:
        if self._fresh:
            self._write(_HEARD, wallets=[str(worker) for worker in self._fresh])
            self._fresh.clear()
        since = self._clock() - self._synced + _DEAF
        for wallet, instance, age in self._link.rows(_LATELY, (since,)):
            self._seen(Address(wallet), instance, age)
        self._synced = self._clock()

    def _write(self, statement: LiteralString, **values: object) -> None:
        life = self._life()
        mine = {"holder": life.holder, "epoch": life.epoch, "lease": LEASE}
        if not self._link.rows(statement, {**values, **mine}):
            raise Fenced("This process slept and has to be heard of again before it writes.")

    def _seen(self, worker: Address, instance: str, age: float) -> None:
        if super().model(worker) is None or self._instances.get(worker) != instance:
            self._fetch(worker)
        else:
            at = self._clock() - age
            self._heard[worker] = max(self._heard.get(worker, at), at)

    def _fetch(self, worker: Address) -> bool:
        """Take over the row of a worker; False when there is none."""
        found = self._link.rows(_ONE, (str(worker),))
        if not found:
            return False
        instance, body, gone, age = found[0]
        before = self._instances.get(worker)
        self._models[worker] = WorkerModel.model_validate_json(body)
        self._instances[worker] = instance
        at = self._clock() - age
        self._heard[worker] = max(self._heard.get(worker, at), at)
        if gone:
            self._left.add(worker)
        else:
            self._left.discard(worker)
        if before is not None and before != instance:
            self.returned(worker)
        return True

    def _called(self, what: str) -> None:
        kind, _, wallet = what.partition(" ")
        if kind == _CALL:
            worker = Address(wallet)
            try:
                known = self._fetch(worker) and worker not in self._left
            except Unavailable as trouble:
                self._complaints.about("A worker that registered elsewhere", trouble)
                return
            # A peer of another make does not tell its starts apart.
            if known and not self._instances.get(worker):
                self.returned(worker)
