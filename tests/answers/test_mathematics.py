import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.answers import grade
from agent_forge.answers.symbolic import SymbolicChecker

PHRASINGS = (
    r"\boxed{{{}}}",
    r"We take $x + 3$ and so the answer is $\boxed{{{}}}$.",
    "The answer is ${}$.",
    r"The final answer is: \({}\)",
    "Altogether that leaves ${}$.",
    r"Simplified: \[{}\]",
    "<answer>{}</answer>",
    "#### {}",
    "Final Answer: The final answer is ${}$. I hope it is correct.",
)

SAME = r"""
\frac12 ; 0.5 ; 1/2 ; \dfrac{1}{2} ; \tfrac12 ; \frac{2}{4} ; ½ ; 2^{-1}
1\frac{4}{5} ; 1.8 ; \frac95 ; 9/5
\frac{\sqrt{3}}{3} ; 1/\sqrt{3} ; \frac{1}{\sqrt3} ; 3^{-1/2}
2\sqrt3 ; \sqrt{12} ; 2*sqrt(3) ; 2√3
288 \pi ; 288π ; 288\cdot\pi
10,\!080 ; 10080 ; 10,080 ; 10{,}080 ; 10\,080
\$18.90 ; 18.9 ; 18.90 ; \$18.9
90^\circ ; 90 ; 90 degrees ; 90° ; 90\text{ degrees}
15\mbox{ cm}^2 ; 15 ; 15\text{ cm}^2 ; 15 cm^2
x=5 ; 5 ; x = 5
y = 2x + 3 ; y=3+2x ; 2x - y + 3 = 0
(x+1)^2 ; x^2+2x+1 ; (1+x)(x+1)
1,-2 ; -2,1 ; \{1,-2\} ; 1 \text{ and } -2 ; -2 or 1
1 \pm \sqrt{19} ; 1+\sqrt{19}, 1-\sqrt{19}
\left( 3, \frac{\pi}{2} \right) ; (3,\pi/2)
(0,9) \cup (9,36) ; (9,36)\cup(0,9) ; (0,9) ∪ (9,36)
x \in [-2,7] ; [-2,7]
\begin{pmatrix} 1 \\ 2/4 \end{pmatrix} ; \begin{bmatrix}1\\\frac12\end{bmatrix}
\text{Evelyn} ; Evelyn ; \text{evelyn} ; \mathrm{Evelyn} ; \textbf{Evelyn}
\text{(C)} ; C ; (C) ; \text{C}
\text{ellipse} ; an ellipse ; \text{an ellipse}
4210_{5} ; 4210_5
0.\overline{3} ; \frac13 ; 0.\bar{3}
0.1\overline{6} ; 1/6
\lfloor 2.5 \rfloor ; 2
\log_2 8 ; 3
\binom{5}{2} ; 10
50\% ; 0.5 ; 50
6+9i ; 9i+6
(5,\infty) ; (5, +\infty)
\cot x ; \frac{\cos x}{\sin x}
\boxed{7} ; 7
\mathbf{7} ; 7
x < 5 ; 5 > x
"""

DIFFERENT = r"""
1-\frac{1}{e} ; 1+\frac1e
1-1/e ; 1+1/e
0.333 ; \frac13
0.3333333333333333333333333 ; \frac13
3.14159265358979 ; \pi
22/7 ; \pi
1.41421356 ; \sqrt2
0.\overline{3} ; 0.3
52_8 ; 52
52_8 ; 52_9
3 \ 0 ; 0 \ 3
12 ; 1 2
(1,2) ; (2,1)
(1,2] ; (1,2)
[1,2] ; (1,2)
\{1,2\} ; (1,2)
1,2 ; 1,2,3
1,1,2 ; 1,2,2
3 or 4 ; 3
\pm 3 ; 3
x ; y
x+1 ; x-1
2^x ; x^2
|x| ; x
\sqrt{x^2} ; x
\sin x ; \cos x
\ln 2 ; \log 2
\log_2 3 ; \log_3 2
\sqrt{-1} ; -i
i ; 1
6-5i ; 6+5i
\infty ; -\infty
x<1 ; x>1
x\le 1 ; x<1
x^2=9 ; 3
2x=10 ; 10
y=2x ; y=3x
5\text{ cm} ; 5\text{ m}
5\text{ cm}^2 ; 5\text{ cm}
\text{even} ; \text{odd}
\text{(A)} ; \text{(B)}
\begin{pmatrix}1\\2\end{pmatrix} ; \begin{pmatrix}2\\1\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} ; \begin{pmatrix}1\\2\end{pmatrix}
[0,1)\cup(2,3] ; [0,1]\cup(2,3)
2\cdot3 ; 2.3
a_1 ; a_2
f(x) ; f(y)
10^{50} ; 10^{50}+1
100000000000000000001 ; 100000000000000000000
0.1+0.2 ; 0.30000000000000004
\frac{1}{3} ; \frac{1}{3}+10^{-30}
(a+b)^2 ; a^2+b^2
1:2 ; 2:1
\frac{x^2-1}{x-1} ; x
"""


