"""The pool's money for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_MEANINGS: Mapping[str, str] = {
    "pool_deposit_free_nrlc": "Deposit of the pool's owner that deals to come can lock.",
    "pool_deposit_locked_nrlc": "Deposit of the pool's owner that deals have locked.",
    "pool_wallet_wei": "What the pool's owner has for gas.",
    "pool_money_warnings": "What `tally pool status` warns of.",
    "pool_orders_on_offer": "Signed orders that can be used.",
    "pool_reward_nrlc": "Earned with tasks that ended.",
    "pool_seized_nrlc": "Stake lost with tasks that ended.",
    "pool_gas_wei": "Paid for gas of tasks that ended.",
}


class Takings(Collector):
    """Reads the figures whenever somebody asks. What is not known yet is left out."""

    def __init__(self, figures: Callable[[], Mapping[str, float | None]]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """One gauge for each figure."""
        for name, value in self._figures().items():
            if value is not None:
                yield GaugeMetricFamily(f"tally_{name}", _MEANINGS[name], value=float(value))
