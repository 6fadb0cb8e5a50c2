"""Trace sets as files: `traces.jsonl`, `replay.jsonl` and the report of how they came about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_forge.records import ReplayRow, Trace, TraceReport, read_record, read_rows, rows_text
from agent_forge.storage.files import write_atomic
from agent_forge.traces import add_trace_reports

TRACES, REPLAY, REPORT = "traces.jsonl", "replay.jsonl", "report.json"


@dataclass(frozen=True)
class TraceSet:
    """What is baked from."""

    traces: tuple[Trace, ...]
    replay: tuple[ReplayRow, ...]
    report: TraceReport


def write_traces(directory: Path, found: TraceSet) -> None:
    """Write a trace set."""
    write_atomic(directory / TRACES, rows_text(found.traces))
    write_atomic(directory / REPLAY, rows_text(found.replay))
    write_atomic(directory / REPORT, found.report.model_dump_json(indent=2) + "\n")


def read_traces(directories: Sequence[Path]) -> TraceSet:
    """Read the shards of a trace set as one, in the same order whatever the shards and their order.

    Raises:
        InputError: when one cannot be read.
    """
    traces = [row for path in directories for row in read_rows(Trace, path / TRACES)]
    replay = [row for path in directories for row in read_rows(ReplayRow, path / REPLAY)]
    return TraceSet(
        tuple(sorted(traces, key=lambda trace: (trace.question_id, trace.sample))),
        tuple(sorted(replay, key=lambda row: row.question_id)),
        add_trace_reports([read_record(TraceReport, path / REPORT) for path in directories]),
    )
