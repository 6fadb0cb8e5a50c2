"""HumanEval and MBPP as published become questions whose reference solution passes and whose tests nobody sees."""

import json
from pathlib import Path

import pytest

from agent_forge.answers import grade
from agent_forge.answers.code import CodeReference
from agent_forge.errors import InputError, QuestionError
from agent_forge.questions.sources import humaneval, load_task, mbpp
from agent_forge.questions.split import split_questions

HUMANEVAL = {
    "task_id": "HumanEval/2",
    "prompt": '\n\ndef truncate_number(number: float) -> float:\n    """ Return the decimal part of the number.\n'
    '    >>> truncate_number(3.5)\n    0.5\n    """\n',
    "entry_point": "truncate_number",
    "canonical_solution": "    return number % 1.0\n",
    "test": "\n\nMETADATA = {\n    'author': 'jt'\n}\n\n\ndef check(candidate):\n    assert candidate(3.5) == 0.5\n"
    "    assert abs(candidate(1.33) - 0.33) < 1e-6\n",
}
PLUS = {name: HUMANEVAL[name] for name in ("task_id", "prompt", "entry_point", "canonical_solution")} | {
    "base_input": [[3.5], [1.33]],
    "plus_input": [[1e-320], [float("inf")], [-7.25]],
    "contract": '\n    assert number > 0, "invalid inputs" # $_CONTRACT_$\n',
    "atol": 1e-06,
}
FULL = {
    "task_id": 601,
    "text": "Write a function to find the longest chain which can be formed from the given set of pairs.",
    "code": "class Pair(object): \r\n\tdef __init__(self, a, b): \r\n\t\tself.a = a \r\n\t\tself.b = b \r\n"
    "def max_chain_length(arr, n): \r\n\tmax = 0\r\n\tmcl = [1 for i in range(n)] \r\n\tfor i in range(1, n): \r\n"
    "\t\tfor j in range(0, i): \r\n\t\t\tif (arr[i].a > arr[j].b and\r\n\t\t\t\tmcl[i] < mcl[j] + 1): \r\n"
    "\t\t\t\tmcl[i] = mcl[j] + 1\r\n\tfor i in range(n): \r\n\t\tif (max < mcl[i]): \r\n\t\t\tmax = mcl[i] \r\n"
    "\treturn max",
    "test_list": [
        "assert max_chain_length([Pair(5, 24), Pair(15, 25),Pair(27, 40), Pair(50, 60)], 4) == 3",
        "assert max_chain_length([Pair(1, 2), Pair(3, 4),Pair(5, 6), Pair(7, 8)], 4) == 4",
        "assert max_chain_length([Pair(19, 10), Pair(11, 12),Pair(13, 14), Pair(15, 16), Pair(31, 54)], 5) == 5",
    ],
    "test_setup_code": "",
    "challenge_test_list": [],
}
SANITIZED = {
    "source_file": "Benchmark Questions Verification V2.ipynb",
    "task_id": 17,
    "prompt": "Write a function that returns the perimeter of a square given its side length as input.",
    "code": "def square_perimeter(a):\n  perimeter=4*a\n  return perimeter",
    "test_imports": ["import math"],
    "test_list": ["assert square_perimeter(10)==40", "assert math.isclose(square_perimeter(2.5), 10)"],
}
MBPP_PLUS = SANITIZED | {
    "task_id": "Mbpp/17",
    "test": "import numpy as np\n\ninputs = [[10], [5], [4]]\nresults = [40, 20, 16]\n"
    "for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
    "    assert np.allclose(square_perimeter(*inp), exp)\n",
}
COMPLEX = {
    "text": "Write a function to convert polar coordinates to rectangular coordinates.",
    "code": "import cmath\r\ndef polar_rect(x,y):\r\n cn = complex(x,y)\r\n cn=cmath.polar(cn)\r\n"
    " cn1 = cmath.rect(2, cmath.pi)\r\n return (cn,cn1)\r",
    "task_id": 590,
    "test_setup_code": "",
    "test_list": ["assert polar_rect(3,4)==((5.0, 0.9272952180016122), (-2+2.4492935982947064e-16j))"],
    "challenge_test_list": [],
}
TREE = {
    "task_id": 927,
    "text": "Write a function to calculate the height of the given binary tree.",
    "code": "class Node:\r\n\tdef __init__(self, data):\r\n\t\tself.data = data\r\n\t\tself.left = None\r\n"
    "\t\tself.right = None\r\ndef max_height(node):\r\n\tif node is None:\r\n\t\treturn 0\r\n"
    "\treturn 1 + max(max_height(node.left), max_height(node.right))",
    "test_list": ["assert (max_height(root)) == 2"],
    "test_setup_code": "root = Node(1) \r\nroot.left = Node(2) \r\nroot.right = Node(3)",
    "challenge_test_list": ["assert (max_height(root.left)) == 1"],
}


