"""Which program does a completion hold? Pure, and no code is run.

Three ways of answering are read: fenced blocks with prose around them, a bare program with prose around it, and the
continuation of a prompt that is the beginning of a program, as models without chat training write it.

The program is what stands there up to where it stops being Python, without a trailing demonstration: what follows the
wanted function and is no definition (`print(...)`, tests, `if __name__ == "__main__":`) is dropped. Nothing is
repaired: a function that does not parse is no answer.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent, indent

LONGEST = 100_000
# Each step drops a part of the text that is no Python.
STEPS = 40
# Places where a bare program may begin.
STARTS = 20
# Fenced blocks that are looked at, the last ones.
BLOCKS = 20

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
_LANGUAGES = ("", "python", "py", "python3", "py3", "pycon")
_START = re.compile(r"^(?:from|import|def|class|async def|@\w)\b", re.MULTILINE)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Found:
    """A program: `setting` is what the prompt defines besides the wanted function, `text` what was written."""

    setting: str
    text: str


def find_program(completion: str, prompt: str, name: str) -> Found | None:
    """Return the program that a completion answers with.

    Args:
        completion: what the model wrote after the prompt.
        prompt: the question; when it is Python that begins the wanted function, the completion may continue it.
        name: of what the program must define.

    Returns:
        None when there is no program that defines it.
    """
    if len(completion) > LONGEST:
        return None
    prompt, text = _lines_as_python_counts(prompt), _lines_as_python_counts(completion)
    asked = prompt_code(prompt)
    begun = asked is not None and _find(asked, name) is not None
    setting = setting_of(prompt, name)
    for reading in _readings(text, prompt, name, begun):
        program = trimmed(reading, name)
        if program is not None:
            return Found(setting, program)
    return None


def _lines_as_python_counts(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def prompt_code(prompt: str) -> ast.Module | None:
    """Return a prompt as Python; None when it is something else."""
    tree = _parse(prompt)
    return tree if tree is not None and tree.body else None


def setting_of(prompt: str, name: str) -> str:
    """Return what a prompt that is Python defines besides the wanted function: imports and helpers."""
    prompt = _lines_as_python_counts(prompt)
    tree = prompt_code(prompt)
    if tree is None or _find(tree, name) is None:
        return ""
    return "\n".join(_source(prompt, node) for node in tree.body if not _defines(node, name))


def trimmed(text: str, name: str) -> str | None:
    """Return the program at the head of a text without its trailing demonstration; None without the wanted name."""
    tree, whole = _head(text)
    last = max((place for place, node in enumerate(tree.body) if _defines(node, name)), default=None)
    if last is None or not _does_something(tree.body[last]):
        return None
    kept = [node for place, node in enumerate(tree.body) if place <= last or _is_definition(node)]
    return "\n".join(_source(whole, node) for node in kept)


def _readings(text: str, prompt: str, name: str, begun: bool) -> Iterator[str]:
    """Yield what may be the program, the surest reading first."""
    if begun and text.lstrip("\n")[:1] in (" ", "\t"):
        yield _continued(prompt, text, name)
    blocks = [block for block in _blocks(text) if block.strip()][-BLOCKS:]
    for place in range(len(blocks) - 1, -1, -1):
        helpers = [block for block in blocks[:place] if _only_defines(block) and not _is_defined(block, name)]
        yield "\n".join([*helpers, blocks[place]])
    yield text.lstrip()
    for start in list(_START.finditer(text.lstrip()))[:STARTS]:
        yield text.lstrip()[start.start() :]
    if begun:
        inner = _depth(prompt, name)
        for body in [*blocks[:1], text]:
            yield _continued(prompt, body, name)
            yield _continued(prompt, indent(dedent(body), inner), name)
            # The first line's indentation is what a cue before the answer or its trimming swallows.
            yield _continued(prompt, inner + body.lstrip(), name)


def _depth(prompt: str, name: str) -> str:
    """Return the indentation of the function that a prompt begins."""
    asked = prompt_code(prompt)
    body: list[ast.stmt] = getattr(asked and _find(asked, name), "body", [])
    return prompt.split("\n")[body[0].lineno - 1][: body[0].col_offset] if body else "    "


def _continued(prompt: str, text: str, name: str) -> str:
    """Return prompt and continuation; it ends where the function is defined again, as a model that runs on does."""
    again = re.search(rf"^(?:async )?def {re.escape(name)}\b", text, re.MULTILINE)
    return prompt.rstrip("\n") + "\n" + (text[: again.start()] if again else text).lstrip("\n")


def _blocks(text: str) -> Iterator[str]:
    """Yield the contents of fenced Python blocks; one that is not closed ends with the text."""
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence.group(1).startswith(opened.group(1)) and not fence.group(2):
            yield from _block(opened, text[opened.end() + 1 : fence.start()])
            opened = None
    if opened is not None:
        yield from _block(opened, text[opened.end() + 1 :])


def _block(opened: re.Match[str], content: str) -> Iterator[str]:
    if opened.group(2).lower() in _LANGUAGES:
        yield dedent(content)


def _head(text: str) -> tuple[ast.Module, str]:
    """Return the longest head of a text that is Python and ends before a line at its left edge; maybe nothing."""
    lines = text.split("\n")
    for _ in range(STEPS):
        tree, wrong = _parse_lines(lines)
        if tree is not None:
            return tree, "\n".join(lines)
        while wrong > 0 and (wrong >= len(lines) or not lines[wrong][:1].strip()):
            wrong -= 1
        lines = lines[:wrong]
    return ast.Module([], []), ""


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


def _parse(text: str) -> ast.Module | None:
    return _parse_lines(text.split("\n"))[0]


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _find(tree: ast.Module, name: str) -> ast.stmt | None:
    return next((node for node in tree.body if _defines(node, name)), None)


def _is_defined(text: str, name: str) -> bool:
    tree = _parse(text)
    return tree is not None and _find(tree, name) is not None


def _only_defines(text: str) -> bool:
    tree = _parse(text)
    return tree is not None and all(_is_definition(node) for node in tree.body)


def _is_definition(node: ast.stmt) -> bool:
    """Whether a statement defines something and computes nothing: `memo = {}` does, `result = f(3)` does not."""
    if isinstance(node, _DEFINITIONS):
        return True
    plain = isinstance(node, (ast.Assign, ast.AnnAssign))
    return plain and not any(isinstance(part, (ast.Call, ast.Await, ast.Subscript)) for part in ast.walk(node))


def _does_something(node: ast.stmt) -> bool:
    """Whether a function has more than a docstring, `pass` and definitions: repeating the prompt is no answer."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    return not all(isinstance(part, (ast.Pass, *_DEFINITIONS)) or _is_constant(part) for part in node.body)


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _source(text: str, node: ast.stmt) -> str:
    """Return a statement's lines, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return "\n".join(text.split("\n")[first - 1 : node.end_lineno])
