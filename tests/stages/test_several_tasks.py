"""Several data sets of several kinds at once: from their files through the splits and the graders to the verdict."""

import json
from collections.abc import Mapping

import pyarrow
import pyarrow.parquet
import pytest

from agent_forge.answers import grade
from agent_forge.answers.choice import read_options
from agent_forge.config import QuietSTaRConfig
from agent_forge.gate import judge
from agent_forge.records import Arm, GateReport, Question, ResultRow, SplitReport
from agent_forge.stages.prepare_questions import draw_questions

TARGETS = ("gsm8k", "commonsenseqa")
GUARDS = ("bbh/navigate", "bbh/dyck_languages", "arithmetic")
SIZE = 60
LIMITS = {"alpha": 0.05, "min_improvement": 0.02, "non_inferiority_margin": 0.1, "power": 0.8}


def sums(first: int, count: int) -> list[dict[str, object]]:
    return [
        {"question": f"Ann has {n} pens and buys one. How many?", "answer": f"So\n#### {n + 1}"}
        for n in range(first, first + count)
    ]


def things(first: int, count: int) -> list[dict[str, object]]:
    texts = ["bank", "library", "mall"]
    return [
        {
            "question": f"Where is thing {n}?",
            "choices": {"label": ["1", "2", "3"], "text": texts},
            "answerKey": f"{n % 3 + 1}",
        }
        for n in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> QuietSTaRConfig:
    data = tmp_path_factory.mktemp("data")
    for part, first in (("train", 0), ("test", 500)):
        (data / "gsm8k").mkdir(exist_ok=True)
        rows = sums(first, 160)
        (data / "gsm8k" / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for part, first in (("train", 0), ("validation", 500)):
        (data / "commonsense_qa" / "data").mkdir(parents=True, exist_ok=True)
        table = pyarrow.Table.from_pylist(things(first, 160))
        pyarrow.parquet.write_table(table, data / "commonsense_qa" / "data" / f"{part}-00000-of-00001.parquet")
    opening = "If you follow these instructions, do you return to the starting point? Take"
    walks = [{"input": f"{opening} {n} steps.\nOptions:\n- Yes\n- No", "target": "No"} for n in range(160)]
    dyck = "Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: "
    open_ = [f"{n + 256:b}".replace("1", "( ").replace("0", "[ ").strip() for n in range(160)]
    close = [" ".join(text.translate(str.maketrans("([", ")]")).split()[::-1]) for text in open_]
    brackets = [{"input": dyck + text, "target": end} for text, end in zip(open_, close, strict=True)]
    (data / "bbh").mkdir()
    for name, examples in (("navigate", walks), ("dyck_languages", brackets)):
        (data / "bbh" / f"{name}.json").write_text(json.dumps({"examples": examples}))
    return QuietSTaRConfig(
        model_path="m",
        output_path="o",
        eval_dataset=TARGETS,
        guard_datasets=GUARDS,
        dataset_path=str(data),
        eval_samples=SIZE,
    )


@pytest.fixture(scope="module")
def drawn(config: QuietSTaRConfig) -> tuple[Mapping[str, tuple[Question, ...]], SplitReport]:
    splits = draw_questions(config)
    return splits.questions, splits.report


def wrong(question: Question) -> str:
    if question.kind == "choice":
        return next(letter for letter in read_options(question.prompt) if letter != question.reference)
    return {"number": "-7", "text": "perhaps"}[question.kind]


def judged(questions: tuple[Question, ...], solved: Mapping[str, tuple[float, float]]) -> GateReport:
    """Judge answers of which these shares are right, by task: directly, and after a thought."""
    rows = []
    for task in (*TARGETS, *GUARDS):
        asked = [question for question in questions if question.task == task]
        arms: tuple[Arm, Arm] = ("baseline", "thought")
        for arm, share in zip(arms, solved[task], strict=True):
            for number, question in enumerate(asked):
                said = question.reference if number < share * len(asked) else wrong(question)
                found = grade(question.kind, f"The answer is {said}.", question.reference, question.prompt)
                row = {"question_id": question.id, "round": 0, "arm": arm, "task": task, "correct": found.correct}
                role = "guard" if task in GUARDS else "target"
                rows.append(ResultRow.model_validate({**row, "role": role, "completion": said}))
    return judge(rows, **LIMITS)


def test_every_task_keeps_its_name_its_part_and_its_number_of_questions(drawn) -> None:
    questions, report = drawn
    assert report.guard_tasks == GUARDS
    for task in (*TARGETS, *GUARDS):
        wanted = {"bake": report.available[task]["bake"], "gate": SIZE, "verify": SIZE}
        assert report.per_task[task] == wanted and (wanted["bake"] > 0) == (task in TARGETS)
    assert {(q.task, q.kind) for q in questions["gate"]} == {
        ("gsm8k", "number"),
        ("commonsenseqa", "choice"),
        ("bbh/navigate", "text"),
        ("bbh/dyck_languages", "text"),
        ("arithmetic", "number"),
    }
    assert SplitReport.model_validate_json(report.model_dump_json()) == report


def test_the_report_says_which_part_is_for_what(drawn) -> None:
    parts = {task: [(part.name, part.questions, part.use) for part in parts] for task, parts in drawn[1].parts.items()}
    assert parts == {
        "gsm8k": [("train", 160, "baked from"), ("test", 160, "judged on")],
        "commonsenseqa": [("train", 160, "baked from"), ("validation", 160, "judged on")],
        "bbh/navigate": [("test", 160, "judged on")],
        "bbh/dyck_languages": [("test", 160, "judged on")],
        "arithmetic": [("generated", 6000, "judged on")],
    }


SAME = (0.5, 0.5)
SCENARIOS = {
    # Verdict, and by task whether it passed.
    "one target gains": ({"gsm8k": (0.3, 0.8)}, "bake", {"gsm8k"}),
    "both gain": ({"gsm8k": (0.3, 0.8), "commonsenseqa": (0.3, 0.7)}, "bake", set(TARGETS)),
    "a guard loses": ({"gsm8k": (0.3, 0.8), "bbh/dyck_languages": (0.9, 0.3)}, "no_bake", {"gsm8k"}),
    "another target loses": ({"gsm8k": (0.3, 0.8), "commonsenseqa": (0.9, 0.3)}, "no_bake", {"gsm8k"}),
    "only a guard gains": ({"bbh/navigate": (0.1, 0.9)}, "inconclusive", set()),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_verdict_follows_from_every_tasks_own_figures(drawn, scenario: str) -> None:
    changed, verdict, improved = SCENARIOS[scenario]
    solved = dict.fromkeys((*TARGETS, *GUARDS), SAME) | changed
    report = judged(drawn[0]["gate"], solved)
    assert report.verdict == verdict
    by_task = {task.task: task for task in report.per_task}
    assert set(by_task) == {*TARGETS, *GUARDS}
    for name, task in by_task.items():
        assert (task.baseline_accuracy, task.thought_accuracy) == pytest.approx(solved[name])
        assert (task.role, task.questions) == ("guard" if name in GUARDS else "target", SIZE)
        # Guards are not corrected for: there the claim is that nothing got worse.
        assert (task.adjusted_p_value is None) == (name in GUARDS)
    assert {name for name in TARGETS if by_task[name].passed} == improved
    assert report.questions == SIZE * len(TARGETS)


def test_targets_are_corrected_for_one_another(drawn) -> None:
    report = judged(drawn[0]["gate"], dict.fromkeys(GUARDS, SAME) | {"gsm8k": (0.4, 0.5), "commonsenseqa": SAME})
    gsm8k = next(task for task in report.per_task if task.task == "gsm8k")
    assert gsm8k.p_value < gsm8k.adjusted_p_value == pytest.approx(2 * gsm8k.p_value)