def groups(table: str) -> list[list[str]]:
    return [[form.strip() for form in line.split(";")] for line in table.strip().splitlines()]


def correct(completion: str, reference: str, prompt: str = "") -> bool:
    return grade("math", completion, reference, prompt).correct


integers = st.integers(-999, 999)
golds = st.one_of(
    integers.map(str),
    st.builds(r"\frac{{{}}}{{{}}}".format, integers, st.integers(1, 99)),
    st.builds(r"{}\sqrt{{{}}}".format, st.integers(1, 99), st.sampled_from([2, 3, 5, 7, 11])),
    st.builds("({}, {})".format, integers, integers),
    st.builds(r"\left[{}, \frac{{{}}}{{7}}\right)".format, integers, integers),
    st.builds("{}x^2 + {}x + {}".format, st.integers(2, 99), st.integers(1, 99), st.integers(1, 99)),
    st.builds(r"{}\pi".format, st.integers(2, 99)),
    st.builds("{}_{}".format, st.integers(10, 99), st.integers(3, 9)),
    st.builds(r"\begin{{pmatrix}} {} \\ {} \end{{pmatrix}}".format, integers, integers),
)


@given(golds)
def test_the_reference_is_accepted_in_every_phrasing(gold: str) -> None:
    assert [phrasing for phrasing in PHRASINGS if not correct(phrasing.format(gold), gold)] == []


@pytest.mark.parametrize("forms", groups(SAME), ids=lambda forms: forms[0])
def test_one_answer_may_be_written_in_many_ways(forms: list[str]) -> None:
    for written in forms[1:]:
        assert correct(rf"\boxed{{{written}}}", forms[0]), written
        assert correct(f"The answer is ${written}$.", forms[0]), written


@pytest.mark.parametrize("forms", groups(DIFFERENT), ids=" / ".join)
def test_two_different_answers_are_not_taken_for_each_other(forms: list[str]) -> None:
    for said, reference in (forms, forms[::-1]):
        assert not correct(rf"\boxed{{{said}}}", reference)
        assert not correct(f"The answer is ${said}$.", reference)


@given(golds, golds, st.sampled_from(PHRASINGS))
def test_what_is_accepted_one_way_is_accepted_the_other(first: str, second: str, phrasing: str) -> None:
    assert correct(phrasing.format(first), second) == correct(phrasing.format(second), first)


@given(golds, st.integers(0, 20), st.integers(1, 8), st.sampled_from(PHRASINGS))
def test_one_changed_digit_is_another_answer(gold: str, place: int, step: int, phrasing: str) -> None:
    places = [index for index, sign in enumerate(gold) if sign.isdigit()]
    index = places[place % len(places)]
    changed = gold[:index] + str((int(gold[index]) + step) % 10) + gold[index + 1 :]
    # 0/7 is 0/8, and a zero denominator is no number at all.
    if r"\frac{0}" not in gold:
        assert not correct(phrasing.format(changed), gold)


@given(golds, golds)
def test_two_different_answers_in_one_completion_are_wrong(first: str, second: str) -> None:
    if correct(rf"\boxed{{{first}}}", second):
        return
    for phrasing in (
        r"\boxed{{{}}}, \boxed{{{}}}",
        "The answer is ${}$ or ${}$.",
        r"\boxed{{{}}}. The answer is ${}$.",
    ):
        text = phrasing.format(first, second)
        assert not correct(text, first) and not correct(text, second), text


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert isinstance(correct(text, r"\frac12", text), bool)
    assert isinstance(correct(rf"\boxed{{{text}}}", text), bool)


