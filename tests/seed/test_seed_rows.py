"""The table of the operator's page is whole, and every test that it names is there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from seed_rows import ELSEWHERE, NOT_REACHED, ROWS, STATUSES

from tallystick.lifecycle.meanings import MEANINGS
from tallystick.lifecycle.vocabulary import GRAPHS

TESTS = Path(__file__).resolve().parent.parent
NAMED = sorted({test for tests in (*ROWS.values(), *STATUSES.values()) for test in tests})


@cache
def functions(path: str) -> set[str]:
    """The test functions of a file; none when it is not there."""
    if not (file := TESTS / path).is_file():
        return set()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {n.name for n in ast.parse(file.read_text()).body if isinstance(n, kinds)}


def test_every_row_has_a_test_or_belongs_elsewhere():
    statuses = set(range(72, 108))
    assert ROWS.keys() | ELSEWHERE.keys() | statuses == set(range(1, 115))
    assert not ROWS.keys() & ELSEWHERE.keys()


def test_every_status_is_reached_or_says_why_not():
    names = GRAPHS["seed"].keys() | GRAPHS["modern"].keys()
    assert STATUSES.keys() | NOT_REACHED.keys() == names
    assert not STATUSES.keys() & NOT_REACHED.keys()
    assert MEANINGS.keys() == names


@pytest.mark.parametrize("named", NAMED)
def test_the_test_is_there(named: str):
    path, function = named.split("::")
    assert function in functions(path)
