"""The records that cross a boundary: a file, a process or a stage.

Every record is frozen, refuses unknown fields and is written with `model_dump_json()`. A record that is a whole
file carries `schema_version`; `read_record` refuses any other version by name.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_forge.errors import ForgeError, InputError

AnswerKind = Literal["number", "math", "code", "choice", "text"]
Arm = Literal["baseline", "thought", "pause", "baked", "swapped"]
GateVerdict = Literal["bake", "no_bake", "inconclusive"]
VerifyVerdict = Literal["publish", "reject"]
SplitName = Literal["bake", "gate", "verify"]
TaskRole = Literal["target", "guard"]

GATE_ARMS: tuple[Arm, ...] = ("baseline", "thought", "pause")


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Question(Record):
    """One item to be answered.

    Attributes:
        id: sha256 (hex, first 16 characters) of the normalised prompt; see `questions.normalise.question_id`.
        prompt: what is asked, without any template around it.
        reference: the reference answer, in the form the grader of `kind` reads.
        kind: which grader judges it.
        task: the task it belongs to, e.g. `gsm8k`.
    """

    id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    reference: str
    kind: AnswerKind
    task: str = Field(default="questions", min_length=1)


class Exemplar(Question):
    """A question shown with its answer before others of its task.

    Attributes:
        answer: what stands after the cue; graded right by the grader of `kind`.
    """

    answer: str = Field(min_length=1)


class Grade(Record):
    """What was extracted from a completion, whether it is correct, and why (not)."""

    extracted: str | None
    correct: bool
    reason: str


class CompletionRow(Record):
    """A completion to grade again: what was answered to which question; other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    completion: str


class ResultRow(BaseModel):
    """One graded completion: one question, one round, one arm.

    Rows from other programs may carry further fields; they are ignored. `completion_sha256` is computed when only
    the completion is given.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    question_id: str = Field(min_length=1)
    round: int = Field(ge=0)
    arm: Arm
    seed: int = 0
    correct: bool
    extracted: str | None = None
    completion: str | None = None
    completion_sha256: str = ""
    tokens: int = Field(default=0, ge=0)
    thought_tokens: int = Field(default=0, ge=0)
    truncated: bool = False
    task: str = "questions"
    role: TaskRole = "target"
    thought: str = ""
    well_formed: bool = True

    @model_validator(mode="before")
    @classmethod
    def _hash_completion(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        completion, digest = values.get("completion"), values.get("completion_sha256")
        if completion is None and not digest:
            raise ValueError("needs completion or completion_sha256: without them repeated rounds go unnoticed")
        if isinstance(completion, str):
            actual = text_sha256(completion)
            if digest and digest != actual:
                raise ValueError(f"completion_sha256 is {digest} but the completion hashes to {actual}")
            return {**values, "completion_sha256": actual}
        return values


class Flips(Record):
    """How many questions the thought arm answered better (gained) or worse (lost) than the baseline."""

    gained: int
    lost: int


class TaskComparison(Record):
    """Thought against baseline on one task; accuracies and differences are fractions in [-1, 1].

    Attributes:
        confidence_interval: valid at all looks together, as is lower_bound.
        p_value: of the questions that are in, adjusted for nothing.
        adjusted_p_value: adjusted for the looks, then by Holm over the target tasks; None for a guard task.
        lower_bound: one-sided lower bound of the difference at level alpha.
        passed: target: improved; guard: non-inferior.
    """

    task: str
    role: TaskRole
    questions: int
    baseline_accuracy: float
    thought_accuracy: float
    difference: float
    confidence_interval: tuple[float, float]
    p_value: float
    adjusted_p_value: float | None
    lower_bound: float
    passed: bool


class PlannedLook(Record):
    """One planned look: questions of each task that are in, and what a single target task had to show by itself.

    Attributes:
        level: nominal one-sided level.
        boundary: the same as a standard normal quantile.
        spent: the part of alpha that is used up when this look is over.
    """

    questions: int
    level: float
    boundary: float
    spent: float


class LooksRecord(Record):
    """At which looks the gate could have ended, and at which it did (`taken`, from 1)."""

    spending: Literal["obrien-fleming"] = "obrien-fleming"
    planned: tuple[PlannedLook, ...]
    taken: int

    @property
    def saved(self) -> float:
        """Share of the planned questions that were not asked."""
        return 1 - self.planned[self.taken - 1].questions / self.planned[-1].questions


class GateReport(Record):
    """The gate's verdict and every figure it rests on (`gate.json`)."""

    schema_version: Literal[1] = 1
    verdict: GateVerdict
    reason: str
    questions: int
    rounds: int
    effective_rounds: int
    baseline_accuracy: float
    thought_accuracy: float
    pause_accuracy: float | None
    difference: float
    confidence_interval: tuple[float, float]
    confidence_level: float
    p_value: float
    alpha: float
    min_improvement: float
    non_inferiority_margin: float
    minimum_detectable_effect: float
    power: float
    questions_needed: int | None
    flips: Flips
    thought_minus_pause: float | None
    pause_p_value: float | None
    truncation: dict[str, float]
    warnings: tuple[str, ...]
    per_task: tuple[TaskComparison, ...]
    # Not written where the questions are looked at once, as before there could be several looks.
    looks: LooksRecord | None = Field(default=None, exclude_if=lambda looks: looks is None)


