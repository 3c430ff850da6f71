"""Images made by hand, and a registry that hands out exactly what it is given."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import socket
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tallystick.execution.executor import ImageRef

BUSYBOX = Path("/bin/busybox")
_APPLETS = (
    "sh cat cp chmod dd df echo env false find free grep head hostname id ifconfig kill ln ls"
    " mkdir mkfifo mknod mount mv nc ping ps rm seq sleep stat sync tail test touch tr true"
    " truncate umount uname unshare wc wget yes awk nproc chown mktemp du"
)
APPLETS = _APPLETS.split()
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1001:\nvideo:x:44:app\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A plain tar of what is given, in that order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in members:
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def folder(name: str, mode: int = 0o755, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, mode=mode, **fields), b""


def file(
    name: str, content: bytes, mode: int = 0o644, **fields
) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, mode=mode, **fields), content


def link(
    name: str, target: str, kind: bytes = tarfile.SYMTYPE
) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=kind, linkname=target, mode=0o777), b""


def busybox() -> bytes:
    """The smallest system with a shell."""
    tools = [link(f"bin/{name}", "busybox") for name in APPLETS]
    return layer(
        folder("bin"),
        file("bin/busybox", BUSYBOX.read_bytes(), 0o755),
        *tools,
        folder("etc"),
        file("etc/passwd", PASSWD.encode()),
        file("etc/group", GROUP.encode()),
        folder("root", 0o700),
        folder("home/app", 0o755, uid=1000, gid=1001),
        folder("srv/work"),
    )


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Shop:
    """A registry on the loopback; `blobs` and `manifests` can be spoilt at will."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut: int | None = None
    """Bytes after which a large answer is cut short."""
    ranges: list[str] | None = field(default_factory=list)
    """Parts that were asked for; None: the whole is sent all the same."""
    token: tuple[str, str] | None = None
    """User and password that are changed for a token, without which nothing is sent."""

    def __post_init__(self) -> None:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                shop.asked.append(self.path)
                if shop.token and (challenge := shop.challenge(self)):
                    challenge()
                    return
                kind, body = shop.find(self.path)
                wanted, status = self.headers.get("Range"), 200
                if body and wanted and shop.ranges is not None:
                    shop.ranges.append(wanted)
                    body, status = body[int(wanted[6:-1]) :], 206
                self.send_response(404 if body is None else status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body or b"")))
                if shop.cut is not None:
                    # Nobody may ask again here while the goodbye is on its way.
                    self.send_header("Connection", "close")
                if body is not None and "/manifests/" in self.path:
                    self.send_header("Docker-Content-Digest", digest_of(body))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write((body or b"")[: shop.cut])
                self.close_connection = shop.cut is not None
                if self.close_connection:
                    # Both sides say goodbye: a reset could take back what is on its way.
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_WR)
                    self.connection.settimeout(10)
                    self.rfile.read()

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def find(self, path: str) -> tuple[str, bytes | None]:
        if path == "/v2/":
            return "application/json", b"{}"
        key = path.removeprefix("/v2/")
        if key in self.manifests:
            return self.manifests[key]
        return "application/octet-stream", self.blobs.get(key.rpartition("/")[2])

    def challenge(self, request: BaseHTTPRequestHandler) -> Callable[[], None] | None:
        """How a request is answered that brings no token; None when it does."""
        given = request.headers.get("Authorization", "")
        body, status, realm = b"{}", 401, f"http://{self.host}/token"
        if request.path.startswith("/token"):
            login = base64.b64encode(":".join(self.token or ()).encode()).decode()
            if given == f"Basic {login}":
                body, status = b'{"token": "open-sesame"}', 200
        elif given == "Bearer open-sesame":
            return None

        def answer() -> None:
            request.send_response(status)
            if not request.path.startswith("/token"):
                request.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="s"')
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

        return answer

    def put_blob(self, content: bytes) -> dict:
        digest = digest_of(content)
        self.blobs[digest] = content
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}

    def put_manifest(self, name: str, document: dict, kind: str = MANIFEST) -> ImageRef:
        """Make it known by tag `1` and by digest."""
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, **document}).encode()
        for version in ("1", digest_of(body)):
            self.manifests[f"{name}/manifests/{version}"] = (kind, body)
        return ImageRef(self.host, name, "1", digest_of(body))

    def add(
        self,
        name: str,
        *layers: bytes,
        packed: list[bytes] | None = None,
        history: list[dict] | None = None,
        **config,
    ) -> ImageRef:
        """An image of plain tars, gzipped unless `packed` says otherwise."""
        config_blob = self.put_blob(
            json.dumps(
                {
                    "os": "linux",
                    "architecture": "amd64",
                    "config": config,
                    **({"history": history} if history else {}),
                    "rootfs": {
                        "type": "layers",
                        "diff_ids": [digest_of(tar) for tar in layers],
                    },
                }
            ).encode()
        )
        config_blob["mediaType"] = "application/vnd.oci.image.config.v1+json"
        pieces = packed or [gzip.compress(tar, 1, mtime=0) for tar in layers]
        blobs = [self.put_blob(piece) for piece in pieces]
        for blob in blobs:
            blob["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip"
        return self.put_manifest(name, {"config": config_blob, "layers": blobs})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
