"""Images, outputs and manifests of strangers are read, or refused in the documented way."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import ImageRef, ImageUnavailable, Limits
from tallystick.execution.layers import Budget, Unpacker, inflate
from tallystick.execution.output import OutputTooLarge, take_over_tar
from tallystick.execution.registry import choose_platform, read_manifest

QUICK: Final = settings(deadline=None, derandomize=True, max_examples=25)
LIMITS: Final = Limits(time=60, memory=1 << 30, cpus=1, pids=10, disk=1 << 20)
NAMES = st.sampled_from(
    ["iexec_out/a", "iexec_out/b/c", "/etc/x", "../x", "a/../../x", ".wh.a", "b/.wh..wh..opq"]
) | st.text(max_size=12)
NUMBERS = st.sampled_from(
    ["1e300", "-1e300", "nan", "inf", "-1", "0", "1.5", "99999999999999999999", "x", ""]
)
PAX = st.dictionaries(
    st.sampled_from(
        [
            *("mtime", "size", "uid", "gid", "path", "linkpath", "uname"),
            *("GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.realsize"),
        ]
    ),
    NUMBERS | st.text(max_size=8),
    max_size=3,
)
KINDS = st.sampled_from(
    [
        *(tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE),
        *(tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE, b"Z"),
    ]
)
MEMBERS = st.lists(st.tuples(NAMES, KINDS, NAMES, PAX, st.binary(max_size=40)), max_size=5)


def tarred(members: list[tuple[str, bytes, str, dict[str, str], bytes]]) -> bytes:
    """A tar whose headers say what no program of ours would write."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, link, pax, content in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.pax_headers = kind, link, pax
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            with suppress(ValueError, UnicodeError):
                tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def unpacked(raw: bytes) -> None:
    """As a layer of an image, and as the output of an app; nothing is written elsewhere."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "tar").write_bytes(raw)
        root = home / "inner" / "root"
        root.mkdir(parents=True)
        with suppress(ImageUnavailable, Unavailable):
            Unpacker(root, Budget(1 << 20, 100, float("inf")), None).apply(home / "tar")
        with suppress(OutputTooLarge, Unavailable):
            take_over_tar(home / "tar", home / "inner" / "out", LIMITS)
        assert {path.name for path in home.iterdir()} == {"tar", "inner"}
        assert {path.name for path in (home / "inner").iterdir()} == {"root", "out"}


@QUICK
@given(MEMBERS)
@example([("d", tarfile.DIRTYPE, "", {"mtime": "1e300"}, b"")])
@example([("iexec_out", tarfile.DIRTYPE, "", {"mtime": "nan"}, b"")])
@example([("iexec_out/d", tarfile.DIRTYPE, "", {"mtime": "-1e300"}, b"")])
@example([("f", tarfile.REGTYPE, "", {"GNU.sparse.map": "0,x"}, b"")])
def test_a_tar_is_unpacked_or_refused(members: Any):
    unpacked(tarred(members))


@QUICK
@given(MEMBERS, st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8))
def test_a_damaged_tar_is_unpacked_or_refused(members: Any, damage: list[tuple[int, int]]):
    raw = bytearray(tarred(members))
    for at, byte in damage:
        raw[at % len(raw)] = byte
    unpacked(bytes(raw))


@pytest.mark.parametrize("depth", [250, 1500])
def test_folders_in_folders_end_somewhere(tmp_path: Path, depth: int):
    """A later layer can remove whatever an earlier one could make."""
    deep = "/".join(["d"] * depth)
    for number, names in enumerate(([deep], [".wh.d", deep], [f"{deep}/x", ".wh..wh..opq"])):
        layer = tmp_path / f"{number}.tar"
        layer.write_bytes(tarred([(name, tarfile.DIRTYPE, "", {}, b"") for name in names]))
    root = tmp_path / "root"
    root.mkdir()
    unpacker = Unpacker(root, Budget(1 << 30, 100_000, float("inf")), None)
    for number in range(3):
        if depth > 256:
            with pytest.raises(ImageUnavailable, match="deep"):
                unpacker.apply(tmp_path / f"{number}.tar")
        else:
            unpacker.apply(tmp_path / f"{number}.tar")
    assert [path.name for path in root.iterdir()] in ([], ["d"])


@QUICK
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"]))
def test_a_layer_is_inflated_or_refused(raw: bytes, magic: bytes):
    with TemporaryDirectory() as folder:
        blob = Path(folder, "blob")
        blob.write_bytes(magic + raw)
        with suppress(ImageUnavailable, Unavailable):
            inflate(blob, Path(folder, "tar"), Budget(1 << 20, 9, float("inf")), lambda _: None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("config", "layers", "digest", "size", "urls", "manifests", "platform"),
                    *("os", "architecture", "mediaType", "variant"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@QUICK
@given(JSON)
@example({"manifests": [{"platform": None, "digest": 1}]})
@example({"manifests": [None, [], {"platform": "linux"}, {"platform": {"os": []}}]})
@example({"config": {"digest": "sha256:" + "0" * 64, "size": 1}, "layers": 1})
@example({"manifests": {}})
def test_a_manifest_is_one_or_refused(document: Any):
    with suppress(ImageUnavailable):
        choose_platform(document)
    with suppress(ImageUnavailable):
        read_manifest(document, "sha256:" + "0" * 64)


@QUICK
@given(st.text(max_size=80))
@example("a@sha256:" + "0" * 64)
@example("a" * 600)
@example("[::1]:5000/a")
@example("\udcff")
def test_an_image_is_named_or_refused(text: str):
    try:
        image = ImageRef.parse(text)
    except ImageUnavailable:
        return
    assert ImageRef.parse(str(image)) == image


@pytest.mark.parametrize(
    "text", ["a", "a:1", "h.example/a", "h:5000/a/b:x", "localhost/a@sha256:" + "0" * 64]
)
def test_a_name_is_read_back(text: str):
    assert ImageRef.parse(str(ImageRef.parse(text))) == ImageRef.parse(text)
