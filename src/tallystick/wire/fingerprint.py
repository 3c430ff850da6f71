"""One word for what a pool tells its workers: it changes when the settings do."""

from __future__ import annotations

from functools import lru_cache

from eth_hash.auto import keccak

from tallystick.wire.scheduler import ChainConfig, PublicConfig


@lru_cache(maxsize=16)
def fingerprint(config: PublicConfig, chain: ChainConfig) -> str:
    """The answer to a ping. A v9 worker starts again when it is another one than the first, so
    nothing goes in that another process of the same pool, or this one after a restart, may say
    otherwise: where it is reached is left out."""
    told = config.model_copy(update={"config_server_url": ""})
    return "0x" + keccak(told.json_bytes() + chain.json_bytes()).hex()
