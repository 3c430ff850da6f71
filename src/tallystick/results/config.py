"""Everything a result store is told. Read once, at start; every mistake is reported at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tallystick.poco.values import Address
from tallystick.wire.proxies import networks


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsConfig:
    """The settings of one result store."""

    data_dir: Path
    """Holds the results, their index, and the key that signs upload tokens."""
    rpc_urls: tuple[str, ...]
    """Nodes of the chain that says who may upload what, over HTTP."""
    hub: Address
    host: str = "127.0.0.1"
    port: int = 13200
    public_url: str = ""
    """How readers reach this store; empty: by host and port."""
    max_result_bytes: int = 200 << 20
    """The largest zip that is taken."""
    max_unpacked_bytes: int = 4 << 30
    """What a zip may hold: a small one can claim to be huge."""
    max_files: int = 100_000
    """Files in a zip."""
    keep_days: float = 30.0
    """Results older than this are deleted, though never before their task's final deadline."""
    keep_bytes: int = 50 << 30
    """Beyond this the oldest results are deleted, though never before the final deadline."""
    private: bool = False
    """Whether only a task's beneficiary and requester may download its result.

    Official clients download without saying who they are, so they need `false`; a result is
    then protected by nobody knowing its identifier before it is on chain, and by encryption.
    """

    tls_cert: Path | None = None
    """Certificate with its chain, PEM: then only HTTPS is spoken. Read again at SIGHUP."""
    tls_key: Path | None = None
    """Its key, PEM, not encrypted."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks (10.0.0.0/8) of reverse proxies whose X-Forwarded-… is believed."""
    requests_per_address: float = 50.0
    """A second, for each address but the loopback, four times as many at once; 0: no limit."""
    log_format: Literal["text", "json"] = "text"
    """text, or json: one object a line, with the task that is spoken of."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        networks(self.trusted_proxies)

    @property
    def url(self) -> str:
        """Where readers find this store."""
        scheme = "https" if self.tls_cert else "http"
        return (self.public_url or f"{scheme}://{self.host}:{self.port}").rstrip("/")
