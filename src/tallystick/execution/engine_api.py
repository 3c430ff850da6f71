"""The few calls of the Docker Engine API that running one job takes."""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from tallystick.engine.errors import NoRoom, Unavailable
from tallystick.execution.executor import (
    ImageNotForUs,
    ImageRef,
    ImageUnavailable,
    RuntimeUnfit,
)
from tallystick.execution.process import Tail
from tallystick.execution.registry import is_loopback
from tallystick.execution.unix_socket import UnixTransport

DEFAULT_HOST = "unix:///var/run/docker.sock"
_FRAME = struct.Struct(">BxxxI")
_STDERR = 2
_SIGKILLED = 128 + 9
_LOOKS, _LOOK_AGAIN = 5, 0.1
_NO_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=10)
"""Each job holds two connections while it runs."""
_MAX_LINE = 1 << 20


_NO_SPACE = "no space left on device"
_FINAL_WORDS = (
    "not found",
    "manifest unknown",
    "name unknown",
    "not known",
    "denied",
    "unauthorized",
    "no basic auth credentials",
    "no matching manifest",
    "invalid reference",
    "invalid checksum",
    "verification failed",
    " 404 ",
)
"""Of a pull that failed: asking again would not help."""


class NotThere(Exception):
    """The daemon knows no such container, image or volume."""


class DaemonRefused(Exception):
    """The daemon will not do that; the sentence is its own."""


class DaemonFailed(Unavailable):
    """The daemon could not do it this time; the sentence is its own."""


