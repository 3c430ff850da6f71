"""Learns 1,437 handwritten digits, reads 360 others, and draws how well it went.

The method is "nearest neighbours": an unknown image is what most of the K training images that
look most like it are. All arithmetic is on integers, so every machine gets the same bytes,
whatever its processor: workers can agree on the result to the last bit.

Usage: digits [--neighbours K]
Task i of a bag of tasks leaves out every fifth image, starting with the i-th: five tasks are a
complete cross-validation.
"""

from __future__ import annotations

import argparse
import gzip
import heapq
import json
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import mul
from pathlib import Path
from typing import NamedTuple

OUT = Path(os.environ.get("IEXEC_OUT", "/iexec_out"))
DATA = Path(__file__).with_name("digits.csv.gz")
FOLDS = 5
SIDE = 8
PIXELS = SIDE * SIDE
COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951",
          "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#6e7681")  # fmt: skip


class Image(NamedTuple):
    """64 grey values from 0 to 16, row by row, and the digit a person said it is."""

    pixels: tuple[int, ...]
    digit: int


class Reading(NamedTuple):
    """What one image is, and what it was taken for."""

    image: Image
    read: int


def columns(rows: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """The transpose."""
    return list(zip(*rows, strict=True))


def load(path: Path) -> list[Image]:
    """All the images of the data set, in its order."""
    with gzip.open(path, "rt") as lines:
        rows = [[round(float(value)) for value in line.split(",")] for line in lines]
    return [Image(tuple(row[:PIXELS]), row[PIXELS]) for row in rows]


class Neighbours:
    """A training set that can be compared with an image in one sweep.

    Column p of the training set (pixel p of all images) is one long integer with 16 bits an
    image. Multiplying it by a pixel of the unknown image compares that pixel with all of them
    at once; the sum over p holds every scalar product side by side.
    """

    LONGEST = PIXELS * 16 * 16

    def __init__(self, images: list[Image]) -> None:
        self.digits = [image.digit for image in images]
        self.columns = [
            self._pack([image.pixels[p] for image in images]) for p in range(PIXELS)
        ]
        lengths = [sum(map(mul, image.pixels, image.pixels)) for image in images]
        self.offset = self._pack([self.LONGEST - length for length in lengths])

    def _pack(self, values: list[int]) -> int:
        return int.from_bytes(
            b"".join(value.to_bytes(2, "little") for value in values), "little"
        )

    def likeness(self, pixels: tuple[int, ...]) -> array[int]:
        """For each training image x: 2·x·pixels - x·x, plus a constant. Larger is nearer."""
        products = sum(map(mul, pixels, self.columns))
        packed = (products << 1) + self.offset
        scores = array("H", packed.to_bytes(2 * len(self.digits), "little"))
        if sys.byteorder == "big":
            scores.byteswap()
        return scores

    def read(self, pixels: tuple[int, ...], k: int) -> int:
        """The digit that most of the `k` nearest images show; ties go to the nearest."""
        scores = self.likeness(pixels)
        nearest = heapq.nlargest(k, range(len(scores)), key=scores.__getitem__)
        return Counter(self.digits[i] for i in nearest).most_common(1)[0][0]


class Projection:
    """The flat picture in which the ten digits lie furthest apart: two directions among 64.

    They are the principal axes of the ten mean images, found by power iteration in fixed-point
    arithmetic.
    """

    ONE = 1 << 20

    def __init__(self, images: list[Image]) -> None:
        means = self._means(images)
        products = [[sum(map(mul, a, b)) for b in means] for a in means]
        first = self._strongest(products, ())
        second = self._strongest(products, first)
        self.axes = [self._axis(weights, means) for weights in (first, second)]

    def _means(self, images: list[Image]) -> list[list[int]]:
        """The mean image of each digit minus the mean of all, in thousandths."""
        classes = [[i.pixels for i in images if i.digit == digit] for digit in range(10)]
        total = [
            1000 * sum(column) // len(images) for column in columns([i.pixels for i in images])
        ]
        return [
            [
                1000 * sum(column) // len(members) - mean
                for column, mean in zip(columns(members), total, strict=True)
            ]
            for members in classes
        ]

    def _strongest(self, matrix: list[list[int]], against: tuple[int, ...]) -> tuple[int, ...]:
        """The eigenvector of the largest eigenvalue, at a right angle to `against`."""
        vector = tuple(self.ONE * (i + 1) // 10 for i in range(len(matrix)))
        for _ in range(60):
            if against:
                part, whole = sum(map(mul, vector, against)), sum(map(mul, against, against))
                vector = tuple(
                    v - a * part // whole for v, a in zip(vector, against, strict=True)
                )
            image = [sum(map(mul, row, vector)) for row in matrix]
            largest = max(map(abs, image))
            vector = tuple(self.ONE * value // largest for value in image)
        return vector

    def _axis(self, weights: tuple[int, ...], means: list[list[int]]) -> list[int]:
        return [sum(map(mul, weights, column)) // self.ONE for column in columns(means)]

    def place(self, images: list[Image], width: int, height: int) -> list[tuple[int, int]]:
        """Where each image lies on a sheet of `width` by `height`."""
        spots = [[sum(map(mul, axis, image.pixels)) for axis in self.axes] for image in images]
        low = [min(column) for column in columns(spots)]
        span = [max(column) - least for column, least in zip(columns(spots), low, strict=True)]
        size = (width, height)
        return [
            ((x - low[0]) * size[0] // span[0], (y - low[1]) * size[1] // span[1])
            for x, y in spots
        ]


# The picture. All coordinates are whole pixels.


def text(x: int, y: int, words: object, style: str = "") -> str:
    return f'<text x="{x}" y="{y}" {style}>{words}</text>'


def scatter(readings: list[Reading]) -> list[str]:
    """Every test image as the digit it is, in that digit's colour; misread ones are ringed."""
    images = [r.image for r in readings]
    spots = list(zip(Projection(images).place(images, 500, 400), readings, strict=True))
    parts = []
    for digit, color in enumerate(COLORS):
        own = (text(x, y + 5, digit) for (x, y), r in spots if r.image.digit == digit)
        parts += [f'<g fill="{color}" class="mid in">', *own, "</g>"]
    misread = (spot for spot, r in spots if r.read != r.image.digit)
    return [*parts, *(f'<circle cx="{x}" cy="{y}" r="10" class="ring"/>' for x, y in misread)]


def confusion(readings: list[Reading]) -> list[str]:
    """A table: which digit (row) was read as which (column), and how often."""
    counts = Counter((r.image.digit, r.read) for r in readings)
    parts = []
    for row in range(10):
        parts.append(text(-14, 27 + 40 * row, row, 'class="mid"'))
        parts.append(text(20 + 40 * row, -8, row, 'class="mid"'))
        for column in range(10):
            count = counts[row, column]
            color = "#f6f8fa" if not count else "#3ca951" if row == column else "#ff725c"
            place = f'x="{40 * column}" y="{40 * row}"'
            parts.append(f'<rect {place} width="38" height="38" fill="{color}"/>')
            if count:
                parts.append(
                    text(40 * column + 19, 40 * row + 25, count, 'fill="#fff" class="mid in"')
                )
    return parts


def portrait(x: int, reading: Reading) -> list[str]:
    """One image as the app saw it, with what it is and what it was taken for."""
    parts = [f'<g transform="translate({x} 0)">']
    for p, value in enumerate(reading.image.pixels):
        grey = 255 - value * 255 // 16
        parts.append(
            f'<rect x="{8 * (p % SIDE)}" y="{8 * (p // SIDE)}" width="8" height="8" '
            f'fill="rgb({grey},{grey},{grey})"/>'
        )
    label = f"{reading.image.digit} read as {reading.read}"
    return [*parts, text(32, 82, label, 'class="mid small"'), "</g>"]


STYLE = """svg{font:14px sans-serif;fill:#24292f}.mid{text-anchor:middle}
.in{font-weight:bold}.small{font-size:11px}.big{font-size:20px;font-weight:bold}
.ring{fill:none;stroke:#d1242f;stroke-width:2}"""


def picture(readings: list[Reading], headline: str) -> str:
    """The whole sheet as SVG."""
    wrong = [r for r in readings if r.read != r.image.digit][:11]
    strip = [part for i, r in enumerate(wrong) for part in portrait(92 * i, r)]
    panels = (
        (40, 90, "What the app sees: images that look alike lie together", scatter(readings)),
        (640, 90, "Digit (row) and what it was read as (column)", confusion(readings)),
        (40, 560, "The misread ones" if wrong else "None was misread", strip),
    )
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1080 670" width="1080">',
            f"<style>{STYLE}</style>",
            '<rect width="1080" height="670" fill="#fff"/>',
            text(40, 36, headline, 'class="big"'),
            *(
                part
                for x, y, title, inside in panels
                for part in (
                    text(x, y - 26, title),
                    f'<g transform="translate({x} {y})">',
                    *inside,
                    "</g>",
                )
            ),
            "</svg>\n",
        ]
    )


def table(readings: list[Reading]) -> str:
    """The confusion table for a terminal."""
    counts = Counter((r.image.digit, r.read) for r in readings)
    rows = ["read as " + "".join(f"{digit:5}" for digit in range(10))]
    for digit in range(10):
        cells = (f"{counts[digit, read] or '·':>5}" for read in range(10))
        rows.append(f"digit {digit} " + "".join(cells))
    return "\n".join(rows)


def fold_of(images: list[Image], fold: int) -> tuple[list[Image], list[Image]]:
    """The images to learn from, and every fifth one, which is kept for the test."""
    training = [image for i, image in enumerate(images) if i % FOLDS != fold]
    return training, images[fold::FOLDS]


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn to read handwritten digits.")
    parser.add_argument("--neighbours", type=int, default=3, metavar="K")
    k: int = parser.parse_args().neighbours
    if not 1 <= k <= 100:
        parser.error("--neighbours is a number from 1 to 100")
    fold = int(os.environ.get("IEXEC_BOT_TASK_INDEX", "0")) % FOLDS
    training, test = fold_of(load(DATA), fold)
    known = Neighbours(training)
    readings = [Reading(image, known.read(image.pixels, k)) for image in test]
    report(readings, len(training), k)


def report(readings: list[Reading], learned: int, k: int) -> None:
    """Write the picture, the table and the figures, and say where they are."""
    right = sum(r.read == r.image.digit for r in readings)
    permille = 1000 * right // len(readings)
    headline = (
        f"{right} of {len(readings)} handwritten digits read correctly "
        f"({permille // 10}.{permille % 10} %), after looking at {learned:,} others"
    )
    folder = OUT / "digits"
    folder.mkdir(parents=True)
    figures = {"right": right, "tested": len(readings), "learned": learned, "neighbours": k}
    (folder / "digits.svg").write_text(picture(readings, headline), "utf-8")
    (folder / "digits.txt").write_text(f"{headline}\n\n{table(readings)}\n", "utf-8")
    (folder / "digits.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    (OUT / "computed.json").write_text(
        json.dumps({"deterministic-output-path": "/iexec_out/digits"})
    )
    print(headline)


if __name__ == "__main__":
    main()
