"""The record of a whole story: an evolution, the bake of its champion, and what both have gained together."""

from typing import Literal

from agent_forge.evolution_records import EvolutionReport, Gain
from agent_forge.records import Record, RunResults, VerificationReport


class Total(Record):
    """The baked model, left to itself, against the base model that had done best, on the questions of verification.

    Attributes:
        base_model: its name.
        directly: against its direct answers.
        told_to_think: against its answers after an elicited thought.
    """

    base_model: str
    directly: Gain
    told_to_think: Gain


class Story(Record):
    """What `story.json` holds.

    Attributes:
        bake: results of the champion's bake.
        verification: None when nothing was baked.
        total: likewise.
    """

    schema_version: Literal[1] = 1
    evolution: EvolutionReport
    bake: RunResults
    verification: VerificationReport | None
    total: Total | None
