"""What an image costs is known before it comes; who may have it, and what stays of it."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import httpx2
import pytest
from oci_shop import Shop, file, layer

from tallystick.engine.errors import Unavailable
from tallystick.execution.docker_images import DockerImages
from tallystick.execution.engine_api import EngineApi
from tallystick.execution.executor import ImageNotForUs, ImageRef, ImageUnavailable
from tallystick.execution.images import ImageStore
from tallystick.execution.pulls import Sizes, registry_name
from tallystick.execution.registry import Registry

MIB = 1 << 20
SECRET = "s3cret-word"
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["embedded", "docker"])
async def store(request, tmp_path: Path):
    """Makes a store of either kind with these rules; both know `fetch`."""
    made = []

    def make(**rules):
        if request.param == "embedded":
            return ImageStore(tmp_path / "store", None, **rules)
        made.append(EngineApi(request.getfixturevalue("docker_host")))
        return DockerImages(made[-1], tmp_path / "ledger.json", **rules)

    yield make
    for api in made:
        await api.aclose()


def large(shop: Shop, name: str, *, seed: int = 1, **config) -> ImageRef:
    noise = random.Random(seed).randbytes(2 * MIB)
    return shop.add(name, layer(file("noise", noise)), Cmd=["x"], **config)


def fetched(shop: Shop, since: int) -> list[str]:
    """Blobs that were asked for."""
    return [path for path in shop.asked[since:] if "/blobs/" in path]


async def test_never_means_what_is_here(shop, store, plain) -> None:
    ref = large(shop, "never/image", seed=2)
    asked = len(shop.asked)
    with pytest.raises(ImageNotForUs, match="pull_policy"):
        await store(policy="never").fetch(ref, 120)
    assert len(shop.asked) == asked
    await store().fetch(ref, 120)
    asked = len(shop.asked)
    assert await store(policy="never").fetch(ref, 120)
    assert len(shop.asked) == asked


async def test_always_asks_even_for_what_cannot_change(shop, store) -> None:
    ref = large(shop, "always/image", seed=3)
    await store().fetch(ref, 120)
    asked = len(shop.asked)
    await store().fetch(ref, 120)
    assert len(shop.asked) == asked
    await store(policy="always").fetch(ref, 120)
    assert len(shop.asked) > asked


async def test_what_is_too_large_is_not_begun(shop, store) -> None:
    ref = large(shop, "large/image", seed=4)
    asked = len(shop.asked)
    with pytest.raises(ImageNotForUs, match=r"is 2 MiB to download; allowed are 1 MiB"):
        await store(sizes=Sizes(download=MIB)).fetch(ref, 120)
    assert fetched(shop, asked) == []


async def test_what_is_for_another_processor_is_not_begun(shop, store, monkeypatch) -> None:
    ref = large(shop, "alien/image", seed=5)
    asked = len(shop.asked)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ImageNotForUs, match="is for 'amd64'; this machine is 'riscv64'"):
        await store().fetch(ref, 120)
    assert len(fetched(shop, asked)) == 1, "its configuration, which says so"


async def test_a_layer_that_was_cut_short_is_gone_on_with(shop, tmp_path) -> None:
    ref = large(shop, "cut/short", seed=6)
    store = ImageStore(tmp_path / "store", None)
    sent: list[str] = []
    shop.cut = 1_500_000
    with pytest.raises(Unavailable):
        await store.fetch(ref, 120)
    [part] = (store.root / "partial").glob("*/sha256-*")
    before = part.stat().st_size
    assert 0 < before < 2 * MIB
    shop.cut, shop.ranges = None, sent
    assert (await store.fetch(ref, 120)).rootfs.joinpath("noise").stat().st_size == 2 * MIB
    assert sent == [f"bytes={before}-"]
    assert not any((store.root / "partial").iterdir())


async def test_what_a_power_failure_made_of_a_layer_is_thrown_away(shop, tmp_path) -> None:
    ref = large(shop, "spoilt/part", seed=7)
    store = ImageStore(tmp_path / "store", None)
    shop.cut = MIB
    with pytest.raises(Unavailable):
        await store.fetch(ref, 120)
    shop.cut = None
    [part] = (store.root / "partial").glob("*/sha256-*")
    part.write_bytes(bytes(part.stat().st_size))
    assert (await store.fetch(ref, 120)).rootfs.joinpath("noise").stat().st_size == 2 * MIB


async def test_a_registry_that_cannot_go_on_begins_anew(shop, tmp_path) -> None:
    ref = large(shop, "no/ranges", seed=8)
    store = ImageStore(tmp_path / "store", None)
    shop.cut = MIB
    with pytest.raises(Unavailable):
        await store.fetch(ref, 120)
    shop.cut, shop.ranges = None, None
    assert (await store.fetch(ref, 120)).rootfs.joinpath("noise").stat().st_size == 2 * MIB


async def test_two_workers_fetch_an_image_once(shop, tmp_path) -> None:
    ref = large(shop, "shared/image", seed=9)
    asked = len(shop.asked)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ImageStore(tmp_path / "store", None).fetch, ref, 120)
    assert len(fetched(shop, asked)) == 2, "a configuration and a layer"


@pytest.fixture(scope="module")
def private(tmp_path_factory, shop) -> Iterator[ImageRef]:
    """An image in Debian's registry, which wants a password."""
    for program in ("docker-registry", "htpasswd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    home = tmp_path_factory.mktemp("registry")
    words = ("htpasswd", "-Bbn", "worker", SECRET)
    (home / "users").write_bytes(subprocess.run(words, capture_output=True, check=True).stdout)
    with httpx2.Client() as client:
        registry, process = started(home)
        try:
            yield copied(client, large(shop, "test/private", seed=10), shop, registry)
        finally:
            process.terminate()
            process.wait()


def started(home: Path) -> tuple[str, subprocess.Popen[bytes]]:
    (home / "config.yml").write_text(f"""
version: 0.1
storage: {{filesystem: {{rootdirectory: {home}/data}}}}
http: {{addr: "127.0.0.1:0"}}
auth: {{htpasswd: {{realm: here, path: {home}/users}}}}
""")
    log = (home / "log").open("wb")
    words = ("docker-registry", "serve", str(home / "config.yml"))
    process = subprocess.Popen(words, stdout=log, stderr=log)
    log.close()
    deadline = time.monotonic() + 60
    while not (found := address_in((home / "log").read_text())):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found, process


def address_in(log: str) -> str:
    _, _, rest = log.partition("listening on ")
    return rest.partition('"')[0].partition(" ")[0].strip()


def copied(client: httpx2.Client, ref: ImageRef, shop: Shop, registry: str) -> ImageRef:
    """The image in another registry."""
    auth = httpx2.BasicAuth("worker", SECRET)
    base = f"http://{registry}/v2/{ref.repository}"
    kind, body = shop.manifests[f"{ref.repository}/manifests/{ref.digest}"]
    for digest in {digest for digest in shop.blobs if digest.encode() in body}:
        place = client.post(f"{base}/blobs/uploads/", auth=auth).headers["location"]
        url = httpx2.URL(place).copy_merge_params({"digest": digest})
        client.put(url, content=shop.blobs[digest], auth=auth).raise_for_status()
    headers = {"Content-Type": kind}
    url = f"{base}/manifests/1"
    client.put(url, content=body, headers=headers, auth=auth).raise_for_status()
    return replace(ref, registry=registry)


async def test_with_a_login_a_private_image_comes(private, store, caplog) -> None:
    caplog.set_level("DEBUG")
    images = store(credentials={private.registry: ("worker", SECRET)})
    assert await images.fetch(private, 60)
    assert SECRET not in caplog.text
    assert SECRET not in repr(images)
    assert SECRET not in repr(Registry(private.registry, ("worker", SECRET)))


async def test_a_wrong_password_is_our_own_doing(private, store) -> None:
    images = store(credentials={private.registry: ("worker", "wrong-word")})
    fresh = replace(private, digest=None)
    with pytest.raises(ImageNotForUs, match="login of 'worker'") as told:
        await images.fetch(fresh, 60)
    assert "wrong-word" not in str(told.value)


async def test_without_a_login_a_private_image_is_not_to_be_had(private, store) -> None:
    with pytest.raises(ImageUnavailable) as told:
        await store().fetch(replace(private, digest=None), 60)
    assert not isinstance(told.value, ImageNotForUs), "nobody else need have one"


@pytest.mark.parametrize("password", [SECRET, "wrong-word"])
async def test_a_login_is_changed_for_a_token(shop, tmp_path, password) -> None:
    ref = large(shop, "token/image", seed=11)
    shop.token = ("worker", SECRET)
    try:
        logins = {ref.registry: ("worker", password)}
        store = ImageStore(tmp_path / "store", None, credentials=logins)
        if password == SECRET:
            assert await store.fetch(ref, 120)
        else:
            with pytest.raises(ImageNotForUs, match="login of 'worker'"):
                await store.fetch(ref, 120)
    finally:
        shop.token = None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://Registry.example:5000/", "registry.example:5000"),
    ],
)
def test_people_name_registries_in_many_ways(text: str, name: str) -> None:
    assert registry_name(text) == name
