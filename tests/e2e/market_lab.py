"""A whole market of real processes for one test, and what to ask of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import anyio
import httpx2

from tallystick.chain.wallet import Wallet
from tallystick.cli import local
from tallystick.cli.buying import Errand, app_params, purchase
from tallystick.cli.ending import Ending, see_through
from tallystick.devnet.market import Market, MarketOptions, running
from tallystick.devnet.places import Places, password_in
from tallystick.devnet.services import Plan, services
from tallystick.devnet.shelf import Shelf
from tallystick.devnet.supervise import Service
from tallystick.examples.image import build
from tallystick.poco.values import Address, TaskId
from tallystick.requester.buy import Purchase
from tallystick.requester.news import News
from tallystick.requester.orders import Wish
from tallystick.requester.session import Session, open_session

XS, DEV, TINY = 0, 5, 6
"""Categories: 300 s as on mainnet, 60 s, and 2 s for those who wait for deadlines."""

PATIENCE = 200.0
"""Seconds after which a task that has not ended will not: less than a test may take."""


@dataclass
class Ear:
    """Hears the news of a task."""

    news: list[News] = field(default_factory=list)
    sayings: list[str] = field(default_factory=list)

    def tell(self, news: News) -> None:
        self.news.append(news)

    def say(self, text: str) -> None:
        self.sayings.append(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@dataclass
class Lab:
    """A running market and a requester."""

    market: Market
    session: Session
    requester: Wallet
    out: Path
    sayings: list[str]
    http: httpx2.AsyncClient

    async def buy(
        self, image: str, args: str = "", *, trust: int = 1, category: int = XS, **wish: Any
    ) -> Purchase:
        """One deal of one task."""
        words = wish.pop("params", None) or app_params(args.split(), wish.pop("inputs", ()))
        dataset = wish.pop("dataset", None)
        errand = Errand(
            image=image,
            wish=Wish(trust=trust, category=category, params=words, **wish),
            dataset=dataset,
            say=self.sayings.append,
        )
        (bought,) = await purchase(
            errand, self.requester, self.session, apps=local.apps(self.market)
        )
        return bought

    async def see(self, bought: Purchase, patience: float = PATIENCE) -> Ending:
        """Follow the deal's task to its end, and its replicates to theirs."""
        (task,) = bought.tasks
        out = self.out / str(task)
        ending: Ending | None = None
        story: dict[str, Any] = {}
        with anyio.move_on_after(patience):
            ending = await see_through(
                self.session, bought, task, screen=Ear(), reader=self.requester, out=out
            )
        if ending is None:
            with anyio.move_on_after(5):
                story = await self.story(task)
            raise AssertionError(f"{task} is not over after {patience} s: {_told(story)}")
        await self.until(
            task, lambda story: all(_over(r) for r in story["replicates"]), patience
        )
        await self._tidied(task)
        return ending

    async def _tidied(self, task: TaskId) -> None:
        """Workers tidy up after they have told how it ended: give them a moment for it."""
        with anyio.move_on_after(120):
            while self.leftovers(task):  # noqa: ASYNC110 (other processes)
                await anyio.sleep(0.05)

    async def until(
        self, task: TaskId, met: Callable[[dict[str, Any]], bool], within: float = 120
    ) -> dict[str, Any]:
        """The task's story once `met` holds of it."""
        story: dict[str, Any] = {}
        with anyio.move_on_after(within):
            while True:
                story = await self.story(task)
                if met(story):
                    return story
                await self._change(task, story["next"])
        raise AssertionError(f"What {task} waited {within} s for is not there: {_told(story)}")

    async def story(self, task: TaskId, after: int = 0, wait: float = 0) -> dict[str, Any]:
        url = f"{self.market.scheduler_url}/tasks/{task}/story"
        while True:
            try:
                answer = await self.http.get(url, params={"after": after, "wait": wait})
            except httpx2.TransportError:
                await anyio.sleep(0.1)  # the scheduler may just have been killed
                continue
            return answer.json()

    async def _change(self, task: TaskId, after: int) -> None:
        await self.story(task, after, wait=10)

    async def workers_are_back(self, count: int) -> None:
        """Until so many workers are registered and alive."""
        with anyio.fail_after(120):
            while True:
                try:
                    known = (await self.http.get(f"{self.market.scheduler_url}/workers")).json()
                    if sum(worker["alive"] for worker in known) >= count:
                        return
                except httpx2.TransportError:
                    pass
                await anyio.sleep(0.1)

    def shelve(self, name: str, cache: Path) -> str:
        """Put a trial app into the market's registry; what to call its image."""
        built = build(name, cache)
        Shelf(Places(self.market.data).shelf).add(f"tallystick/{name}", built.layout)
        registry = self.market.registry_url.removeprefix("http://")
        return f"{registry}/tallystick/{name}@{built.digest}"

    def gains(self, ending: Ending) -> dict[str, int]:
        """What every account won or lost by a task, in nRLC, by role."""
        names = {address: role for role, address in self.market.accounts.items()}
        return {
            names.get(who, "kitty"): gain for who, gain in ending.money.gains.items() if gain
        }

    def kill(self, name: str) -> None:
        """SIGKILL the process of this name."""
        os.kill(self.pid(name), signal.SIGKILL)

    def pid(self, name: str) -> int:
        return self.market.pids[name]

    async def stake(self, role: str) -> tuple[int, int]:
        """Free and locked nRLC of a role inside the hub."""
        account = await self.session.hub.account(self.market.accounts[role])
        return account.stake, account.locked

    def leftovers(self, task: TaskId) -> list[str]:
        """Whatever of a task is still on this machine: folders, mounts, processes, cgroups."""
        needle = str(task)
        kept = self.market.data / "workers"
        assert kept.parent.joinpath("logs").is_dir(), "the market is laid out differently"
        folders = [str(path) for path in kept.rglob(f"*{needle}*")]
        mounts = [
            line for line in Path("/proc/mounts").read_text().splitlines() if needle in line
        ]
        groups = [str(p) for p in _cgroups(needle)]
        return folders + mounts + groups + _processes(needle) + _containers(needle)


