"""From the words of a command line to the one string that a deal carries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tallystick.requester.refusals import CannotBuy

_SEGMENT = re.compile(r"""[^\s'"]+|[\s"]+|'+""")


def join_arguments(words: Sequence[str]) -> str:
    """The `iexec_args` from which every worker splits exactly `words` again.

    Workers split at spaces and know two kinds of quotes but no escape character, so a word is
    written in segments: a single quote goes between double quotes, blanks and double quotes
    go between single ones. Raises CannotBuy for an empty word, which has no spelling,
    and for one that is no text.
    """
    return " ".join(map(_spell, words))


def _spell(word: str) -> str:
    if not word:
        raise CannotBuy(
            "An empty argument cannot be passed to an app: the workers' way of splitting "
            "arguments drops it. Leave it out or use a placeholder."
        )
    if any("\ud800" <= letter <= "\udfff" for letter in word):
        raise CannotBuy(f"The argument {word!r} is not text; a deal can only carry text.")
    return "".join(map(_quote, _SEGMENT.findall(word)))


def _quote(segment: str) -> str:
    if segment[0] == "'":
        return f'"{segment}"'
    if segment[0] == '"' or segment[0].isspace():
        return f"'{segment}'"
    return segment
