"""The report as a stage's output, for pipelines, whose user interface shows it; local runs write one of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from agent_forge.config import WHOLE, grouped
from agent_forge.records import ChampionRecord, read_record
from agent_forge.report.gathering import gather, title_of
from agent_forge.report.page import render
from agent_forge.stages.context import StageContext
from agent_forge.storage.files import write_atomic


def write_report_output(context: StageContext, stage: str, made: Mapping[str, Sequence[Path]]) -> None:
    """Write the output `report` if it is asked for.

    Args:
        context: of the running stage; the report is made of its inputs.
        stage: its name.
        made: artifacts that it has written itself.
    """
    if (path := context.outputs.get("report")) is None:
        return
    champion = read_record(ChampionRecord, context.input("champion")) if context.inputs.get("champion") else None
    facts = gather(
        {**context.inputs, **made},
        context.config if stage in WHOLE else None,
        title=title_of(champion) if champion else "Comparison",
        champion=champion,
        config=grouped(context.config) if stage in WHOLE else {},
    )
    write_atomic(path, render(facts))
