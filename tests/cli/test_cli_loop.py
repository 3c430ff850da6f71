"""On what a scheduler runs."""

from __future__ import annotations

import resource
import sys

import anyio
import pytest
import uvloop

from tallystick.cli import services


async def kind() -> str:
    with anyio.open_signal_receiver():  # what a service stops by
        return type(anyio.lowlevel.current_token().native_token).__module__


def test_the_quicker_loop_where_it_is_installed(monkeypatch: pytest.MonkeyPatch):
    assert services._loop() == {"loop_factory": uvloop.new_event_loop}
    assert anyio.run(kind, backend_options=services._loop()).startswith("uvloop")
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert services._loop() == {}
    assert not anyio.run(kind, backend_options=services._loop()).startswith("uvloop")


def test_as_many_workers_may_wait_as_the_machine_allows():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        services._as_many_files_as_may_be()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
