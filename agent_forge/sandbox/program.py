"""Which program does a completion hold? Pure, and no code is run.

Three ways of answering are read: fenced blocks with prose around them, a bare program with prose around it, and the
continuation of a prompt that is the beginning of a program, as models without chat training write it.

The program is what stands there up to where it stops being Python, without a trailing demonstration: what follows the
wanted function and is no definition (`print(...)`, tests, `if __name__ == "__main__":`) is dropped. Nothing is
repaired: a function that does not parse is no answer.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent, indent

from agent_forge.sandbox.statements import defines, found, is_definition, parsed, source, trimmed

LONGEST = 100_000
# Places where a bare program may begin.
STARTS = 20
# Fenced blocks that are looked at, the last ones.
BLOCKS = 20

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
_LANGUAGES = ("", "python", "py", "python3", "py3", "pycon")
_START = re.compile(r"^(?:from|import|def|class|async def|@\w)\b", re.MULTILINE)
# What ends a text is left in it by those who decode special tokens.
_END = re.compile(r"<\|(?:endoftext|end_of_text|im_end|eot_id|end|eom_id)\|>|</s>|<end_of_turn>|<｜end▁of▁sentence｜>")


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
    prompt, text = _lines_as_python_counts(prompt), _lines_as_python_counts(_END.split(completion, 1)[0])
    asked = prompt_code(prompt)
    begun = asked is not None and found(asked, name) is not None
    setting = setting_of(prompt, name)
    for reading in _readings(text, prompt, name, begun):
        program = trimmed(reading, name)
        if program is not None:
            return Found(setting, program)
    return None


def _lines_as_python_counts(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def prompt_code(prompt: str) -> ast.Module | None:
    """Return a prompt as Python; None when it is something else."""
    tree = parsed(prompt)
    return tree if tree is not None and tree.body else None


def setting_of(prompt: str, name: str) -> str:
    """Return what a prompt that is Python defines besides the wanted function: imports and helpers."""
    prompt = _lines_as_python_counts(prompt)
    tree = prompt_code(prompt)
    if tree is None or found(tree, name) is None:
        return ""
    return "\n".join(source(prompt.split("\n"), node) for node in tree.body if not defines(node, name))


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
    body: list[ast.stmt] = getattr(asked and found(asked, name), "body", [])
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


def _is_defined(text: str, name: str) -> bool:
    tree = parsed(text)
    return tree is not None and found(tree, name) is not None


def _only_defines(text: str) -> bool:
    tree = parsed(text)
    return tree is not None and all(is_definition(node) for node in tree.body)