def written(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("row", [HUMANEVAL, PLUS, FULL, SANITIZED, MBPP_PLUS, COMPLEX, TREE])
def test_the_published_solution_passes_and_an_idle_one_does_not(row: dict) -> None:
    from_humaneval = "entry_point" in row
    question = (humaneval if from_humaneval else mbpp).read_row(row, "here:1")
    solution = row["canonical_solution"] if from_humaneval else f"Here:\n```python\n{row['code']}\n```\n"
    judged = grade("code", solution, question.reference, question.prompt, allow_code_execution=True)
    assert judged.correct, judged
    name = json.loads(question.reference)["names"][0]
    idle = f"{row.get('code', '')}\ndef {name}(*given):\n    return None\n"
    assert not grade("code", idle, question.reference, question.prompt, allow_code_execution=True).correct


@pytest.mark.parametrize("row", [FULL, SANITIZED, MBPP_PLUS, COMPLEX, TREE])
def test_the_prompt_says_what_to_define_and_not_how_it_is_tested(row: dict) -> None:
    question = mbpp.read_row(row, "here:1")
    reference = CodeReference.model_validate_json(question.reference)
    assert all(f"{name}(" in question.prompt or f"class {name}:" in question.prompt for name in reference.names)
    assert "assert" not in question.prompt
    assert not [line for line in reference.tests.splitlines() if line.strip() and line in question.prompt]


def test_names_that_the_tests_import_are_theirs_not_the_programs() -> None:
    assert CodeReference.model_validate_json(mbpp.read_row(SANITIZED, "here:1").reference).names == (
        "square_perimeter",
    )
    assert CodeReference.model_validate_json(mbpp.read_row(TREE, "here:1").reference).names == ("max_height", "Node")


def test_the_published_prompt_of_humaneval_is_kept() -> None:
    assert humaneval.read_row(HUMANEVAL, "here:1").prompt == HUMANEVAL["prompt"]


def test_humaneval_has_only_a_test_part(data: Path) -> None:
    written(data / "humaneval" / "test.jsonl", HUMANEVAL)
    found = load_task("humaneval", str(data), allow_code_execution=True)
    assert (set(found.parts), found.task) == ({"test"}, "humaneval")


def numbered(*numbers: int) -> list[dict]:
    return [FULL | {"task_id": number, "text": f"{FULL['text']} Number {number}."} for number in numbers]


@pytest.mark.parametrize("files", [("mbpp",), ("train", "test")])
def test_mbpp_parts_go_by_their_numbers_whatever_file_they_stand_in(data: Path, files: tuple[str, ...]) -> None:
    for name in files:
        written(data / "mbpp" / f"{name}.jsonl", *numbered(1, 10, 11, 510, 511, 600, 601, 974))
    found = load_task("mbpp", str(data), allow_code_execution=True)
    numbers = {
        part: [question.prompt.split("Number ")[1].split(".")[0] for question in of] for part, of in found.parts.items()
    }
    assert numbers == {"train": ["601", "974"], "test": ["11", "510"]}


def test_code_is_both_data_sets_as_one_task(data: Path) -> None:
    written(data / "mbpp" / "mbpp.jsonl", *numbered(11, 601))
    written(data / "humaneval" / "test.jsonl", HUMANEVAL)
    found = load_task("code", str(data), allow_code_execution=True)
    assert {part: len(questions) for part, questions in found.parts.items()} == {"train": 1, "test": 2}
    assert {question.task for questions in found.parts.values() for question in questions} == {"code"}
    assert "humaneval" in found.source and "mbpp" in found.source


def test_with_humaneval_alone_nothing_could_be_baked(data: Path) -> None:
    written(data / "humaneval" / "test.jsonl", HUMANEVAL)
    for name in ("code", "humaneval"):
        task = load_task(name, str(data), allow_code_execution=True)
        with pytest.raises(QuestionError, match="only published test questions"):
            split_questions([task], [], 2, 2, None, allow_code_execution=True)


def test_a_directory_without_either_is_refused(data: Path) -> None:
    data.mkdir()
    with pytest.raises(QuestionError, match="neither a folder mbpp nor a folder humaneval"):
        load_task("code", str(data), allow_code_execution=True)


@pytest.mark.parametrize("name", ["code", "humaneval", "mbpp"])
def test_without_permission_it_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(InputError, match="--allow-code-execution"):
        load_task(name, "/nonexistent")


@pytest.mark.parametrize(
    ("read", "row", "named"),
    [
        (humaneval, HUMANEVAL | {"test": "assert ("}, "tests are no Python"),
        (humaneval, HUMANEVAL | {"entry_point": ""}, "entry_point"),
        (humaneval, PLUS | {"plus_input": 3}, "plus_input"),
        (humaneval, PLUS | {"plus_input": "{"}, "plus_input"),
        (humaneval, PLUS | {"atol": "small"}, "atol"),
        (mbpp, FULL | {"code": "def ("}, "code is no Python"),
        (mbpp, FULL | {"test_list": ["assert other(1) == 2"]}, "tests use nothing"),
        (mbpp, FULL | {"test_list": [3]}, "test_list"),
        (mbpp, FULL | {"text": " "}, "text"),
    ],
)
def test_rows_that_are_not_as_published_are_refused(read, row: dict, named: str) -> None:
    with pytest.raises(QuestionError, match=named):
        read.read_row(row, "here:1")


@pytest.mark.parametrize("number", [None, 0, 975, "HumanEval/3", "seven"])
def test_a_row_of_mbpp_without_a_number_of_its_is_refused(data: Path, number: object) -> None:
    written(data / "mbpp" / "test.jsonl", FULL | {"task_id": number})
    with pytest.raises(QuestionError, match="task_id"):
        load_task("mbpp", str(data), allow_code_execution=True)