def _told(story: Mapping[str, Any]) -> str:
    """What is known of a task, on lines of their own."""
    return "\n".join(f["text"] for f in story.get("facts", ())) or "nobody tells anything"


def _over(replicate: Mapping[str, Any]) -> bool:
    return replicate["status"] in ("completed", "aborted", "failed", "rejected")


def _cgroups(needle: str) -> list[Path]:
    found: list[Path] = []
    for root, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [Path(root) / name for name in folders if needle in name]
        folders[:] = [name for name in folders if not Path(root, name).is_symlink()]
    return found


def _containers(needle: str) -> list[str]:
    """Containers of the tests' own Docker daemon, dead ones too."""
    if "DOCKER_HOST" not in os.environ:
        return []
    socket = os.environ["DOCKER_HOST"].removeprefix("unix://")
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=socket), timeout=30) as daemon:
        known = daemon.get("http://docker/containers/json", params={"all": "true"}).json()
    return [name for each in known for name in each["Names"] if needle in name]


def _processes(needle: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if needle in words:
            found.append(words)
    return found


Children = Callable[[Plan, Any, Any], list[Service]]


@asynccontextmanager
async def market_lab(
    folder: Path, *, children: Children = services, alive: int = 1, **options: Any
) -> AsyncIterator[Lab]:
    """A market in `folder`, ready to be bought from once so many workers are `alive`."""
    sayings: list[str] = []
    wanted = MarketOptions(data=folder / "market", **options)
    async with (
        running(wanted, sayings.append, children) as market,
        open_session(market.place) as session,
        httpx2.AsyncClient(timeout=30) as http,
    ):
        requester = local.unlocked(market, None, None)
        lab = Lab(market, session, requester, folder / "results", sayings, http)
        await lab.workers_are_back(alive)
        yield lab


def with_worker(number: int, script: Path) -> Children:
    """The usual processes, but worker `number` runs `script`."""

    def children(plan: Plan, console: Any, memory: Any) -> list[Service]:
        return [
            scripted(service, script) if service.name == f"worker-{number}" else service
            for service in services(plan, console, memory)
        ]

    return children


def scripted(service: Service, script: Path) -> Service:
    *_, config = service.command
    return replace(service, command=(sys.executable, str(script), config))


def only(*numbers: int, children: Children = services) -> Children:
    """Of the workers only these; the others have their settings and wait to be started."""

    def chosen(plan: Plan, console: Any, memory: Any) -> list[Service]:
        names = {f"worker-{number}" for number in numbers}
        return [
            service
            for service in children(plan, console, memory)
            if not service.name.startswith("worker-") or service.name in names
        ]

    return chosen


@asynccontextmanager
async def more_workers(lab: Lab, *numbers: int) -> AsyncIterator[None]:
    """Start workers that `only` left out."""
    places, started = Places(lab.market.data), []
    for number in numbers:
        name = f"worker-{number}"
        command = ["worker", "start", "--config", str(places.config(name))]
        log = (places.logs / f"{name}.log").open("ab")
        started.append(
            subprocess.Popen(  # noqa: ASYNC220 (it lives as long as the block)
                [sys.executable, "-m", "tallystick", *command], stderr=log
            )
        )
        log.close()
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


def wallet_of(market: Market, role: str) -> Wallet:
    """The wallet of a role."""
    return Wallet.load(market.keystores[role], password_in(market.password_file))


__all__ = [
    "Address",
    "Lab",
    "market_lab",
    "more_workers",
    "only",
    "scripted",
    "wallet_of",
    "with_worker",
]
