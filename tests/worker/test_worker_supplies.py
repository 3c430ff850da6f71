"""What an app needs, against what the chain says of it: hostile registrations and addresses."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from worker_lab import Bench, task_of

from tallystick.devnet.actors import register_dataset
from tallystick.execution.executor import ImageRef, ImageUnavailable
from tallystick.lifecycle.task import Task
from tallystick.poco.deal import Asset
from tallystick.poco.params import DealParams
from tallystick.poco.values import Address, Hash
from tallystick.storage import fetch
from tallystick.worker.compute import input_name
from tallystick.worker.folder import TaskFolder
from tallystick.worker.supplies import NoData, Supplies

pytestmark = pytest.mark.anyio

CHECKSUM = Hash(b"\x11" * 32)
_NUMBERS = itertools.count(1)
DIGEST = f"sha256:{'11' * 32}"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL at which its files are."""
    folder = tmp_path_factory.mktemp("shop")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_PAUSES", (0.0,))


def app_task(worker: Bench, image: str, *, kind: str = "DOCKER", checksum=CHECKSUM) -> Task:
    """A task whose app is registered like this on the real chain."""
    owner = worker.trade.chain.app_owner
    call = worker.trade.calls.create_app(
        owner.address,
        f"app {next(_NUMBERS)}",
        kind=kind,
        multiaddr=image.encode(),
        checksum=checksum,
    )
    receipt = worker.trade.send(owner, call)
    minted = next(log for log in receipt["logs"] if len(log["topics"]) == 4)
    app = Address(minted["topics"][3][-40:])
    task = task_of()
    return replace(task, deal=replace(task.deal, app=Asset(app, owner.address, 1)))


async def test_an_image_is_named_by_its_digest(worker: Bench):
    task = app_task(worker, "127.0.0.1:5000/test/app:1")
    image = await worker.steps.supplies.image(task)
    assert image == ImageRef("127.0.0.1:5000", "test/app", "1", DIGEST)
    same = await worker.steps.supplies.image(app_task(worker, f"host:1/app@{DIGEST}"))
    assert same == ImageRef("host:1", "app", None, DIGEST)
    free = await worker.steps.supplies.image(
        app_task(worker, "host:1/app:2", checksum=Hash(bytes(32)))
    )
    assert free == ImageRef("host:1", "app", "2")


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (f"host:1/app@sha256:{'22' * 32}", "DOCKER"),
        ("host:1/app:1", "ETHEREUM"),
        ("", "DOCKER"),
        ("http://host/app", "DOCKER"),
        ("../../etc/passwd", "DOCKER"),
        ("-v/:/host", "DOCKER"),
        ("a" * 2_000, "DOCKER"),
        ("app\0:1", "DOCKER"),
        ("\ufffd\n", "DOCKER"),
    ],
    ids=repr,
)
async def test_a_registration_that_names_no_image(worker: Bench, image: str, kind: str):
    task = app_task(worker, image, kind=kind)
    with pytest.raises(ImageUnavailable):
        await worker.steps.supplies.image(task)
    with pytest.raises(ImageUnavailable):
        await worker.steps.supplies.fetch_image(task)


def dataset_task(worker: Bench, address: bytes, checksum: Hash) -> Task:
    chain, task = worker.trade.chain, task_of()
    dataset = register_dataset(
        chain.console,
        chain.contracts,
        owner=chain.app_owner.address,
        name="data",
        multiaddr=address,
        checksum=checksum,
    )
    return replace(task, deal=replace(task.deal, dataset=Asset(dataset, dataset, 0)))


