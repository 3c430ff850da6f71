"""What a daemon keeps for us: within bounds, counted once, and never what is not ours."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from oci_shop import Shop, busybox, file, layer

from tallystick.execution.docker_cache import Ledger, layers_of, total
from tallystick.execution.docker_images import DockerImages, _local_name
from tallystick.execution.engine_api import EngineApi
from tallystick.execution.executor import ImageRef
from tallystick.execution.pulls import Sizes

MIB = 1 << 20
pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(docker_host):
    api = EngineApi(docker_host)
    yield api
    await api.aclose()


def noise(seed: int, size: int = 2 * MIB) -> bytes:
    return layer(file(f"noise-{seed}", random.Random(seed).randbytes(size)))


def told(seed: int) -> dict:
    at = f"2026-01-01T{seed // 60:02}:{seed % 60:02}:00Z"
    return {"created": at, "created_by": f"COPY noise-{seed}"}


def image(shop: Shop, *seeds: int) -> ImageRef:
    """Of one layer for each seed, the lowest first; its history is that of a build."""
    name = "cache/" + "-".join(str(seed) for seed in seeds)
    layers = [noise(seed) for seed in seeds]
    return shop.add(name, *layers, history=[told(seed) for seed in seeds], Cmd=["x"])


async def here(images: DockerImages, *refs: ImageRef) -> list[bool]:
    return [await images._is_here(ref) for ref in refs]


async def test_what_images_share_counts_once(shop, api, tmp_path) -> None:
    images = DockerImages(api, tmp_path / "ledger.json", Sizes(keep=9 * MIB))
    three = [image(shop, 20, n) for n in (21, 22, 23)]
    for ref in three:
        await images.fetch(ref, 60)
    assert await here(images, *three) == [True] * 3, "8 MiB together, though 12 one by one"
    await images.fetch(image(shop, 24), 60)
    assert await here(images, *three) == [False, True, True]


async def test_an_operators_image_stays(shop, api, tmp_path) -> None:
    own = image(shop, 120)
    await api.pull(own, None, 100 * MIB)
    images = DockerImages(api, tmp_path / "ledger.json", Sizes(keep=3 * MIB))
    await images.fetch(own, 60)
    others = [image(shop, n) for n in (31, 32, 33)]
    for ref in others:
        await images.fetch(ref, 60)
    assert await here(images, own, *others) == [True, False, False, True]
    assert _local_name(own) not in json.loads((tmp_path / "ledger.json").read_text())


async def test_an_image_in_use_stays(shop, api, tmp_path) -> None:
    images = DockerImages(api, tmp_path / "ledger.json", Sizes(keep=3 * MIB))
    used = await images.fetch(image(shop, 40), 60)
    container = await api.create("cache-in-use", {"Image": used.id, "Cmd": ["x"]})
    try:
        await images.fetch(image(shop, 41), 60)
        assert await here(images, image(shop, 40), image(shop, 41)) == [True, True]
    finally:
        await api.remove(container)
    await images.evict()
    assert await here(images, image(shop, 40), image(shop, 41)) == [False, True]


async def test_a_start_brings_what_is_too_much_down(shop, api, tmp_path) -> None:
    generous = DockerImages(api, tmp_path / "ledger.json")
    refs = [image(shop, n) for n in (50, 51)]
    for ref in refs:
        await generous.fetch(ref, 60)
    strict = DockerImages(api, tmp_path / "ledger.json", Sizes(keep=3 * MIB))
    await strict.evict()
    assert await here(strict, *refs) == [False, True]


async def test_what_was_of_use_lately_stays(shop, api, tmp_path) -> None:
    images = DockerImages(api, tmp_path / "ledger.json", Sizes(keep=5 * MIB))
    old, newer = image(shop, 10), image(shop, 11)
    await images.fetch(old, 60)
    await images.fetch(newer, 60)
    await images.know(old, 60)
    await images.fetch(image(shop, 12), 60)
    assert await here(images, old, newer) == [True, False]


async def test_an_image_without_a_history_counts_whole(shop, api) -> None:
    ref = shop.add("cache/silent", busybox(), Cmd=["sh"])
    await api.pull(ref, None, 100 * MIB)
    found = await api.image(_local_name(ref))
    assert layers_of(found, await api.history(_local_name(ref))) == (
        (found["Id"], found["Size"]),
    )


def test_layers_with_the_same_story_on_another_base_are_others() -> None:
    story = [{"Created": 1, "CreatedBy": "COPY", "Size": 5}]
    a = layers_of({"Id": "a", "Size": 5, "RootFS": {"Layers": ["one"]}}, story)
    b = layers_of({"Id": "b", "Size": 5, "RootFS": {"Layers": ["two"]}}, story)
    assert total({"a": a, "b": b}) == 10
    assert total({"a": a, "same": a}) == 5


def test_workers_write_one_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: Ledger(path).touch(str(n)), range(64)))
    assert len(Ledger(path).read()) == 64
    Ledger(path).drop("7")
    assert "7" not in Ledger(path).read()
