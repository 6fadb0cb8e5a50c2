"""What a question costs in memory, by tracemalloc: what many take beyond what few take."""

import tracemalloc
from collections import deque

import pytest

from agent_forge.comparison import Criteria
from agent_forge.gate import judge
from agent_forge.questions.on_disk import QuestionsById, open_questions
from agent_forge.records import GATE_ARMS, Question, ResultRow, json_line
from agent_forge.report.flips import choose_flips
from agent_forge.report.measures import measure, round_gains
from agent_forge.report.page import VERIFY_ARMS
from agent_forge.storage.question_files import block, shard
from agent_forge.storage.row_files import RowsOnDisk, sorted_rows
from agent_forge.verification import swap_partners, verify

LIMITS = {"alpha": 0.05, "min_improvement": 0.02, "non_inferiority_margin": 0.05, "power": 0.8}
FEW, MANY = 300, 1500
# A question's rows take some kilobytes as objects, and 840 bytes as text.
MOST = 250


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Questions and answers as files, few and many."""
    found = {}
    for count in (FEW, MANY):
        found[count] = place = tmp_path_factory.mktemp(f"{count}")
        with (place / "questions.jsonl").open("w") as file:
            for k in range(count):
                asked = Question(id=f"{k:016x}", prompt=f"{k} + 1?", reference=f"{k % 5}", kind="number", task="sums")
                file.write(json_line(asked))
        for name, arms in (("gate", GATE_ARMS), ("verify", VERIFY_ARMS)):
            with (place / f"{name}.jsonl").open("w") as file:
                file.writelines(json_line(row) for arm in arms for row in answers(arm, count))
    return found


def answers(arm, count):
    for k in range(count):
        told = {"correct": (k * 7 + len(arm)) % 3 > 0, "completion": f"{k % 10} {arm}", "thought_tokens": 2}
        yield ResultRow(question_id=f"{k:016x}", round=0, arm=arm, **told)


def gate(place):
    judge(RowsOnDisk((place / "gate.jsonl",)), **LIMITS)


def sorting(place):
    with sorted_rows([place / "gate.jsonl"], place, stretch=1 << 18) as rows:
        deque(rows.read(), maxlen=0)
        deque(rows.sorted_lines(), maxlen=0)


def verification(place):
    verify(RowsOnDisk((place / "verify.jsonl",)), Criteria(**LIMITS), 0.9)


def asking(place):
    questions = open_questions(place / "questions.jsonl")
    deque(shard(block(questions, 0, 2), 0, 2), maxlen=0)
    deque(questions, maxlen=0)
    swap_partners(questions)


def finding(place):
    by_id = QuestionsById(open_questions(place / "questions.jsonl"))
    assert by_id[f"{FEW - 1:016x}"].prompt == f"{FEW - 1} + 1?"


def reporting(place):
    rows = RowsOnDisk((place / "gate.jsonl",))
    measures = measure(rows, GATE_ARMS, 0.05)
    choose_flips(measures, {}, "baseline", "thought", GATE_ARMS[:2])
    round_gains(measures.rows, 0.05)


@pytest.mark.parametrize("work", [gate, sorting, verification, asking, finding, reporting])
def test_a_question_takes_tens_of_bytes_and_not_its_rows(places, work):
    # Imports and caches are no question's.
    work(places[FEW])
    assert (peak(work, places[MANY]) - peak(work, places[FEW])) / (MANY - FEW) < MOST


def peak(work, place):
    tracemalloc.start()
    work(place)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held