class DroppedQuestion(Record):
    """A question left out of its split because it leaks into another, or stands in an excluded corpus.

    `leaks_into` names the split or the corpus.
    """

    question_id: str
    split: SplitName
    leaks_into: str
    shared: str


class PartUse(Record):
    """What one published part of a task is for: its name where it was published, its questions, what they may be."""

    name: str
    questions: int
    use: Literal["baked from", "judged on", "baked from and judged on", "not used"]


class ExcludedCorpus(Record):
    """A corpus that questions must not stand in, and how many of each split did."""

    source: str
    sha256: str
    dropped: dict[SplitName, int]


class TwinCount(Record):
    """How many of a split's questions differ from one of another split in nothing but numbers."""

    split: SplitName
    twin_in: SplitName
    questions: int
    count: int


class Twin(Record):
    """A question that differs from one of another split in nothing but numbers."""

    question_id: str
    split: SplitName
    twin_in: SplitName
    twin_id: str
    template: str


class GiveawayCount(Record):
    """How many of a task's questions hold their own reference answer; ids of the first few."""

    task: str
    questions: int
    count: int
    rate: float
    examples: tuple[str, ...]


class TaskExemplars(Record):
    """The exemplars of one task: their ids in order, and the sha256 of their JSON lines.

    `left_out` are candidates that share text with a gate or verify question.
    """

    task: str
    source: str
    ids: tuple[str, ...]
    sha256: str
    left_out: tuple[DroppedQuestion, ...] = ()


class SelectedQuestion(Record):
    """A question that a champion was chosen by: nothing is judged on it or baked from it any more.

    Attributes:
        split: what it was used for: `evolve` and `select` chose the champion, `confirm` measured it.
        text: its prompt, or the words of it that are its own where all of its task share wording.
    """

    id: str = Field(min_length=1)
    split: Literal["evolve", "select", "confirm"]
    text: str = Field(min_length=1)


class SplitReport(Record):
    """How the question sets came about; digests are sha256 of the written JSON lines.

    Twins and giveaways are of the questions chosen; reports from before they were counted hold none.
    """

    schema_version: Literal[1] = 1
    counts: dict[SplitName, int]
    per_task: dict[str, dict[SplitName, int]]
    guard_tasks: tuple[str, ...]
    digests: dict[SplitName, str]
    available: dict[str, dict[SplitName, int]]
    dropped: tuple[DroppedQuestion, ...]
    duplicates_removed: int
    sources: dict[str, str]
    parts: dict[str, tuple[PartUse, ...]] = {}
    excluded: tuple[ExcludedCorpus, ...] = ()
    twins: tuple[TwinCount, ...] = ()
    twin_examples: tuple[Twin, ...] = ()
    giveaways: tuple[GiveawayCount, ...] = ()
    # Not written where there are none, as before there could be any.
    few_shot: tuple[TaskExemplars, ...] = Field(default=(), exclude_if=lambda sets: not sets)
    # What the champion was chosen by, which was kept out of all splits.
    selected_on: tuple[SelectedQuestion, ...] = Field(default=(), exclude_if=lambda questions: not questions)

    def question_digests(self) -> dict[str, str]:
        """Return the sha256 of the questions of each split and of each task's exemplars."""
        exemplars = {f"few_shot {task.task}": task.sha256 for task in self.few_shot}
        return {str(name): digest for name, digest in self.digests.items()} | exemplars

    def inputs(self) -> dict[str, str]:
        """Return the sha256 of everything the splits were made of: the questions chosen, and the excluded corpora."""
        corpora = {f"also_exclude {corpus.source}": corpus.sha256 for corpus in self.excluded}
        return self.question_digests() | corpora


