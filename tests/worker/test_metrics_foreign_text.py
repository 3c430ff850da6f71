"""Text of strangers in figures for Prometheus is read back as it was, and adds no series."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from worker_lab import ME, task_of

from tallystick.lifecycle.facts import Assigned, Began, Failed, Step
from tallystick.worker.metrics import _work

QUICK: Final = settings(deadline=None, derandomize=True, max_examples=40)


class Said(Collector):
    """Metrics that are known."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


@QUICK
@given(st.text(max_size=30))
@example('"} 1\ntally_wallet_wei 5\n# ')
@example("\\\n\\n\\\\\"'{}=,\r\0\u2028")
def test_a_cause_of_any_text_is_one_label(cause: str):
    failed = task_of(Assigned(ME, 2), Began(ME, Step.START), Failed(ME, Step.START, cause))
    registry = CollectorRegistry()
    registry.register(Said(_work(ME, [failed])))
    told = generate_latest(registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(told)}
    assert families.keys() == {"tally_replicates", "tally_replicates_ended"}
    (sample,) = families["tally_replicates_ended"].samples
    assert (sample.labels, sample.value) == ({"cause": cause, "status": "failed"}, 1.0)