@dataclass(slots=True)
class EngineApi:
    """A connection to a daemon on this machine. Every call raises Unavailable without it."""

    host: str
    _client: httpx2.AsyncClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.host)
        if parts.scheme == "unix":
            transport: httpx2.AsyncHTTPTransport = UnixTransport(parts.path)
            url = "http://docker"
        elif parts.scheme == "tcp" and is_loopback(parts.netloc):
            transport, url = (
                httpx2.AsyncHTTPTransport(limits=_NO_LIMITS),
                f"http://{parts.netloc}",
            )
        else:
            raise RuntimeUnfit(
                f"DOCKER_HOST is {self.host}; it must be a unix:// socket or a tcp:// address"
                " of this machine, since jobs read their input from its disk."
            )
        # A long silence is normal: jobs run for hours without a word.
        timeout = httpx2.Timeout(60.0, read=None)
        # Archives would come compressed, which costs more than it saves on one machine.
        plain = {"Accept-Encoding": "identity"}
        self._client = httpx2.AsyncClient(
            transport=transport, base_url=url, timeout=timeout, headers=plain
        )

    @classmethod
    def from_environment(cls) -> EngineApi:
        """The daemon that DOCKER_HOST names, else the usual one."""
        return cls(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def info(self) -> dict[str, Any]:
        """What the daemon can do."""
        return await self._json("GET", "/info")

    async def pull(self, ref: ImageRef, auth: tuple[str, str] | None, max_bytes: int) -> None:
        """Have the daemon fetch an image. Cancelling stops it."""
        params = {"fromImage": ref.name, "tag": ref.version}
        headers = {"X-Registry-Auth": _auth_header(ref.registry, auth)} if auth else {}
        try:
            async with self._stream(
                "POST", "/images/create", params=params, headers=headers
            ) as r:
                await _watch_pull(r, ref, max_bytes)
        except (DaemonFailed, DaemonRefused, NotThere) as error:
            raise _pull_error(ref, str(error)) from error

    async def image(self, name: str) -> dict[str, Any]:
        """Docker's inspection of an image. Raises NotThere."""
        return await self._json("GET", f"/images/{name}/json")

    async def load_image(self, archive: bytes) -> None:
        """Have the daemon take an image that is in no registry, as of `docker load`."""
        await self._request("POST", "/images/load", params={"quiet": "1"}, content=archive)

    async def history(self, name: str) -> list[dict[str, Any]]:
        """How an image was built, the newest layer first. Raises NotThere."""
        return list((await self._json("GET", f"/images/{name}/history")).get("items") or [])

    async def remove_image(self, name: str) -> bool:
        """Remove an image; one in use stays. Whether it is gone."""
        done = await self._request("DELETE", f"/images/{name}", accept=(404, 409))
        return done.status_code != 409

    async def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Make a container; its id. Raises NotThere for an unknown image."""
        made = await self._json("POST", "/containers/create", params={"name": name}, json=body)
        return str(made["Id"])

    @asynccontextmanager
    async def attached(self, container: str) -> AsyncIterator[httpx2.Response]:
        """What the container will say, to be given to `listen`."""
        params = {"stream": "1", "stdout": "1", "stderr": "1"}
        async with self._stream("POST", f"/containers/{container}/attach", params=params) as r:
            yield r

    @asynccontextmanager
    async def logs(self, container: str) -> AsyncIterator[httpx2.Response]:
        """What it has said from its start on and will say, to be given to `listen`."""
        params = {"follow": "1", "stdout": "1", "stderr": "1"}
        async with self._stream("GET", f"/containers/{container}/logs", params=params) as r:
            yield r

    async def start(self, container: str) -> None:
        """Start it. Raises DaemonRefused when its command cannot be started."""
        await self._request("POST", f"/containers/{container}/start")

    async def wait(self, container: str) -> int:
        """Its exit code, once it has ended."""
        ended = await self._json("POST", f"/containers/{container}/wait")
        return int(ended["StatusCode"])

    async def kill(self, container: str) -> None:
        """SIGKILL to all of it; nothing happens when it has ended."""
        await self._request("POST", f"/containers/{container}/kill", accept=(404, 409))

    async def container(self, container: str) -> dict[str, Any]:
        """Docker's inspection of a container. Raises NotThere."""
        return await self._json("GET", f"/containers/{container}/json")

    async def ran_out_of_memory(self, container: str, *, killed: bool) -> bool:
        """Whether memory was the end of it. Of one that was killed, and not by us, the daemon
        may hear that only after it has told of the end: then it is asked a few times."""
        for look in range(_LOOKS):
            await anyio.sleep(_LOOK_AGAIN if look else 0)
            state = (await self.container(container))["State"]
            if state.get("OOMKilled") or not killed or state.get("ExitCode") != _SIGKILLED:
                return bool(state.get("OOMKilled"))
        return False

    async def containers(self, label: str) -> list[dict[str, Any]]:
        """All containers with a label, stopped ones too."""
        params = {"all": "1", "filters": json.dumps({"label": [label]})}
        return list((await self._json("GET", "/containers/json", params=params))["items"])

    async def remove(self, container: str) -> None:
        """Kill and remove it, with its volumes; gone already is fine."""
        params = {"force": "1", "v": "1"}
        await self._request(
            "DELETE", f"/containers/{container}", params=params, accept=(404, 409)
        )

    async def remove_volumes(self, label: str, prefix: str) -> None:
        """Remove volumes whose `label` begins with `prefix`; those in use stay."""
        params = {"filters": json.dumps({"label": [label]})}
        found = (await self._json("GET", "/volumes", params=params)).get("Volumes") or []
        for volume in found:
            if str((volume.get("Labels") or {}).get(label, "")).startswith(prefix):
                await self.remove_volume(str(volume["Name"]))

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; gone already is fine."""
        await self._request("DELETE", f"/volumes/{name}", accept=(404, 409))

    async def volume_sizes(self) -> dict[str, int]:
        """Bytes in each volume, counted by the daemon."""
        usage = await self._json("GET", "/system/df", params={"type": "volume"})
        found = usage.get("Volumes") or []
        return {v["Name"]: int((v.get("UsageData") or {}).get("Size", 0)) for v in found}

    async def put_archive(self, container: str, path: str, tar: bytes) -> None:
        """Unpack a tar into a container's folder."""
        where = f"/containers/{container}/archive"
        await self._request("PUT", where, params={"path": path}, content=tar)

    @asynccontextmanager
    async def archive(self, container: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """A tar of a container's file or folder. Raises NotThere."""
        where = f"/containers/{container}/archive"
        async with self._stream("GET", where, params={"path": path}) as response:
            yield response.aiter_raw()

    async def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        document = (await self._request(method, path, **more)).json()
        return document if isinstance(document, dict) else {"items": document}

    async def _request(
        self, method: str, path: str, *, accept: tuple[int, ...] = (), **more: Any
    ) -> httpx2.Response:
        try:
            response = await self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise self._gone(error) from error
        if response.status_code not in accept:
            _check(response.status_code, response.content)
        return response

    @asynccontextmanager
    async def _stream(
        self, method: str, path: str, **more: Any
    ) -> AsyncIterator[httpx2.Response]:
        try:
            async with self._client.stream(method, path, **more) as response:
                if response.status_code >= 400:
                    _check(response.status_code, await response.aread())
                yield response
        except httpx2.HTTPError as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> Unavailable:
        reason = str(error) or type(error).__name__
        return Unavailable(f"The Docker daemon at {self.host} does not answer: {reason}.")


async def listen(response: httpx2.Response, stdout: Tail, stderr: Tail) -> None:
    """Read a container's words to their end, without keeping more than the tails do."""
    frames = _Frames(stdout, stderr)
    async for chunk in response.aiter_raw():
        frames.add(chunk)


@dataclass(slots=True)
class _Frames:
    """Docker's way to send two streams as one: pieces, each after a header of eight bytes."""

    stdout: Tail
    stderr: Tail
    _header: bytes = b""
    _left: int = 0
    _current: Tail | None = None

    def add(self, chunk: bytes) -> None:
        """Sort the next bytes into the two tails."""
        view = memoryview(chunk)
        while view:
            if self._left and self._current is not None:
                piece, view = view[: self._left], view[self._left :]
                self._current.add(piece)
                self._left -= len(piece)
                continue
            missing = _FRAME.size - len(self._header)
            self._header, view = self._header + bytes(view[:missing]), view[missing:]
            if len(self._header) == _FRAME.size:
                kind, self._left = _FRAME.unpack(self._header)
                self._current = self.stderr if kind == _STDERR else self.stdout
                self._header = b""


async def _events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if len(line) > _MAX_LINE:
            raise DaemonRefused("the daemon talks nonsense")
        if line.strip():
            event = json.loads(line)
            if isinstance(event, dict):
                yield event


def _check(status: int, body: bytes) -> None:
    if status < 400:
        return
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:300].decode(errors="replace")
    if status == 404:
        raise NotThere(message)
    if status >= 500 and not _blames_command(message):
        raise DaemonFailed(f"The Docker daemon failed: {message[:500]}.")
    raise DaemonRefused(message[:2_000])


def _blames_command(message: str) -> bool:
    """Whether a start failed for the image's command, which is not the daemon's fault."""
    if _NO_SPACE in message.lower():
        return False
    return "OCI runtime create failed" in message or "failed to create task" in message


async def _watch_pull(response: httpx2.Response, ref: ImageRef, max_bytes: int) -> None:
    """Read how it goes, and give up when it is getting too large."""
    sizes: dict[str, int] = {}
    async for event in _events(response):
        if error := event.get("error"):
            raise DaemonRefused(str(error))
        total = (event.get("progressDetail") or {}).get("total")
        if event.get("status") == "Downloading" and isinstance(total, int):
            sizes[str(event.get("id"))] = total
        if sum(sizes.values()) > max_bytes:
            raise ImageNotForUs(f"{ref} is larger than allowed (`max_image`).")


def _pull_error(ref: ImageRef, text: str) -> Exception:
    """Registries and daemons agree on few words; these mean that asking again is pointless."""
    if _NO_SPACE in text.lower():
        return NoRoom(f"The Docker daemon has no room for {ref}: {text}.")
    if any(words in text.lower() for words in _FINAL_WORDS):
        return ImageUnavailable(f"{ref} cannot be had: {text}.")
    return Unavailable(f"{ref} cannot be had now: {text}.")


def _auth_header(registry: str, auth: tuple[str, str]) -> str:
    user, password = auth
    document = {"username": user, "password": password, "serveraddress": registry}
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


async def answers(api: EngineApi) -> bool:
    """Whether a daemon for Linux containers is there."""
    try:
        with anyio.fail_after(5):
            return str((await api.info()).get("OSType")) == "linux"
    except (Unavailable, DaemonRefused, NotThere, TimeoutError):
        return False