LATEX = (
    *(
        "1",
        "x",
        "-",
        "+",
        "/",
        ",",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "^",
        "_",
        "=",
        "<",
        "!",
        "|",
        " ",
        "$",
        "%",
        "e",
        "i",
    ),
    *(r"\frac", r"\sqrt", r"\pi", r"\sin", r"\log", r"\pm", r"\cup", r"\infty", r"\text{cm}", r"\binom", r"\boxed{"),
    *(r"\begin{pmatrix}", r"\end{pmatrix}", r"\\", "&", r"\lfloor", r"\rfloor", r"\overline{3}", "0.", r"\{", r"\}"),
)


@given(st.lists(st.sampled_from(LATEX), max_size=20).map("".join))
def test_no_latex_raises(latex: str) -> None:
    assert isinstance(correct(rf"\boxed{{{latex}}}", "1"), bool)


@given(st.lists(st.sampled_from(LATEX), max_size=8).map("".join))
def test_latex_without_the_digits_of_the_reference_is_wrong(latex: str) -> None:
    assert not correct(rf"\boxed{{{latex}}}", "7919")


@pytest.mark.parametrize(
    "completion", ["", " ", r"\boxed{}", "The answer is not $5$.", "Is it $5$?", "I don't know", "5?"]
)
def test_no_answer_is_wrong(completion: str) -> None:
    assert not correct(completion, "5")


def test_an_expression_of_the_question_is_not_an_answer() -> None:
    prompt = r"What is $\frac{3 \cdot 8}{4}$ in simplest form?"
    assert not correct(r"\boxed{\frac{3 \cdot 8}{4}}", "6", prompt)
    assert not correct(prompt, "6", prompt)
    assert correct(rf"{prompt} It is $\frac{{3 \cdot 8}}{{4}} = 6$, so \boxed{{6}}", "6", prompt)


PIECES = (
    "1",
    "x",
    "x+",
    "(",
    "{",
    "$",
    "$1$ ",
    "$1$, ",
    r"\frac{",
    r"\frac{1}{2}",
    r"\boxed{",
    r"\pm ",
    "answer",
    "ab ",
    "^",
)


@pytest.mark.parametrize("piece", PIECES)
def test_a_hundred_kilobytes_are_judged_like_any_text(piece: str) -> None:
    for around in ("{}", r"\boxed{{{}}}", "The answer is {}"):
        assert not correct(around.format(piece * (100_000 // len(piece))), "7919")


@pytest.mark.parametrize(
    "power", [r"9^{9^{9^9}}", r"10^{10^{10}}", "((((9!)!)!)!)!", r"\binom{10^9}{10^8}", "e^{e^{e^{e^9}}}"]
)
def test_a_number_too_large_to_compute_is_wrong(power: str) -> None:
    assert not correct(rf"\boxed{{{power}}}", "1")


def test_sums_are_left_to_computer_algebra() -> None:
    assert correct(r"\boxed{\sum_{k=1}^{4} k}", "10")
    assert not correct(r"\boxed{\sum_{k=1}^{4} k}", "11")


def test_a_question_that_hangs_is_stopped_and_the_next_one_answered() -> None:
    checker = SymbolicChecker(time_limit=1.0)
    try:
        assert checker(r"\sum_{k=1}^{3} k", "6")
        first = checker.process_id
        endless = r"\int_0^1 \sin(\sin(\sin(x^{x^x}))) \cdot e^{\cos(x^x)} dx"
        assert not checker(endless, "1")
        assert checker(r"\sum_{k=1}^{3} k", "6")
        assert first is not None and checker.process_id != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
    finally:
        checker.close()


def test_a_worker_that_was_killed_is_replaced() -> None:
    checker = SymbolicChecker()
    try:
        assert checker(r"\sum_{k=1}^{3} k", "6")
        first = checker.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert checker(r"\sum_{k=1}^{3} k", "6")
    finally:
        checker.close()
    assert checker.process_id is None
