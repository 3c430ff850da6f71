"""Waking those who wait for something of their own, and nobody else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio

K = TypeVar("K", bound=Hashable)

HangUp = Callable[[], Awaitable[object]]
"""Returns when whoever waits has gone, and never while it is there."""


class Bells(Generic[K]):
    """Any number of waiters a key. A waiter costs a cancel scope and no task of its own."""

    def __init__(self) -> None:
        self._waiting: defaultdict[K, set[anyio.CancelScope]] = defaultdict(set)
        self.closed = False
        """Nothing will ring any more: nobody should wait."""

    async def wait(self, key: K, ends: float, hung_up: HangUp = anyio.sleep_forever) -> bool:
        """Wait for the bell of `key`, or until `ends` by the event loop's clock; False when
        whoever waits has gone meanwhile. Who is cancelled waits no more."""
        gone = False
        if self.closed:
            return True
        with anyio.CancelScope(deadline=ends) as scope:
            self._waiting[key].add(scope)
            try:
                await hung_up()
                gone = True
            finally:
                self._forget(key, scope)
        return not gone

    def ring(self, key: K) -> None:
        """Wake whoever waits for `key` now."""
        for scope in list(self._waiting.get(key, ())):
            self._forget(key, scope)
            scope.cancel()

    def close(self) -> None:
        """Let everybody go who waits, now and from now on."""
        self.closed = True
        for key in list(self._waiting):
            self.ring(key)

    def _forget(self, key: K, scope: anyio.CancelScope) -> None:
        scopes = self._waiting.get(key)
        if scopes is not None:
            scopes.discard(scope)
            if not scopes:
                del self._waiting[key]
