"""Receiving uploads: to disk as they come, and never more than is allowed."""

from __future__ import annotations

import base64
import binascii
import mmap
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from pydantic import ValidationError

from tallystick.results.denial import Denied
from tallystick.results.store import Store
from tallystick.wire.results import ResultModel

_ZIP_FIELD: Final = re.compile(rb'(?<!\\)"zip"\s*:\s*(?="|\[)')
_AROUND: Final = 64 << 10
"""Bytes of JSON that a v9 upload may have beside its zip."""
_SLICE: Final = 4 * (1 << 18)
"""Base64 characters decoded at a time; divisible by four."""

_LONGEST_NUMBER: Final = 100
"""Characters of one byte of an array, and of what is around it: it is held until its end."""


@asynccontextmanager
async def received(
    store: Store, body: AsyncIterable[bytes], *, max_bytes: int
) -> AsyncIterator[Path]:
    """The request's body as a file, gone afterwards unless somebody moved it away."""
    path, size = store.incoming(), 0
    try:
        async with await anyio.open_file(path, "xb") as out:
            async for chunk in body:
                size += len(chunk)
                if size > max_bytes:
                    raise too_large(max_bytes)
                await out.write(chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)


def too_large(limit: int) -> Denied:
    """The answer to a body that exceeds what this store takes."""
    return Denied(413, f"This store takes at most {limit:,} bytes for one result.")


def json_limit(max_bytes: int) -> int:
    """How long a v9 body may be that carries a zip of `max_bytes`."""
    return max_bytes * 4 // 3 + _AROUND


def unwrap(body: Path, target: Path, max_bytes: int) -> ResultModel:
    """Write the zip inside the v9 JSON `body` to `target`, and return what is around it.

    The Base64 text contains no quotes, so it can be cut out and decoded piece by piece before
    anything is parsed. Raises `Denied` (400 or 413).
    """
    with body.open("rb") as raw:
        if not raw.read(1):
            raise Denied(400, "The body is empty.")
        with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as text:
            found = _ZIP_FIELD.search(text)
            if found is None:
                raise Denied(400, "The body has no field zip.")
            start = found.end()
            closing = text.find(b'"' if text[start : start + 1] == b'"' else b"]", start + 1)
            if closing < 0 or start + len(text) - closing > _AROUND:
                raise Denied(400, "The body is not the JSON of a result.")
            model = _parse(text[:start] + b'""' + text[closing + 1 :])
            _decode(text, start, closing, target, max_bytes)
    return model


def _parse(around: bytes) -> ResultModel:
    try:
        return ResultModel.model_validate_json(around)
    except ValidationError as trouble:
        raise Denied(400, "The body is not the JSON of a result.") from trouble


def _decode(text: mmap.mmap, start: int, closing: int, target: Path, max_bytes: int) -> None:
    """Base64 in quotes, or the bytes as a JSON array of numbers, as some Java peers write."""
    pieces = (
        _from_base64(text, start + 1, closing)
        if text[start : start + 1] == b'"'
        else _from_numbers(text, start + 1, closing)
    )
    size = 0
    with target.open("xb") as out:
        for piece in pieces:
            size += len(piece)
            if size > max_bytes:
                raise too_large(max_bytes)
            out.write(piece)


def _from_base64(text: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _SLICE):
        try:
            yield base64.b64decode(text[at : min(at + _SLICE, end)], validate=True)
        except binascii.Error as trouble:
            raise Denied(400, "The zip is not Base64.") from trouble


def _from_numbers(text: mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    rest = b""
    for at in range(start, end, _SLICE):
        *numbers, rest = (rest + text[at : min(at + _SLICE, end)]).split(b",")
        yield _bytes_of(numbers)
        if len(rest) > _LONGEST_NUMBER:
            raise Denied(400, "The zip has a number without end.")
    yield _bytes_of([rest] if rest.strip() else [])


def _bytes_of(numbers: list[bytes]) -> bytes:
    try:
        return bytes(int(number) & 0xFF for number in numbers)
    except ValueError as trouble:
        raise Denied(400, "The zip is not an array of bytes.") from trouble
