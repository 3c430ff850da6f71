"""The certificate of a service: from two files, and from them again when they are renewed."""

from __future__ import annotations

import logging
import signal
import ssl
from dataclasses import dataclass
from pathlib import Path

import anyio

log = logging.getLogger(__name__)


class BadCertificate(Exception):
    """The certificate cannot be used; the sentence says why, and what to do."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """Two files in PEM: the certificate with its chain, and its key."""

    chain: Path
    key: Path

    @classmethod
    def named(cls, chain: Path | None, key: Path | None) -> Certificate | None:
        """The one that the settings name; None when they name none. Raises BadCertificate
        when they name one half of it."""
        if chain is None and key is None:
            return None
        if chain is None or key is None:
            raise BadCertificate("TLS needs both: set `tls_cert` and `tls_key`, or neither.")
        return cls(chain, key)

    def context(self) -> ssl.SSLContext:
        """For a server: TLS 1.2 and later. Raises BadCertificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load(context)
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Have `context` show what the files hold now, to connections yet to come. Raises
        BadCertificate."""
        try:
            # A scratch context first: a chain that does not fit its key must change nothing.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.chain, self.key, _ask)
            context.load_cert_chain(self.chain, self.key, _ask)
        except (OSError, ValueError) as problem:
            raise BadCertificate(
                f"The certificate in {self.chain} with the key in {self.key} cannot be used"
                f" ({problem}): both must be PEM, belong together and be readable."
            ) from problem

    async def renew(self, context: ssl.SSLContext) -> None:
        """Read the files again at every SIGHUP, until cancelled."""
        with anyio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                try:
                    self.load(context)
                except BadCertificate as problem:
                    log.error("%s The old one stays in use.", problem)
                else:
                    log.info("New connections are shown the certificate in %s.", self.chain)


def _ask() -> str:
    """Nobody sits at a service to type a password."""
    raise ValueError("the key is encrypted")
