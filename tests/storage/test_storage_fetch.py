"""Downloads from a real server that is as unhelpful as servers can be."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tallystick.poco.values import Hash
from tallystick.storage.addresses import AddressRefused, require_public, require_public_ip
from tallystick.storage.fetch import BadChecksum, DatasetUnavailable, TooLarge, fetch

pytestmark = pytest.mark.anyio

DATA = b"four score and seven years ago\n" * 1000
CHECKSUM = Hash(hashlib.sha256(DATA).digest())


class Server(BaseHTTPRequestHandler):
    """Answers by the path; counts its visitors."""

    visits = 0

    def do_GET(self) -> None:
        type(self).visits += 1
        getattr(self, self.path.strip("/").split("/")[0], self.missing)()

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def data(self) -> None:
        self.answer(DATA)

    def missing(self) -> None:
        self.answer(b"no", 404)

    def empty(self) -> None:
        self.answer(b"")

    def ipfs(self) -> None:
        self.answer(DATA)

    def moody(self) -> None:
        self.answer(DATA, 200 if type(self).visits > 1 else 503)

    def moved(self) -> None:
        self.answer(b"", 302, Location="/data")

    def circle(self) -> None:
        self.answer(b"", 302, Location="/circle")

    def elsewhere(self) -> None:
        self.answer(b"", 302, Location="file:///etc/passwd")

    def slow(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.1)

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(100_000))

    def broken(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, *_: Any) -> None: ...


class Quiet(ThreadingHTTPServer):
    """Says nothing when a visitor leaves in the middle of an answer."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None: ...


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[str]:
    Server.visits = 0
    with Quiet(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def get(url: str, target: Path, checksum: Hash | None = None, **more: Any) -> None:
    """`fetch` as a market on one machine calls it."""
    settings = {"max_bytes": 1 << 20, "time_limit": 10.0, "allow_private": True, **more}
    await fetch(url, target, checksum=checksum, **settings)


@pytest.mark.parametrize("path", ["data", "moved", "moody"])
async def test_a_file_arrives_whole_and_checked(server: str, tmp_path: Path, path: str) -> None:
    await get(f"{server}/{path}", tmp_path / "f", CHECKSUM)
    assert (tmp_path / "f").read_bytes() == DATA
    assert files(tmp_path) == ["f"]


async def test_an_ipfs_path_is_looked_for_at_one_gateway_after_the_other(
    server: str, tmp_path: Path
) -> None:
    gateways = ("http://127.0.0.1:9", f"{server}/missing", server)
    await get("/ipfs/QmX", tmp_path / "f", CHECKSUM, gateways=gateways)
    assert (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "status 404"),
        ("empty", "is empty"),
        ("circle", "from one address to the next"),
        ("elsewhere", "not followed"),
    ],
)
async def test_what_cannot_be_had_is_said_in_a_sentence(
    server: str, tmp_path: Path, path: str, reason: str
) -> None:
    with pytest.raises(DatasetUnavailable, match=reason):
        await get(f"{server}/{path}", tmp_path / "f")
    assert files(tmp_path) == []


@pytest.mark.parametrize("path", ["slow", "broken"])
async def test_patience_ends_with_the_time_limit(
    server: str, tmp_path: Path, path: str
) -> None:
    with pytest.raises(DatasetUnavailable, match=r"within 0\.5 seconds"):
        await get(f"{server}/{path}", tmp_path / "f", time_limit=0.5)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("path", "limit"), [("endless", 1 << 20), ("data", 1000)])
async def test_a_file_over_the_limit_is_not_kept(
    server: str, tmp_path: Path, path: str, limit: int
) -> None:
    with pytest.raises(TooLarge):
        await get(f"{server}/{path}", tmp_path / "f", max_bytes=limit)
    assert files(tmp_path) == []


async def test_another_content_than_registered_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(BadChecksum, match="registered on chain"):
        await get(f"{server}/data", tmp_path / "f", Hash(bytes(32)))
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://x/y",
        "data:,x",
        "",
        "http://",
        "http://x:99999/",
        "gopher:x",
    ],
)
async def test_only_http_and_ipfs_are_opened(tmp_path: Path, url: str) -> None:
    with pytest.raises(DatasetUnavailable):
        await get(url, tmp_path / "f", allow_private=False)


async def test_a_strangers_address_does_not_lead_into_the_workers_network(
    server: str, tmp_path: Path
) -> None:
    for host in ("127.0.0.1", "localhost", "0x7f000001", "2130706433"):
        url = server.replace("127.0.0.1", host) + "/data"
        with pytest.raises(DatasetUnavailable, match="not a public address"):
            await get(url, tmp_path / "f", allow_private=False)
    assert Server.visits == 0


@pytest.mark.parametrize(
    "ip",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "172.17.0.1", "100.64.0.1",
     "0.0.0.0", "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "224.0.0.1",
     "255.255.255.255", "2002:7f00:1::1", "64:ff9b::a9fe:a9fe",
     "2001:0:5ef5:79fd:0:0:80ff:fffe"],
)  # fmt: skip
def test_private_addresses_are_known(ip: str) -> None:
    with pytest.raises(AddressRefused, match="not a public address"):
        require_public_ip(ip, "http://x")


def test_public_addresses_pass() -> None:
    require_public_ip("9.9.9.9", "http://x")
    require_public_ip("2620:fe::fe", "http://x")


async def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(AddressRefused, match="not known"):
        await require_public("http://nowhere.invalid/")


async def test_a_host_that_does_not_answer_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.storage.fetch._PAUSES", ())
    with pytest.raises(DatasetUnavailable, match=r"does not answer \([^()]+\)\.$"):
        await get("http://127.0.0.1:9/", tmp_path / "f")
