"""What an installation and an idle worker weigh."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = {
    "fastapi",
    "jinja2",
    "numpy",
    "psycopg",
    "rich",
    "sqlalchemy",
    "starlette",
    "textual",
    "uvicorn",
    "web3",
}
"""What a worker must never load: each is tens of milliseconds and megabytes."""
LOOK = """
import json, sys
from tallystick.cli import services
import tallystick.worker.app, tallystick.worker.settings
print(json.dumps(sorted(sys.modules)))
"""


def test_a_worker_loads_few_modules_and_none_that_is_heavy(keep_to) -> None:
    # In an environment without the tests' own packages httpcore2 would not load trio either.
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, check=True)
    loaded = {name for name in json.loads(done.stdout) if name.split(".")[0] != "trio"}
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()
    found = {"loaded when its program is": len(loaded)}
    keep_to("modules of a worker", found, partly=True)


def test_installing_it_brings_few_packages_and_little_to_send(tmp_path: Path, keep_to) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    build = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run([*build, "-d", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    found = {
        "direct dependencies": len(project["dependencies"]),
        "kilobytes of the wheel": wheel.stat().st_size / 1000,
    }
    assert found["kilobytes of the wheel"] > 100, "there is something in it"
    keep_to("installation", found)


def test_every_line_of_the_table_says_why(table) -> None:
    lines = {(part, name): line for part in table for name, line in table[part].items()}
    assert all(
        line["why"] and len({"at", "most"} & line.keys()) == 1 for line in lines.values()
    )
