"""What a program's statements define, need and do. Pure, and no code is run."""

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator

# Each step drops a part of the text that is no Python.
STEPS = 40

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEFINITIONS = (*_SCOPES, ast.Import, ast.ImportFrom)


def trimmed(text: str, name: str) -> str | None:
    """Return the program at the head of a text without its trailing demonstration; None without the wanted name."""
    tree, lines = _head(text)
    last = max((place for place, node in enumerate(tree.body) if defines(node, name)), default=None)
    if last is None or not _does_something(tree.body[last]):
        return None
    kept = [node for place, node in enumerate(tree.body) if place <= last or is_definition(node)]
    kept = _with_what_they_need(tree.body, kept, lines)
    # What several blocks import from the future must stand before anything else.
    kept.sort(key=lambda node: not (isinstance(node, ast.ImportFrom) and node.module == "__future__"))
    # Statements that share a line are taken with it, once.
    places = dict.fromkeys(_place(node) for node in kept if not _is_mark(node))
    return "\n".join("\n".join(lines[first:end]) for first, end in places)


def parsed(text: str) -> ast.Module | None:
    """Return a text as Python; None when it is something else."""
    return _parse_lines(text.split("\n"))[0]


def source(lines: list[str], node: ast.stmt) -> str:
    """Return a statement's lines, with its decorators."""
    first, end = _place(node)
    return "\n".join(lines[first:end])


def found(tree: ast.Module, name: str) -> ast.stmt | None:
    """Return the first statement that defines a name."""
    return next((node for node in tree.body if defines(node, name)), None)


def defines(node: ast.stmt, name: str) -> bool:
    """Whether a statement defines a name; it may do so in a branch, as after `if sys.version_info >= (3, 9):`."""
    if isinstance(node, _SCOPES):
        return node.name == name
    if isinstance(node, (ast.If, ast.Try)):
        return not _is_main_guard(node) and any(defines(inner, name) for inner in _branches(node))
    return name in _assigned(node)


def is_definition(node: ast.stmt) -> bool:
    """Whether a statement defines something and computes nothing: `memo = {}` does, `result = f(3)` does not."""
    if isinstance(node, _DEFINITIONS):
        return True
    if isinstance(node, ast.Try):
        return all(is_definition(inner) for inner in _branches(node))
    plain = isinstance(node, (ast.Assign, ast.AnnAssign))
    return plain and not any(isinstance(part, (ast.Call, ast.Await, ast.Subscript)) for part in ast.walk(node))


def _place(node: ast.stmt) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, node.end_lineno or node.lineno


def _does_something(node: ast.stmt) -> bool:
    """Whether a function has more than a docstring, `pass` and definitions: repeating the prompt is no answer."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    return not all(isinstance(part, (ast.Pass, *_DEFINITIONS)) or _is_constant(part) for part in node.body)


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_mark(node: ast.stmt) -> bool:
    """Whether a line stands around a program rather than in it: `[BEGIN]`, or `python` left over from a fence."""
    value = node.value if isinstance(node, ast.Expr) else None
    inner = value.elts[0] if isinstance(value, ast.List) and len(value.elts) == 1 else value
    return isinstance(inner, ast.Name)


def _is_main_guard(node: ast.stmt) -> bool:
    tested = ast.walk(node.test) if isinstance(node, ast.If) else ()
    return any(isinstance(part, ast.Name) and part.id == "__name__" for part in tested)


def _branches(node: ast.If | ast.Try) -> Iterator[ast.stmt]:
    handled = [inner for handler in getattr(node, "handlers", ()) for inner in handler.body]
    yield from (*node.body, *handled, *node.orelse, *getattr(node, "finalbody", ()))


def _assigned(node: ast.stmt) -> set[str]:
    """Return the names that an assignment gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    parts = [part for target in targets for part in ast.walk(target)]
    return {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def _with_what_they_need(body: list[ast.stmt], kept: list[ast.stmt], lines: list[str]) -> list[ast.stmt]:
    """Add assignments further down that compute what a kept function reads: `primes = sieve(100)`."""
    needed = _read_from_module("\n".join(source(lines, node) for node in kept))
    there = set(map(id, kept))
    return [node for node in body if id(node) in there or _assigned(node) & needed]


def _read_from_module(text: str) -> set[str]:
    """Return the names that a program's functions look up in its module, built-in ones aside."""
    try:
        module = symtable.symtable(text, "<program>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    symbols = (symbol for scope in _scopes(module) for symbol in scope.get_symbols())
    return {symbol.get_name() for symbol in symbols if symbol.is_global()} - vars(builtins).keys()


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for inner in table.get_children():
        yield inner
        yield from _scopes(inner)


def _head(text: str) -> tuple[ast.Module, list[str]]:
    """Return the longest head of a text that is Python and ends before a line at its left edge; maybe nothing."""
    lines = text.split("\n")
    for _ in range(STEPS):
        tree, wrong = _parse_lines(lines)
        if tree is not None:
            return tree, lines
        while wrong > 0 and (wrong >= len(lines) or not lines[wrong][:1].strip()):
            wrong -= 1
        lines = lines[:wrong]
    return ast.Module([], []), []


def _parse_lines(lines: list[str]) -> tuple[ast.Module | None, int]:
    """Return the tree, or the index of the line that is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse("\n".join(lines)), 0
    except SyntaxError as error:
        return None, min(len(lines), error.lineno or len(lines)) - 1
    except (ValueError, RecursionError, MemoryError):
        return None, 0
