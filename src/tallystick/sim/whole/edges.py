"""What a party meets at its borders: nodes, the other side's HTTP, a store, a runtime."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Unavailable
from tallystick.execution.executor import Ended, ImageRef, ImageUnavailable, Job, Outcome
from tallystick.execution.network import NetworkPolicy
from tallystick.poco.values import Address, TaskId
from tallystick.sim.odds import Character, Nature
from tallystick.sim.whole.life import Life
from tallystick.storage.cid import cid_v0
from tallystick.wire.authorization import WorkerpoolAuthorization
from tallystick.wire.results import ResultsClient, SignMessage
from tallystick.wire.scheduler import SchedulerClient, WorkerModel

if TYPE_CHECKING:
    from tallystick.sim.whole.node import Node


@dataclass(slots=True)
class Weather:
    """How messages of one party fare."""

    random: Random
    loss: float = 0.0
    """Per message, and per answer."""
    doubled: float = 0.0
    """Per message to the scheduler: it arrives twice."""
    slow: float = 0.05
    """The most seconds that a message takes, each way: later ones may overtake it."""
    cut_until: float = 0.0
    """Until when nothing comes through to the scheduler and the store."""
    dark_until: float = 0.0
    """Until when no node answers."""

    async def travel(self) -> bool:
        """Whether a message arrives, when it is there."""
        await asyncio.sleep(self.random.uniform(0, self.slow))
        return not (self.loss and self.random.random() < self.loss)


class Line(Rpc):
    """The shipped `Rpc`, whose HTTP messages go to simulated nodes."""

    def __init__(self, life: Life, nodes: Mapping[str, Node], weather: Weather) -> None:
        super().__init__(tuple(nodes))
        self._life, self._at, self._weather = life, nodes, weather

    async def _post(self, node: Any, body: Any) -> Any:
        life, bodies = self._life, body if isinstance(body, list) else [body]
        what = _name(bodies)
        sends = "eth_sendRawTransaction" in what
        life.require_alive()
        if sends:
            life.point(f"before {what}")
        if time.monotonic() < self._weather.dark_until or not await self._weather.travel():
            await anyio.sleep(1.0)
            raise httpx2.ConnectError("no route to the node")
        life.require_alive()
        told = [self._at[node.url].reply(each) for each in bodies]
        life.point(f"after {what}")
        if self._weather.loss and self._weather.random.random() < self._weather.loss:
            await anyio.sleep(1.0)
            raise httpx2.ReadTimeout("the node's answer was lost")
        return told if isinstance(body, list) else told[0]


def _name(bodies: Sequence[Mapping[str, Any]]) -> str:
    """What a message to a node asks for."""
    if len(bodies) == 1:
        return str(bodies[0]["method"])
    return "+".join(sorted({each["method"] for each in bodies}))


@dataclass(slots=True)
class Letter:
    """One HTTP request."""

    verb: str
    path: str
    sender: Address
    instance: str
    params: Mapping[str, Any]
    content: bytes


@dataclass(slots=True)
class Reply:
    """What it was answered."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Deliver = Callable[[Letter], Awaitable[Reply]]
"""Takes a letter to whoever answers. Raises Unavailable when nobody is there."""


class Caller(SchedulerClient):
    """The shipped client, whose requests go to the simulated scheduler."""

    def __init__(
        self, life: Life, me: Address, instance: str, deliver: Deliver, weather: Weather
    ) -> None:
        super().__init__("http://127.0.0.1:1", wallet=me, sign=lambda h: b"", instance=instance)
        self._life, self._me, self._named = life, me, instance
        self._deliver, self._weather = deliver, weather
        self.mute = False
        """Whether reports are kept back: a silent worker."""
        self.classic = False
        """Whether it cannot hand in a digest before it may vote."""

    async def register(self, model: WorkerModel, *, takeover: bool = False) -> None:
        """Tell what it can do."""
        if self.classic:
            model = model.model_copy(update={"digest_first": False})
        await super().register(model, takeover=takeover)

    async def _login(self) -> str:
        return "token"

    async def _try(
        self, verb: str, path: str, *, headers: dict[str, str] | None = None, **request: Any
    ) -> httpx2.Response:
        life, name = self._life, path.rsplit("/", 1)[-1]
        letter = Letter(
            verb,
            path,
            self._me,
            self._named,
            request.get("params") or {},
            request.get("content") or b"",
        )
        life.require_alive()
        if verb == "POST":
            life.point(f"before {verb} {name}")
        weather = self._weather
        if (self.mute and verb == "POST" and name == "updateStatus") or not await self._there():
            await anyio.sleep(0.5)
            raise Unavailable("The scheduler did not answer.")
        twice = weather.doubled and weather.random.random() < weather.doubled
        if twice and verb == "POST":
            await self._deliver(letter)
        reply = await self._deliver(letter)
        life.point(f"after {verb} {name}")
        if not await self._there():
            raise Unavailable("The scheduler's answer was lost.")
        return httpx2.Response(
            reply.status,
            content=reply.content,
            headers=dict(reply.headers),
            request=_asked(verb, f"{self.url}{path}"),
        )

    async def _there(self) -> bool:
        arrives = await self._weather.travel()
        return arrives and time.monotonic() >= self._weather.cut_until


