"""Images come from the loopback registry as from any other, and never changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tallystick.devnet.registry import create_app
from tallystick.devnet.shelf import BadImage, Shelf

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def put(layout: Path, content: bytes) -> dict:
    name = hashlib.sha256(content).hexdigest()
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / name).write_bytes(content)
    return {"digest": f"sha256:{name}", "size": len(content)}


def image(folder: Path, layer: bytes, tag: str = "1") -> str:
    """An OCI layout with one layer; returns the manifest's digest."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(folder, b"{}"),
        "layers": [put(folder, layer)],
    }
    entry = put(folder, json.dumps(manifest).encode())
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    return str(entry["digest"])


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def client(shelf):
    with TestClient(create_app(shelf)) as client:
        yield client


def test_an_image_is_found_by_tag_and_by_digest(tmp_path, shelf, client):
    digest = image(tmp_path / "layout", b"layer one")
    assert shelf.add("tallystick/digits", tmp_path / "layout") == digest
    for reference in ("1", digest):
        answer = client.get(f"/v2/tallystick/digits/manifests/{reference}")
        assert answer.status_code == 200
        assert answer.headers["docker-content-digest"] == digest
        assert answer.headers["content-type"] == MANIFEST
        assert "sha256:" + hashlib.sha256(answer.content).hexdigest() == digest
        head = client.head(f"/v2/tallystick/digits/manifests/{reference}")
        assert head.headers["content-length"] == str(len(answer.content))
        assert head.content == b""
    assert client.get("/v2/").status_code == 200
    assert client.get("/v2/_catalog").json() == {"repositories": ["tallystick/digits"]}
    assert client.get("/v2/tallystick/digits/tags/list").json()["tags"] == ["1"]


def test_blobs_come_whole_or_in_part(tmp_path, shelf, client):
    image(tmp_path / "layout", b"0123456789")
    shelf.add("app", tmp_path / "layout")
    digest = "sha256:" + hashlib.sha256(b"0123456789").hexdigest()
    assert client.get(f"/v2/app/blobs/{digest}").content == b"0123456789"
    assert client.head(f"/v2/app/blobs/{digest}").headers["content-length"] == "10"
    part = client.get(f"/v2/app/blobs/{digest}", headers={"Range": "bytes=4-6"})
    assert (part.status_code, part.content) == (206, b"456")


def test_a_tag_moves_and_the_old_image_stays(tmp_path, shelf, client):
    old, new = image(tmp_path / "old", b"old"), image(tmp_path / "new", b"new")
    shelf.add("app", tmp_path / "old")
    shelf.add("app", tmp_path / "new")
    assert client.get("/v2/app/manifests/1").headers["docker-content-digest"] == new
    assert client.get(f"/v2/app/manifests/{old}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "app/manifests/2",
        "app/manifests/sha256:" + "0" * 64,
        "other/manifests/1",
        "app/blobs/sha256:" + "0" * 64,
        "app/blobs/index.json",
        "../app/manifests/1",
        "%2e%2e/%2e%2e/manifests/1",
        "app/..%2f..%2fsecret/tags/list",
    ],
)
def test_what_is_not_there_is_not_found(tmp_path, shelf, client, path):
    image(tmp_path / "layout", b"layer")
    shelf.add("app", tmp_path / "layout")
    assert client.get(f"/v2/{path}").status_code == 404


def test_a_layer_is_no_manifest(tmp_path, shelf, client):
    image(tmp_path / "layout", b"layer")
    shelf.add("app", tmp_path / "layout")
    digest = "sha256:" + hashlib.sha256(b"layer").hexdigest()
    assert client.get(f"/v2/app/manifests/{digest}").status_code == 404


def test_a_layout_with_a_wrong_blob_is_not_taken(tmp_path, shelf):
    image(tmp_path / "layout", b"layer")
    name = hashlib.sha256(b"layer").hexdigest()
    (tmp_path / "layout" / "blobs" / "sha256" / name).write_bytes(b"other")
    with pytest.raises(BadImage, match="other bytes than its name"):
        shelf.add("app", tmp_path / "layout")


def test_a_blob_that_was_changed_on_the_shelf_is_not_handed_out(tmp_path, shelf, client):
    image(tmp_path / "layout", b"layer")
    shelf.add("app", tmp_path / "layout")
    name = hashlib.sha256(b"layer").hexdigest()
    path = f"/v2/app/blobs/sha256:{name}"
    assert client.get(path).status_code == 200
    (tmp_path / "shelf" / "app" / "blobs" / "sha256" / name).write_bytes(b"evil stuff")
    assert client.get(path).status_code == 500


def test_a_folder_that_is_no_layout_is_refused(tmp_path, shelf):
    with pytest.raises(BadImage, match="no OCI image layout"):
        shelf.add("app", tmp_path)
    with pytest.raises(BadImage, match="no name of a repository"):
        shelf.add("../app", tmp_path)