async def test_a_dataset_is_checked_against_the_chain(worker: Bench, shop: tuple[Path, str]):
    folder, url = shop
    (folder / "data").write_bytes(b"the data")
    checksum = Hash(hashlib.sha256(b"the data").digest())
    good = dataset_task(worker, f"{url}/data".encode(), checksum)
    supplies = worker.steps.supplies
    await supplies.fetch_data(good, DealParams())
    here = TaskFolder(worker.config.home, good.id)
    assert (here.input / str(good.deal.dataset.pointer)).read_bytes() == b"the data"
    (folder / "data").unlink()
    await supplies.fetch_data(good, DealParams())  # it is here already
    (folder / "data").write_bytes(b"something else")
    bad = dataset_task(worker, f"{url}/data".encode(), Hash(b"\x01" * 32))
    with pytest.raises(NoData) as refusal:
        await supplies.fetch_data(bad, DealParams())
    assert refusal.value.cause == "DATASET_FILE_BAD_CHECKSUM"
    assert not (here.input / str(bad.deal.dataset.pointer)).exists()


@pytest.mark.parametrize(
    "address",
    [
        b"http://[",
        b"file:///etc/passwd",
        b"\xff\xfe",
        b"http://127.0.0.1:99999/",
        b"http://\0/",
    ],
)
async def test_a_dataset_that_is_nowhere(worker: Bench, address: bytes):
    with pytest.raises(NoData) as refusal:
        await worker.steps.supplies.fetch_data(
            dataset_task(worker, address, CHECKSUM), DealParams()
        )
    assert refusal.value.cause == "DATASET_FILE_DOWNLOAD_FAILED"


async def test_a_dataset_without_a_place_is_none(worker: Bench):
    """As v9 workers have it."""
    task = dataset_task(worker, b"  ", CHECKSUM)
    await worker.steps.supplies.fetch_data(task, DealParams())
    assert list(TaskFolder(worker.config.home, task.id).input.iterdir()) == []


HOSTILE = [
    "http://[",
    "http://\u2100.com/",
    "http://user:pw@[",
    "http://a\0b/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:-1/",
    "http://" + "a" * 300 + "/",
    "http:///etc/passwd",
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "",
    "/ipfs/\0",
]


@pytest.mark.parametrize("url", HOSTILE, ids=lambda url: repr(url)[:30])
@pytest.mark.parametrize("private", [True, False])
async def test_input_files_that_lead_nowhere(worker: Bench, url: str, private: bool):
    config = replace(
        worker.config, private_downloads=private, ipfs_gateways=("http://127.0.0.1:1",)
    )
    supplies = Supplies(worker.hub, None, config)
    with pytest.raises(NoData) as refusal:
        await supplies.fetch_data(task_of(), DealParams(input_files=(url,)))
    assert refusal.value.cause == "INPUT_FILES_DOWNLOAD_FAILED"


async def test_an_input_file_of_the_neighbourhood(worker: Bench, shop: tuple[Path, str]):
    """Only a market on one machine may read it."""
    folder, url = shop
    (folder / "secret").write_text("of the neighbours")
    params = DealParams(input_files=(f"{url}/secret",))
    public = Supplies(worker.hub, None, replace(worker.config, private_downloads=False))
    with pytest.raises(NoData, match="not a public address"):
        await public.fetch_data(task_of(), params)
    await worker.steps.supplies.fetch_data(task_of(), params)
    here = TaskFolder(worker.config.home, task_of().id)
    assert (here.input / input_name(f"{url}/secret")).read_text() == "of the neighbours"


async def test_many_small_files_are_one_large_one(worker: Bench, shop: tuple[Path, str]):
    folder, url = shop
    for number in range(3):
        (folder / f"part{number}").write_bytes(bytes(400))
    urls = tuple(f"{url}/part{number}" for number in range(3))
    supplies = Supplies(worker.hub, None, replace(worker.config, max_data=1_000))
    with pytest.raises(NoData) as refusal:
        await supplies.fetch_data(task_of(), DealParams(input_files=urls))
    assert refusal.value.cause == "INPUT_FILES_DOWNLOAD_FAILED"
    assert len(list(TaskFolder(worker.config.home, task_of().id).input.iterdir())) == 2
