from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.errors import InputError, QuestionError
from agent_forge.questions.corpora import Corpus
from agent_forge.questions.normalise import question_id
from agent_forge.questions.overlap import overlap_between
from agent_forge.questions.pools import assign
from agent_forge.questions.sources import Part, TaskQuestions
from agent_forge.questions.split import Splits, split_questions
from agent_forge.records import AnswerKind, Question, SplitName, SplitReport, rows_text, text_sha256

NAMES: tuple[SplitName, ...] = ("bake", "gate", "verify")
orders = st.randoms(use_true_random=False)


def questions(count: int, task: str = "mine", kind: AnswerKind = "number") -> tuple[Question, ...]:
    prompts = (f"How many {task} are {number} and one more?" for number in range(count))
    return tuple(Question(id=question_id(p), prompt=p, reference="1", kind=kind, task=task) for p in prompts)


def task(name: str = "mine", **parts: Sequence[Question]) -> TaskQuestions:
    names: dict[str, Part] = {"train": "train", "test": "test", "any": "any"}
    return TaskQuestions(name, {names[part]: tuple(found) for part, found in parts.items()}, f"{name}.jsonl")


def published(name: str = "mine", train: int = 60, test: int = 60) -> TaskQuestions:
    made = questions(train + test, name)
    return task(name, train=made[:train], test=made[train:])


def split(
    *targets: TaskQuestions,
    guards: Sequence[TaskQuestions] = (),
    samples: int = 5,
    bake: int | None = None,
    corpora: Sequence[Corpus] = (),
) -> Splits:
    return split_questions(targets, guards, samples, samples, bake, corpora)


def corpus(*texts: str, name: str = "seen.txt") -> Corpus:
    return Corpus(name, text_sha256("".join(texts)), lambda: iter(texts))


def ids(found: Splits) -> dict[SplitName, set[str]]:
    return {name: {question.id for question in found.questions[name]} for name in NAMES}


@given(st.integers(100, 400), st.integers(2, 5))
def test_splits_share_no_question_and_no_gram(count: int, samples: int) -> None:
    found = split(task(any=questions(count)), samples=samples)
    for one, other in combinations(NAMES, 2):
        assert ids(found)[one].isdisjoint(ids(found)[other])
        assert overlap_between(found.questions[one], found.questions[other]) == []


@given(orders)
def test_the_order_of_the_questions_does_not_matter(order: Random) -> None:
    made = list(questions(150))
    first = split(task(any=made))
    order.shuffle(made)
    assert split(task(any=made)) == first


@given(st.integers(0, 149))
def test_a_question_more_moves_no_other(left_out: int) -> None:
    made = questions(150)
    fewer = split(task(any=made[:left_out] + made[left_out + 1 :]), samples=3)
    more = split(task(any=made), samples=3)
    for name, other in ((name, other) for name in NAMES for other in NAMES if name != other):
        assert ids(fewer)[name].isdisjoint(ids(more)[other])
    assert ids(fewer)["bake"] <= ids(more)["bake"]


@given(st.text(min_size=1).filter(str.isprintable))
def test_a_split_hangs_on_the_id_alone(name: str) -> None:
    assert assign(name, "train") == "bake"
    assert assign(name, "test") in ("gate", "verify")
    assert assign(name, "any") == assign(name, "any")


def test_shares_are_kept() -> None:
    counts = {name: sum(assign(question.id, "any") == name for question in questions(4000)) for name in NAMES}
    assert 2300 < counts["bake"] < 2500
    assert 700 < counts["gate"] < 900 and 700 < counts["verify"] < 900


@given(st.integers(40, 80), st.integers(40, 80))
def test_published_test_questions_are_never_baked_from(train: int, test: int) -> None:
    data_set = published(train=train, test=test)
    found = split(data_set)
    tested = {question.id for question in data_set.parts["test"]}
    assert ids(found)["bake"].isdisjoint(tested)
    assert (ids(found)["gate"] | ids(found)["verify"]) <= tested


def test_a_question_published_in_both_parts_is_judged_on() -> None:
    made = questions(100)
    found = split(task(train=made, test=made[:60]), samples=5)
    assert ids(found)["bake"].isdisjoint({question.id for question in made[:60]})
    assert found.report.duplicates_removed == 60


