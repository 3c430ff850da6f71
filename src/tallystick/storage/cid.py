"""Content identifiers of IPFS: the name of a file is a hash of its blocks.

They are those that `ipfs add` gives (256 KiB chunks, 174 links a block), with `--cid-version=1`
for `cid_v1`, so any gateway serves the file under the same name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aleph_cid import CidHasher

_CHUNK: Final = 1 << 20
_V0: Final = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}")
_V1: Final = re.compile(r"b[a-z2-7]{58}")


def cid_v0(source: bytes | Path) -> str:
    """The base58 identifier of a file: what v9 peers and the result link use."""
    return _hashed(_hasher().for_ipfs(), source)


def cid_v1(source: bytes | Path) -> str:
    """The base32 identifier of a file with raw leaves: what newer tools print."""
    return _hashed(_hasher().for_ipfs_v1_raw_leaves(), source)


def is_cid(text: str) -> bool:
    """Whether `text` has the form of an identifier made with SHA-256; safe as a file name."""
    return bool(_V0.fullmatch(text) or _V1.fullmatch(text))


def _hasher() -> type[CidHasher]:
    """Loaded by those who name a file; an idle worker does not."""
    from aleph_cid import CidHasher  # noqa: PLC0415 (only where it is used)

    return CidHasher


def _hashed(hasher: CidHasher, source: bytes | Path) -> str:
    if isinstance(source, bytes):
        hasher.update(source)
        return str(hasher.finalize())
    with source.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
    return str(hasher.finalize())
