import pytest

from agent_forge.questions.giveaways import count_giveaways, gives_away
from agent_forge.records import AnswerKind, Question

OPTIONS = "Which is a metal?\nA) oxygen\nB) iron\nC) iron ore\n"


def made(kind: AnswerKind, reference: str, prompt: str, name: str = "q", task: str = "t") -> Question:
    return Question(id=name, prompt=prompt, reference=reference, kind=kind, task=task)


@pytest.mark.parametrize(
    ("kind", "reference", "prompt"),
    [
        ("number", "7", "Tom has 7 apples and eats none. How many are left?"),
        ("number", "1,250", "He pays $1250. How much?"),
        ("number", "0.5", "What is 1/2 as a decimal?"),
        ("math", "2k+2", "Show that $2k + 2$ is even; write it down."),
        ("math", "12", "Is it $12$?"),
        ("choice", "B", OPTIONS + "Answer: B"),
        ("choice", "B", OPTIONS + "The correct answer is (b)."),
        ("choice", "iron", OPTIONS + "The right option is B."),
        ("choice", "B", OPTIONS + "Answer: iron"),
        ("text", "Marie Curie", "Who was it? MARIE  CURIE, of course."),
        ("code", "def f(x):\n    return x + 1", "Write f. def f(x): return x + 1"),
    ],
)
def test_a_prompt_that_holds_its_answer(kind: AnswerKind, reference: str, prompt: str) -> None:
    assert gives_away(made(kind, reference, prompt))


@pytest.mark.parametrize(
    ("kind", "reference", "prompt"),
    [
        ("number", "7", "Tom has 17 apples and 70 pears, 7.5 in all. How many?"),
        ("number", "7", "How many days has a week?"),
        ("math", "x", "Solve $x + y = 0$ for $y$."),
        ("math", "2k+2", "Simplify $2k + 3$."),
        ("choice", "B", OPTIONS + "Answer:"),
        ("choice", "B", OPTIONS + "Give the letter of the answer."),
        ("choice", "B", OPTIONS + "Answer: C"),
        ("choice", "B", OPTIONS + "Answer: iron ore"),
        ("choice", "A", OPTIONS + "The answer is a letter."),
        ("choice", "B", "Which one? A) sky B) blood"),
        ("text", "Marie Curie", "Was it Marie or Pierre Curie?"),
        ("code", "def f(x):\n    return x + 1", "Write f, which adds one."),
    ],
)
def test_a_prompt_that_does_not(kind: AnswerKind, reference: str, prompt: str) -> None:
    assert not gives_away(made(kind, reference, prompt))


def test_giveaways_are_counted_by_task() -> None:
    questions = [made("number", "7", f"Is it {n}?", f"q{n}", "one") for n in range(10)]
    questions += [made("text", "no", "Which?", f"r{n}", "two") for n in range(3)]
    one, two = count_giveaways(questions)
    assert (one.task, one.questions, one.count, one.rate, one.examples) == ("one", 10, 1, 0.1, ("q7",))
    assert (two.task, two.questions, two.count, two.rate, two.examples) == ("two", 3, 0, 0.0, ())
