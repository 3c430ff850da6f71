"""Datasets and input files reach the app, checked; what cannot be had is voted on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from market_lab import Lab

pytestmark = pytest.mark.anyio

TEXT = "one fish two fish red fish blue fish\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "fish.txt").write_text(TEXT)
    (folder / "more.txt").write_text("fish fish\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


async def test_a_dataset_and_an_input_file_are_counted(lab: Lab, shelf: tuple[Path, str]):
    _, url = shelf
    bought = await lab.buy(
        "words", "--top 3", dataset=f"{url}/fish.txt", inputs=(f"{url}/more.txt",)
    )
    assert bought.deal.dataset.pointer != bytes(20)
    ending = await lab.see(bought)
    assert ending.paid
    told = (ending.result / "stdout.txt").read_text()
    assert told == "7 words, 2 different, in 2 file(s)\n"


async def test_a_dataset_that_changed_is_not_computed_on(lab: Lab, shelf: tuple[Path, str]):
    """Its checksum is on chain: every worker meets the same failure, and votes for that."""
    folder, url = shelf
    (folder / "changing.txt").write_text("as registered\n")
    bought = await lab.buy("words", dataset=f"{url}/changing.txt")
    (folder / "changing.txt").write_text("as found later\n")
    ending = await lab.see(bought)
    story = await lab.story(ending.task)
    causes = {replicate["cause"] for replicate in story["replicates"]}
    assert causes == {"DATASET_FILE_BAD_CHECKSUM"}
    error = (ending.result / "error.txt").read_text()
    assert "DATASET_FILE_BAD_CHECKSUM" in error
