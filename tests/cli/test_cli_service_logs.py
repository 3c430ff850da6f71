"""What a service logs: text, or an object a line that names the task."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.cli.services import _form_of_logs
from tallystick.poco.values import TaskId

PROGRAM = """
import sys
from pathlib import Path
from tallystick.cli import logs
from tallystick.cli.services import _form_of_logs
from tallystick.engine import timing
from tallystick.poco.values import TaskId
log = logs.configure(*_form_of_logs(Path(sys.argv[1])))
log.info("%s is ready", TaskId(bytes([7]) * 32))
timing.due(0.0, print, of="0x" + "08" * 32)
log.debug("a step")
"""


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ('log_format = "json"\nlog_level = "debug"', ("json", "debug")),
        ("", ("text", "info")),
        ('log_format = "xml"\nlog_level = ["x"]', ("text", "info")),
        ("not toml", ("text", "info")),
    ],
)
def test_the_settings_say_how(tmp_path: Path, settings: str, wanted: tuple[str, str]):
    place = tmp_path / "scheduler.toml"
    place.write_text(settings)
    assert _form_of_logs(place) == wanted
    assert _form_of_logs(tmp_path / "nowhere") == ("text", "info")


def test_lines_of_json_name_the_task(tmp_path: Path):
    place = tmp_path / "scheduler.toml"
    place.write_text('log_format = "json"\nlog_level = "debug"')
    run = [sys.executable, "-c", PROGRAM, str(place)]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stderr
    first, second = map(json.loads, told.splitlines())
    assert (first["task"], first["level"]) == (str(TaskId(bytes([7]) * 32)), "info")
    assert (second["task"], second["message"]) == ("0x" + "08" * 32, "a step")
