"""significance-gate: every cell's rows in, the verdict out."""

from collections.abc import Iterable

from agent_forge.config import QuietSTaRConfig
from agent_forge.gate import judge
from agent_forge.looks import planned_questions
from agent_forge.records import GateReport, ResultRow
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.report_output import write_report_output
from agent_forge.storage.files import write_atomic, write_parts_atomic
from agent_forge.storage.row_files import sorted_rows


def significance_gate(context: StageContext) -> StageOutcome:
    """Judge all rows together and write them down as one set.

    Cells arrive in no particular order and are told apart by their rows.
    """
    meter = Meter()
    config = context.config
    with sorted_rows(context.inputs["results"], context.scratch) as rows:
        report = judge_configured(rows.read(), config)
        write_atomic(context.outputs["gate"], report.model_dump_json(indent=2) + "\n")
        write_parts_atomic(context.outputs["evaluation"], rows.sorted_lines())
    write_report_output(
        context, "significance-gate", {name: [context.outputs[name]] for name in ("gate", "evaluation")}
    )
    cost = meter.cost(questions=report.questions)
    return StageOutcome(cost=cost, parameters={"verdict": report.verdict}, metrics=_metrics(report))


def judge_configured(rows: Iterable[ResultRow], config: QuietSTaRConfig) -> GateReport:
    """Judge rows as the configuration says: those of all questions, or of those that are in at a planned look."""
    return judge(
        rows,
        alpha=config.alpha,
        min_improvement=config.min_improvement,
        non_inferiority_margin=config.non_inferiority_margin,
        power=config.power,
        planned=planned_questions(config.eval_samples, config.gate_looks) if config.gate_looks > 1 else (),
    )


def _metrics(report: GateReport) -> dict[str, float]:
    figures = {
        "baseline_accuracy": report.baseline_accuracy,
        "thought_accuracy": report.thought_accuracy,
        "difference": report.difference,
        "p_value": report.p_value,
    }
    if report.pause_accuracy is not None:
        figures["pause_accuracy"] = report.pause_accuracy
    return figures


STAGE = Stage("significance-gate", significance_gate, inputs=("results",), outputs=("gate", "evaluation"))
