"""Indexes the Python language reference, answers a query from the index, and draws Zipf's law.

The book is a real one: the text that `help("exceptions")` shows, some 80 chapters which every
Python carries. Only integers are used, logarithms included: two processors may differ in the
last bit of a floating-point logarithm, and workers have to agree on every byte.

Usage: corpus WORD...
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from pydoc_data.topics import topics

OUT = Path(os.environ.get("IEXEC_OUT", "/iexec_out"))
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
Index = dict[str, dict[str, int]]
"""Word → chapter → how often it is there."""


def index_of(book: Mapping[str, str]) -> Index:
    """The inverted index."""
    index: Index = defaultdict(dict)
    for chapter in sorted(book):
        for word, count in Counter(WORD.findall(book[chapter].lower())).items():
            index[word][chapter] = count
    return index


def log2(number: int) -> int:
    """1,024 times the binary logarithm, by repeated squaring."""
    whole = number.bit_length() - 1
    mantissa, result = (number << 32) >> whole, whole << 10
    for bit in reversed(range(10)):
        mantissa = mantissa * mantissa >> 32
        if mantissa >> 33:
            mantissa >>= 1
            result += 1 << bit
    return result


def search(index: Index, chapter_count: int, query: list[str]) -> list[tuple[int, str]]:
    """Chapters by how well they answer `query`: frequent there, rare elsewhere (tf-idf)."""
    scores: Counter[str] = Counter()
    for word in query:
        found = index.get(word.lower(), {})
        rarity = log2(1 + chapter_count // max(len(found), 1))
        for chapter, count in found.items():
            scores[chapter] += rarity * (1024 + log2(count)) // 1024
    return sorted(
        ((score, chapter) for chapter, score in scores.items()), key=lambda s: (-s[0], s[1])
    )


def excerpt(text: str, query: list[str]) -> str:
    """The first line of `text` with a word of the query."""
    wanted = {word.lower() for word in query}
    lines = (" ".join(line.split()) for line in text.splitlines())
    return next((line for line in lines if wanted & set(WORD.findall(line.lower()))), "")


def hits(book: Mapping[str, str], index: Index, query: list[str]) -> str:
    """The ten best chapters in words."""
    lines = [
        f"{len(index):,} different words in {len(book)} chapters. Query: {' '.join(query)}",
        "",
    ]
    for score, chapter in search(index, len(book), query)[:10]:
        lines += [
            f"{score / 1024:6.2f}  {chapter}",
            f"        {excerpt(book[chapter], query)[:90]}",
        ]
    return "\n".join(lines) + "\n"


STYLE = """text{font:13px sans-serif;fill:#24292f}.big{font-size:20px;font-weight:bold}
.end{text-anchor:end}.axis{stroke:#8c959f}
.law{stroke:#d1242f;stroke-width:2;stroke-dasharray:6 5}
.dot{fill:none;stroke:#4269d0;stroke-width:5;stroke-linecap:round;stroke-opacity:.6}"""


def zipf(totals: Counter[str]) -> list[str]:
    """Frequency over rank, both logarithmic. Zipf: the n-th word is n times rarer."""
    ranked = sorted(totals.values(), reverse=True)
    top = log2(ranked[0])
    scale = max(top, log2(len(ranked)))
    place = {
        (500 * log2(rank) // scale, 500 - 500 * log2(count) // scale)
        for rank, count in enumerate(ranked, 1)
    }
    dots = "".join(f"M{x} {y}h0" for x, y in sorted(place))
    return [
        '<path d="M0 0V500H500" fill="none" class="axis"/>',
        f'<path d="M0 {500 - 500 * top // scale}L{500 * top // scale} 500" class="law"/>',
        f'<path d="{dots}" class="dot"/>',
        '<text x="500" y="522" class="end">rank of the word (logarithmic)</text>',
        '<text x="0" y="-10">how often it occurs (logarithmic); dashed: Zipf\'s law</text>',
    ]


def bars(totals: Counter[str]) -> list[str]:
    """The most frequent words of five letters or more."""
    long_words = sorted(
        ((n, w) for w, n in totals.items() if len(w) > 4), key=lambda e: (-e[0], e[1])
    )
    longest = long_words[0][0]
    parts = ['<text x="0" y="-10">its most frequent words of five letters or more</text>']
    for row, (count, word) in enumerate(long_words[:20]):
        y, width = 25 * row, 250 * count // longest
        parts += [
            f'<text x="100" y="{y + 16}" class="end">{word}</text>',
            f'<rect x="110" y="{y + 3}" width="{width}" height="18" fill="#6cc5b0"/>',
            f'<text x="{116 + width}" y="{y + 16}">{count}</text>',
        ]
    return parts


def picture(totals: Counter[str], headline: str) -> str:
    """The sheet as SVG."""
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1080 650" width="1080">',
            f"<style>{STYLE}</style>",
            '<rect width="1080" height="650" fill="#fff"/>',
            f'<text x="40" y="40" class="big">{headline}</text>',
            *('<g transform="translate(40 100)">', *zipf(totals), "</g>"),
            *('<g transform="translate(620 100)">', *bars(totals), "</g>"),
            "</svg>\n",
        ]
    )


def main() -> None:
    query = sys.argv[1:] or ["generator"]
    index = index_of(topics)
    totals = Counter({word: sum(places.values()) for word, places in index.items()})
    headline = f"The Python language reference: {len(totals):,} different words"
    answer = hits(topics, index, query)
    folder = OUT / "corpus"
    folder.mkdir(parents=True)
    (folder / "zipf.svg").write_text(picture(totals, headline), "utf-8")
    (folder / "hits.txt").write_text(answer, "utf-8")
    (folder / "index.json").write_text(
        json.dumps(index, sort_keys=True, indent=0) + "\n", "utf-8"
    )
    (OUT / "computed.json").write_text(
        json.dumps({"deterministic-output-path": "/iexec_out/corpus"})
    )
    print(answer, end="")


if __name__ == "__main__":
    main()
