"""What a job reaches under each policy, and what is noticed when it tries to reach more."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tallystick.execution.connection import slirp_missing
from tallystick.execution.executor import RuntimeUnfit
from tallystick.execution.network import NetworkPolicy, Reach

pytestmark = pytest.mark.anyio

OUTSIDE = "203.0.113.7"
"""An address for documentation, which the tests give to a network of their own."""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.path} of {self.headers['Host']} by {self.headers['Connection']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """A server on the loopback of the host; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def listed(*hosts: str, private: bool = True) -> NetworkPolicy:
    return NetworkPolicy(Reach.ALLOW_LIST, hosts, private=private)


def needs(executor, policy: NetworkPolicy) -> None:
    if reason := executor.network_refused(policy):
        pytest.skip(f"{executor.name}: {reason}")


def asked(request: str, words: str = "127.0.0.1 3128") -> str:
    return f"printf '{request}' | nc -w 5 {words} | tr -d '\\r'; echo"


@pytest.mark.parametrize("noting", [False, True])
async def test_a_job_that_wants_no_network_is_denied_nothing(executor, job, noting) -> None:
    script = "for host in 127.0.0.1 iexec localhost; do nc -w 1 $host 9; done; env"
    outcome = await executor.run(job(script, note_denials=noting))
    assert outcome.stderr.count(b"Connection refused") == 3
    assert b"PROXY" not in outcome.stdout.upper()
    assert outcome.denied == ()


@pytest.mark.parametrize("wanted", ["1.1.1.1 80", "2606:4700::1111 80"])
async def test_without_a_network_its_absence_is_noticed(executor, job, wanted) -> None:
    needs(executor, listed())
    outcome = await executor.run(job(f"nc -w 1 {wanted}; exit 0", note_denials=True))
    assert outcome.denied == ("the network, which it tried to reach once",)


async def test_a_name_that_was_looked_up_is_noticed(executor, job) -> None:
    needs(executor, listed())
    outcome = await executor.run(job("nc -w 1 example.org 80; exit 0", note_denials=True))
    assert "a name server" in "".join(outcome.denied)


async def test_a_proxy_leads_to_what_is_allowed(executor, job, web, caplog) -> None:
    policy = listed(f"localhost:{web}")
    needs(executor, policy)
    plain = asked(f"GET http://localhost:{web}/a?b=1 HTTP/1.1\\r\\nHost: evil\\r\\n\\r\\n")
    tunnel = asked(
        f"CONNECT localhost:{web} HTTP/1.1\\r\\n\\r\\nGET /t HTTP/1.0\\r\\nHost: t\\r\\n\\r\\n"
    )
    with caplog.at_level(logging.INFO, "tallystick.execution.egress"):
        work = job(f"{plain}; {tunnel}; echo $HTTPS_PROXY $no_proxy", network=policy)
        outcome = await executor.run(work)
    text = outcome.stdout.decode()
    assert f"/a?b=1 of localhost:{web} by close" in text
    assert "200 Connection established" in text
    assert "/t of t by None" in text
    assert "http://127.0.0.1:3128 localhost,127.0.0.1,::1" in text
    assert outcome.denied == ()
    assert f"{work.name}: 2 connections to localhost:{web}" in caplog.text


async def test_a_proxy_leads_nowhere_else(executor, job, web) -> None:
    policy = listed("example.invalid:80", "localhost:1")
    needs(executor, policy)
    wanted = [
        asked(f"CONNECT localhost:{web} HTTP/1.1\\r\\n\\r\\n"),
        asked(f"GET http://127.0.0.1:{web}/ HTTP/1.1\\r\\n\\r\\n"),
        asked("CONNECT example.invalid:80 HTTP/1.1\\r\\n\\r\\n"),
        asked("nonsense\\r\\n\\r\\n"),
        asked("", "-w 1 9.9.9.9 80"),
        asked("", f"127.0.0.1 {web}"),
    ]
    outcome = await executor.run(job("; ".join(wanted), network=policy))
    text = outcome.stdout.decode()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("HTTP/1.1")] == [
        "403",
        "403",
        "502",
        "400",
    ]
    denied = " ".join(outcome.denied)
    assert f"localhost:{web} (it is not on the allow-list)" in denied
    assert "the network, which it tried to reach once" in denied


async def test_an_allowed_name_does_not_lead_to_a_neighbour(executor, job, web) -> None:
    policy = listed(f"localhost:{web}", private=False)
    needs(executor, policy)
    outcome = await executor.run(
        job(asked(f"CONNECT localhost:{web} HTTP/1.1\\r\\n\\r\\n"), network=policy)
    )
    assert b"403" in outcome.stdout
    assert outcome.denied == (f"localhost:{web} (its address is private)",)


ANSWER = """
import socket
with socket.create_server((%r, 0)) as door:
    print(door.getsockname()[1], flush=True)
    while True:
        with door.accept()[0] as line:
            line.sendall(b"hello from outside")
"""


@pytest.fixture
def outside() -> Iterator[int]:
    """A server at a public address, in a network of the test's own; its port."""
    if slirp_missing() or os.geteuid() != 0:
        pytest.skip(slirp_missing() or "networks are made by root")
    link = f"tally{os.getpid() % 100_000}"
    with contextlib.ExitStack() as undo:
        command = ["unshare", "--net", sys.executable, "-c", f"input(){ANSWER % OUTSIDE}"]
        pipe = subprocess.PIPE
        server = undo.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe))
        undo.callback(server.kill)
        ip("link", "add", link, "type", "veth", "peer", "name", f"{link}b")
        undo.callback(ip, "link", "del", link)
        while os.readlink(f"/proc/{server.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            os.sched_yield()
        ip("link", "set", f"{link}b", "netns", str(server.pid))
        ip("link", "set", link, "up")
        ip("addr", "add", "203.0.113.1/30", "dev", link)
        ip("route", "add", OUTSIDE, "dev", link)
        enter = ("nsenter", "-t", str(server.pid), "-n")
        for words in (
            f"addr add {OUTSIDE}/24 dev {link}b",
            f"link set {link}b up",
            "link set lo up",
        ):
            subprocess.run([*enter, "ip", *words.split()], check=True)
        assert server.stdin
        assert server.stdout
        server.stdin.write(b"\n")
        server.stdin.flush()
        yield int(server.stdout.readline())


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


async def test_the_internet_and_none_of_the_neighbours(executor, job, web, outside) -> None:
    policy = NetworkPolicy(Reach.FULL)
    needs(executor, policy)
    outcome = await executor.run(
        job(
            f"echo out=$(nc -w 5 {OUTSIDE} {outside})\n"
            f"for host in 127.0.0.1 10.0.2.2 203.0.113.1; do\n"
            f"nc -w 2 $host {web} </dev/null >/dev/null 2>&1 && echo reached $host\ndone\n"
            "nc -w 2 169.254.169.254 80 2>&1; cat /etc/resolv.conf",
            network=policy,
        )
    )
    text = outcome.stdout.decode()
    assert "out=hello from outside" in text
    assert "reached" not in text
    assert "nameserver 10.0.2.3" in text


async def test_a_network_that_cannot_be_had_is_said_before_the_job(executor, job) -> None:
    policy = NetworkPolicy(Reach.FULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        reason = executor.network_refused(policy)
        assert reason
        with pytest.raises(RuntimeUnfit, match="cannot get the public internet"):
            await executor.run(job("true", network=policy))
