"""Counts the words of a dataset, of input files, or of both, and draws the most frequent ones.

Usage: words [--top N] [--longer-than LETTERS]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
NO_DATASET = "0x" + 40 * "0"
Ranking = list[tuple[int, str]]


def given(environment: Mapping[str, str]) -> list[Path]:
    """The files this task was given, as the worker tells in the environment."""
    folder = Path(environment.get("IEXEC_IN", "/iexec_in"))
    dataset = environment.get("IEXEC_DATASET_FILENAME", "")
    names = [dataset] if dataset not in ("", NO_DATASET) else []
    count = int(environment.get("IEXEC_INPUT_FILES_NUMBER", "0"))
    names += [environment[f"IEXEC_INPUT_FILE_NAME_{n}"] for n in range(1, count + 1)]
    return [folder / name for name in names]


def count_words(paths: list[Path], longer_than: int) -> Counter[str]:
    """How often each word occurs; a line at a time, so the files may be large."""
    totals: Counter[str] = Counter()
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                totals.update(w for w in WORD.findall(line.lower()) if len(w) > longer_than)
    return totals


def picture(ranking: Ranking, headline: str) -> str:
    """A bar for each word, as SVG."""
    height = 100 + 26 * len(ranking)
    most = ranking[0][0]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height}" width="900">',
        "<style>text{font:14px sans-serif;fill:#24292f}.end{text-anchor:end}</style>",
        f'<rect width="900" height="{height}" fill="#fff"/>',
        f'<text x="30" y="40" font-weight="bold">{escape(headline)}</text>',
    ]
    for row, (count, word) in enumerate(ranking):
        y, width = 70 + 26 * row, max(520 * count // most, 1)
        parts += [
            f'<text x="200" y="{y + 15}" class="end">{escape(word[:24])}</text>',
            f'<rect x="210" y="{y}" width="{width}" height="20" fill="#4269d0"/>',
            f'<text x="{218 + width}" y="{y + 15}">{count:,}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Count words.")
    parser.add_argument("--top", type=int, default=20, metavar="N")
    parser.add_argument("--longer-than", type=int, default=3, metavar="LETTERS")
    wish = parser.parse_args()
    files = given(os.environ)
    if not files:
        sys.exit("words: there is nothing to count; give the task a dataset or an input file.")
    totals = count_words(files, wish.longer_than)
    if not totals:
        sys.exit("words: the files hold no such words; are they text?")
    ranking = sorted(((n, w) for w, n in totals.items()), key=lambda e: (-e[0], e[1]))
    report(ranking, wish.top, len(files))


def report(ranking: Ranking, top: int, files: int) -> None:
    """Write the figures and the picture, and say what they are about."""
    total = sum(count for count, _ in ranking)
    headline = f"{total:,} words, {len(ranking):,} different, in {files} file(s)"
    out = Path(os.environ.get("IEXEC_OUT", "/iexec_out"))
    folder = out / "words"
    folder.mkdir(parents=True)
    figures = {"total": total, "different": len(ranking), "files": files,
               "top": {word: count for count, word in ranking[:top]}}  # fmt: skip
    (folder / "words.svg").write_text(picture(ranking[:top], headline), "utf-8")
    (folder / "words.json").write_text(
        json.dumps(figures, indent=2, ensure_ascii=False), "utf-8"
    )
    (out / "computed.json").write_text(
        json.dumps({"deterministic-output-path": "/iexec_out/words"})
    )
    print(headline)


if __name__ == "__main__":
    main()
