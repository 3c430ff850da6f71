"""From the words of a command line to the one string that a deal carries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tallystick.requester.refusals import CannotBuy

_SEGMENT = re.compile(r"""\\+['"]|\\*\s[\s"]*|"[\s"]*|'+|\\+|[^\s'"\\]+""")
"""What is spelled alike. A backslash belongs to the quote or to the blank behind it."""


def join_arguments(words: Sequence[str]) -> str:
    """The `iexec_args` from which every worker splits exactly `words` again.

    Workers split at spaces and know two kinds of quotes but no escape character, so a word is
    written in segments: a single quote goes between double quotes, blanks and double quotes
    go between single ones. A quote behind a backslash stands for itself. Raises CannotBuy for
    what has no spelling: an empty word, and a word that begins with a blank behind one that
    ends with a backslash; and for one that is no text.
    """
    spelled: list[str] = []
    for word in words:
        spelled.append(_spell(word, kept=bool(spelled) and spelled[-1].endswith("\\")))
    return " ".join(spelled)


def _spell(word: str, *, kept: bool) -> str:
    """With `kept` the word before ends with a backslash, so a quote would stand for itself."""
    if not word:
        raise CannotBuy(
            "An empty argument cannot be passed to an app: the workers' way of splitting "
            "arguments drops it. Leave it out or use a placeholder."
        )
    if any("\ud800" <= letter <= "\udfff" for letter in word):
        raise CannotBuy(f"The argument {word!r} is not text; a deal can only carry text.")
    if kept and word[0] in "'\"":
        return word[0] + "".join(map(_quote, _SEGMENT.findall(word[1:])))
    spelled = "".join(map(_quote, _SEGMENT.findall(word)))
    if kept and spelled[0] in "'\"":
        raise CannotBuy(
            f"The argument {word!r} cannot follow one that ends with a backslash: the workers' "
            "way of splitting arguments would take both apart. Change their order."
        )
    return spelled


def _quote(segment: str) -> str:
    if segment[0] == "'":
        return f'"{segment}"'
    blank = any(letter.isspace() for letter in segment)
    return f"'{segment}'" if blank or segment[0] == '"' else segment