@pytest.mark.parametrize("target_first", [True, False])
def test_a_question_that_any_task_publishes_for_judging_is_not_baked_from(target_first: bool) -> None:
    made = questions(100)
    judged = [question.model_copy(update={"task": "other"}) for question in made[:60]]
    own = [question.model_copy(update={"task": "mine"}) for question in questions(40, "more")]
    targets = [task(train=made, test=own), task("other", test=judged)]
    found = split(*(targets if target_first else targets[::-1]))
    assert ids(found)["bake"] == {question.id for question in made[60:]}


def test_a_leak_is_dropped_from_the_earlier_split_and_counted() -> None:
    clean = published()
    tail = "and this goes on for more than thirteen words so that the two of them share a passage"
    tested = Question(id="judged", prompt=f"One begins so {tail}", reference="1", kind="number", task="mine")
    trained = Question(
        id="trained", prompt=f"Another begins otherwise {tail}", reference="1", kind="number", task="mine"
    )
    leaking = task(train=(*clean.parts["train"], trained), test=(*clean.parts["test"], tested))
    found = split(leaking)
    (dropped,) = found.report.dropped
    assert (dropped.question_id, dropped.split, dropped.leaks_into) == ("trained", "bake", assign("judged", "test"))
    assert dropped.shared in tail
    assert "trained" not in ids(found)["bake"]
    assert found.report.available["mine"]["bake"] == split(clean).report.available["mine"]["bake"]


def test_the_same_short_question_under_two_ids_is_a_leak() -> None:
    made = published()
    copy = made.parts["test"][0].model_copy(update={"id": "copy"})
    found = split(task(train=(*made.parts["train"], copy), test=made.parts["test"]))
    assert [dropped.question_id for dropped in found.report.dropped] == ["copy"]
    assert "copy" not in ids(found)["bake"]


@pytest.mark.parametrize("name", NAMES)
def test_a_question_that_stands_in_a_corpus_is_dropped_from_whatever_split(name: SplitName) -> None:
    data_set = task(any=questions(150))
    victim = split(data_set).questions[name][0]
    page = f"One page.\nAsked: {victim.prompt.upper()} And more, of which nobody knows what it was about."
    found = split(data_set, corpora=[corpus("nothing of that kind", page), corpus("other words", name="other.txt")])
    (dropped,) = found.report.dropped
    assert (dropped.question_id, dropped.split, dropped.leaks_into) == (victim.id, name, "seen.txt")
    assert victim.id not in ids(found)[name]
    seen, other = found.report.excluded
    assert seen.dropped == {split: int(split == name) for split in NAMES} and sum(other.dropped.values()) == 0
    assert found.report.available["mine"][name] == split(data_set).report.available["mine"][name] - 1


def test_too_few_questions_after_leaks_are_refused_with_their_number() -> None:
    data_set = task(any=questions(150))
    everything = [question.prompt for question in data_set.parts["any"]]
    with pytest.raises(QuestionError, match=r"has 0 of its 150 .* \(\d+ were left out of \w+ for leaks"):
        split(data_set, corpora=[corpus(*everything)])


def test_a_question_in_two_corpora_is_counted_in_the_first() -> None:
    data_set = task(any=questions(150))
    page = split(data_set).questions["gate"][0].prompt
    report = split(data_set, corpora=[corpus(page), corpus(page, name="other.txt")]).report
    assert [seen.dropped["gate"] for seen in report.excluded] == [1, 0] and len(report.dropped) == 1


def test_nothing_is_dropped_for_a_question_that_is_itself_left_out() -> None:
    made = published()
    own = "and this one, of which nothing is in the corpus, was asked in another place at another time by us"
    tested = Question(id="t", prompt=f"Seen before: a b c d e f g h i j k l m. {own}", reference="1", kind="number")
    trained = Question(id="b", prompt=f"Not seen before. {own}", reference="1", kind="number")
    data_set = task(
        train=(*made.parts["train"], trained.model_copy(update={"task": "mine"})),
        test=(*made.parts["test"], tested.model_copy(update={"task": "mine"})),
    )
    assert {d.question_id for d in split(data_set).report.dropped} == {"b"}
    seen = corpus("a b c d e f g h i j k l m")
    assert {d.question_id for d in split(data_set, corpora=[seen]).report.dropped} == {"t"}