class ParentRecord(Record):
    """The manifest that came with a champion: of the bake that made it, or of another program.

    Attributes:
        uri: what the champion, and beside its files the manifest, is found by.
        manifest_sha256: of the manifest's bytes.
        bake_id: None when another program wrote the manifest.
        intact: whether the champion was exactly the files that the manifest names; None for another program's.
    """

    uri: str
    manifest_sha256: str
    bake_id: str | None = None
    intact: bool | None = None


class ChampionCard(Record):
    """What a champion's model card says of its licence and origin, in the fields that the hub knows."""

    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    base_model: tuple[str, ...] = ()


class ChampionRecord(Record):
    """What `resolve-champion` found.

    Attributes:
        revision: what pins it in a store that has versions: a commit, or a version and its digest.
        parent: the manifest it came with; None for a first champion, and in records of older versions.
        card: None when it has no card, and in records of older versions.
    """

    schema_version: Literal[1] = 1
    reference: str
    uri: str
    path: str
    digest: str
    bake_id: str
    already_published: str | None = None
    revision: str | None = None
    parent: ParentRecord | None = None
    card: ChampionCard | None = None


class ChatTemplateRecord(Record):
    """A tokenizer's chat template.

    Attributes:
        sha256: of the template's source.
        opening: what it writes before the first user's message; a system prompt of its own stands there;
            None where it does not render such a message alone.
    """

    sha256: str
    opening: str | None


class PromptingRecord(Record):
    """How questions are put to the model, the same in every arm, round and stage.

    Attributes:
        template: what stands around a question: the model's chat template, the built-in plain one, or one of the
            user's.
        template_text: the plain or custom template.
        system_prompt: of the configuration; None, since nothing is added to what a chat template has of its own.
        stop_strings: texts that end an answer, those that follow from the template included.
        few_shot: the exemplars of each task; none where nothing is shown before a question.
    """

    template: Literal["chat", "plain", "custom"]
    template_text: str | None
    chat_template: ChatTemplateRecord | None
    system_prompt: str | None
    answer_cue: str
    thought_prompt: str
    stop_strings: tuple[str, ...]
    thought_stops: tuple[str, ...]
    few_shot: tuple[TaskExemplars, ...]


class ExtensionRecord(Record):
    """What `load-and-extend` did to the champion; `chat_template` is None where the tokenizer has none."""

    schema_version: Literal[1] = 1
    architecture: str
    parameters: int
    dtype: str
    old_vocabulary: int
    new_vocabulary: int
    start_thought_id: int
    end_thought_id: int
    recognised: bool
    tied_embeddings: bool
    largest_logit_change: float
    context_length: int | None
    warnings: tuple[str, ...] = ()
    chat_template: ChatTemplateRecord | None = None


class Trace(Record):
    """A correct completion with the thought that led to it; bake data.

    Attributes:
        text: everything after the prompt as it is trained on: thoughts between their tokens, cue and completion.
    """

    question_id: str
    sample: int
    seed: int
    thought: str
    completion: str
    text: str
    thought_tokens: int
    tokens: int


class ReplayRow(Record):
    """The champion's own direct answer to a bake question, replayed against forgetting."""

    question_id: str
    completion: str


