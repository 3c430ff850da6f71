"""A trouble that lasts is said once, seldom again, and once when it is over."""

from __future__ import annotations

import logging

import pytest

from tallystick.engine.complaints import AGAIN, Complaints

log = logging.getLogger("complaints")


def test_a_trouble_that_is_met_every_second_is_said_now_and_then(
    caplog: pytest.LogCaptureFixture,
):
    now = 0.0
    complaints = Complaints(log, lambda: now)
    with caplog.at_level(logging.INFO):
        for _ in range(int(AGAIN) + 1):
            complaints.about("The node", "It does not answer.")
            now += 1
        complaints.about("The node", "It answers with 503.")
        complaints.over("The node")
        complaints.over("The node")
    said = [record.message for record in caplog.records]
    assert said == [
        "The node: It does not answer. Trying again until it works.",
        "The node: It does not answer. Trying again until it works.",
        "The node: It answers with 503. Trying again until it works.",
        "The node: works again after 601 s.",
    ]


def test_what_comes_back_and_goes_again_is_news_again(caplog: pytest.LogCaptureFixture):
    complaints = Complaints(log, lambda: 0.0)
    for _ in range(2):
        complaints.about("The node", "away.")
        complaints.over("The node")
    assert sum("away." in record.message for record in caplog.records) == 2