@lru_cache(1_000)
def _asked(verb: str, url: str) -> httpx2.Request:
    return httpx2.Request(verb, url)


class Store(ResultsClient):
    """The shipped client, above its HTTP: what the store of the pool holds."""

    def __init__(self, life: Life, kept: dict[TaskId, str], weather: Weather) -> None:
        super().__init__("http://127.0.0.1:2")
        self._life, self._kept, self._weather = life, kept, weather

    async def _reach(self, what: str) -> None:
        self._life.point(f"before {what}")
        there = await self._weather.travel()
        if not there or time.monotonic() < self._weather.cut_until:
            raise Unavailable("The result store did not answer.")
        self._life.point(f"during {what}")

    async def location(self, task: TaskId) -> str | None:
        """Where the result is, as the store knows it."""
        await self._reach("asking the store")
        return self._kept.get(task)

    async def token(
        self, authorization: WorkerpoolAuthorization, sign_message: SignMessage
    ) -> str:
        """Permission, for everybody."""
        await self._reach("asking for a token")
        return "token"

    async def upload(self, task: TaskId, archive: Path, *, token: str) -> str:
        """Keep the zip."""
        location = f"/ipfs/{cid_v0(archive)}"
        await self._reach("the upload")
        self._kept[task] = location
        self._life.point("after the upload")
        return location


@dataclass(slots=True)
class Machine:
    """A runtime whose containers take some seconds and leave what their nature wants."""

    life: Life
    me: Address
    character: Character
    nature: Callable[[TaskId], Nature]
    random: Random
    takes: float = 6.0
    """The most seconds that a run takes."""
    flake: float = 0.0
    """Per fetch: the registry does not answer."""
    name: str = "simulated"

    async def fetch(self, image: ImageRef, *, time_limit: float) -> None:
        """Have the image."""
        self.life.point("before fetching the image")
        await anyio.sleep(self.random.uniform(0, 2))
        if self.random.random() < self.flake:
            raise Unavailable("The registry does not answer.")
        self.life.point("after fetching the image")

    async def adopt(self, image: Any) -> None:
        """Nothing to do."""

    async def run(self, job: Job) -> Outcome:
        """Run an app that writes one file."""
        self.life.point("before the run")
        task = TaskId(job.env["IEXEC_TASK_ID"])
        seconds = self.random.uniform(1, self.takes)
        await anyio.sleep(seconds)
        self.life.point("during the run")
        nature = self.nature(task)
        if nature is Nature.NO_APP:
            raise ImageUnavailable("There is no such image.")
        job.output_dir.mkdir(parents=True, exist_ok=True)
        (job.output_dir / "result.txt").write_text(self._result(task, nature))
        told = '{"deterministic-output-path": "/iexec_out/result.txt"}'
        (job.output_dir / "computed.json").write_text(told)
        self.life.point("after the run")
        return Outcome(
            exit_code=int(nature is Nature.CRASHES),
            stdout=b"",
            stderr=b"",
            ended=Ended.EXITED,
            seconds=seconds,
        )

    def _result(self, task: TaskId, nature: Nature) -> str:
        match self.character:
            case Character.LIAR:
                return f"{task} {self.me}"
            case Character.CONSPIRATOR:
                return f"{task} lie"
            case _:
                return f"{task} {self.me if nature is Nature.ERRATIC else ''}"

    async def sweep(self, prefix: str, spare: Collection[str] = ()) -> None:
        """Nothing is left."""

    def limits_not_enforced(self) -> tuple[str, ...]:
        """Nothing to say."""
        return ()

    def network_refused(self, policy: NetworkPolicy) -> str | None:
        """Every network can be had."""
        return None

    async def aclose(self) -> None:
        """Nothing to give back."""