class TraceReport(Record):
    """How many samples became traces, and why the others did not."""

    schema_version: Literal[1] = 1
    questions: int
    samples: int
    kept: int
    questions_kept: int
    replay: int
    rejected: dict[str, int]
    thought_lengths: tuple[int, ...]
    solve_rates: tuple[float, ...]


class LossPoint(Record):
    """One point of the loss curve; losses are nats per supervised token."""

    step: int
    tokens: int
    learning_rate: float
    loss: float | None = None
    heldout_loss: float | None = None


class BakeReport(Record):
    """How the bake went.

    Attributes:
        attention: the backend that was really used, and what kept packed examples apart; empty in older records.
    """

    schema_version: Literal[1] = 1
    method: Literal["lora", "full"]
    examples: int
    heldout_examples: int
    replay_examples: int
    steps: int
    planned_steps: int
    best_step: int
    stopped_early: bool
    trainable_parameters: int
    total_parameters: int
    packing_efficiency: float
    first_heldout_loss: float
    best_heldout_loss: float
    curve: tuple[LossPoint, ...]
    attention: str = Field(default="", exclude_if=lambda name: not name)
    warnings: tuple[str, ...] = ()


class VerificationReport(Record):
    """Whether the baked model earned publication, measured on questions nothing else has seen."""

    schema_version: Literal[1] = 1
    verdict: VerifyVerdict
    reason: str
    failed_checks: tuple[str, ...]
    questions: int
    rounds: int
    effective_rounds: int
    champion_accuracy: float
    baked_accuracy: float
    thought_accuracy: float
    swapped_accuracy: float
    difference: float
    confidence_interval: tuple[float, float]
    p_value: float
    alpha: float
    min_improvement: float
    retention: float | None
    swapped_difference: float
    swapped_p_value: float
    opened_rate: float
    well_formed_rate: float
    min_well_formed_rate: float
    flips: Flips
    truncation: dict[str, float]
    warnings: tuple[str, ...]
    per_task: tuple[TaskComparison, ...]


