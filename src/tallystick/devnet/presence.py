"""Whether the workers of a local market are at work: the scheduler says whom it has heard."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import httpx2

from tallystick.poco.values import Address

PATIENCE = 20.0
"""Seconds after which nobody waits for a worker any longer: a market can do with fewer."""

_PAUSE = 0.1
_ROUNDING = 0.1
"""The scheduler tells tenths of seconds."""


@dataclass(slots=True)
class Presence:
    """Waits until a worker that was just started has called at the scheduler."""

    scheduler_url: str
    worker: Address
    _since: float = field(default=0.0, init=False)
    """When its process was started, by the event loop's clock."""

    async def starts(self) -> None:
        """Its process is being started now; what was heard of an earlier one does not count."""
        self._since = anyio.current_time()

    async def noticed(self) -> bool:
        """A probe: whether the scheduler has heard it since, or patience is at an end."""
        passed = anyio.current_time() - self._since
        if passed > PATIENCE or await self._silence() < passed - _ROUNDING:
            return True
        await anyio.sleep(_PAUSE)
        return False

    async def _silence(self) -> float:
        """Seconds since the scheduler heard the worker; infinite when it never did."""
        try:
            # No certificates are loaded: the scheduler is on the loopback.
            async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
                answer = await http.get(f"{self.scheduler_url}/workers")
            known = {w["address"]: w["heardSecondsAgo"] for w in answer.json()}
        except (httpx2.HTTPError, ValueError, LookupError, TypeError):
            return float("inf")
        return float(known.get(str(self.worker), "inf"))
