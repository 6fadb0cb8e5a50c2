"""What stands in a completion and is no part of the answer to its question.

<think>13?</think>The answer is 12.      the thought
12<newline>Question: Bob has 5 dogs ...  what follows once the model asks itself another question
"""

import re

_THOUGHT_TAG = re.compile(r"<(/?)think(?:ing)?>|<\|(?:start|(end))ofthought\|>", re.IGNORECASE)
# Sub-questions of a worked answer are numbered; they end nothing.
_OPENING = r"[ \t>*#]{0,8}(?:Q|Question|Human|User)[ \t]{0,3}:[ \t*]{0,8}"
_BEGINS = re.compile(rf"\s*{_OPENING}")
# A closing </s> may also end struck text.
_END = re.compile(r"<\|(?:im_end|im_start|endoftext|end_of_text|eot_id|end)\|>|<end_of_turn>|<eos>|</s>|\[INST\]")
_ANOTHER = re.compile(rf"\n{_OPENING}(?:\n[ \t]{{0,8}})?(?=[^\s*])")


def without_thoughts(completion: str) -> str:
    """Return what is written outside thoughts, also one that opened before the completion or never closes."""
    kept: list[str] = []
    start, thinking = 0, False
    for tag in _THOUGHT_TAG.finditer(completion):
        closes = bool(tag.group(1) or tag.group(2))
        if not thinking and closes:
            kept.clear()
        elif not thinking:
            kept.append(completion[start : tag.start()])
        start, thinking = tag.end(), not closes
    if not thinking:
        kept.append(completion[start:])
    # Not glued: `1<think></think>2` is not 12.
    return " ".join(kept)


def before_end(completion: str) -> str:
    """Return what is written before the model ends its turn or opens another question.

    All of it when it begins with a question: then that may be the one it answers.
    """
    end = _END.search(completion)
    if end and not (end.group() == "</s>" and "<s>" in completion[: end.start()]):
        completion = completion[: end.start()]
    another = None if _BEGINS.match(completion) else _ANOTHER.search(completion)
    return completion[: another.start()] if another and completion[: another.start()].strip() else completion
