"""The table of promises in the docs is what the code says and what a job sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.execution.bubblewrap import Bubblewrap
from tallystick.execution.cgroups import Hierarchies
from tallystick.execution.choose import KNOWN
from tallystick.execution.oci_runtime import OciRuntime
from tallystick.execution.runtimes import MEASURED_DISK
from tallystick.execution.userns import BASE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "executors.md"
SAID = ("memory", "cpus", "pids", "disk", "system calls", "user namespace", "groups")
"""Promises that an executor takes back in a sentence where it cannot keep them."""
pytestmark = pytest.mark.anyio


def table() -> dict[str, dict[str, str]]:
    """Cells by executor and promise."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:13]]
    head, body = rows[0], rows[1:]
    return {
        name: {row[0]: row[column] for row in body}
        for column, name in enumerate(head)
        if column
    }


def taken_back(sentences: tuple[str, ...]) -> set[str]:
    return {text.partition(":")[0] for text in sentences}


def without(cells: dict[str, str], promises: tuple[str, ...]) -> set[str]:
    """Promises that the page does not make."""
    return {promise for promise in promises if cells[promise] != "yes"}


def test_every_executor_has_a_column() -> None:
    assert set(table()) == {*KNOWN, "bubblewrap without root"}


async def test_an_executor_takes_back_what_the_page_does_not_promise(executor) -> None:
    cells = table()[executor.name]
    assert taken_back(executor.limits_not_enforced()) == without(cells, SAID)


def test_without_root_or_in_gvisor_it_is_no_different() -> None:
    nothing = Hierarchies({}, None)
    bare = Bubblewrap(Path("/usr/bin/bwrap"), None, nothing)
    said = (*bare.limits_not_enforced(), MEASURED_DISK)
    assert taken_back(said) == without(table()["bubblewrap without root"], SAID)
    gvisor = OciRuntime(Path("/usr/bin/runsc"), BASE)
    try:
        said = gvisor.limits_not_enforced()
    finally:
        gvisor.close()
    assert taken_back(said) == without(table()["runsc"], SAID)


async def test_a_job_sees_what_the_page_promises(executor, job) -> None:
    script = """
    awk '/^(CapBnd|NoNewPrivs|Seccomp):/ {print $1 $2}' /proc/self/status
    awk 'NR>2 {print "link:" $1}' /proc/net/dev
    awk '{print "root:" $2; exit}' /proc/self/uid_map
    echo x 2>/dev/null >/new || echo read:only"""
    outcome = await executor.run(job(script))
    seen = [line.partition(":")[::2] for line in outcome.stdout.decode().splitlines()]
    facts = dict(seen)
    links = [value for name, value in seen if name == "link"]
    kept = {
        "network": links == ["lo:"],
        "capabilities": facts["CapBnd"] == "0" * 16,
        "no new privileges": facts["NoNewPrivs"] == "1",
        "system calls": facts["Seccomp"] == "2",
        "user namespace": facts["root"] != "0",
        "read-only root": facts.get("read") == "only",
    }
    cells = table()[executor.name]
    assert {name: cells[name] == "yes" for name in kept} == kept
