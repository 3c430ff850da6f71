"""Everything a scheduler is told. Read once, at start; every mistake is reported at once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from tallystick.lifecycle.evidence import Policy
from tallystick.poco.values import Address, Nrlc, Wei
from tallystick.scheduler.terms import OrderTerms
from tallystick.wire.proxies import networks
from tallystick.wire.versions import rule_mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """The settings of one pool."""

    data_dir: Path
    """Holds the journal, the book of transactions and the secrets of the pool."""
    rpc_urls: tuple[str, ...]
    """Nodes of the chain, over HTTP."""
    hub: Address
    """PoCo's contract on that chain."""
    workerpool: Address
    """The pool: `tally pool create` makes one."""
    wallet: Path
    """V3 keystore of the workerpool's owner."""
    password_file: Path
    """Its first line opens the wallet."""
    results_url: str
    """The result store, as workers reach it."""
    ca_file: Path | None = None
    """Certificates in PEM that are believed beside the system's, of the result store and the
    nodes."""
    database: str = ""
    """A PostgreSQL database, as postgresql://…, that several schedulers of the pool share, each
    with a data_dir of its own; empty: one scheduler, with its books in data_dir."""
    name: str = "pool"
    """What the pool is called on its page."""
    explorer_url: str = ""
    """The chain's explorer, whose pages are /tx/… and /address/…: pages link to it."""
    host: str = "127.0.0.1"
    """Where the scheduler listens: on the loopback unless told otherwise."""
    port: int = 13000
    """0: any free one."""
    public_url: str = ""
    """How workers reach this scheduler; empty: by host and port."""
    worker_rpc_url: str = ""
    """The node that workers are told to use; empty: the first of `rpc_urls`."""
    ws_url: str | None = None
    """A node's WebSocket for new blocks; without one they are asked for."""
    start_block: int = 0
    """Where a pool that starts for the first time begins to read deals."""
    confirmations: int = 0
    """Blocks that must follow a block before its logs are believed."""
    block_time: float = 5.0
    """Seconds between blocks, told to workers."""
    gas_price_multiplier: float = 1.3
    """Offered for gas, in prices of the network."""
    gas_price_cap: Wei = 22 * 10**9
    """The highest price of gas that is ever offered, in wei."""
    legacy_fees: bool = False
    """Send transactions of the old type, with one gas price."""
    sidechain: bool = False
    """True where gas is free: workers then need no ETH."""
    required_worker_version: str = ""
    """Workers of which version may come: one, or a range like `>=9.0,<10`; empty: any."""
    contribute_and_finalize: bool = True
    """Whether workers of ours contribute and finalize in one transaction, without a stake,
    where one vote decides. `results_url` must then be a store of ours."""
    audit: float = 0.0
    """Of the tasks that the chain would accept from one worker: the share that is computed a
    second time before it counts. 0: nobody is audited."""
    audit_trust: int = 100
    """A worker is believed without an audit, but for `audit`, once the doubt about it is at
    most 1 in so many: after as many audits less 5. Until then all its results are audited."""
    auditors: tuple[Address, ...] = ()
    """Wallets of the operator's own workers, of our make: they alone are asked for second
    opinions, which decide. Empty: any worker of another owner is asked; where two differ a
    third decides."""
    lost_after: float = 30.0
    """Seconds without a sign of life after which a worker is lost."""
    whitelist: tuple[Address, ...] = ()
    """Wallets that may work here; empty: every one that is not blocked."""
    required_tag: tuple[str, ...] = ()
    """What every worker's machine has to have: tee, tdx, gpu."""
    orders: tuple[OrderTerms, ...] = ()
    """What the pool sells: signed, kept on offer and renewed while it runs."""
    eth_per_rlc: Decimal | None = None
    """What one RLC is worth in ETH. With it the gas of a deal is compared with its reward, and
    an order that loses money is not signed; without it profit is unknown."""
    allow_loss: bool = False
    """Sign orders whose reward does not pay for the scheduler's gas all the same."""
    stake_warning: int = 10
    """Tasks of each order that the free deposit must be good for, or the operator is warned."""

    tls_cert: Path | None = None
    """Certificate with its chain, PEM: then only HTTPS is spoken. Read again at SIGHUP."""
    tls_key: Path | None = None
    """Its key, PEM, not encrypted."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks (10.0.0.0/8) of reverse proxies whose X-Forwarded-… is believed."""
    root_path: str = ""
    """Where a proxy shows this scheduler (/pool), unless it says so by X-Forwarded-Prefix."""
    websocket: bool = False
    """Whether workers of the v9 stack are offered WebSocket for their notifications; else they
    take them by HTTP alone, as from their own scheduler."""
    requests_per_address: float = 100.0
    """A second, for each address but the loopback, four times as many at once; 0: no limit."""
    requests_per_wallet: float = 50.0
    """A second, for each wallet that logged in, ten times as many at once; 0: no limit."""
    join: bool = False
    """Whether everybody may join: shows the button Join Worker Pool, and serves the page, the
    script and the program itself."""
    join_deposit: Nrlc = 4 * 10**9
    """nRLC that those who join are asked to deposit."""
    join_min_eth: Wei = 10**17
    """What their wallets shall have for gas, in wei; nothing on a side chain."""
    wheelhouse: Path | None = None
    """A folder made by `tally pool wheelhouse`: those who join then need no package index."""
    stale_after: float = 60.0
    """Seconds without a new block after which the scheduler is not ready (GET /ready)."""
    log_format: Literal["text", "json"] = "text"
    """text, or json: one object a line, with the task that is spoken of."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        networks(self.trusted_proxies)
        Policy(self.audit, self.audit_trust)
        if self.explorer_url and not self.explorer_url.startswith(("http://", "https://")):
            raise ValueError("explorer_url has to begin with http:// or https://")
        if mistake := rule_mistake(self.required_worker_version):
            raise ValueError(f"required_worker_version: {mistake}")
        if unknown := set(self.required_tag) - {"tee", "tdx", "gpu"}:
            raise ValueError(f"required_tag: a worker cannot say whether it has {min(unknown)}")
        if self.eth_per_rlc is not None and not self.eth_per_rlc > 0:
            raise ValueError("eth_per_rlc has to be more than 0")

    @property
    def policy(self) -> Policy | None:
        """How it audits; None when it does not."""
        return Policy(self.audit, self.audit_trust) if self.audit else None

    @property
    def url(self) -> str:
        """Where workers find this scheduler."""
        scheme = "https" if self.tls_cert else "http"
        return self.public_url or f"{scheme}://{self.host}:{self.port}"
