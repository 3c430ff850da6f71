"""Markets take ports that nobody else has, and say which is in the way."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from tallystick.devnet.ports import Ports, PortTaken, free, reserved


def test_what_is_reserved_is_not_given_twice():
    with reserved(None) as one, reserved(None) as two:
        assert not set(one.all) & set(two.all)
        with (
            pytest.raises(PortTaken, match=f"Port {one.scheduler} is taken"),
            reserved(one.scheduler),
        ):
            pass
    base = spare()
    for _ in range(2):
        with reserved(base) as again:
            assert again.scheduler == base


def spare() -> int:
    """Ports beyond those that markets take when they are not told, so that none of the other
    tests comes in between."""
    for base in range(20_000, 32_000, 10):
        with suppress(PortTaken), reserved(base):
            return base
    pytest.skip("all ports are taken")


def test_a_listener_is_named_by_its_port():
    base = spare()
    ports = Ports.from_base(base)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports.registry))
        listener.listen()
        assert not free(ports.registry)
        with (
            pytest.raises(PortTaken, match=f"Port {ports.registry} is taken"),
            reserved(base),
        ):
            pass
        with reserved(None, last=base) as others:
            assert others != ports
