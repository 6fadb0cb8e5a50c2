"""Mathematical answers in odd but certain forms, and others that only look like the reference."""

import pytest

from agent_forge.answers import grade

SAME = r"""
\frac12 ; {1 \over 2} ; {1}/{2} ; \frac 1 2
\emptyset ; \varnothing ; \{\} ; ∅
x<5 ; (-\infty,5) ; 5 > x ; x \lt 5
x \ge 2 ; [2,\infty) ; 2 \le x
1<x\le 5 ; (1,5] ; 5 \ge x > 1
(-\infty,2)\cup(3,\infty) ; x<2 \text{ or } x>3 ; x < 2 or x > 3 ; x > 3, x < 2
5 ; 5 = x ; \text{Answer: }5 ; \text{The answer is }5 ; {\bf 5} ; \bf 5 ; \textcolor{red}{5} ; \underline{5}
5^\circ\text{C} ; 5°C ; 5^{\circ} ; 5
1000 ; 1 000 ; 1\ 000 ; 1\,000
3,4 ; 3;4 ; {3,4} ; x=3, x=4
\pm 3 ; \mp 3 ; -3, 3
\begin{pmatrix}1&2\\3&4\end{pmatrix} ; \left(\begin{array}{cc}1&2\\3&4\end{array}\right)
\mathbb{R} ; (-\infty, \infty)
0.\overline{3} ; 0.\dot{3} ; \frac13
x_1 ; x₁
52₈ ; 52_8
x=3, y=4 ; y=4, x=3 ; 3,4
(2,\frac{\pi}{2}) ; (r,\theta) = (2,\frac{\pi}{2}) ; (2, 0.5\pi)
e^2 ; \mathrm{e}^{2} ; {\rm e}^2
5 ; \(5\) ; \[ 5 \]
\$36 ; 36 ; 36\text{ dollars} ; \$36.00
"""
DIFFERENT = r"""
2x ; x2
52₈ ; 528
(1,000) ; (1,0)
x<5 ; (-\infty,5]
x<5 ; (5,\infty)
x<5 ; (-\infty,5)\cup(6,\infty)
(1,5) ; x>1, x<5
x=3, y=4 ; x=4, y=3
x=3, y=4 ; 4,3
5^\circ\text{C} ; 5^\circ\text{F}
\emptyset ; 0
\emptyset ; \{0\}
{1 \over 2} ; {2 \over 1}
5 ; \cancel{5}
5 ; \overline{5}
\begin{matrix}1&2\end{matrix} ; (1,2)
1 000 ; 1,0
\$36 ; 36\text{ cents}
5 ; 5\text{ or more}
5 ; 5\text{ if }x>0
(x,y)=(1,2) ; (y,x)=(1,2)
(x,y)=(1,2) ; (2,1)
1+\frac{1}{\mathrm{e}} ; 1-\frac1e
10\% ; 10\%\%
"""
REFUSED = r"""
The answer is not \boxed{5}.
It is not \boxed{5}
It cannot be \boxed{5}.
\boxed{5}?
\boxed{5} is wrong.
\boxed{5}. Wait, it is $6$.
\boxed{5}. No, $6$.
The answer is $5$. Sorry, I meant $6$.
It is not $5$.
$5$ is wrong.
$6$, not $5$
less than $5$
The answer can't be $5$.
The answer cannot be $5$.
I don't think the answer is $5$.
The wrong answer is $5$.
\boxed 5 \boxed 6
The answer is $5$. No.
$4$ to $5$
x > \boxed{5}
x \neq \boxed{5}
\boxed{5}^2
-\boxed{5}
\boxed{5}+1
The answer is less than $5$.
The answer is at least $5$.
The answer is the square of $5$.
twice the answer is $5$
$6$/$5$
half of $5$
$5$ or more
The answer is $4$–$5$.
The answer is $5$, no, $6$.
The answer is $5$, but it could be $6$.
One might think $x=5$.
It is false that $x=5$.
$x=5$ is extraneous.
We reject $5$
$5$, which is not valid.
$5$. Wrong.
So $5$. That can't be true.
The answer is $6$. The answer is $5$.
""".strip().splitlines()


def groups(table: str) -> list[list[str]]:
    return [line.split(" ; ") for line in table.strip().splitlines()]


@pytest.mark.parametrize("forms", groups(SAME), ids=lambda forms: forms[0])
def test_certain_forms_are_accepted(forms: list[str]) -> None:
    for written in forms[1:]:
        assert grade("math", rf"\boxed{{{written}}}", forms[0]).correct, written
        assert grade("math", rf"\boxed{{{forms[0]}}}", written).correct, written


@pytest.mark.parametrize("forms", groups(DIFFERENT), ids=" / ".join)
def test_lookalikes_are_refused(forms: list[str]) -> None:
    for said, reference in (forms, forms[::-1]):
        assert not grade("math", rf"\boxed{{{said}}}", reference).correct


@pytest.mark.parametrize("box", [r"\boxed 5", r"$\boxed 5$.", r"\[\boxed 5\]", r"\fbox 5.", r"\boxed \frac{10}2"])
def test_a_box_without_braces_is_read(box: str) -> None:
    assert grade("math", box, "5").correct and not grade("math", box, "6").correct


@pytest.mark.parametrize("completion", REFUSED)
def test_what_is_denied_or_taken_back_is_refused(completion: str) -> None:
    assert not grade("math", completion, "5").correct


def test_a_hash_mark_behind_a_box_counts_and_a_heading_does_not() -> None:
    assert not grade("math", "\\boxed{5}\n#### 6", "5").correct
    assert (
        grade("math", "\\boxed{5}\n#### 5", "5").correct and grade("math", "\\boxed{5}\n#### 2. A check", "5").correct
    )


def test_the_last_row_of_an_alignment_counts() -> None:
    text = r"\[\begin{align*} x &= 2+3 \\ &= 5 \end{align*}\]"
    assert grade("math", text, "5").correct and not grade("math", text, "2+3+1").correct
