r"""mbpp: functions to write (Austin et al. 2021, arXiv:2108.07732); 974 rows whose number says which part they are of.

    1 to 10 examples for prompts, 11 to 510 test, 511 to 600 validation, 601 to 974 train

One row as published; in the sanitized set `prompt` stands for `text` and `test_imports` for `test_setup_code`, and
MBPP+ (Liu et al. 2023, arXiv:2305.01210) on the hub adds a longer `test`:

    {"task_id": 601, "text": "Write a function to find the longest chain which can be formed from the given set of
     pairs.", "code": "class Pair(object): \r\n\tdef __init__(self, a, b): ...\r\ndef max_chain_length(arr, n): ...",
     "test_list": ["assert max_chain_length([Pair(5, 24), Pair(15, 25),Pair(27, 40), Pair(50, 60)], 4) == 3", ...],
     "test_setup_code": "", "challenge_test_list": []}

The prompt is the text and the first lines of the functions and classes that the tests use. It is customary to show the
tests too; here nothing that judges is shown, so figures do not compare with published ones.
"""

import ast
import re
import warnings

from agent_forge.answers.code import CodeReference
from agent_forge.errors import QuestionError
from agent_forge.questions.sources.published import HubPart, Published
from agent_forge.questions.sources.task import Part, Row, published_question, text_field
from agent_forge.records import Question

_PARTS: tuple[tuple[range, Part | None], ...] = (
    (range(1, 11), None),
    (range(11, 511), "test"),
    (range(511, 601), None),
    (range(601, 975), "train"),
)


def belongs(row: Row, part: Part, where: str) -> bool:
    """Whether a row is of a part, by its number, whatever file it stands in."""
    number = re.fullmatch(r"(?:mbpp/)?(\d+)", str(row.get("task_id")), re.IGNORECASE)
    found = next((of for numbers, of in _PARTS if number and int(number.group(1)) in numbers), "unknown")
    if found == "unknown":
        raise QuestionError(f"{where}: task_id is {row.get('task_id')!r}; a number from 1 to 974 is expected")
    return found == part


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    text = text_field(row, "text" if "text" in row else "prompt", where)
    tests = _tests(row, where)
    definitions = _definitions(text_field(row, "code", where), where)
    used = _names(tests, where)
    served = [name for name in definitions if name in used]
    if not served:
        raise QuestionError(f"{where}: the tests use nothing that code defines; a function's name is expected in both")
    # What is asked for comes last in the code; what it is built of stands before it.
    served = served[::-1]
    heads = "\n".join(definitions[name] for name in reversed(served))
    prompt = f"{text.strip()}\n\nDefine it in Python as:\n\n{heads}"
    reference = CodeReference(names=tuple(served), tests=tests).model_dump_json()
    return published_question(prompt, reference, "code", "mbpp", where)


def _tests(row: Row, where: str) -> str:
    parts = [*_texts(row, "test_imports", where), *_texts(row, "test_setup_code", where)]
    parts += [*_texts(row, "test_list", where), *_texts(row, "challenge_test_list", where), *_texts(row, "test", where)]
    return "\n".join(part.replace("\r\n", "\n") for part in parts) + "\n"


def _texts(row: Row, name: str, where: str) -> list[str]:
    value = row.get(name) or []
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise QuestionError(f"{where}: {name} is {value!r}; texts are expected"[:500])
    return texts


def _definitions(code: str, where: str) -> dict[str, str]:
    """Return the functions and classes of the published solution and how each begins, in their order."""
    found: dict[str, str] = {}
    for node in _tree(code.replace("\r\n", "\n"), "code", where).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = f"def {node.name}({ast.unparse(node.args)}):"
        elif isinstance(node, ast.ClassDef):
            made = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            lines = [f"    def __init__({ast.unparse(part.args)}):" for part in made]
            found[node.name] = "\n".join([f"class {node.name}:", *lines])
    return found


def _names(tests: str, where: str) -> set[str]:
    return {node.id for node in ast.walk(_tree(tests, "test_list", where)) if isinstance(node, ast.Name)}


def _tree(source: str, field: str, where: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as cause:
        raise QuestionError(f"{where}: {field} is no Python: {cause}") from cause


MBPP = Published(
    name="mbpp",
    kind="code",
    folders=("mbpp", "MBPP", "mbppplus"),
    files={"train": ("train", "mbpp", "sanitized-mbpp"), "test": ("test", "mbpp", "sanitized-mbpp")},
    hub={
        "train": HubPart("google-research-datasets/mbpp", ("full",), "train"),
        "test": HubPart("google-research-datasets/mbpp", ("full",), "test"),
    },
    read_row=read_row,
    belongs=belongs,
)
