"""From the files that stages have written to the report's facts, whoever keeps the files.

    facts = gather({"gate": [Path("gate.json")], "evaluation": [Path("evaluation.jsonl")]}, title="champion")

Artifacts are called as the stages call them; what is not given is not known yet.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from agent_forge.config import QuietSTaRConfig
from agent_forge.models.template import prompting_record
from agent_forge.questions.on_disk import QuestionsById
from agent_forge.records import (
    BakeReport,
    ChampionRecord,
    ExtensionRecord,
    GateReport,
    Manifest,
    PromptingRecord,
    Question,
    Record,
    SplitReport,
    TraceReport,
    VerificationReport,
    read_record,
)
from agent_forge.report.facts import RunFacts
from agent_forge.storage.question_files import read_split, read_split_report
from agent_forge.storage.row_files import RowsOnDisk
from agent_forge.traces import add_trace_reports

R = TypeVar("R", bound=Record)
Artifacts = Mapping[str, Sequence[Path]]
_DIGEST = re.compile("[0-9a-f]{64}")


def gather(artifacts: Artifacts, settings: QuietSTaRConfig | None = None, **known: Any) -> RunFacts:
    """Read artifacts into facts.

    Args:
        artifacts: name -> files or directories; several where a fan-out was collected, in any order.
        settings: the whole configuration where it is at hand.
        known: further facts, which win over what is read.

    Raises:
        InputError: when a record cannot be read; of result rows, when they are gone through.
    """
    questions, splits = _questions(artifacts)
    extension = _record(ExtensionRecord, artifacts, "extension")
    read = {
        "extension": extension,
        "splits": splits,
        "prompting": _prompting(settings, extension, splits),
        "gate": _record(GateReport, artifacts, "gate"),
        "gate_rows": _rows(artifacts, "evaluation"),
        "questions": questions,
        "traces": _traces(artifacts),
        "bake": _record(BakeReport, artifacts, "bake_report"),
        "verification": _record(VerificationReport, artifacts, "verification"),
        "verify_rows": _rows(artifacts, "verification_results"),
        "manifest": _record(Manifest, artifacts, "manifest"),
    }
    return RunFacts(**{**read, **known})


def title_of(champion: ChampionRecord) -> str:
    """Return what a report on a champion is headed with."""
    name = Path(champion.reference).name or champion.reference
    # Evolved champions are published under their digest.
    return f"champion {name[:12]}" if _DIGEST.fullmatch(name) else name


def _record(kind: type[R], artifacts: Artifacts, name: str) -> R | None:
    paths = artifacts.get(name)
    return read_record(kind, paths[0]) if paths else None


def _rows(artifacts: Artifacts, name: str) -> RowsOnDisk:
    return RowsOnDisk(tuple(artifacts.get(name, ())))


def _questions(artifacts: Artifacts) -> tuple[Mapping[str, Question], SplitReport | None]:
    directories = artifacts.get("questions")
    if not directories:
        return {}, None
    asked = (read_split(directories[0], name) for name in ("gate", "verify"))
    return QuestionsById(*asked), read_split_report(directories[0])


def _prompting(
    settings: QuietSTaRConfig | None, extension: ExtensionRecord | None, splits: SplitReport | None
) -> PromptingRecord | None:
    # A record from before chat templates were recorded does not say that there was none.
    if settings is None or splits is None or extension is None or "chat_template" not in extension.model_fields_set:
        return None
    return prompting_record(settings, extension, splits.few_shot)


def _traces(artifacts: Artifacts) -> TraceReport | None:
    """Return the report of the trace set, before there is one that of its shards added up."""
    directories = artifacts.get("traces") or artifacts.get("trace_set") or ()
    reports = [read_record(TraceReport, path / "report.json") for path in directories]
    return add_trace_reports(reports) if reports else None
