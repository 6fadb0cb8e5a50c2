r"""arc-challenge, arc-easy: school science, multiple choice (Clark et al. 2018, arXiv:1803.05457).

    arc-challenge    train 1,119, test 1,172
    arc-easy         train 2,251, test 2,376

One row as the hub has it; see `choices` for the other form:

    {"id": "Mercury_SC_415702", "question": "George wants to warm his hands quickly by rubbing them. Which skin surface
     will produce the most heat?", "choices": {"text": ["dry palms", "wet palms", "palms covered with oil",
     "palms covered with lotion"], "label": ["A", "B", "C", "D"]}, "answerKey": "A"}

The validation rows (299 and 570) are not read where there are test rows.
"""

from agent_forge.questions.sources.choices import read_choice
from agent_forge.questions.sources.published import HubPart, Published
from agent_forge.questions.sources.task import Row
from agent_forge.records import Question


def read_row(row: Row, where: str) -> Question:
    """Make a question of a row; raises QuestionError for one that is not as published."""
    return read_choice(row, "arc-challenge", where)


def _arc(title: str) -> Published:
    name = title.lower()
    return Published(
        name=name,
        kind="choice",
        folders=(name, title, f"arc/{title}", f"ai2_arc/{title}"),
        files={
            "train": ("train", f"{title}-Train"),
            "test": ("test", f"{title}-Test", "validation", "dev", f"{title}-Dev"),
        },
        hub={
            "train": HubPart("allenai/ai2_arc", (title,), "train"),
            "test": HubPart("allenai/ai2_arc", (title,), "test"),
        },
        read_row=read_row,
    )


ARC_CHALLENGE = _arc("ARC-Challenge")
ARC_EASY = _arc("ARC-Easy")
