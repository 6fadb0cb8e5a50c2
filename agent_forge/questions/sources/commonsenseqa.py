r"""commonsenseqa: everyday knowledge, multiple choice (Talmor et al. 2019, arXiv:1811.00937); train 9,741.

The published test rows have no answers, so that it is judged on the 1,221 validation rows; a local `test` is read where
there are no validation rows. One row as the hub has it; see `choices` for the other form:

    {"id": "1afa02df02c908a558b4036e80242fac", "question": "A revolving door is convenient for two direction travel, but
     it also serves as a security measure at a what?", "question_concept": "revolving door", "choices": {"label":
     ["A", "B", "C", "D", "E"], "text": ["bank", "library", "department store", "mall", "new york"]}, "answerKey": "A"}
"""

from agent_forge.questions.sources.choices import read_choice
from agent_forge.questions.sources.published import HubPart, Published
from agent_forge.questions.sources.task import Row
from agent_forge.records import Question


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    return read_choice(row, "commonsenseqa", where)


COMMONSENSEQA = Published(
    name="commonsenseqa",
    kind="choice",
    folders=("commonsenseqa", "commonsense_qa", "CommonsenseQA"),
    files={"train": ("train", "train_rand_split"), "test": ("validation", "dev", "dev_rand_split", "test")},
    hub={
        "train": HubPart("tau/commonsense_qa", (None,), "train"),
        "test": HubPart("tau/commonsense_qa", (None,), "validation"),
    },
    read_row=read_row,
)