def test_twins_and_giveaways_of_what_was_chosen_are_reported() -> None:
    report = split(task(any=questions(150))).report
    bake = report.counts["bake"]
    assert [(twins.count, twins.questions) for twins in report.twins] == [(bake, bake), (bake, bake), (5, 5)]
    (given,) = report.giveaways
    assert (given.task, given.questions) == ("mine", sum(report.counts.values()))
    # "How many mine are 1 and one more?" is the only prompt with a 1 in digits, which is every reference here.
    assert given.count == 1 and given.rate == 1 / given.questions


def test_reports_from_before_corpora_twins_and_giveaways_are_read() -> None:
    report = split(task(any=questions(150))).report
    old = report.model_dump_json(exclude={"excluded", "twins", "twin_examples", "giveaways"})
    assert SplitReport.model_validate_json(old).counts == report.counts


def test_nothing_is_baked_from_a_guard() -> None:
    found = split(published("mine"), guards=(published("guard"), task("own", any=questions(60, "own"))))
    assert {question.task for question in found.questions["bake"]} == {"mine"}
    for name in ("gate", "verify"):
        assert [question.task for question in found.questions[name]] == ["mine"] * 5 + ["guard"] * 5 + ["own"] * 5
    assert found.report.guard_tasks == ("guard", "own")


def test_a_guards_own_file_is_all_judged_on() -> None:
    found = split(published("mine"), guards=(task("own", any=questions(60, "own")),))
    available = found.report.available["own"]
    assert available["bake"] == 0 and available["gate"] + available["verify"] == 60


def test_a_target_without_train_questions_is_judged_beside_one_that_has_some() -> None:
    found = split(published("mine"), task("tested", test=questions(60, "tested")))
    assert found.report.per_task["tested"] == {"bake": 0, "gate": 5, "verify": 5}


def test_the_report_tells_what_was_chosen() -> None:
    found = split(published("mine"), bake=10)
    assert found.report.counts == {"bake": 10, "gate": 5, "verify": 5}
    assert found.report.per_task == {"mine": {"bake": 10, "gate": 5, "verify": 5}}
    assert found.report.available["mine"]["bake"] == 60
    assert found.report.sources == {"mine": "mine.jsonl"}
    for name in NAMES:
        assert found.report.digests[name] == text_sha256(rows_text(found.questions[name]))


@given(st.integers(2, 9), st.integers(1, 9))
def test_more_questions_asked_for_keep_the_fewer(few: int, more: int) -> None:
    first, second = (split(published("mine"), samples=count).questions["gate"] for count in (few, few + more))
    assert second[:few] == first


@pytest.mark.parametrize(
    ("targets", "guards", "message"),
    [
        ([published(test=8)], [], "eval_samples|verify_samples"),
        (
            [published(train=1)],
            [],
            "task mine .mine.jsonl. has 1 of its 61 questions for bake but 2 are needed; lower bake",
        ),
        ([task(test=questions(60))], [], "only published test questions"),
        ([task(train=questions(60))], [], "task mine .mine.jsonl. has only train questions"),
        ([published()], [task("other", train=questions(60, "other"))], "task other .* has only train questions"),
        ([published()], [published()], "both task mine"),
        ([published()], [task("other", any=questions(40, "stray"))], "is of task stray"),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(
    targets: list[TaskQuestions], guards: list[TaskQuestions], message: str
) -> None:
    with pytest.raises(QuestionError, match=message) as caught:
        split(*targets, guards=guards, samples=20)
    assert "\n" not in str(caught.value)


def test_two_questions_under_one_id_are_refused() -> None:
    one, other = (
        task(name, any=[q.model_copy(update={"id": str(index)}) for index, q in enumerate(questions(60, name))])
        for name in ("one", "other")
    )
    with pytest.raises(QuestionError, match=r"question id \d+ stands for two questions, of one and other"):
        split(one, other)


def test_questions_that_cannot_be_graded_are_refused() -> None:
    with pytest.raises(InputError, match="sandbox"):
        split(task(any=questions(60, kind="code")))
