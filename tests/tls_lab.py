"""A certificate authority that no system knows, and what it signs: for a pool of one's own."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tallystick.wire.tls import Certificate

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is missing")
_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


@dataclass(frozen=True)
class Authority:
    """What a private authority consists of."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """What those believe who know it."""
        return self.folder / "ca.pem"

    def issue(self, name: str) -> Certificate:
        """A certificate for this machine."""
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        _openssl(
            f"req -x509 {_KEY} -days 2",
            *("-subj", f"/CN={name}", "-keyout", str(key), "-out", str(chain)),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")),
        )
        return Certificate(chain, key)


def authority(folder: Path) -> Authority:
    """A new one."""
    _openssl(
        f"req -x509 {_KEY} -days 2 -subj /CN=nobody",
        *("-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem")),
    )
    return Authority(folder)


def _openssl(words: str, *more: str) -> None:
    subprocess.run(["openssl", *words.split(), *more], check=True, capture_output=True)
