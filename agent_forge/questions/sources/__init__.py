"""Where question sets come from: one small file per family, each showing one real row.

    arithmetic       generated                                                kind number
    gsm8k            grade-school word problems               (gsm8k)         kind number
    math, math500    competition mathematics                  (mathematics)   kind math
    reasoning        multiple choice, ARC-Challenge           (reasoning)     kind choice
    arc-challenge, arc-easy                                   (arc)           kind choice
    commonsenseqa    multiple choice                          (commonsenseqa) kind choice
    bbh, bbh/TASK    BIG-Bench Hard                           (bbh)           kinds choice, number, text
    code             refused: nothing here runs code
    FILE             questions of the user's own              (question_file) any kind
    FAMILY:PLACE     a file, directory or repository whose rows are in the form of one of those above

A data set that is generated or a user's own has one part, `any`, that all splits draw from. A published one keeps its
parts: `train` is only ever baked from, `test` only ever judged on.
"""

from agent_forge.questions.sources.load import NAMES, load_task
from agent_forge.questions.sources.task import Part, TaskQuestions

__all__ = ["NAMES", "Part", "TaskQuestions", "load_task"]
