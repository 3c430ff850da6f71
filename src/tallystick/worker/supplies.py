"""Getting what an app needs: its image, its dataset, its input files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from tallystick.chain.hub import Hub
from tallystick.chain.records import App
from tallystick.execution.executor import Executor, ImageRef, ImageUnavailable
from tallystick.lifecycle.task import Task
from tallystick.poco.params import DealParams
from tallystick.poco.values import ZERO_ADDRESS, ZERO_HASH, Address, Hash
from tallystick.storage.addresses import uri_of
from tallystick.storage.fetch import BadChecksum, FetchFailed, fetch
from tallystick.worker.config import WorkerConfig
from tallystick.worker.folder import TaskFolder, input_name

SHORTEST_FETCH = 300.0
"""Seconds that an image or a file may take even in a category that is shorter (v9: 5 minutes).
The contribution deadline ends it earlier when it must."""


def fetch_time(task: Task) -> float:
    """Seconds after which an image or a file of `task` counts as not to be had."""
    return max(SHORTEST_FETCH, task.deal.time_unit)


def pull_time(task: Task, config: WorkerConfig) -> float:
    """Seconds after which the app's image counts as not to be had.

    As v9 means it: with each tenfold of the category's time ten minutes more, from none at ten
    minutes on, within the bounds of the settings.
    """
    minutes = 10 * math.log10(max(1, task.deal.time_unit) / 600)
    return max(config.min_pull_time, min(config.max_pull_time, 60 * minutes))


def _size(folder: Path) -> int:
    """Bytes of the files that are in `folder` already: a deal may name any number of them."""
    return sum(path.stat().st_size for path in folder.iterdir())


class NoData(Exception):
    """A dataset or an input file cannot be had; `cause` is the protocol's name for it."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Supplies:
    """Fetches for one worker. What it hands out is checked against the chain."""

    hub: Hub
    executor: Executor
    config: WorkerConfig
    _apps: dict[Address, App] = field(default_factory=dict[Address, App])

    async def image(self, task: Task) -> ImageRef:
        """The app's image as its owner registered it: by digest, so that it cannot change.

        Raises ImageUnavailable when the registration names no image that can be run.
        """
        app = await self._app(task.deal.app.pointer)
        if app.type.upper() != "DOCKER":
            raise ImageUnavailable(f"App {task.deal.app.pointer} is {app.type!r}, not DOCKER.")
        image = ImageRef.parse(app.multiaddr.decode(errors="replace"))
        if app.checksum == ZERO_HASH:
            return image
        digest = f"sha256:{app.checksum.hex()}"
        if image.digest not in (None, digest):
            raise ImageUnavailable(
                f"App {task.deal.app.pointer} names {image}, but its checksum is {digest}."
            )
        return replace(image, digest=digest)

    async def fetch_image(self, task: Task) -> None:
        """Have the app's image on this machine.

        Raises ImageUnavailable, ImageNotForUs where it is our own doing, and Unavailable.
        """
        image = await self.image(task)
        await self.executor.fetch(image, time_limit=pull_time(task, self.config))

    async def fetch_data(self, task: Task, params: DealParams) -> None:
        """Have the dataset and all input files in the task's folder. Raises NoData."""
        folder = TaskFolder(self.config.home, task.id)
        folder.make()
        if task.deal.dataset.pointer != ZERO_ADDRESS:
            await self._dataset(task, folder.input)
        for url in params.input_files:
            target = folder.input / input_name(url)
            if not target.exists():
                await self._file(url, target, None, "INPUT_FILES_DOWNLOAD_FAILED", task)

    async def _dataset(self, task: Task, folder: Path) -> None:
        pointer = task.deal.dataset.pointer
        target = folder / str(pointer)
        if target.exists():
            return
        known = await self.hub.dataset(pointer)
        if not known.multiaddr.strip() or known.checksum == ZERO_HASH:
            return
        url = uri_of(known.multiaddr)
        await self._file(url, target, known.checksum, "DATASET_FILE_DOWNLOAD_FAILED", task)

    async def _file(
        self, url: str, target: Path, checksum: Hash | None, cause: str, task: Task
    ) -> None:
        gateways = self.config.ipfs_gateways
        try:
            await fetch(
                url,
                target,
                max_bytes=max(0, self.config.max_data - _size(target.parent)),
                checksum=checksum,
                time_limit=fetch_time(task),
                allow_private=self.config.private_downloads,
                **({"gateways": gateways} if gateways else {}),
            )
        except BadChecksum as problem:
            raise NoData("DATASET_FILE_BAD_CHECKSUM", str(problem)) from problem
        except FetchFailed as problem:
            raise NoData(cause, str(problem)) from problem

    async def _app(self, pointer: Address) -> App:
        """Asked once: an app's contract never changes."""
        if pointer not in self._apps:
            self._apps[pointer] = await self.hub.app(pointer)
        return self._apps[pointer]
