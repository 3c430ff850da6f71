"""What the daemon pulls is what was asked for, and does not pile up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from oci_shop import busybox, file, layer

from tallystick.engine.errors import NoRoom, Unavailable
from tallystick.execution import docker_images
from tallystick.execution.choose import choose
from tallystick.execution.container import LABEL
from tallystick.execution.docker_images import DockerImages
from tallystick.execution.engine_api import EngineApi, NotThere, _blames_command, _pull_error
from tallystick.execution.executor import ImageRef, ImageUnavailable, RuntimeUnfit
from tallystick.execution.pulls import Sizes

MIB = 1 << 20
pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(docker_host):
    api = EngineApi(docker_host)
    yield api
    await api.aclose()


@pytest.fixture
def images(api, tmp_path: Path) -> DockerImages:
    return DockerImages(api, tmp_path / "ledger.json")


async def test_a_digest_is_pulled_once(shop, images) -> None:
    ref = shop.add("docker/once", busybox(), User="app", Cmd=["sh"])
    known = await images.fetch(ref, 60)
    assert (known.who.uid, known.who.home, known.home_vacant) == (1000, "/home/app", True)
    asked = len(shop.asked)
    assert await images.fetch(ref, 60) == known
    assert len(shop.asked) == asked


async def test_what_is_not_there_is_told(shop, images) -> None:
    with pytest.raises(ImageUnavailable, match="cannot be had"):
        await images.fetch(ImageRef(shop.host, "no/such", "1"), 120)
    wrong = ImageRef(shop.host, "no/such", None, "sha256:" + "0" * 64)
    with pytest.raises(ImageUnavailable, match="cannot be had"):
        await images.fetch(wrong, 120)
    with pytest.raises(Unavailable, match="cannot be had now"):
        await images.fetch(ImageRef("127.0.0.1:1", "no/registry", "1"), 120)
    nameless = shop.add("docker/nameless", layer(file("x", b"")), User="ghost", Cmd=["x"])
    with pytest.raises(ImageUnavailable, match="ghost"):
        await images.fetch(nameless, 120)
    with pytest.raises(Unavailable, match="was not here within"):
        await images.fetch(shop.add("docker/slow", layer(file("y", b"")), Cmd=["x"]), 0.001)


async def test_another_digest_than_promised_is_refused(shop, images) -> None:
    ref = shop.add("docker/spoilt", layer(file("a", b"1")), Cmd=["x"])
    key = f"{ref.repository}/manifests/{ref.digest}"
    kind, body = shop.manifests[key]
    shop.manifests[key] = (kind, body.replace(b"schema", b"Schema"))
    with pytest.raises((ImageUnavailable, Unavailable)):
        await images.fetch(ref, 120)


async def test_too_large_an_image_is_not_kept(shop, api, tmp_path) -> None:
    images = DockerImages(api, tmp_path / "ledger.json", Sizes(unpacked=MIB))
    ref = shop.add("docker/large", layer(file("r", bytes(3 * MIB))), Cmd=["x"])
    with pytest.raises(ImageUnavailable, match="larger than allowed"):
        await images.fetch(ref, 120)
    assert not await images._is_here(ref)


async def test_the_least_used_go_when_room_is_short(shop, api, tmp_path) -> None:
    images = DockerImages(api, tmp_path / "ledger.json", Sizes(keep=5 * MIB))
    refs = [
        shop.add(
            f"docker/{i}", layer(file("r", random.Random(i).randbytes(2 * MIB))), Cmd=["x"]
        )
        for i in range(4)
    ]
    for ref in refs:
        await images.fetch(ref, 120)
    assert [await images._is_here(ref) for ref in refs] == [False, False, True, True]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("unix:///nowhere/docker.sock", "no Docker daemon answers"),
        ("tcp://127.0.0.1:1", "no Docker daemon answers"),
        ("tcp://192.0.2.1:2375", "must be a unix"),
        ("ssh://me@there", "must be a unix"),
    ],
)
async def test_without_a_daemon_it_is_told(tmp_path, monkeypatch, host, words) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(RuntimeUnfit, match=words):
        await choose("docker", tmp_path)


async def test_without_docker_the_next_runtime_is_taken(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    executor = await choose(None, tmp_path)
    await executor.aclose()
    assert executor.name in ("runc", "crun", "bubblewrap")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeUnfit, match="runc: runc is not installed"):
        await choose("runc", tmp_path)
    with pytest.raises(RuntimeUnfit, match="no runtime 'podman'"):
        await choose("podman", tmp_path)


async def test_a_daemon_without_room_blames_neither_the_image_nor_its_command() -> None:
    """Who blames the image votes for its failure, and loses the stake."""
    full = "write /var/lib/docker/tmp/layer: no space left on device"
    ref = ImageRef.parse("registry.test/app:1")
    assert isinstance(_pull_error(ref, full), NoRoom)
    assert isinstance(_pull_error(ref, f"{full} (not found)"), NoRoom)
    assert isinstance(_pull_error(ref, "manifest unknown"), ImageUnavailable)
    assert _blames_command("OCI runtime create failed: exec format error")
    assert not _blames_command("OCI runtime create failed: mkdir: no space left on device")


async def test_a_look_that_was_killed_is_removed_later(
    shop, api, images, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = shop.add("docker/looked", busybox(), Cmd=["sh"])
    await images.fetch(ref, 60)
    known = await images.fetch(ref, 60)
    name = "tallystick-probe-killed"
    await api.create(name, {"Image": known.id, "Cmd": ["-"], "Labels": {LABEL: name}})
    await images.forget_looks()
    assert await api.container(name), "somebody may be looking just now"
    monkeypatch.setattr(docker_images, "STALE", -1.0)
    await images.forget_looks()
    with pytest.raises(NotThere):
        await api.container(name)
