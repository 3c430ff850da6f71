"""Whose certificates are believed: the system's authorities, and one of the operator's own."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2

from tallystick.engine.settings import BadSettings

Authority = Path | None
"""A file of certificates in PEM that are believed beside the system's, if there is one."""


def trusting(*urls: str, ca: Authority = None) -> ssl.SSLContext | bool:
    """What an HTTP client verifies with that asks these `urls`; `ca`: certificates in PEM that
    are believed too. Loading any takes 30 ms and some MiB: none where no address needs them.
    Raises BadSettings when `ca` holds none."""
    if not any(url.startswith("https:") for url in urls):
        return False
    if ca is None:
        return True
    context = httpx2.create_ssl_context()
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as problem:
        raise BadSettings(
            f"ca_file: {ca} holds no certificates that can be believed ({problem}): it has to"
            " be PEM, and readable."
        ) from problem
    return context
