"""What lies in `packaging/` for Prometheus and Grafana is what they read. That the names are
real is tested beside each service: `test_*_monitoring.py`."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from monitoring import CONFIG, RULES, dashboard, expressions, questions, rules

JOBS = {"tallystick-scheduler", "tallystick-worker", "tallystick-results"}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here (Debian package prometheus)"
)


def test_every_question_names_a_job_that_is_scraped() -> None:
    scraped = {
        each["job_name"] for each in yaml.safe_load(CONFIG.read_text())["scrape_configs"]
    }
    assert scraped == JOBS
    for expression in expressions():
        asked = questions(expression)
        assert asked, expression
        assert {labels.get("job") for _, labels in asked} <= JOBS, expression


def test_the_paths_are_those_of_the_services() -> None:
    paths = {
        each["job_name"]: each["metrics_path"]
        for each in yaml.safe_load(CONFIG.read_text())["scrape_configs"]
    }
    assert paths == {
        "tallystick-scheduler": "/prometheus",
        "tallystick-results": "/prometheus",
        "tallystick-worker": "/metrics",
    }


def test_grafana_can_provision_the_dashboard() -> None:
    told = dashboard()
    assert re.fullmatch(r"[\w-]{1,40}", told["uid"])
    assert told["schemaVersion"] >= 36
    assert "id" not in told  # of a database that is not theirs
    variables = {each["name"]: each for each in told["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    panels = told["panels"]
    assert len({each["id"] for each in panels}) == len(panels)
    for panel in panels:
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["targets"]
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= set(variables)
    _apart([each["gridPos"] for each in panels])


def _apart(places: list[dict[str, int]]) -> None:
    """No panel lies on another, and none beyond the edge."""
    taken: set[tuple[int, int]] = set()
    for place in places:
        assert place["x"] + place["w"] <= 24
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & taken
        taken |= mine


def test_alerts_say_what_to_do() -> None:
    names = [each["alert"] for each in rules()]
    assert len(set(names)) == len(names)
    wanted = {"PoolNotReady", "PoolStakeLow", "NoWorkers", "TasksStuck", "GasOverCap"}
    assert wanted | {"RevealLate"} <= set(names)
    for each in rules():
        assert each["labels"]["severity"] in {"warning", "critical"}
        assert each["annotations"]["summary"].endswith(".")
        assert each["annotations"]["description"].endswith((".", "deposit."))


@needs_promtool
@pytest.mark.parametrize(
    "words", [("config", CONFIG), ("rules", RULES)], ids=["config", "rules"]
)
def test_prometheus_takes_them(words) -> None:
    what, file = words
    told = subprocess.run(
        ["promtool", "check", what, str(file)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
