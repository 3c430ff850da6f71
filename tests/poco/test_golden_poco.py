"""A golden copy of all that `poco` has written down outside of the bodies of its functions.

Constants, tables, members of enumerations, sizes, fields and their defaults, defaults of
arguments: each of them is a rule of the contracts, of the Java workers or of a signature, and
changes only when those do. `constants.txt` is written anew by

    PYTHONPATH=src .venv/bin/python tests/poco/test_golden_poco.py
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from json import JSONDecoder
from pathlib import Path
from types import ModuleType
from typing import Any

import tallystick.poco

COPY = Path(__file__).parent / "constants.txt"
HOOKS = ("object_pairs_hook", "parse_int", "parse_float", "parse_constant")


def test_constants_tables_and_defaults_are_as_agreed() -> None:
    assert list(lines()) == COPY.read_text().splitlines()


def lines() -> Iterator[str]:
    folder = Path(next(iter(tallystick.poco.__path__)))
    for source in sorted(folder.glob("[!_]*.py")):
        module = importlib.import_module(f"tallystick.poco.{source.stem}")
        tree = ast.parse(source.read_text())
        yield from told_of(tree, module, source.stem)


def told_of(
    tree: ast.Module | ast.ClassDef, owner: ModuleType | type, path: str
) -> Iterator[str]:
    """What is said in a module or a class, in its order. Names of types say nothing."""
    for node in tree.body:
        match node:
            case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
                continue
            case (
                ast.AnnAssign(target=ast.Name(id=name))
                | ast.Assign(targets=[ast.Name(id=name)])
            ):
                yield f"{path}.{name} = {valued(owner, name)}"
            case ast.ClassDef(name=name):
                yield from told_of(node, getattr(owner, name), f"{path}.{name}")
            case ast.FunctionDef(name=name):
                yield from arguments(inspect.getattr_static(owner, name), f"{path}.{name}")


def valued(owner: ModuleType | type, name: str) -> str:
    """A value of a module or a class; of a field how it is given, and what it is otherwise."""
    made = dataclass_fields(owner).get(name)
    if made is None:
        return text(getattr(owner, name, None)) if not hasattr(owner, "_fields") else "given"
    by = "named" if made.kw_only else "given"
    if made.default_factory is not MISSING:
        return f"{by}, or a new {text(made.default_factory())}"
    return by if made.default is MISSING else f"{by}, or {text(made.default)}"


def dataclass_fields(owner: ModuleType | type) -> Mapping[str, Field[Any]]:
    return {each.name: each for each in fields(owner)} if is_dataclass(owner) else {}


def arguments(function: Any, path: str) -> Iterator[str]:
    plain = getattr(function, "__func__", getattr(function, "fget", function))
    for each in inspect.signature(plain).parameters.values():
        if each.default is not each.empty:
            yield f"{path}({each.name} = {text(each.default)})"


def text(value: object) -> str:
    match value:
        case Enum():
            return text(value.value)
        case Mapping():
            return f"{{{', '.join(f'{text(k)}: {text(v)}' for k, v in value.items())}}}"
        case frozenset():
            return f"{{{', '.join(sorted(map(text, value)))}}}"
        case JSONDecoder():
            return text({hook: getattr(value, hook) for hook in HOOKS})
    return getattr(value, "__qualname__", None) or repr(value)


if __name__ == "__main__":
    COPY.write_text("\n".join(lines()) + "\n")
