"""Everything a worker is told. Read once, at start; every mistake is reported at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr

from tallystick.engine.settings import BadSettings, secret
from tallystick.execution.network import NetworkPolicy
from tallystick.poco.values import Address, Nrlc
from tallystick.worker.policy import Policies
from tallystick.worker.units import Count, Factor, Name, Port, Price, Seconds, Size, Url

GIB = 1 << 30


def default_slots() -> int:
    """One replicate a processor, but one processor is left to the machine."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLogin:
    """Who we are at an image registry."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    address: str = "docker.io"
    """The registry: `host` or `host:port`."""
    username: str
    """The account there."""
    password: SecretStr
    """Its password or token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The settings of one worker."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    scheduler_url: Url
    """Address of the pool's scheduler."""
    ca_file: Path | None = None
    """Certificates in PEM that are believed beside the system's, of the pool's scheduler, its
    result store and the nodes: for a pool with an authority of its own."""
    wallet: Path
    """V3 keystore. A wallet belongs to one worker; there is none by default."""
    password_file: Path | None = None
    """A file whose first line is the password of the keystore."""
    password: SecretStr | None = None
    """The password itself, where it does not lie in a file."""
    base_dir: Path
    """Holds a folder for this worker: its journal, and one folder for each task. Without a
    settings file `/tmp/iexec-worker`."""
    pool: Address | None = None
    """The workerpool that must be found at `scheduler_url`; without it, what is there is
    trusted."""
    hub: Address | None = None
    """The hub that the pool must use; without it, that of a network that is known."""
    trust_hub: Address | None = None
    """A hub that is of no known network, and that the operator vouches for."""
    chain_id: int | None = None
    """The chain that the pool must work on; without it any, when the hub is right."""
    name: Name = "worker"
    """What the worker is called at the pool; the folder below `base_dir` too."""
    slots: Count = field(default_factory=default_slots)
    """Replicates computed at a time: by default one for each processor but one."""
    rpc_urls: tuple[Url, ...] = ()
    """Nodes of the chain, separated by commas; without any, the one that the pool names."""
    ws_url: str | None = None
    """A node's WebSocket for new blocks; without one they are asked for."""
    executor: str | None = None
    """docker, runc, crun or bubblewrap; by default the first that works, in that order. runsc
    (gVisor) is taken only when it is named."""
    docker_runtime: str | None = None
    """A runtime that the Docker daemon was told of, such as runsc; by default its usual one."""
    image_cache: Path | None = None
    """Unpacked images, shared by a machine's workers; by default `images` in `base_dir`."""
    ipfs_gateways: tuple[Url, ...] = ()
    """Where datasets that are addressed by content are fetched, separated by commas."""
    private_downloads: bool = False
    """Whether data may come from addresses of private networks: only for a market on one
    machine, since a requester could otherwise read what only this machine can reach."""
    gas_price_multiplier: Factor = 1.3
    """Offered for gas, in prices of the network: more is mined sooner."""
    gas_price_cap: Price = 22 * 10**9
    """The highest price of gas for anything but a reveal."""
    reveal_cap: Price | None = None
    """The highest price of gas for a reveal, whose stake is worth more than the gas; by default
    four times `gas_price_cap`."""
    legacy_fees: bool = False
    """Send transactions of the old type, with one price and no tip."""
    takeover: bool = False
    """Take the wallet over from another worker that the pool still takes to be alive: only
    after that one was stopped for good."""
    eth_per_rlc: float | str | None = None
    """What an RLC is worth in ETH: a number, a command that prints one, or a URL that answers
    with one. Without it profit is unknown, and decides nothing."""
    min_profit: Nrlc = 0
    """What a task must be expected to earn after gas; only with `eth_per_rlc`."""
    contribute_and_finalize: bool = True
    """Whether a vote that decides by itself also finalizes its task, in one transaction that
    locks no stake, where the pool lets us."""
    single_cpu: Literal["one slot", "refuse"] = "one slot"
    """What a machine with one processor does."""
    gpu: bool = False
    """Register as a worker with a GPU, which computes one task at a time."""
    network: NetworkPolicy = field(default_factory=NetworkPolicy)
    """What apps may reach: `reach` (`none`, `allow-list` or `full`), and `hosts`."""
    app_networks: Mapping[Address, NetworkPolicy] = field(
        default_factory=dict[Address, NetworkPolicy]
    )
    """What single apps may reach, by their address on the chain."""
    pull_policy: Literal["missing", "always", "never"] = "missing"
    """Whether images are fetched that are here already, or that are not."""
    max_image: Size = 10 * GIB
    """An image as it is sent; larger ones are not fetched."""
    min_pull_time: Seconds = 300.0
    """The least time that an image may take, however short the category's time is."""
    max_pull_time: Seconds = 1800.0
    """The longest time that an image may take, however long the category's time is."""
    max_image_cache: Size = 50 * GIB
    """Images that are kept; the ones that were not used for longest go first."""
    registries: tuple[RegistryLogin, ...] = ()
    """Logins of image registries: tables with `address`, `username` and `password`."""
    policies: Policies = field(default_factory=Policies)
    """Which work is wanted, and when. Read again when the file changes, or on SIGHUP."""
    metrics_port: Port | None = None
    """Port on the loopback for Prometheus; without one no metrics are served."""
    log_format: Literal["text", "json"] = "text"
    """`json` writes one JSON object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    developer_logs: bool = False
    """Show in the worker's log what apps print."""
    max_memory: Size = 2 * GIB
    """Memory for one app."""
    max_cpus: Factor = 1.0
    """Processors for one app."""
    max_pids: Count = 256
    """Processes and threads of one app."""
    max_result: Size = 200 << 20
    """What an app may leave in /iexec_out."""
    max_data: Size = 2 * GIB
    """A task's dataset and input files together."""
    min_free_disk: Size | None = None
    """Room on the disks of `base_dir` and `image_cache` below which no work is asked for; by
    default `max_result` and 256 MiB."""
    confirmations: Annotated[int, Field(ge=0)] = 0
    """Blocks that a fact of the chain must lie deep before it is believed."""
    max_time: Seconds | None = None
    """What an app may run, when that is less than its category allows."""
    file: Path | None = None
    """The settings file itself, if there is one. Not a setting."""

    @property
    def home(self) -> Path:
        """The folder of this worker."""
        return self.base_dir / self.name

    @property
    def images(self) -> Path:
        """The folder of unpacked images."""
        return self.image_cache or self.base_dir / "images"

    @property
    def room(self) -> int:
        """Bytes that must be free for a task to be begun."""
        least = self.min_free_disk
        return self.max_result + (256 << 20) if least is None else least

    def unlock_with(self) -> str:
        """The keystore's password. Raises BadSettings when none is set or it is unreadable."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            raise BadSettings("Neither password nor password_file is set for the wallet.")
        return secret(self.password_file)
