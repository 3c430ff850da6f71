"""Reading images from an OCI registry, believing only what digests confirm."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import platform
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import MIB, ImageNotForUs, ImageRef, ImageUnavailable

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = ", ".join(_INDEXES + _MANIFESTS)
_MAX_DOCUMENT = 4 * MIB
_MAX_LAYERS = 128
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Blob:
    """A piece of an image: what it hashes to and how many bytes it has."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one kind of processor."""

    digest: str
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """Bytes to download."""
        return self.config.size + sum(layer.size for layer in self.layers)


@dataclass(slots=True)
class _Begun:
    """How much there is of a file, and the state of its digest."""

    size: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def add(self, chunk: bytes) -> None:
        """Count more of it."""
        self.size += len(chunk)
        self.hash.update(chunk)


def _begun(target: Path, size: int) -> _Begun:
    """What an earlier attempt left of a file of `size` bytes; more than that is nonsense."""
    begun = _Begun()
    if target.is_file() and target.stat().st_size <= size:
        with target.open("rb") as file:
            while chunk := file.read(MIB):
                begun.add(chunk)
    return begun


@dataclass(slots=True)
class Registry:
    """One registry. Plain http on the loopback, https everywhere else."""

    host: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User and password."""
    _client: httpx2.AsyncClient = field(init=False, repr=False)
    _token: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        local = is_loopback(self.host)
        host = "registry-1.docker.io" if self.host == "docker.io" else self.host
        self._client = httpx2.AsyncClient(
            base_url=f"{'http' if local else 'https'}://{host}",
            timeout=30.0,
            trust_env=not local,
            headers={"Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._client.aclose()

    async def manifest(self, ref: ImageRef) -> Manifest:
        """The image that `ref` names, for this machine's processor.

        Raises ImageUnavailable when it is not there or not what its digest says.
        """
        body, digest = await self._document(ref, ref.version)
        chosen = choose_platform(body)
        if chosen is not None:
            body, digest = await self._document(ref, chosen)
        return read_manifest(body, digest)

    async def _document(self, ref: ImageRef, version: str) -> tuple[Any, str]:
        path = f"/v2/{ref.repository}/manifests/{version}"
        async with self._get(path, ref, headers={"Accept": _ACCEPT}) as response:
            raw = await _read_up_to(response, _MAX_DOCUMENT, ref)
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if version.startswith("sha256:") and digest != version:
            raise ImageUnavailable(f"{ref}: the registry sent something with another digest.")
        try:
            return json.loads(raw), digest
        except (ValueError, RecursionError) as error:
            raise ImageUnavailable(f"{ref}: the registry's manifest is no JSON.") from error

    async def config(self, ref: ImageRef, blob: Blob) -> Any:
        """The image's configuration document.

        Raises ImageNotForUs when it is for another kind of processor.
        """
        path = f"/v2/{ref.repository}/blobs/{blob.digest}"
        async with self._get(path, ref, headers={}) as response:
            raw = await _read_up_to(response, min(blob.size, _MAX_DOCUMENT), ref)
        if f"sha256:{hashlib.sha256(raw).hexdigest()}" != blob.digest:
            raise ImageUnavailable(
                f"{ref}: its configuration has another digest than promised."
            )
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ImageUnavailable(f"{ref}: its configuration is no JSON.") from error
        _require_processor(document, ref)
        return document

    async def download(self, ref: ImageRef, blob: Blob, target: Path) -> None:
        """Write one layer to `target`, which is complete and checked when this returns.

        What an attempt that was cut short left there is kept, and only the rest is fetched.
        """
        before = await anyio.to_thread.run_sync(_begun, target, blob.size)
        got = await self._rest(ref, blob, target, before)
        if got.size == blob.size and f"sha256:{got.hash.hexdigest()}" == blob.digest:
            return
        await anyio.to_thread.run_sync(target.unlink)
        if before.size == 0:
            raise ImageUnavailable(f"{ref}: a layer has another digest than promised.")
        # What was here may be what a power failure made of it.
        await self.download(ref, blob, target)

    async def _rest(self, ref: ImageRef, blob: Blob, target: Path, before: _Begun) -> _Begun:
        """Fetch what is missing of a layer; what there is then."""
        if before.size == blob.size:
            return before
        path = f"/v2/{ref.repository}/blobs/{blob.digest}"
        wanted = {"Range": f"bytes={before.size}-"} if before.size else {}
        async with self._get(path, ref, headers=wanted) as response:
            resumed = response.status_code == 206
            got = before if resumed else _Begun()
            async with await anyio.open_file(target, "ab" if resumed else "wb") as file:
                async for chunk in response.aiter_raw(MIB):
                    got.add(chunk)
                    if got.size > blob.size:
                        raise ImageUnavailable(
                            f"{ref}: a layer is longer than its manifest says."
                        )
                    await file.write(chunk)
        return got

    @asynccontextmanager
    async def _get(
        self, path: str, ref: ImageRef, *, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        try:
            response = await self._send(path, headers)
            if response.status_code == 401:
                challenge = response.headers.get("www-authenticate", "")
                await response.aclose()
                self._token = await self._authorize(challenge, ref)
                response = await self._send(path, headers)
            try:
                self._check(response, ref)
                yield response
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"Registry {self.host} does not answer: {reason}.") from error

    async def _send(self, path: str, headers: Mapping[str, str]) -> httpx2.Response:
        """Send, following a few redirects, and none from https to less."""
        request = self._client.build_request("GET", path, headers=headers)
        if self._token:
            request.headers["Authorization"] = self._token
        response = await self._client.send(request, stream=True)
        for _ in range(5):
            if response.next_request is None:
                break
            following = response.next_request
            await response.aclose()
            if following.url.scheme != "https" and not is_loopback(self.host):
                raise ImageUnavailable(f"Registry {self.host} redirects to an insecure place.")
            response = await self._client.send(following, stream=True)
        return response

    async def _authorize(self, challenge: str, ref: ImageRef) -> str | None:
        """The Authorization header that the registry's challenge asks for."""
        scheme, _, rest = challenge.partition(" ")
        auth = httpx2.BasicAuth(*self.credentials) if self.credentials else None
        if scheme.lower() == "basic" and auth:
            request = httpx2.Request("GET", self._client.base_url)
            return str(next(auth.auth_flow(request)).headers["Authorization"])
        facts = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = facts.get("realm", "")
        secure = urlsplit(realm).scheme == "https" or is_loopback(urlsplit(realm).netloc)
        if scheme.lower() != "bearer" or not secure:
            return None
        scope = f"repository:{ref.repository}:pull"
        params = {"service": facts.get("service", ""), "scope": scope}
        answer = await self._client.get(realm, params=params, auth=auth)
        if self.credentials and answer.status_code in (401, 403):
            raise self._login_refused(ref)
        return _token(answer)

    def _login_refused(self, ref: ImageRef) -> ImageNotForUs:
        user = self.credentials[0] if self.credentials else ""
        return ImageNotForUs(
            f"Registry {self.host} does not accept the login of {user!r}, so {ref} cannot be"
            " had: correct its password under `registries` in the settings."
        )

    def _check(self, response: httpx2.Response, ref: ImageRef) -> None:
        status = response.status_code
        bearer = (self._token or "").startswith("Bearer")
        if status == 401 and self.credentials and not bearer:
            raise self._login_refused(ref)
        if status in (401, 403):
            known = f"{self.credentials[0]!r}" if self.credentials else "us"
            hint = "" if self.credentials else " No login for it is among `registries`."
            raise ImageUnavailable(
                f"Registry {ref.registry} does not let {known} read {ref}.{hint}"
            )
        if status == 404:
            raise ImageUnavailable(f"There is no image {ref}.")
        if status == 429 or status >= 500:
            raise Unavailable(f"Registry {ref.registry} is busy or broken (HTTP {status}).")
        if status not in (200, 206):
            raise ImageUnavailable(f"Registry {ref.registry} answers {status} for {ref}.")


