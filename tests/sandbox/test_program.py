import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.sandbox.program import find_program, setting_of

PROMPT = 'import math\n\n\ndef half(x):\n    return x / 2\n\n\ndef f(x):\n    """Return the next number."""\n'
ASKED = "Write a function f that returns the next number."
WHOLE = "def f(x):\n    return x + 1"
NO_FENCE = st.text(st.characters(codec="ascii", exclude_characters="`~")).filter(lambda text: "def" not in text)


def computed(completion: str, prompt: str = PROMPT) -> object:
    """Run what was found on 1; these programs are the tests' own."""
    found = find_program(completion, prompt, "f")
    if found is None:
        return None
    space: dict = {}
    exec(found.setting, space)
    exec(found.text, space)
    return space["f"](1)


@pytest.mark.parametrize("prompt", [PROMPT, ASKED])
@pytest.mark.parametrize(
    "completion",
    [
        WHOLE,
        f"```python\n{WHOLE}\n```",
        f"```\n{WHOLE}\n```",
        f"~~~py\n{WHOLE}\n~~~",
        f"Sure! Here it is:\n\n```python\n{WHOLE}\n```\n\nIt adds one to `x`.\n",
        f"```python\n{WHOLE}",
        f"Sure, here it is:\n{WHOLE}\nThis adds one.",
        "  1. First:\n\n     ```python\n     def f(x):\n         return x + 1\n     ```\n",
        f"{WHOLE}\n\nprint(f(1))\nassert f(1) == 3\n",
        f"{WHOLE}\n\nif __name__ == '__main__':\n    raise SystemExit\n",
        f"{WHOLE}\n\nvalue = int(input())\n",
        f"```python\n{WHOLE}\n```\nExample:\n```python\nprint(f(1))\n```\nOutput:\n```\n2\n```",
        f"First try:\n```python\ndef f(x):\n    return x\n```\nThat is wrong. Correct:\n```python\n{WHOLE}\n```",
        "```python\ndef g(x):\n    return x + 1\n```\nand with it\n```python\ndef f(x):\n    return g(x)\n```",
        "f = lambda x: x + 1",
        "ONE = 1\ndef f(x):\n    return g(x)\n\ndef g(x):\n    return x + ONE",
        "@staticmethod\ndef f(x):\n    return x + 1\n",
        WHOLE.replace("\n", "\r\n"),
        f" {WHOLE}",
        f"```bash\npip install f\n```\n```python\n{WHOLE}\n```",
        f"from the start, then import it:\n{WHOLE}",
        f"[BEGIN]\n{WHOLE}\n[DONE]",
        f"[PYTHON]\n{WHOLE}\n[/PYTHON]\nThat is it.",
        f"python\n{WHOLE}\n",
        f"{WHOLE}<|endoftext|>Question: and now?\ndef f(x):\n    return 7",
        f"```python\n{WHOLE}\n```<|im_end|>",
        f"\ufeff{WHOLE}",
        "import sys\nif sys.version_info >= (3,):\n    def f(x):\n        return x + 1\nelse:\n    f = None",
        "try:\n    from nowhere import f\nexcept ImportError:\n    def f(x):\n        return x + 1",
        "f: object = lambda x: x + 1",
        "step = 0; step += 1\ndef f(x): return x + step\n",
        "def f(x):\n    return x + ONE\n\nONE = int('1')\nx = int(input())\nint = input()\n",
        "def f(x):\n    return helper(x)\n\nhelper = (lambda y: y)(lambda y: y + 1)\nprint(f(1))\n",
        "```python\nfrom __future__ import annotations\nONE = 1\n```\n```python\n"
        "from __future__ import annotations\ndef f(x: Number):\n    return x + ONE\n```",
        "def f(x, step=1, *, really=True):\n    return x + step if really else x",
        "class Counter:\n    def next(self, x):\n        return x + 1\n\nf = Counter().next\n",
        f"{WHOLE}\n\ndef main():\n    raise SystemExit\n\nif __name__ == '__main__':\n    f = main()\n",
    ],
)
def test_a_whole_program_is_found(completion: str, prompt: str) -> None:
    assert computed(completion, prompt) == 2


@pytest.mark.parametrize(
    "completion",
    [
        "    return x + 1\n",
        "    return x + 1\n\n\nprint(f(1))\n",
        "\n    return x + 1",
        "return x + 1",
        " return x + 1",
        "y = x\n    return y + 1",
        "y = x\nreturn y + 1",
        "    y = x\n    return y + 1\n\n\ndef other(x):\n    return 0\n\n\nclass A:",
        "    return x + 1\n```\n\nThis adds one.",
        "    return x + 1\n\ndef f(x):\n    return 7\n",
        "    return int(half(2)) + x\n",
        "```python\n    return x + 1\n```",
        "```\nreturn x + 1\n```\nThat is all.",
        "    return x + 1\n\n# Test cases\nassert f(1) == 5",
        "    return x + 1\nQuestion: what next?",
    ],
)
def test_a_prompt_that_begins_the_program_is_continued(completion: str) -> None:
    assert computed(completion) == 2


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "x" * 200_000,
        "I cannot write this function.",
        "def g(x):\n    return x + 1",
        "class Solution:\n    def f(self, x):\n        return x + 1",
        PROMPT,
        "    pass\n",
        "    ...\n",
        "```python\n```",
        "def f(x):\n    return x + 1 1\n",
        "def f(x):\n    return x + 1\n    this is no Python\n",
        "    return (x + 1\n",
        "\x00def f(x):\n    return x + 1",
        "(" * 5000,
        " " * 99_999,
        "\n \n" * 30_000,
        "```\n" * 20_000,
        "```\nno Python\n" * 5_000,
        "def f(x):\n    return " + "-" * 60_000 + "1",
        "def f(x):\n    return " + "(" * 3000 + ")" * 3000,
    ],
)
def test_what_does_not_parse_or_does_nothing_is_no_program(completion: str) -> None:
    assert find_program(completion, PROMPT, "f") is None


@pytest.mark.parametrize("inner", ["  ", "    ", "\t"])
def test_the_continuation_stands_as_deep_as_the_prompt(inner: str) -> None:
    prompt = f'def f(x):\n{inner}"""Next.\n\n{inner}    >>> f(1)\n{inner}      2"""\n'
    for completion in ("return x + 1", "y = x\nreturn y + 1", f"{inner}return x + 1"):
        assert computed(completion, prompt) == 2


def test_helpers_of_the_prompt_come_from_the_prompt() -> None:
    assert setting_of(PROMPT, "f") == "import math\ndef half(x):\n    return x / 2"
    assert setting_of(ASKED, "f") == ""


@given(NO_FENCE, NO_FENCE)
def test_prose_around_a_fence_changes_nothing(before: str, after: str) -> None:
    completion = f"{before}\n```python\n{WHOLE}\n```\n{after}"
    found = find_program(completion, ASKED, "f")
    assert found is not None
    assert found.text == WHOLE


@given(st.text(max_size=300))
def test_any_text_gives_a_program_that_parses_or_none(completion: str) -> None:
    found = find_program(completion, PROMPT, "f")
    assert found is None or ast.parse(found.text)


@given(st.integers(0, len(WHOLE)))
def test_a_program_that_is_cut_off_is_found_only_if_it_still_parses(length: int) -> None:
    found = find_program(WHOLE[:length], ASKED, "f")
    assert found is None or ast.parse(WHOLE[:length])