class FileRecord(Record):
    """One file: path relative to the directory it stands in (POSIX), sha256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


class Cost(Record):
    """What a stage spent; seconds of wall time, peak resident memory in bytes."""

    seconds: float
    tokens: int = 0
    questions: int = 0
    peak_memory_bytes: int = 0
    peak_device_memory_bytes: int = 0


class Receipt(Record):
    """Proof that a stage ran to its end; written last, `key` is the digest of everything that fed it.

    `computed_by` says what its model really ran on: device, arithmetic, engine, attention.
    """

    schema_version: Literal[1] = 1
    stage: str
    key: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    cost: Cost
    warnings: tuple[str, ...] = ()
    computed_by: dict[str, str] = Field(default_factory=dict, exclude_if=lambda found: not found)
    finished_at: str


class RunRecord(Record):
    """Which run a directory holds: champion and bake id, configuration, and the stages that are done, in order.

    The directory may hold stages of other configurations besides; they are not listed.
    """

    schema_version: Literal[1] = 1
    champion: ChampionRecord
    config: dict[str, object]
    stages: tuple[str, ...]


class CodeRecord(Record):
    """Which code ran: package version, sha256 over its sources, git commit and dirty flag where known."""

    version: str
    source_sha256: str
    commit: str | None
    dirty: bool | None


class Manifest(Record):
    """What makes a published model real; written last.

    Attributes:
        content_sha256: of the file's own bytes, with these 64 digits replaced by zeros; see `storage.manifest`. Empty
            in manifests of older versions.
    """

    schema_version: Literal[1] = 1
    content_sha256: str = ""
    bake_id: str
    champion: ChampionRecord
    config: dict[str, object]
    code: CodeRecord
    image: str | None
    packages: dict[str, str]
    hardware: dict[str, str]
    question_digests: dict[str, str]
    gate: GateReport
    traces_sha256: str
    bake: BakeReport
    verification: VerificationReport
    files: tuple[FileRecord, ...]
    created_at: str
    # None in manifests from before it was recorded.
    prompting: PromptingRecord | None = None
    # What the first champion was chosen by: bakes of this model keep clear of it too.
    selected_on: tuple[SelectedQuestion, ...] = Field(default=(), exclude_if=lambda questions: not questions)


class Alias(Record):
    """What `latest` points to, and every bake that it has ever pointed to, in order."""

    bake_id: str
    manifest: str
    bakes: tuple[str, ...] = ()

    @classmethod
    def after(cls, there: "Alias | None", bake_id: str, manifest: str) -> "Alias":
        """Return the alias that follows one; each bake is pointed to once, however often it is published."""
        before = (there.bakes or (there.bake_id,)) if there else ()
        return cls(bake_id=bake_id, manifest=manifest, bakes=(*before, bake_id))


class Verdict(Record):
    """What a run found that published nothing, left at the publication root for other runs of the same bake."""

    schema_version: Literal[1] = 1
    bake_id: str
    champion_digest: str
    gate: GateReport
    verification: VerificationReport | None
    code: CodeRecord
    created_at: str


class RunResults(Record):
    """What a whole run ends with; `improvement` is relative to the baseline, in percent."""

    schema_version: Literal[1] = 1
    winner: Literal["thought", "baseline"]
    verdict: GateVerdict
    verification: VerifyVerdict | None
    published: bool
    reason: str
    improvement: float | None
    baseline_accuracy: float
    thought_accuracy: float
    baked_accuracy: float | None
    p_value: float
    bake_id: str
    champion_digest: str
    model_path: str
    manifest_path: str | None
    report_path: str
    run_dir: str


R = TypeVar("R", bound=BaseModel)


def text_sha256(text: str) -> str:
    """Return the sha256 of a text's UTF-8 bytes in hex; lone surrogates are escaped, never an error."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def first_problem(error: ValidationError) -> str:
    """Say in one line which field a validation error is about and what is wrong with it."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def parse_record(kind: type[R], text: str, source: str, error: type[ForgeError] = InputError) -> R:
    """Parse one JSON record.

    Args:
        kind: the record's type.
        text: JSON.
        source: where the text came from, named in errors.
        error: what to raise.

    Raises:
        ForgeError: of type `error`, when the text is no JSON, or not a record of this kind and version.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as cause:
        raise error(f"{source}: not a valid {kind.__name__}: {first_problem(cause)}") from cause


def read_record(kind: type[R], path: Path, error: type[ForgeError] = InputError) -> R:
    """Read a file that holds one record; see `parse_record`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"cannot read {path}: {cause}; a {kind.__name__} as JSON is expected there") from cause
    return parse_record(kind, text, str(path), error)


def read_rows(kind: type[R], path: Path, error: type[ForgeError] = InputError) -> Iterator[R]:
    """Yield the records of a JSON lines file in order; blank lines are skipped; errors name file and line."""
    with reading_rows(kind, path, error), path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield parse_record(kind, line, f"{path}:{number}", error)


def parse_lines(
    kind: type[R], lines: Iterable[bytes], path: Path, error: type[ForgeError] = InputError
) -> Iterator[tuple[int, str, R]]:
    """Yield the records of an open JSON lines file like `read_rows`, each behind where its line begins and the line."""
    begin = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            text = line.decode()
            yield begin, text, parse_record(kind, text, f"{path}:{number}", error)
        begin += len(line)


@contextmanager
def reading_rows(kind: type[R], path: Path, error: type[ForgeError] = InputError) -> Iterator[None]:
    """Raise `error`, naming the file, where a file of JSON lines cannot be read."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"cannot read {path}: {cause}; JSON lines of {kind.__name__} are expected there") from cause


def json_line(row: BaseModel) -> str:
    """Return a record as a line of JSON, ended by a newline."""
    return row.model_dump_json() + "\n"


def rows_sha256(rows: Iterable[BaseModel]) -> str:
    """Return the sha256 of records as JSON lines."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json_line(row).encode("utf-8", errors="surrogatepass"))
    return digest.hexdigest()


def rows_text(rows: Iterable[BaseModel]) -> str:
    """Return records as JSON lines, each ended by a newline."""
    return "".join(map(json_line, rows))
