"""The records of an evolution: scores, generations, the gain over the base models, the champion's manifest."""

from typing import Literal

from pydantic import Field

from agent_forge.records import CodeRecord, FileRecord, Flips, ParentRecord, Record, SelectedQuestion, TaskComparison

EvolutionSplit = Literal["evolve", "select", "confirm"]
GainVerdict = Literal["better", "not_better", "inconclusive"]
# What an evolution's directory holds.
EVOLUTION_RUN, EVOLUTION_REPORT, GENERATIONS = "evolution-run.json", "evolution.json", "generations"
# Tells a champion's manifest from that of a bake.
CHAMPION_KIND: Literal["evolved-champion"] = "evolved-champion"


class Score(Record):
    """What one model scored on one split.

    Attributes:
        key: digest of everything that decides the score.
        recipe_sha256: of the model.
        score: the tasks' accuracies put together as configured; None when no model came of the recipe.
        per_task: accuracy by task, a fraction.
        questions: how many were asked, each in `rounds` rounds.
        truncated: share of answers that were cut off.
        tokens: sampled.
        failure: why no model came of the recipe.
    """

    schema_version: Literal[1] = 1
    key: str
    recipe_sha256: str
    split: EvolutionSplit
    score: float | None
    per_task: dict[str, float] = Field(default_factory=dict)
    questions: int = 0
    rounds: int = 0
    truncated: float = 0.0
    tokens: int = 0
    failure: str = ""


class Candidate(Record):
    """A model that could become the champion.

    Attributes:
        name: of a base model; else where in the search it came up first.
        generation: 0 for base models.
        base_model: whether it is one of them as it is.
        recipe: that makes it.
        evolve: its score in the search.
        select: its score among the last; None where it was not among them.
    """

    name: str
    generation: int
    base_model: bool
    recipe: dict[str, object]
    recipe_sha256: str
    evolve: Score
    select: Score | None = None


class GenerationSummary(Record):
    """How a generation did; number 0 are the base models.

    Attributes:
        best: score; None when every merge failed.
        mean: of those that did not fail.
        best_so_far: of all generations up to this one.
        new: candidates that had not come up before.
    """

    number: int
    best: float | None
    mean: float | None
    best_so_far: float | None
    new: int


class GenerationRecord(GenerationSummary):
    """One generation, its candidates in the order asked; one that had come up before has its first name."""

    schema_version: Literal[1] = 1
    candidates: tuple[Candidate, ...]

    def summary(self) -> GenerationSummary:
        """Return it without the candidates."""
        return GenerationSummary.model_validate(self.model_dump(include=set(GenerationSummary.model_fields)))


class Gain(Record):
    """How much better the champion is than the base model that did best on `select`, on questions that chose nothing.

    Attributes:
        verdict: `better` when a task improved by enough and none was harmed, by the gate's own rule; `not_better` when
            there is no room for a worthwhile gain or harm was shown; else `inconclusive`.
        against: name of that base model.
        beats_every_base_model: whether the verdict is `better` against each of them, which needs no adjustment for
            their number (Berger, Technometrics 24, 1982).
        difference: of the accuracies over all questions; `confidence_interval` is of it.
        p_value: the smallest of a task, adjusted by Holm over the tasks.
        others: accuracy, difference and p-value against the other base models, by name.
    """

    verdict: GainVerdict
    reason: str
    against: str
    questions: int
    rounds: int
    effective_rounds: int
    base_model_accuracy: float
    champion_accuracy: float
    difference: float
    confidence_interval: tuple[float, float]
    confidence_level: float
    p_value: float
    alpha: float
    min_improvement: float
    non_inferiority_margin: float
    flips: Flips
    beats_every_base_model: bool
    others: dict[str, "GainAgainst"]
    per_task: tuple[TaskComparison, ...]
    warnings: tuple[str, ...] = ()


class GainAgainst(Record):
    """How much better the champion is than one base model."""

    verdict: GainVerdict
    base_model_accuracy: float
    difference: float
    confidence_interval: tuple[float, float]
    p_value: float


class QuestionSet(Record):
    """A set of questions: how many, and the sha256 of their JSON lines."""

    count: int
    sha256: str


class BaseModelRecord(Record):
    """A base model: what it was called, its address, the sha256 of its files, the manifest it came with."""

    name: str
    uri: str
    digest: str
    parent: ParentRecord | None = None


class EvolutionRun(Record):
    """Which evolution a directory holds, written when it begins."""

    schema_version: Literal[1] = 1
    evolution_id: str
    base_models: tuple[BaseModelRecord, ...]
    config: dict[str, object]


class EvolutionReport(Record):
    """What an evolution ends with (`evolution.json`).

    Attributes:
        evolution_id: sha256 over everything that decides its champion.
        champion_digest: sha256 of the champion's files, its manifest among them; a bake of it states the same.
        gain: None when the champion is a base model.
        manifest_path: where it was published; None where it was not.
    """

    schema_version: Literal[1] = 1
    evolution_id: str
    champion_digest: str
    winner: Candidate
    base_models: tuple[Candidate, ...]
    elites: tuple[Candidate, ...]
    best_base_model: str
    gain: Gain | None
    fitness_arm: Literal["baseline", "thought"]
    fitness_aggregate: Literal["mean", "worst"]
    generations: tuple[GenerationSummary, ...]
    questions: dict[EvolutionSplit, QuestionSet]
    model_path: str
    manifest_path: str | None = None
    warnings: tuple[str, ...] = ()


class ChampionManifest(Record):
    """What makes an evolved champion real; written last, and the same whoever makes the same champion again.

    Attributes:
        content_sha256: of the file's own bytes, with these 64 digits replaced by zeros; see `storage.manifest`.
        recipe: by names and digests of models, not by their places.
        generation: that the recipe came up in; 0 for a base model.
        selected_on: what bakes keep clear of.
        selected: scores on `select`, of the champion and the base models, by name.
    """

    schema_version: Literal[1] = 1
    kind: Literal["evolved-champion"] = CHAMPION_KIND
    content_sha256: str = ""
    evolution_id: str
    recipe: dict[str, object]
    recipe_sha256: str
    base_models: tuple[BaseModelRecord, ...]
    base: BaseModelRecord | None
    generation: int
    generations: int
    config: dict[str, object]
    question_digests: dict[str, str]
    selected_on: tuple[SelectedQuestion, ...]
    selected: dict[str, float]
    gain: Gain | None
    code: CodeRecord
    files: tuple[FileRecord, ...]
