"""Everything a run report is made of: records only, nothing derived.

Result rows and questions may stay on disk: rows are only ever gone through, questions asked for by id.
"""

from collections.abc import Iterable, Mapping

from pydantic import Field, SkipValidation

from agent_forge.records import (
    BakeReport,
    ChampionRecord,
    Cost,
    ExtensionRecord,
    GateReport,
    Manifest,
    PromptingRecord,
    Question,
    Record,
    ResultRow,
    RunResults,
    SplitReport,
    TraceReport,
    VerificationReport,
)


class RunFacts(Record):
    """What is known about one run; a record that does not exist (yet) is None and its section says so.

    Attributes:
        title: heading of the report, e.g. the champion's name.
        config: the configuration by section, as `config.grouped` returns it.
        results: None while the run goes on.
        champion: None before `resolve-champion`.
        extension: None before `load-and-extend`.
        splits: None before `prepare-questions`.
        prompting: None before both, or where the configuration is not at hand.
        gate: None before `significance-gate`.
        gate_rows: every result row the gate judged, in any order; gone through more than once.
        questions: questions by id, of all splits; an id that is missing here is shown as the id alone.
        traces: None unless traces were collected.
        bake: None unless a bake was run.
        verification: None unless a baked model was verified.
        verify_rows: rows of the arms baseline, thought, baked and swapped on the verify questions.
        costs: by stage name, instances of a stage added up.
        computed_by: by stage name, what its model really ran on, where it had one.
        manifest: None unless a model was published.
        warnings: of the run as a whole; warnings inside the records are shown as well.
    """

    title: str
    config: dict[str, dict[str, object]] = Field(default_factory=dict)
    results: RunResults | None = None
    champion: ChampionRecord | None = None
    extension: ExtensionRecord | None = None
    splits: SplitReport | None = None
    prompting: PromptingRecord | None = None
    gate: GateReport | None = None
    gate_rows: SkipValidation[Iterable[ResultRow]] = ()
    questions: SkipValidation[Mapping[str, Question]] = Field(default_factory=dict)
    traces: TraceReport | None = None
    bake: BakeReport | None = None
    verification: VerificationReport | None = None
    verify_rows: SkipValidation[Iterable[ResultRow]] = ()
    costs: dict[str, Cost] = Field(default_factory=dict)
    computed_by: dict[str, str] = Field(default_factory=dict)
    manifest: Manifest | None = None
    warnings: tuple[str, ...] = ()
