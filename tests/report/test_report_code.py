"""What judges an answer of kind code is shown as the tests that it is, not as the JSON that holds them."""

from agent_forge.answers.code import CodeReference
from agent_forge.records import Question
from agent_forge.report.template import environment

TESTS = 'assert add(1, 2) == 3\nassert add("a", "<b>") == "a<b>"'
MACRO = """{% from "macros.html.jinja" import flip with context %}{{ flip(example, {}, true) }}"""


def page(question: Question) -> str:
    example = {"question": question, "task": question.task, "round": 0, "question_id": question.id, "answers": []}
    return environment().from_string(MACRO).render(example=example)


def test_tests_are_shown_as_tests() -> None:
    reference = CodeReference(names=("add",), tests=TESTS).model_dump_json()
    shown = page(Question(id="a", prompt="Write add.", reference=reference, kind="code"))
    assert "assert add(&#34;a&#34;, &#34;&lt;b&gt;&#34;) == &#34;a&lt;b&gt;&#34;" in shown
    assert "Tests" in shown and "names" not in shown and "Reference answer" not in shown


def test_other_references_are_shown_as_they_are() -> None:
    shown = page(Question(id="a", prompt="1 + 1", reference="2", kind="number"))
    assert "Reference answer" in shown and "Tests" not in shown
