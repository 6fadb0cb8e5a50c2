"""Where question sets come from: one small file per family, each showing one real row.

    arithmetic     generated                                       kind number
    gsm8k          grade-school word problems          (gsm8k)     kind number
    math           competition mathematics       (mathematics)     kind math
    reasoning      multiple choice, ARC or CommonsenseQA (reasoning)  kind choice
    humaneval      functions to complete, only judged on (humaneval)  kind code
    mbpp           functions to write                     (mbpp)      kind code
    code           both of them as one task               (code)      kind code
    FILE.jsonl     questions of the user's own     (question_file) any kind

A data set that is generated or a user's own has one part, `any`, that all splits draw from. A published one keeps its
parts: `train` is only ever baked from, `test` only ever judged on.
"""

from agent_forge.questions.sources.load import NAMES, load_task
from agent_forge.questions.sources.task import Part, TaskQuestions

__all__ = ["NAMES", "Part", "TaskQuestions", "load_task"]
