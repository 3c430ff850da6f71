"""A golden copy of all that the lifecycle has written down outside of functions: tables,
constants, members of enumerations, fields of values with their defaults. A change of any of it
must be meant.

    .venv/bin/python tests/lifecycle/test_golden.py     writes the copy anew; look at its diff
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType, UnionType
from typing import Any

HERE = Path(__file__).parent
SOURCES = sorted((HERE.parents[1] / "src/tallystick/lifecycle").glob("[!_]*.py"))
COPY = HERE / "golden.txt"


def test_tables_constants_and_defaults_are_as_they_were() -> None:
    assert list(lines()) == COPY.read_text().splitlines()


def lines() -> Iterator[str]:
    for source in SOURCES:
        module = importlib.import_module(f"tallystick.lifecycle.{source.stem}")
        for name in assigned(ast.parse(source.read_text())):
            yield from of_value(f"{source.stem}.{name}", getattr(module, name))
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") == module.__name__:
                yield from of_definition(f"{source.stem}.{name}", value)


def assigned(tree: ast.Module) -> Iterator[str]:
    """The names that a module gives to values, in its order."""
    for statement in tree.body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        for node in (n for target in targets if target for n in ast.walk(target)):
            if isinstance(node, ast.Name) and node.id != "__all__":
                yield node.id


def of_value(name: str, value: object) -> Iterator[str]:
    match value:
        case Mapping():
            for key, each in value.items():
                yield from of_value(f"{name}[{told(key)}]", each)
        case str() if "\n" in value:
            yield from (f"{name}: {line}" for line in value.splitlines())
        case _:
            yield f"{name} = {told(value)}"


def of_definition(name: str, value: object) -> Iterator[str]:
    match value:
        case type() if issubclass(value, Enum):
            yield from (f"{name}.{member.name} = {member.value!r}" for member in value)
        case type() if is_dataclass(value):
            params: Any = value.__dataclass_params__  # type: ignore[attr-defined]
            frozen = "frozen " if params.frozen else ""
            yield f"{frozen}{name}({', '.join(of_field(each) for each in fields(value))})"
        case FunctionType():
            for each in inspect.signature(value).parameters.values():
                if each.default is not inspect.Parameter.empty:
                    yield f"{name}({each.name}={told(each.default)})"
    if isinstance(value, type):
        for inner, method in vars(value).items():
            if isinstance(method, FunctionType) and not inner.startswith("__"):
                yield from of_definition(f"{name}.{inner}", method)


def of_field(field: Field[Any]) -> str:
    name = f"*{field.name}" if field.kw_only else field.name
    if field.default is not MISSING:
        return f"{name}={told(field.default)}"
    return name if field.default_factory is MISSING else f"{name}={field.default_factory()!r}"


def told(value: object) -> str:
    match value:
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case UnionType():
            return " | ".join(told(each) for each in value.__args__)
        case type():
            return value.__name__
        case tuple():
            return f"({', '.join(told(each) for each in value)})"
        case Mapping():
            return f"{{{', '.join(f'{told(k)}: {told(v)}' for k, v in value.items())}}}"
        case set() | frozenset():
            return f"{{{', '.join(sorted(told(each) for each in value))}}}"
        case ModuleType():
            raise AssertionError("a module is no value")
        case _:
            return repr(value)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1] / "src"))
    COPY.write_text("\n".join(lines()) + "\n")
