"""The parameters of a deal: one string on chain, read as every iExec worker reads it.

A pool may mix programs, and workers that read the string differently would compute different
results. So this follows the Java reader (Jackson) to the letter: an object with known keys
of fitting types, or else the whole string is the app's arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NoReturn

_NO_SECRETS: Final[Mapping[str, str]] = MappingProxyType({})
_TRUE: Final = ("true", "True", "TRUE")
_FALSE: Final = ("false", "False", "FALSE", "", "null")


@dataclass(frozen=True, slots=True, kw_only=True)
class DealParams:
    """What the requester asks of the app, beyond which app it is."""

    args: str = ""
    """The command line, not yet split; see `tokenize`."""
    input_files: tuple[str, ...] = ()
    """URLs to fetch into `/iexec_in`."""
    storage_provider: str | None = None
    """Where the result goes: `ipfs`, `dropbox`, or None for the pool's choice."""
    storage_proxy: str | None = None
    """URL of the result service that the requester wants to be used."""
    result_encryption: bool = False
    secrets: Mapping[str, str] = field(default_factory=lambda: _NO_SECRETS)
    """Name of the requester's secret by its number in the app."""
    bulk_cid: str | None = None
    """CID of the list of datasets of a bulk deal."""


def parse_params(text: str) -> DealParams:
    """What `text` asks for. Never fails: what is no proper object is the app's arguments."""
    try:
        value = _decode(text)
        if value is None:
            return DealParams()
        return _read(value)
    except ValueError:
        return DealParams(args=text)


def encode_params(params: DealParams) -> str:
    """The string that `parse_params` reads back to the same value; defaults are left out."""
    fields: dict[str, object] = {
        "iexec_args": params.args,
        "iexec_input_files": list(params.input_files),
        "iexec_result_storage_provider": params.storage_provider,
        "iexec_result_storage_proxy": params.storage_proxy,
        "iexec_result_encryption": params.result_encryption,
        "iexec_secrets": dict(params.secrets),
        "bulk_cid": params.bulk_cid,
    }
    told = {
        key: value for key, value in fields.items() if value not in ("", [], {}, None, False)
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def tokenize(args: str) -> tuple[str, ...]:
    """The app's arguments. This is no shell.

    Only spaces separate (a tab does not); '…' and "…" group and are removed, also in the
    middle of a word. A backslash stays where it is, and so does a quote right behind one, or
    behind one and spaces. An unclosed quote drops every argument.
    """
    words, word, quote, kept = [], "", "", False
    for letter in args if args.strip() else "":
        if letter in "'\"" and letter in (quote or letter):
            if kept:
                word, kept = word + letter, False
            else:
                quote = "" if quote else letter
        elif letter != " " or quote:
            word, kept = word + letter, letter == "\\"
        elif word:
            words.append(word)
            word = ""
    if quote:
        return ()
    return (*words, word) if word else tuple(words)


class _Pairs(list[tuple[str, object]]):
    """A JSON object with its duplicate keys: each must fit, the last one counts."""


class _Integer(str):
    """A number as it was written, because a field of text takes it unchanged."""

    __slots__ = ()


class _Decimal(str):
    """The same for a number with a point or an exponent, such as `1.50`."""

    __slots__ = ()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_BRACKETS: Final = re.compile(r'"(?:[^"\\]+|\\.)*"?|[\[\]{}]', re.DOTALL)
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_Pairs,
    parse_int=_Integer,
    parse_float=_Decimal,
    parse_constant=_no_constant,
)


def _decode(text: str) -> object:
    """The first JSON value of `text`; what follows it is ignored."""
    if _depth(text) > 2:
        raise ValueError("no parameter is nested as deeply")
    value: object = _DECODER.raw_decode(text.lstrip(" \t\r\n"))[0]
    return value


def _depth(text: str) -> int:
    """How deep the first value of `text` is nested.

    Looked at before decoding: brackets without end can exhaust the decoder's stack and take
    the process with it, and the string comes from a stranger.
    """
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket, 0)
        deepest = max(deepest, depth)
        if depth <= 0 and deepest:
            break
    return deepest


def _read(value: object) -> DealParams:
    last: dict[str, object] = {}
    for key, given in _pairs(value):
        if key not in _READERS:
            raise ValueError(f"{key!r} is no parameter of a deal")
        _READERS[key](given)
        last[key] = given
    return DealParams(
        args=_text(last.get("iexec_args")) or "",
        input_files=_texts(last.get("iexec_input_files")),
        storage_provider=_text(last.get("iexec_result_storage_provider")),
        storage_proxy=_text(last.get("iexec_result_storage_proxy")),
        result_encryption=_truth(last.get("iexec_result_encryption")),
        secrets=_texts_by_name(last.get("iexec_secrets")),
        bulk_cid=_text(last.get("bulk_cid")),
    )


def _pairs(value: object) -> _Pairs:
    if not isinstance(value, _Pairs):
        raise ValueError("not an object")
    return value


def _text(value: object) -> str | None:
    """Text; a number or truth value is taken as it is written."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise ValueError("neither text nor a plain value")
    # A lone surrogate cannot be passed to a process; Java's encoder makes it a question mark.
    return value.encode("utf-8", "replace").decode()


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or isinstance(value, _Pairs):
        raise ValueError("not a list")
    return tuple(_text(item) or "" for item in value)


def _texts_by_name(value: object) -> Mapping[str, str]:
    if value is None:
        return _NO_SECRETS
    return MappingProxyType({name: _text(given) or "" for name, given in _pairs(value)})


def _truth(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return value is True
    if isinstance(value, _Integer):
        return value.strip("-0") != ""
    if isinstance(value, str) and not isinstance(value, _Decimal):
        word = value.strip() or value
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise ValueError("neither true nor false")


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "iexec_args": _text,
    "iexec_input_files": _texts,
    "iexec_result_encryption": _truth,
    "iexec_result_storage_provider": _text,
    "iexec_result_storage_proxy": _text,
    "iexec_secrets": _texts_by_name,
    "bulk_cid": _text,
}
