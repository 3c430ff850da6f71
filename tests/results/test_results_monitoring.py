"""Prometheus reads the result store, and nobody asks it for what it does not tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from monitoring import asked_of, unanswered

from tallystick.poco.values import Address, DealId, TaskId
from tallystick.results.figures import exposition
from tallystick.results.store import Store

JOB = "tallystick-results"


def test_every_metric_exists_and_counts(tmp_path: Path):
    kept = Store(tmp_path / "store")
    assert "tally_results 0\n" in exposition(kept)
    received = kept.incoming()
    received.write_bytes(b"a result")
    kept.add(
        received,
        task=TaskId(b"\x01" * 32),
        deal=DealId(b"\x02" * 32),
        uploader=Address(b"\x03" * 20),
        final_deadline=1,
    )
    told = exposition(kept)
    kept.close()
    assert "tally_results 1\n" in told
    assert "tally_results_bytes 8\n" in told
    assert asked_of(JOB)
    assert unanswered(JOB, told) == []


@pytest.mark.anyio
async def test_it_is_served(store):
    answer = await store._http.get("/prometheus")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "tally_results 0" in answer.text
