"""Cutting the gate questions into blocks, shards and cells."""

from hypothesis import given
from hypothesis import strategies as st

from agent_forge.records import Question
from agent_forge.storage.question_files import block, cell_names, cells_of_blocks, parse_cell, shard


def questions(*counts: int) -> tuple[Question, ...]:
    return tuple(
        Question(id=f"{task}-{number}", prompt="?", reference="1", kind="number", task=f"task {task}")
        for task, count in enumerate(counts)
        for number in range(count)
    )


@given(st.integers(20, 70), st.integers(1, 3), st.integers(1, 6), st.integers(1, 4))
def test_cells_hold_every_question_once_and_blocks_the_same_number_of_every_task(count, tasks, blocks, shards):
    asked = questions(*[count] * tasks)
    groups = cells_of_blocks(cell_names(1, shards, blocks), shards, blocks)
    held = []
    for number, names in enumerate(groups):
        whole = block(asked, number, blocks)
        per_task = [sum(q.task == f"task {task}" for q in whole) for task in range(tasks)]
        assert per_task == [count * (number + 1) // blocks - count * number // blocks] * tasks
        pieces = [shard(whole, parse_cell(name)[1] % shards, shards) for name in names]
        assert sorted(q.id for piece in pieces for q in piece) == sorted(q.id for q in whole)
        held.extend(whole)
    assert sorted(q.id for q in held) == sorted(q.id for q in asked)


def test_one_block_is_all_questions_in_order_and_cells_are_named_as_without_blocks():
    asked = questions(5, 7)
    assert tuple(block(asked, 0, 1)) == asked
    assert cell_names(2, 2) == ["0-0", "0-1", "1-0", "1-1"]
    assert cells_of_blocks(cell_names(2, 1, 2), 1, 2) == [["0-0", "1-0"], ["0-1", "1-1"]]
