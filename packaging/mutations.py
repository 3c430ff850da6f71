"""What a mutant is: every small change of one module's syntax tree, each with a name.

`mutants.py` beside this runs the tests against them.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
GENERIC = ("dict", "defaultdict", "list", "set", "tuple", "deque", "Counter", "Mapping", "cast")
TYPES_ONLY = ("TypeAlias", "Literal", "ClassVar")


@dataclass(frozen=True)
class Place:
    """Where a node hangs: a field of its parent, or one element of that field."""

    parent: ast.AST
    field: str
    index: int | None = None

    def put(self, node: ast.AST | None) -> None:
        """Hang another node there; None takes the element out."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        elif node is None:
            del getattr(self.parent, self.field)[self.index]
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    line: int
    scope: str
    """The function or class, by its qualified name; empty for the module itself."""
    is_inside: bool
    """Whether it is in a function: what is not is done once, when the module is read."""
    lines: range
    """Of the statement that changes: who does not come by here cannot notice."""
    key: str
    """Names it across versions of the module, as long as its statement stays as it is."""
    apply: Callable[[], None]


# --- what may be changed --------------------------------------------------------------------


def changes(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901, PLR0912 - a table
    """Other nodes that could stand in the place of this one."""
    match node:
        case ast.Compare(ops=ops):
            for n, op in enumerate(ops):
                yield _with(node, ops=[*ops[:n], SWAPPED[type(op)](), *ops[n + 1 :]])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op):
            yield _with(node, op=SWAPPED[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as text):
            yield from (ast.Constant(other) for other in _other_texts(text))
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield ast.Name(NAMES[name], ast.Load())
        case ast.Call(keywords=[_, *_] as keywords):
            for n in range(len(keywords)):
                yield _with(node, keywords=keywords[:n] + keywords[n + 1 :])
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.UnaryOp):
                yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(None)
        case ast.match_case(guard=ast.expr()):
            yield _with(node, guard=None)
        case ast.Dict(keys=keys, values=values):
            for n in range(len(keys)):
                yield ast.Dict(keys[:n] + keys[n + 1 :], values[:n] + values[n + 1 :])
        case _:
            return


def removable(field: str, nodes: Sequence[ast.AST], parent: ast.AST) -> Iterator[int]:
    """Which of a list of nodes may be taken out."""
    for n, node in enumerate(nodes):
        match parent, node:
            case ast.Tuple(ctx=ast.Load()) | ast.List() | ast.Set(), _ if field == "elts":
                yield n
            case ast.BoolOp() | ast.MatchOr(), _ if len(nodes) > 2:
                yield n
            case ast.Match(), ast.match_case() if len(nodes) > 1 and not _never(node):
                yield n
            case _, ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.Raise():
                yield n
            case _, ast.AugAssign() | ast.Delete():
                yield n
            case ast.comprehension(), _ if field == "ifs":
                yield n
            case _:
                continue


def _never(node: ast.AST) -> bool:
    """Whether only mypy looks at it."""
    text = ast.unparse(node)
    return "assert_never(" in text or "raise AssertionError(" in text


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _other_texts(text: str) -> Iterator[str]:
    """Without one line for a table, otherwise other; a sentence for people stays."""
    lines = text.split("\n")
    if len(lines) > 3:
        for n, line in enumerate(lines):
            if line.strip() and not line.startswith(" "):
                yield "\n".join(lines[:n] + lines[n + 1 :])
    elif not (" " in text.strip() and text.strip().endswith((".", ":"))):
        yield "XX" + text


# --- where ----------------------------------------------------------------------------------


