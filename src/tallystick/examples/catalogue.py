"""The example apps: what each is called, and what goes into its image besides Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

IMAGE_VERSION = "1"
"""The tag of every example image; raised when an app's output changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An app that ships with Tallystick."""

    name: str
    title: str
    description: str
    default_args: str = ""
    """What `tally up` passes to it."""
    show: str = ""
    """The file of its result that a person wants to look at."""
    wheel_files: tuple[str, ...] = ()
    """Files it takes out of the wheels in its requirements.txt; they lie beside its main.py."""
    library_modules: tuple[str, ...] = ()
    """Modules of the standard library that the common base leaves out and this app needs."""


def _by_name(*examples: Example) -> Mapping[str, Example]:
    return MappingProxyType({example.name: example for example in examples})


EXAMPLES: Mapping[str, Example] = _by_name(
    Example(
        name="digits",
        title="Handwritten digits",
        description="Learns 1,437 handwritten digits, reads 360 others, draws how it went.",
        show="digits/digits.svg",
        wheel_files=("sklearn/datasets/data/digits.csv.gz",),
    ),
    Example(
        name="corpus",
        title="A book's index",
        description="Indexes the Python language reference, searches it and draws Zipf's law.",
        default_args="generator exception context",
        show="corpus/zipf.svg",
        library_modules=("pydoc_data/topics.py",),
    ),
    Example(
        name="words",
        title="Count words",
        description="Counts the words of the dataset and of the input files it is given.",
        default_args="--top 20",
        show="words/words.svg",
    ),
)

TRIALS: Mapping[str, Example] = _by_name(
    Example(
        name="mischief",
        title="Misbehaves on request",
        description="Fails, hangs, floods the disk, leaves strange files: for tests.",
        default_args="fail 3",
    ),
)
"""Apps that are not for sale."""