def _token(answer: httpx2.Response) -> str | None:
    if answer.status_code != 200 or len(answer.content) > MIB:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    token = body.get("token") or body.get("access_token") if isinstance(body, dict) else None
    return f"Bearer {token}" if isinstance(token, str) else None


async def _read_up_to(response: httpx2.Response, limit: int, ref: ImageRef) -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > limit:
            raise ImageUnavailable(f"{ref}: the registry sent more than such a document needs.")
    return bytes(raw)


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine, so that plain http is safe."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def choose_platform(document: Any) -> str | None:
    """In a list of images, the digest of the one for this machine; None if it is no list."""
    entries = document.get("manifests") if isinstance(document, dict) else None
    if entries is None:
        return None
    wanted = _ours()
    for entry in entries if isinstance(entries, list) else ():
        system = entry.get("platform") if isinstance(entry, dict) else None
        fits = isinstance(system, Mapping) and (
            (system.get("os"), system.get("architecture")) == ("linux", wanted)
        )
        if fits and _DIGEST.fullmatch(str(entry.get("digest"))):
            return str(entry["digest"])
    raise ImageNotForUs(f"The image has no version for linux/{wanted}, which this machine is.")


def _ours() -> str:
    """This machine's processor, as images name it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _require_processor(document: Any, ref: ImageRef) -> None:
    """Images that do not say what they are for get the benefit of the doubt."""
    told = document.get("architecture") if isinstance(document, dict) else None
    if told not in (None, "", _ours()):
        raise ImageNotForUs(f"{ref} is for {str(told)[:40]!r}; this machine is {_ours()!r}.")


def require_size(ref: ImageRef, manifest: Manifest, limit: int) -> None:
    """Raises ImageNotForUs when there is more to download than we allow."""
    if manifest.size > limit:
        raise ImageNotForUs(
            f"{ref} is {manifest.size // MIB} MiB to download; allowed are {limit // MIB} MiB"
            " (`max_image`)."
        )


def read_manifest(document: Any, digest: str) -> Manifest:
    """The parts that an image manifest lists. Raises ImageUnavailable for anything else."""
    try:
        config = _blob(document["config"])
        layers = tuple(_blob(entry) for entry in document["layers"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageUnavailable("The registry's manifest is not that of an image.") from error
    if len(layers) > _MAX_LAYERS:
        raise ImageUnavailable(f"The image has more than {_MAX_LAYERS} layers.")
    return Manifest(digest, config, layers)


def _blob(entry: Any) -> Blob:
    digest, size = str(entry["digest"]), entry["size"]
    if not _DIGEST.fullmatch(digest) or type(size) is not int or size < 0 or entry.get("urls"):
        raise ValueError("not a piece of an image")
    return Blob(digest, size)