def mutants_of(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """Every mutant of a module, each with a key of its own."""
    seen = Counter[str]()
    for place, node, new, within in _sites(tree, _Within()):
        old = _told(node)
        becomes = "nothing" if new is None else _told(new)
        key = f"{module} {within.scope}: {old} → {becomes}"
        if len(old) < 40 and (whole := _told(within.statement or node)) != old:
            key += f" in {whole}"
        seen[key] += 1
        if seen[key] > 1:
            key += f" ({seen[key]})"
        line = getattr(node, "lineno", getattr(within.statement, "lineno", 0))
        lines = _lines(node if isinstance(node, ast.stmt) else within.statement or node)
        yield Mutant(
            module=module,
            line=line,
            scope=within.scope,
            is_inside=within.is_inside,
            lines=lines,
            key=key,
            apply=_applied(place, node, new),
        )


def _lines(node: ast.AST) -> range:
    first = getattr(node, "lineno", 0)
    return range(first, (getattr(node, "end_lineno", None) or first) + 1)


def _applied(place: Place, node: ast.AST, new: ast.AST | None) -> Callable[[], None]:
    def apply() -> None:
        if new is None and isinstance(node, ast.stmt):
            place.put(ast.Pass())
        else:
            place.put(new)

    return apply


@dataclass(frozen=True)
class _Within:
    """What lies around a node."""

    scope: str = ""
    is_inside: bool = False
    statement: ast.AST | None = None

    def of(self, node: ast.AST) -> _Within:
        """What lies around the parts of `node`."""
        found = self
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found = replace(found, scope=f"{self.scope}.{node.name}".strip("."))
        if isinstance(node, ast.stmt):
            found = replace(found, statement=node)
        return found

    def at(self, node: ast.AST, field: str) -> _Within:
        """The same for one field: a function's defaults are not inside of it."""
        inner = isinstance(node, ast.FunctionDef) and field == "body"
        return replace(self, is_inside=True) if inner else self


Site = tuple[Place, ast.AST, ast.AST | None, _Within]


def _sites(node: ast.AST, around: _Within) -> Iterator[Site]:
    around = around.of(node)
    for field, value in ast.iter_fields(node):
        if _skipped(node, field):
            continue
        within = around.at(node, field)
        if isinstance(value, ast.AST):
            yield from _at(Place(node, field), value, within)
        elif isinstance(value, list):
            nodes = [each for each in value if isinstance(each, ast.AST)]
            for n, each in enumerate(nodes):
                yield from _at(Place(node, field, n), each, within)
            for n in removable(field, nodes, node):
                if not _ignored(nodes[n]):
                    yield Place(node, field, n), nodes[n], None, within


def _at(place: Place, node: ast.AST, within: _Within) -> Iterator[Site]:
    if _ignored(node):
        return
    inner = replace(within, statement=node) if isinstance(node, ast.stmt) else within
    for new in changes(node):
        yield place, node, new, inner
    yield from _sites(node, within)


def _skipped(node: ast.AST, field: str) -> bool:
    """Annotations and decorators change nothing here; a case's pattern has no operators."""
    return field in ("annotation", "returns", "decorator_list", "names") or (
        isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and field == "arg")
    )


def _ignored(node: ast.AST) -> bool:
    """Imports, docstrings, assertions for mypy, aliases of types, texts for people."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.Expr(value=ast.Constant()) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.AnnAssign() | ast.Assign() if any(
            word in ast.unparse(node).split("=")[0] + ast.unparse(node.value or node)[:8]
            for word in TYPES_ONLY
        ):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Subscript(value=ast.Name(id=name)) if name in GENERIC:
            return True
        case ast.stmt() | ast.match_case() if _never(node) and not _compound(node):
            return True
        case _:
            return False


def _compound(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Match | ast.If | ast.For)


def _told(node: ast.AST) -> str:
    """One line of source, cut where it is long."""
    text = node.pattern if isinstance(node, ast.match_case) else node
    line = " ".join(ast.unparse(text).split()).replace("`", "'")
    if isinstance(node, ast.match_case):
        line = f"case {line}" + (f" if {ast.unparse(node.guard)}" if node.guard else "")
    return line if len(line) <= 110 else f"{line[:80]} … {line[-25:]}"
