"""An authority of the operator's own is believed beside those of the system."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tls_lab import authority, needs_openssl

from tallystick.engine.settings import BadSettings
from tallystick.engine.trust import trusting


def test_nothing_is_loaded_where_no_address_needs_it(tmp_path: Path):
    assert trusting("http://127.0.0.1:1", ca=tmp_path / "missing") is False
    assert trusting("http://127.0.0.1:1", "https://pool.example") is True


@needs_openssl
def test_an_authority_of_ones_own_is_believed_too(tmp_path: Path):
    ca = authority(tmp_path).certificate
    context = trusting("https://pool.example", ca=ca)
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert ssl.PEM_cert_to_DER_cert(ca.read_text()) in context.get_ca_certs(binary_form=True)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_certificates_is_a_mistake_in_the_settings(
    tmp_path: Path, content: str | None
):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadSettings, match=r"ca_file: .*has to be PEM"):
        trusting("https://pool.example", ca=path)
