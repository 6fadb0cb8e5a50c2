"""Numbers written and hedged in ways chosen to mislead."""

import pytest

from agent_forge.answers import grade

RIGHT = """
12 ; ### 12 ; {12} ; _12_ ; ~~13~~ 12 ; 12 = x ; x = 12 ; rounds up to 12 ; <answer>#### 12</answer>
12 ; 1\ufe0f\u20e32\ufe0f\u20e3 ; 1\u20602 ; \u200f12 ; ๑๒ ; Rs. 12 ; Rs.12 ; 120e-1 ; #### twelve
12 ; The answer is TWELVE. ; The answer is "twelve". ; \\boxed{12}. Let me know if you have 2 or more questions!
-5 ; ‒5 ; ⁻5 ; ➖5 ; —5 ; -**5** ; -(5) ; −$5 ; The answer is negative five.
1.5 ; 1\u066b5 ; ١\u066b٥ ; 1½ ; 1 1/2
1234 ; 1\u066c234 ; 1\u202f234 ; 1'234 ; 1,234.
12 ; $12/day ; 12 km/h ; The answer is 12, or twelve. ; 12 kg·m ; I would say the answer is 12.
12 ; #### 12 (twelve) ; She needs at least 12. ; \\boxed 12 ; 12 (three of which are red) ; | total | 12 |
10 ; Multiplying through, we get 10 = b
"""
WRONG = """
12 ; #### 12? ; <answer>12?</answer> ; \\boxed{12!} ; \\boxed{12_{8}} ; \\boxed{12, no, 13} ; 12 = 13
12 ; The answer is 12. But it could be 13. ; The answer is 12. But 13 is also possible. ; The answer is 12, no, 14
12 ; The answer is 12 if x is 3, 13 otherwise. ; The answer is 12 unless it is 13
12 ; The answer is 12, but it might be 13.
12 ; The answer cannot be 12 ; The answer is no longer 12. ; The answer is anything but 12. ; The answer is far from 12.
12 ; the answer is close to 12 ; Is the answer 12 ; It might be 12 ; Maybe 12 ; almost 12 ; under 12 ; ~~12~~
12 ; The answer is twelve point five ; The answer is twelve to thirteen ; The answer is twelve squared
12 ; The answer is twelve twelfths ; The answer is twelve over two ; ≠ 12 ; x \\ne 12 ; x \\neq 12 ; \\not= 12 ; != 12
12 ; The answer is \\neq 12 ; The answer != 12 ; 12h30 ; 12‰ ; 1₂ ; 12₈ ; 12\u0305 ; 1\u03382 ; 1|12 ; 12|1 ; 3\x0012
12 ; #### 12 (thirteen) ; 12 is wrong. ; 12 is not the answer. ; The answer is at least 12. ; The answer is up to 12
12 ; If the answer were 12, we would be done. ; The answer would be 12 if she had 3 boxes. ; The answer is probably 12
12 ; 12 seems wrong ; 12 can't be right ; 12? No. ; The answer is 12. No. ; The answer is 12. Not really.
12 ; I doubt it is 12 ; The answer was 12 but now it is 13.
12 ; The answer is 12 - no! ; One might think 12. ; Some would say the answer is 12, but it is 13. ; either 12 or none
12 ; The answer is 12. On second thought, it's 13. ; The answer is 12... I mean 13.
12 ; The answer is twelve, no, thirteen ; 12 ≤ x ; f(12) ; 12, give or take one
12 ; It is 13. 12. ; It is 13. Or 12. ; 12 (wrong) ; 12 ❌ ; 12, but I am wrong ; twice the answer is 12
12 ; The answer is 12 out of 13 ; The answer is the cube of 12 ; The answer has 12 digits ; The answer is after 12
12 ; 12 squared ; 12 * y ; x-12 ; 12/ ; / 12 ; log 12 ; \\sin 12
12 ; \\boxed 12 or \\boxed 13
-12 ; The answer is |-12| ; |-12|
128 ; 12₈
0.3 ; 0.3\u0305
2 ; The answer is two sevenths ; The answer is two eighths ; The answer is two over three ; The answer is two-thirds
5 ; ‒5 ; ⁻5 ; ➖5 ; —5 ; -**5** ; -(5) ; 1\u066b5 ; 12\u066c005 ; 5\u0338
"""


def cases(table: str) -> list[tuple[str, str]]:
    lines = [line.split(" ; ") for line in table.strip().splitlines()]
    return [(reference, completion) for reference, *completions in lines for completion in completions]


@pytest.mark.parametrize(("reference", "completion"), cases(RIGHT))
def test_a_right_number_in_an_odd_form_is_accepted(reference: str, completion: str) -> None:
    assert grade("number", completion, reference).correct


@pytest.mark.parametrize(("reference", "completion"), cases(WRONG))
def test_a_number_that_is_not_said_is_refused(reference: str, completion: str) -> None:
    assert not grade("number", completion, reference).correct
