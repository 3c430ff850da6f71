"""What the dashboard and the alerts in `packaging/` ask Prometheus for, by service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

PACKAGING = Path(__file__).resolve().parent.parent / "packaging"
DASHBOARD = PACKAGING / "grafana" / "tallystick.json"
RULES = PACKAGING / "prometheus" / "tallystick.rules.yml"
CONFIG = PACKAGING / "prometheus" / "prometheus.yml"

_METRIC = re.compile(r"\b(tally_\w+|up)(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')

Question = tuple[str, dict[str, str]]
"""A metric, and the labels it is asked for with."""


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def expressions() -> Iterator[str]:
    """Everything that is asked anywhere."""
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]
    yield from (rule["expr"] for rule in rules())


def questions(expression: str) -> list[Question]:
    """Each metric of an expression with its labels."""
    return [
        (name, {label: value for label, _, value in _MATCHER.findall(labels)})
        for name, labels in _METRIC.findall(expression)
    ]


def asked_of(job: str) -> list[Question]:
    """What is asked of the services of this job."""
    found = [each for text in expressions() for each in questions(text)]
    return [each for each in found if each[1].get("job") == job and each[0] != "up"]


def unanswered(job: str, exposed: str) -> list[Question]:
    """What no series in the text `exposed` could ever answer: no such metric, or no such label
    on it. What labels hold is the tests' own to compare."""
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposed):
        names = {family.name, *(sample.name for sample in family.samples)}
        for name in names:
            known = labels.setdefault(name, set())
            known.update(*(sample.labels for sample in family.samples))
    return [
        (name, asked)
        for name, asked in asked_of(job)
        if name not in labels or not set(asked) - {"job", "instance"} <= labels[name]
    ]


def grouped_by(expressions: Iterable[str]) -> set[str]:
    """The labels by which anything is grouped."""
    found = re.findall(r"\bby \(([^)]*)\)", " ".join(expressions))
    return {label.strip() for each in found for label in each.split(",")}
