"""What an idle worker is made of: everything that it loads is resident for ever."""

from __future__ import annotations

import json
import subprocess
import sys

ALLOWED = {
    "Crypto",
    "annotated_types",
    "anyio",
    "certifi",
    "coincurve",
    "eth_hash",
    "h11",
    "httpcore2",
    "httpx2",
    "idna",
    "jwt",
    "pydantic",
    "pydantic_core",
    "sniffio",
    "tallystick",
    "truststore",
    "typing_extensions",
    "typing_inspection",
    "websockets",
    "zstandard",
}
"""Think twice before adding one: each costs every idle worker its memory, and every start its
time. Load what only some tasks need inside the function that needs it."""
TEST_ONLY = {"attr", "attrs", "outcome", "sortedcontainers", "trio"}
"""httpcore2 loads trio where it finds it, which is beside the tests only."""

LOOK = """
import json, sys
from tallystick.cli import services
import tallystick.worker.app, tallystick.worker.settings
import tallystick.execution.bubblewrap, tallystick.execution.oci_runtime
print(json.dumps(sorted({n.split(".")[0] for n in sys.modules} - set(sys.stdlib_module_names))))
"""


def loaded() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=60
    )
    return {n for n in json.loads(done.stdout) if not n.startswith(("_", "distutils"))}


def test_an_idle_worker_loads_nothing_that_it_does_not_need() -> None:
    assert loaded() - ALLOWED - TEST_ONLY == set()


def test_nothing_is_allowed_that_is_not_loaded() -> None:
    assert ALLOWED - loaded() <= {"certifi", "sniffio"}
