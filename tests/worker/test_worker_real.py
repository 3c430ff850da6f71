"""The worker's computer with a real sandbox and a real image from a real registry."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
import uvicorn
from worker_lab import DEAL, ME, TASK, settings, task_of

from tallystick.devnet.packages import default_cache
from tallystick.devnet.registry import create_app
from tallystick.devnet.shelf import Shelf
from tallystick.examples.image import build
from tallystick.execution.choose import choose
from tallystick.execution.executor import Executor, ImageRef, RuntimeUnfit
from tallystick.lifecycle.facts import Computed, Failed, Step
from tallystick.poco.params import DealParams
from tallystick.worker.compute import Computer
from tallystick.worker.folder import TaskFolder

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRef]:
    """The app that misbehaves on request, in a registry of this machine."""
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    digest = shelf.add("test/mischief", build("mischief", default_cache()).layout)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()  # whoever comes before the server waits for it
        config = uvicorn.Config(create_app(shelf), log_config=None, ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        yield ImageRef(f"127.0.0.1:{sock.getsockname()[1]}", "test/mischief", None, digest)
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
async def executor(
    image: ImageRef, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Executor]:
    try:
        found = await choose("bubblewrap", tmp_path_factory.mktemp("images"))
    except RuntimeUnfit as problem:
        pytest.skip(str(problem))
    await found.fetch(image, time_limit=30)
    yield found
    await found.aclose()


@pytest.fixture
def computer(executor: Executor, tmp_path: Path) -> Computer:
    return Computer(ME, settings(tmp_path, max_time=20.0), executor)


async def test_arguments_arrive_as_they_were_written(
    computer: Computer, image: ImageRef, tmp_path: Path
):
    params = DealParams(args="ok 'two words \\ \"and\" é'")
    fact = await computer.compute(task_of(), image, params)
    assert isinstance(fact, Computed)
    here = TaskFolder(settings(tmp_path).home, TASK)
    assert (here.output / "result.txt").read_text() == 'two words \\ "and" é\n'
    assert (here.output / "stdout.txt").read_text() == 'two words \\ "and" é\n'
    assert await computer.compute(task_of(), image, params) == fact


@pytest.mark.parametrize(
    ("deed", "cause"),
    [
        ("silent", "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"),
        ("links", None),
        ("deep 40", "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED"),
        ("longname", "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"),
        ("sparse 1G", "APP_COMPUTE_FAILED"),
        ("nonsense", "APP_COMPUTE_FAILED"),
    ],
)
async def test_whatever_the_app_leaves(
    computer: Computer, image: ImageRef, deed: str, cause: str | None
):
    fact = await computer.compute(task_of(), image, DealParams(args=deed))
    if cause is None:
        assert isinstance(fact, Computed | Failed)
    else:
        assert fact == Failed(ME, Step.COMPUTE, cause)


async def test_an_app_that_fails_has_an_exit_code(computer: Computer, image: ImageRef):
    fact = await computer.compute(task_of(), image, DealParams(args="fail 3"))
    assert isinstance(fact, Computed)
    assert fact.exit_code == 3


async def test_an_app_that_never_ends_does(executor: Executor, image: ImageRef, tmp_path: Path):
    brief = Computer(ME, settings(tmp_path, max_time=1.0), executor)
    with anyio.fail_after(60):
        fact = await brief.compute(task_of(), image, DealParams(args="endless"))
    assert fact == Failed(ME, Step.COMPUTE, "APP_COMPUTE_TIMEOUT")
    logs = TaskFolder(settings(tmp_path).home, TASK).logs()
    assert logs is not None
    assert "stopped after 1 s" in logs.stderr


async def test_a_job_that_is_given_up_leaves_nothing(
    computer: Computer, image: ImageRef, tmp_path: Path
):
    with anyio.move_on_after(1) as scope:
        await computer.compute(task_of(), image, DealParams(args="endless"))
    assert scope.cancelled_caught
    assert TaskFolder(settings(tmp_path).home, DEAL.task_id(0)).kept() is None
    fact = await computer.compute(task_of(), image, DealParams(args="ok again"))
    assert isinstance(fact, Computed)
