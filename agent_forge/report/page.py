"""Render a run's records into one HTML page that needs nothing else: no script, no network, no other file.

    html = render(RunFacts(title="my-champion", gate=gate, gate_rows=rows, questions=questions))

The same facts give the same bytes.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent_forge.config import STAGE_NAMES
from agent_forge.errors import ResultsError
from agent_forge.records import GATE_ARMS, Arm, Cost, Manifest, ResultRow
from agent_forge.report import formats
from agent_forge.report.facts import RunFacts
from agent_forge.report.flips import choose_flips
from agent_forge.report.measures import Measures, measure, round_gains
from agent_forge.report.plots import (
    ARM_NAMES,
    CHECKED_ARM_NAMES,
    Plots,
    arms_plot,
    gains_plot,
    lengths_plot,
    losses_plot,
    outcomes_plot,
    tasks_plot,
)
from agent_forge.report.redact import masked
from agent_forge.report.tables import looks_table
from agent_forge.report.template import environment
from agent_forge.report.wording import cards, outcome, questions_that_settle, steps

VERIFY_ARMS: tuple[Arm, ...] = ("baseline", "thought", "baked", "swapped")


@dataclass(frozen=True)
class Caveat:
    """One warning and the part of the run that it comes from."""

    source: str
    text: str


@dataclass(frozen=True)
class Experiment:
    """A judged experiment: the accuracies its record holds, and what its rows say; None where they say nothing."""

    source: str
    recorded: Mapping[Arm, float | None]
    alpha: float
    measures: Measures | None
    problem: str | None

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """What is wrong with the rows: no experiment at all, or not the one that was judged."""
        if self.measures is None:
            return (Caveat(self.source, f"no intervals and no examples can be shown: {self.problem}"),)
        return tuple(
            Caveat(
                self.source,
                f"the answers at hand give {formats.percent(arm.accuracy)} for {arm.arm}, the judgement says "
                f"{formats.percent(self.recorded.get(arm.arm))}: they are not of the same run",
            )
            for arm in self.measures.arms
            if not math.isclose(arm.accuracy, self.recorded.get(arm.arm) or 0.0, abs_tol=1e-9)
        )


def render(facts: RunFacts) -> str:
    """Return the report as an HTML document.

    Args:
        facts: what is known about the run; a section whose record is missing says so in one line.
    """
    compared, checked = _compared(facts), _checked(facts)
    experiments = [experiment for experiment in (compared, checked) if experiment is not None]
    costs = {stage: facts.costs[stage] for stage in sorted(facts.costs, key=_stage_order)}
    seen, tested = compared and compared.measures, checked and checked.measures
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            facts=facts,
            outcome=outcome(facts),
            steps=steps(facts),
            cards=cards(facts),
            caveats=(*_warnings(facts), *(caveat for experiment in experiments for caveat in experiment.caveats)),
            settling=questions_that_settle(facts.gate) if facts.gate else "",
            looks=looks_table(facts.gate.looks) if facts.gate and facts.gate.looks else None,
            plots=_plots(facts, compared, checked),
            recorded=compared.recorded if compared else {},
            arms={arm.arm: arm for arm in seen.arms} if seen else {},
            flips=seen and choose_flips(seen, facts.questions, "baseline", "thought", GATE_ARMS[:2]),
            checked_recorded=checked.recorded if checked else {},
            checked_arms={arm.arm: arm for arm in tested.arms} if tested else {},
            checked_flips=tested and choose_flips(tested, facts.questions, "baseline", "baked", VERIFY_ARMS[:3]),
            costs=costs,
            total=_total(tuple(costs.values())),
            config=masked(facts.config),
            manifest_text=_manifest_text(facts.manifest) if facts.manifest else "",
        )
    )


def _compared(facts: RunFacts) -> Experiment | None:
    gate = facts.gate
    if gate is None:
        return None
    recorded: dict[Arm, float | None] = {"baseline": gate.baseline_accuracy, "thought": gate.thought_accuracy}
    if gate.pause_accuracy is not None:
        recorded["pause"] = gate.pause_accuracy
    return _experiment("Comparison", recorded, facts.gate_rows, GATE_ARMS, gate.alpha)


def _checked(facts: RunFacts) -> Experiment | None:
    report = facts.verification
    if report is None:
        return None
    recorded: dict[Arm, float | None] = {
        "baseline": report.champion_accuracy,
        "thought": report.thought_accuracy,
        "baked": report.baked_accuracy,
        "swapped": report.swapped_accuracy,
    }
    return _experiment("Final check", recorded, facts.verify_rows, VERIFY_ARMS, report.alpha)


def _experiment(
    source: str,
    recorded: Mapping[Arm, float | None],
    rows: Iterable[ResultRow],
    arms: tuple[Arm, ...],
    alpha: float,
) -> Experiment:
    try:
        return Experiment(source, recorded, alpha, measure(rows, arms, alpha), None)
    except ResultsError as problem:
        return Experiment(source, recorded, alpha, None, str(problem))


def _warnings(facts: RunFacts) -> tuple[Caveat, ...]:
    by_source = {
        "Run": facts.warnings,
        "Model": facts.extension.warnings if facts.extension else (),
        "Comparison": facts.gate.warnings if facts.gate else (),
        "Training": facts.bake.warnings if facts.bake else (),
        "Final check": facts.verification.warnings if facts.verification else (),
    }
    return tuple(Caveat(source, text) for source, texts in by_source.items() for text in dict.fromkeys(texts))


def _plots(facts: RunFacts, compared: Experiment | None, checked: Experiment | None) -> Plots:
    seen, tested = compared and compared.measures, checked and checked.measures
    gate, verification = facts.gate, facts.verification
    return Plots(
        arms=arms_plot("arms", seen.arms, ARM_NAMES, gate.alpha) if seen and gate else None,
        rounds=gains_plot(round_gains(seen.rows, gate.alpha), gate) if seen and gate else None,
        tasks=tasks_plot(gate.per_task, gate) if gate else None,
        outcomes=outcomes_plot(facts.traces) if facts.traces else None,
        lengths=lengths_plot(facts.traces) if facts.traces else None,
        losses=losses_plot(facts.bake) if facts.bake else None,
        checked=(
            arms_plot("checked", tested.arms, CHECKED_ARM_NAMES, verification.alpha)
            if tested and verification
            else None
        ),
    )


def _stage_order(stage: str) -> tuple[int, str]:
    names: tuple[str, ...] = STAGE_NAMES
    return (names.index(stage) if stage in names else len(names)), stage


def _total(costs: tuple[Cost, ...]) -> Cost:
    """Add up time and tokens; memory is used again by each stage, so the total is the largest."""
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        tokens=sum(cost.tokens for cost in costs),
        peak_memory_bytes=max((cost.peak_memory_bytes for cost in costs), default=0),
        peak_device_memory_bytes=max((cost.peak_device_memory_bytes for cost in costs), default=0),
    )


def _manifest_text(manifest: Manifest) -> str:
    """Return the manifest as JSON without the loss curve, which has a plot and a table of its own."""
    content = json.loads(manifest.model_dump_json(exclude={"bake": {"curve"}}))
    return json.dumps(masked(content), indent=2, ensure_ascii=False)
