"""What a result is worth a vote on: `computed.json` and the digest it points to.

The same rules read a folder on the worker and a zip in the result store, so both must come to
the same digest. Files that are links count as empty: the zip cannot say where they led.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from eth_hash.auto import keccak

from tallystick.engine.errors import Refused
from tallystick.poco.signing import lenient_hex
from tallystick.poco.values import Digest
from tallystick.storage.tree import Kind, kinds_in, open_file

COMPUTED: Final = "computed.json"
_ROOT: Final = "/iexec_out"
_LONGEST_JSON: Final = 1 << 20
_CHUNK: Final = 1 << 20


class BadOutput(Refused):
    """The app's output cannot become a result. `cause` is the protocol's name for it."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(f"The app's output is no result: {sentence}.")
        self.cause = cause


NOT_FOUND: Final = "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"
NO_DIGEST: Final = "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"


class Output(Protocol):
    """An app's output, wherever it lies. Paths are relative, with slashes."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The content of a file; nothing for a link. Raises `FileNotFoundError`."""

    def children(self, path: str) -> list[str] | None:
        """The names of the files and links directly in a folder, None if it is no folder."""


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """An output as the app left it on disk."""

    root: Path

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of the file at `path`, piece by piece."""
        file = open_file(self.root, path)
        if file is None:
            return
        with open(file, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def children(self, path: str) -> list[str] | None:
        """The names in the folder at `path`; None when it is a file."""
        try:
            kinds = kinds_in(self.root, path)
        except FileNotFoundError:
            return None
        return (
            [name for name, kind in kinds.items() if kind is not Kind.FOLDER] if kinds else None
        )


@dataclass(frozen=True, slots=True)
class Computed:
    """What `computed.json` says of the result."""

    path: str = ""
    """`deterministic-output-path`: what of the output all workers must agree on."""
    callback: str = ""
    """`callback-data` for the contract that the deal calls back, in hex."""


def read_computed(output: Output) -> Computed:
    """The app's `computed.json`. Raises `BadOutput` when it is missing or malformed."""
    text = b""
    try:
        for chunk in output.chunks(COMPUTED):
            text += chunk
            if len(text) > _LONGEST_JSON:
                raise BadOutput(NOT_FOUND, f"its {COMPUTED} is longer than 1 MiB")
    except FileNotFoundError as absence:
        raise BadOutput(NOT_FOUND, f"there is no {COMPUTED} in it") from absence
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as trouble:
        raise BadOutput(NOT_FOUND, f"its {COMPUTED} is not JSON ({trouble})") from trouble
    if not isinstance(said, dict):
        raise BadOutput(NOT_FOUND, f"its {COMPUTED} is not a JSON object")
    return Computed(_text(said, "deterministic-output-path"), _text(said, "callback-data"))


def _text(said: dict[str, object], key: str) -> str:
    value = said.get(key)
    return value if isinstance(value, str) else ""


def callback_data(output: Output) -> bytes:
    """The bytes for the callback contract. Raises `BadOutput` when the app gave none."""
    computed = read_computed(output)
    if not computed.callback:
        raise BadOutput(
            NO_DIGEST, f"its {COMPUTED} has no callback-data, which the deal asks for"
        )
    return lenient_hex(computed.callback)


def output_digest(output: Output, *, callback: bool) -> Digest:
    """What the workers of a task have to agree on.

    With `callback` (the deal has a callback contract) the Keccak-256 of the callback data. Else
    the SHA-256 of the file that `computed.json` names, or, if it names a folder, the Keccak-256
    of the SHA-256s of the files directly in it, by name. Raises `BadOutput`.
    """
    if callback:
        return Digest(keccak(callback_data(output)))
    path = _inside(read_computed(output).path)
    names = output.children(path)
    if names is None:
        return Digest(_sha256(output, path))
    names.sort(key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    prefix = f"{path}/" if path else ""
    return Digest(keccak(b"".join(_sha256(output, prefix + name) for name in names)))


def _sha256(output: Output, path: str) -> bytes:
    digest = hashlib.sha256()
    try:
        for chunk in output.chunks(path):
            digest.update(chunk)
    except FileNotFoundError as absence:
        raise BadOutput(
            NO_DIGEST,
            f"its deterministic-output-path {_ROOT}/{path} is no file or filled folder",
        ) from absence
    return digest.digest()


def _inside(path: str) -> str:
    """`path` relative to the output. Raises `BadOutput` when it leads out of it."""
    if not path:
        raise BadOutput(NO_DIGEST, f"its {COMPUTED} has no deterministic-output-path")
    inside = os.path.normpath(path)
    if any("\ud800" <= letter <= "\udfff" for letter in path):
        raise BadOutput(NO_DIGEST, "its deterministic-output-path is not text")
    if (inside != _ROOT and not inside.startswith(_ROOT + "/")) or "\0" in path:
        raise BadOutput(NO_DIGEST, f"its deterministic-output-path is not below {_ROOT}")
    return inside[len(_ROOT) + 1 :]
