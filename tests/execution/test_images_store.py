"""Images come by digest, whole or not at all, and cannot reach out of their folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from pathlib import Path

import anyio
import pytest
import zstandard
from oci_shop import (
    INDEX,
    Shop,
    busybox,
    digest_of,
    entry,
    file,
    folder,
    layer,
    link,
)

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import ImageRef, ImageUnavailable
from tallystick.execution.images import ImageStore
from tallystick.execution.pulls import Sizes

MIB = 1 << 20
pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store", None)


async def rootfs(store: ImageStore, ref: ImageRef) -> Path:
    return (await store.fetch(ref, 120)).rootfs


def nothing_kept(store: ImageStore) -> bool:
    return not [*(store.root / "images").iterdir(), *(store.root / "tmp").iterdir()]


async def test_an_image_is_fetched_once_by_its_digest(shop: Shop, store: ImageStore) -> None:
    ref = shop.add("once/image", layer(file("word", b"hello")), Cmd=["x"])
    by_digest = ImageRef(ref.registry, ref.repository, None, ref.digest)
    assert ((await rootfs(store, by_digest)) / "word").read_text() == "hello"
    asked = len(shop.asked)
    await rootfs(store, by_digest)
    await rootfs(ImageStore(store.root, None), by_digest)
    assert len(shop.asked) == asked


async def test_a_tag_is_asked_again(shop: Shop, store: ImageStore) -> None:
    ref = shop.add("moving/tag", layer(file("word", b"old")), Cmd=["x"])
    tag = ImageRef(ref.registry, ref.repository, "1")
    assert ((await rootfs(store, tag)) / "word").read_text() == "old"
    shop.add("moving/tag", layer(file("word", b"new")), Cmd=["x"])
    assert ((await rootfs(store, tag)) / "word").read_text() == "new"


async def test_the_list_of_an_image_leads_to_this_machine(shop: Shop, store) -> None:
    ours = shop.add("many/archs", layer(file("word", b"amd64")), Cmd=["x"])
    other = shop.add("many/archs", layer(file("word", b"arm64")), Cmd=["x"])
    listed = [
        {"digest": ref.digest, "size": 1, "platform": {"os": "linux", "architecture": arch}}
        for ref, arch in ((other, "riscv64"), (ours, "amd64"), (ours, "arm64"))
    ]
    index = shop.put_manifest("many/archs", {"manifests": listed}, INDEX)
    assert ((await rootfs(store, index)) / "word").read_text() == "amd64"
    alien = shop.put_manifest("many/archs", {"manifests": listed[:1]}, INDEX)
    with pytest.raises(ImageUnavailable, match="no version for linux"):
        await store.fetch(alien, 120)


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
async def test_layers_come_packed_in_three_ways(shop: Shop, store, packing: str) -> None:
    tar = layer(file("word", packing.encode()))
    pack = {
        "plain": lambda data: data,
        "gzip": gzip.compress,
        "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    }[packing]
    ref = shop.add(f"packed/{packing}", tar, packed=[pack(tar)], Cmd=["x"])
    assert ((await rootfs(store, ref)) / "word").read_text() == packing


async def test_layers_hide_what_lies_below(shop: Shop, store: ImageStore) -> None:
    first = layer(
        folder("a"), file("a/old", b"1"), file("a/kept", b"2"), folder("b"),
        file("b/old", b"3"), folder("b/sub"), file("b/sub/old", b"4"),
        file("gone", b"5"), link("lib", "usr/lib"), folder("usr/lib"), file("swap", b"file"),
    )  # fmt: skip
    second = layer(
        file("a/.wh.old", b""), file("b/new", b"6"), file("b/.wh..wh..opq", b""),
        file(".wh.gone", b""), file("lib/through", b"7"), folder("swap"), file("swap/in", b"8"),
        file("a/.wh..wh.plnk", b""), file("a/.wh...", b""),
    )  # fmt: skip
    root = await rootfs(store, shop.add("white/outs", first, second, Cmd=["x"]))
    files = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert files == {"a/kept", "b/new", "usr/lib/through", "swap/in"}
    assert os.readlink(root / "lib") == "usr/lib"


ESCAPES = {
    "dots": [file("../../outside", b"x"), file("a/../../../outside", b"x")],
    "absolute": [file("/outside", b"x")],
    "absolute link": [link("out", "/"), file("out/outside", b"x")],
    "relative link": [link("out", "../../../.."), file("out/outside", b"x")],
    "link to link": [link("a", "b"), link("b", "/"), file("a/outside", b"x")],
    "link over folder": [folder("d"), link("d", "/"), file("d/outside", b"x")],
    "folder link": [link("d", "{host}"), folder("d"), file("d/outside", b"x")],
    "file through link": [link("f", "{host}/outside"), file("f", b"x")],
}


@pytest.mark.parametrize("how", ESCAPES)
async def test_nothing_lands_outside(shop: Shop, store, tmp_path: Path, how: str) -> None:
    host = tmp_path / "host"
    host.mkdir()
    for info, _ in ESCAPES[how]:
        info.linkname = info.linkname.replace("{host}", str(host))
    ref = shop.add("escape/" + how.replace(" ", "-"), layer(*ESCAPES[how]), Cmd=["x"])
    root = await rootfs(store, ref)
    assert list(host.iterdir()) == []
    assert not (tmp_path.parent / "outside").exists()
    found = [p for p in root.rglob("*") if p.is_file() and not p.is_symlink()]
    assert {p.name for p in found} <= {"outside", "f"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "missing"])
async def test_hard_links_stay_inside(shop: Shop, store: ImageStore, target: str) -> None:
    ref = shop.add("hard/link", layer(link("h", target, tarfile.LNKTYPE)), Cmd=["x"])
    with pytest.raises(ImageUnavailable, match="leads nowhere"):
        await store.fetch(ref, 120)
    assert nothing_kept(store)


async def test_links_modes_and_times_are_kept_but_no_powers(shop: Shop, store) -> None:
    ref = shop.add(
        "tame/image",
        layer(
            file("tool", b"#!", 0o4755, mtime=12345),
            link("twin", "tool", tarfile.LNKTYPE),
            file("group", b"", 0o2644),
            (entry("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0), b""),
            (entry("tty", type=tarfile.CHRTYPE, devmajor=5, devminor=0), b""),
            (entry("pipe", type=tarfile.FIFOTYPE), b""),
            folder("shut", 0o000),
            folder("sticky", 0o3777, mtime=777),
        ),
        Cmd=["x"],
    )
    root = await rootfs(store, ref)
    assert (root / "tool").stat().st_mode & 0o7777 == 0o755
    assert (root / "tool").stat().st_mtime == 12345
    assert (root / "twin").samefile(root / "tool")
    assert (root / "group").stat().st_mode & 0o7777 == 0o644
    assert (root / "sticky").stat().st_mode & 0o7777 == 0o1777
    assert not any((root / name).exists() for name in ("disk", "tty", "pipe"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_owners_are_mapped_away_from_the_host(shop: Shop, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "mapped", 1_900_000_000)
    tar = layer(
        folder("d", uid=7), file("d/f", b"", uid=1000, gid=4), file("g", b"", uid=99999)
    )
    root = await rootfs(store, shop.add("owned/image", tar, Cmd=["x"]))
    owners = [(root / name).stat().st_uid - 1_900_000_000 for name in ("d", "d/f", "g", ".")]
    assert owners == [7, 1000, 65534, 0]


async def test_what_the_digest_does_not_cover_is_refused(shop: Shop, store) -> None:
    ref = shop.add("spoilt/manifest", layer(file("a", b"1")), Cmd=["x"])
    key = f"{ref.repository}/manifests/{ref.digest}"
    kind, body = shop.manifests[key]
    shop.manifests[key] = (kind, body.replace(b"schema", b"Schema"))
    with pytest.raises(ImageUnavailable, match="another digest"):
        await store.fetch(ref, 120)

    ref = shop.add("spoilt/layer", layer(file("b", b"2")), Cmd=["x"])
    packed = gzip.compress(layer(file("b", b"2")), 1, mtime=0)
    digest = digest_of(packed)
    for bad in (packed[:-1] + b"\1", packed + b"\0", packed[:-9]):
        shop.blobs[digest] = bad
        with pytest.raises(ImageUnavailable, match=r"digest|longer"):
            await store.fetch(ref, 120)
    assert nothing_kept(store)


async def test_a_layer_must_unpack_to_what_the_image_says(shop: Shop, store) -> None:
    other = gzip.compress(layer(file("evil", b"1")))
    ref = shop.add("swapped/layer", layer(file("good", b"1")), packed=[other], Cmd=["x"])
    with pytest.raises(ImageUnavailable, match="something else"):
        await store.fetch(ref, 120)


@pytest.mark.parametrize(
    ("name", "tars", "sizes", "words"),
    [
        ("wide", [layer(file("a", bytes(3 * MIB)))], {"unpacked": MIB}, "larger than allowed"),
        ("many", [layer(*[file(f"{i}", b"") for i in range(50)])], {"entries": 20},
         "more files"),
        ("heavy", [layer(file("r", random.Random(1).randbytes(MIB)))], {"download": MIB // 2},
         "allowed are 0 MiB"),
    ],
)  # fmt: skip
async def test_an_image_has_its_limits(shop, tmp_path, name, tars, sizes, words) -> None:
    store = ImageStore(tmp_path / "store", None, Sizes(**sizes))
    ref = shop.add(f"large/{name}", *tars, Cmd=["x"])
    with pytest.raises(ImageUnavailable, match=words):
        await store.fetch(ref, 120)
    assert nothing_kept(store)


def long_name_bomb() -> bytes:
    """A header that promises a name of 200 MB."""
    info = entry("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=200 * MIB)
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)


def sparse_bomb() -> bytes:
    info = entry("hole", type=tarfile.GNUTYPE_SPARSE, size=512)
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[386:410] = b"%011o\0%011o\0" % (8 << 30, 0)
    head[483:495] = b"%011o\0" % (8 << 30)
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 256 + sum(head[156:512]))
    return bytes(head) + bytes(10_240)


@pytest.mark.parametrize(
    ("name", "tar"),
    [
        ("name-bomb", long_name_bomb()),
        ("sparse-bomb", sparse_bomb()),
        ("noise", random.Random(7).randbytes(4096)),
        ("circle", layer(link("a", "b"), link("b", "a"), file("a/x", b""))),
        ("long-path", layer(file("/".join(["d" * 200] * 30), b""))),
    ],
)
async def test_broken_layers_are_refused(shop, tmp_path, name, tar) -> None:
    store = ImageStore(tmp_path / "store", None, Sizes(unpacked=64 * MIB))
    ref = shop.add(f"broken/{name}", tar, Cmd=["x"])
    with pytest.raises(ImageUnavailable):
        await store.fetch(ref, 120)
    assert nothing_kept(store)


async def test_a_bomb_of_zeros_stops_at_the_limit(shop: Shop, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store", None, Sizes(unpacked=8 * MIB))
    bomb = gzip.compress(bytes(200 * MIB), 1)
    ref = shop.add("zero/bomb", b"", packed=[bomb], Cmd=["x"])
    with pytest.raises(ImageUnavailable, match="larger than allowed"):
        await store.fetch(ref, 120)


async def test_what_is_not_there_is_told(shop: Shop, store: ImageStore) -> None:
    with pytest.raises(ImageUnavailable, match="There is no image"):
        await store.fetch(ImageRef(shop.host, "no/such", "1"), 10)
    with pytest.raises(Unavailable, match="does not answer"):
        await store.fetch(ImageRef("127.0.0.1:1", "no/registry", "1"), 10)
    with pytest.raises(Unavailable, match="was not here within"):
        await store.fetch(shop.add("slow/image", busybox(), Cmd=["x"]), 0.001)
    nameless = shop.add("bad/user", layer(file("x", b"")), User="nobody-here", Cmd=["x"])
    with pytest.raises(ImageUnavailable, match="nobody-here"):
        await store.fetch(nameless, 10)


@pytest.mark.parametrize(
    "document", [[], {}, {"config": {}, "layers": 3}, {"config": {"digest": "x"}, "layers": []}]
)
async def test_manifests_that_are_none(shop: Shop, store, document) -> None:
    body = json.dumps(document).encode()
    shop.manifests[f"odd/manifest/manifests/{digest_of(body)}"] = ("application/json", body)
    with pytest.raises(ImageUnavailable):
        await store.fetch(ImageRef(shop.host, "odd/manifest", None, digest_of(body)), 10)


async def test_the_least_used_go_when_room_is_short(shop: Shop, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store", None, Sizes(keep=5 * MIB))
    refs = [
        shop.add(f"room/{i}", layer(file("r", random.Random(i).randbytes(2 * MIB))), Cmd=["x"])
        for i in range(4)
    ]
    first = await store.fetch(refs[0], 120)
    with store.using(first):
        for ref in refs[1:]:
            await store.fetch(ref, 120)
            await anyio.sleep(0.02)
        kept = [store.find(ref) is not None for ref in refs]
        assert kept[0], "an image in use stays"
        assert kept[3]
        assert kept.count(True) < 4
    gone = next(ref for ref in refs if store.find(ref) is None)
    assert await store.fetch(gone, 120)
    assert list((store.root / "tmp").iterdir()) == []


async def test_an_image_that_a_power_failure_spoilt_is_fetched_again(shop, store) -> None:
    ref = shop.add("power/failure", layer(file("word", b"whole")), Cmd=["x"])
    image = await store.fetch(ref, 120)
    (image.folder / "facts.json").write_bytes(b"")
    (image.rootfs / "word").write_bytes(b"")
    assert ((await rootfs(store, ref)) / "word").read_text() == "whole"
    assert list((store.root / "tmp").iterdir()) == []


async def test_cancelling_a_pull_leaves_nothing(shop: Shop, store: ImageStore) -> None:
    many = [file(f"{i}", b"x" * 100) for i in range(20_000)]
    ref = shop.add("slow/unpack", layer(*many), Cmd=["x"])
    for delay in (0.01, 0.1, 0.4):
        with anyio.move_on_after(delay) as scope:
            await store.fetch(ref, 60)
        assert scope.cancelled_caught
        assert nothing_kept(store)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("127.0.0.1:5000/a/b:1", ImageRef("127.0.0.1:5000", "a/b", "1")),
        ("localhost/a", ImageRef("localhost", "a", "latest")),
        ("ubuntu", ImageRef("docker.io", "library/ubuntu", "latest")),
        ("iexechub/python:3", ImageRef("docker.io", "iexechub/python", "3")),
        (
            "r.example/a@sha256:" + "0" * 64,
            ImageRef("r.example", "a", None, "sha256:" + "0" * 64),
        ),
    ],
)
def test_references_mean_what_docker_means(text: str, means: ImageRef) -> None:
    assert ImageRef.parse(text) == means
    assert ImageRef.parse(str(means)) == means


@pytest.mark.parametrize(
    "text",
    ["", "A/b", "a b", "a:b:c", "a@sha256:12", "../etc", "http://x/y", "a/-b", "a:", "a@", "é"],
)
def test_other_text_is_no_reference(text: str) -> None:
    with pytest.raises(ImageUnavailable):
        ImageRef.parse(text)


def test_digests_are_of_the_content() -> None:
    assert digest_of(b"") == "sha256:" + hashlib.sha256(io.BytesIO().read()).hexdigest()


async def test_a_start_brings_what_is_too_much_down(shop: Shop, tmp_path: Path) -> None:
    generous = ImageStore(tmp_path / "store", None)
    refs = [
        shop.add(f"down/{i}", layer(file("r", random.Random(i).randbytes(2 * MIB))), Cmd=["x"])
        for i in range(2)
    ]
    for ref in refs:
        await generous.fetch(ref, 120)
    old, recent = generous.root / "partial" / "old", generous.root / "partial" / "recent"
    old.mkdir()
    recent.mkdir()
    os.utime(old, (0, 0))
    strict = ImageStore(generous.root, None, Sizes(keep=3 * MIB))
    strict.sweep()
    assert [strict.find(ref) is not None for ref in refs] == [False, True]
    assert [old.exists(), recent.exists()] == [False, True]
