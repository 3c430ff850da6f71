"""The names of the original worker's settings, from its first release to its last. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, str]] = {
    "IEXEC_CORE_URL": "scheduler_url",
    "POOL_ADDRESS": "pool",
    "IEXEC_POOL_ADDRESS": "pool",
    "IEXEC_WORKER_NAME": "name",
    "IEXEC_WORKER_BASE_DIR": "base_dir",
    "IEXEC_WORKER_WALLET_PATH": "wallet",
    "IEXEC_WORKER_WALLET_PASSWORD": "password",
    "IEXEC_WORKER_WALLET_PASSWORD_FILE": "password_file",
    "IEXEC_GAS_PRICE_MULTIPLIER": "gas_price_multiplier",
    "IEXEC_GAS_PRICE_CAP": "gas_price_cap",
    "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS": "rpc_urls",
    "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "slots",
    "IEXEC_WORKER_GPU_ENABLED": "gpu",
    "IEXEC_WORKER_DOCKER_IMAGE_MIN_PULL_TIMEOUT": "min_pull_time",
    "IEXEC_WORKER_DOCKER_IMAGE_MAX_PULL_TIMEOUT": "max_pull_time",
    "IEXEC_DEVELOPER_LOGGER_ENABLED": "developer_logs",
    "IEXEC_LOG_LEVEL": "log_level",
}
"""Fields by the names that set them."""

LOG_LEVELS: Final[Mapping[str, str]] = {
    "trace": "debug",
    "warn": "warning",
    "fatal": "error",
    "off": "error",
}
"""Levels of the original that are called otherwise here; its others are called the same."""

_NO_PORT = "this worker listens on no port; metrics_port serves metrics"
_NO_ENCLAVES = "this worker runs no enclaves"
_NO_LAS = "it named the attestation helper of enclaves, and this worker runs no enclaves"
_NO_GRAYLOG = 'logs go to stderr, with log_format = "json" for collectors'
_SYSTEM_TRUST = "certificates are checked against those that the system trusts"
_BUILT_IN = "files are opened by the worker itself, without scripts"

DROPPED: Final[Mapping[str, str]] = {
    "IEXEC_WORKER_PORT": _NO_PORT,
    "IEXEC_WORKER_HOST": _NO_PORT,
    "IEXEC_WORKER_METRICS_WINDOW_SIZE": "durations are counted from the start, not in a window",
    "IEXEC_WORKER_SSL_TRUSTSTORE": _SYSTEM_TRUST,
    "IEXEC_WORKER_SSL_TRUSTSTORE_PASSWORD": _SYSTEM_TRUST,
    "IEXEC_CORE_GRAYLOG_HOST": _NO_GRAYLOG,
    "IEXEC_CORE_GRAYLOG_PORT": _NO_GRAYLOG,
    "IEXEC_DECRYPT_FILE_PATH": _BUILT_IN,
    "IEXEC_ENCRYPT_FILE_PATH": _BUILT_IN,
    "IEXEC_TEE_ENABLED": _NO_ENCLAVES,
    "IEXEC_DEBUG_FORCE_TEE_DISABLED": _NO_ENCLAVES,
    "IEXEC_WORKER_SGX_DRIVER_MODE": _NO_ENCLAVES,
    "IEXEC_WORKER_TEE_COMPUTE_MAX_HEAP_SIZE_GB": _NO_ENCLAVES,
    "IEXEC_SCONE_LAS_HOST": _NO_LAS,
    "IEXEC_SCONE_LAS_PORT": _NO_LAS,
    "IEXEC_LAS_IMAGE": _NO_LAS,
    "IEXEC_LAS_VERSION": _NO_LAS,
    "IEXEC_LAS_PORT": _NO_LAS,
    "IEXEC_LAS_DOCKER_NETWORK_NAME": _NO_LAS,
    "IEXEC_SCONE_SHOW_VERSION": _NO_ENCLAVES,
    "IEXEC_SCONE_LOG_LEVEL": _NO_ENCLAVES,
    "IEXEC_WORKER_SCONTAIN_REGISTRY_NAME": _NO_ENCLAVES,
    "IEXEC_WORKER_SCONTAIN_REGISTRY_USERNAME": _NO_ENCLAVES,
    "IEXEC_WORKER_SCONTAIN_REGISTRY_PASSWORD": _NO_ENCLAVES,
    "IEXEC_WORKER_DOCKER_NETWORK_NAME": "apps have the network that the setting network says",
    "WORKER_DOCKER_EXTRA_HOSTS": "it was for enclaves, and this worker runs none",
    "IEXEC_WORKER_TDX_SECRET_PROVIDER_AGENT": _NO_ENCLAVES,
}
"""Names that mean nothing (any more), each with the reason as the second half of a sentence."""

DEFAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "scheduler_url": (
        "http://localhost:13000 (before 9.0 port 18090, 3.2 to 5.0 https on 18443)",
        "none: whatever answers on a port of this machine is not the pool that was meant",
    ),
    "wallet": (
        "a key in the source tree",
        "none: that key is known to everybody",
    ),
    "password": ("whatever", "none, for the same reason"),
    "pool": ("0x0, which did not start", "none: any pool at the address that was given"),
    "name": ("worker (before 5.1 customWorker)", ""),
    "base_dir": ("/tmp/iexec-worker", "the same without a settings file; in one it is named"),
    "slots": ("processors less one, and 0 on one", "processors less one, and 1 on one"),
    "rpc_urls": ("what the scheduler names", ""),
    "gas_price_multiplier": ("1.3", ""),
    "gas_price_cap": ("22000000000", "the same, but a reveal may cost more: see reveal_cap"),
    "gpu": ("false", ""),
    "min_pull_time": ("PT5M", ""),
    "max_pull_time": ("PT30M", ""),
    "developer_logs": ("false", ""),
    "log_level": ("info", ""),
}
"""What the original did without a setting, and why we differ where we do."""
