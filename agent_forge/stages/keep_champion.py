"""keep-champion: nothing is published; say why, and keep a rejected bake aside under a name that says so."""

from datetime import UTC, datetime

from agent_forge.config import grouped
from agent_forge.records import ChampionRecord, GateReport, Record, Verdict, VerificationReport, read_record
from agent_forge.report.gathering import gather, title_of
from agent_forge.report.page import render
from agent_forge.stages.champion import read_champion
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.report_output import write_report_output
from agent_forge.storage.code import code_record
from agent_forge.storage.files import write_atomic
from agent_forge.storage.publication import publication_of, shared


class Decision(Record):
    """Why the champion stays as it is."""

    bake_id: str
    champion_digest: str
    gate_verdict: str
    verification_verdict: str | None
    reason: str
    rejected_model: str | None


def keep_champion(context: StageContext) -> StageOutcome:
    """Record the reason; with a verification report, keep the rejected model aside."""
    meter = Meter()
    champion = read_champion(context)
    gate = read_record(GateReport, context.input("gate"))
    verification, aside = None, None
    if context.inputs.get("verification"):
        verification = read_record(VerificationReport, context.input("verification"))
        aside = _keep_aside(context, verification, champion.bake_id)
    decision = Decision(
        bake_id=champion.bake_id,
        champion_digest=champion.digest,
        gate_verdict=gate.verdict,
        verification_verdict=verification.verdict if verification else None,
        reason=verification.reason if verification else gate.reason,
        rejected_model=aside,
    )
    write_atomic(context.outputs["decision"], decision.model_dump_json(indent=2) + "\n")
    write_report_output(context, "keep-champion", {})
    if shared(context.config):
        _leave_verdict(context, champion, gate, verification)
    return StageOutcome(cost=meter.cost(), parameters={"reason": decision.reason})


def _keep_aside(context: StageContext, verification: VerificationReport, bake_id: str) -> str:
    """Return where the rejected model is: in a pipeline it stays the artifact that it was."""
    root = publication_of(context.config)
    if root is None:
        return str(context.input("baked"))
    return root.keep_rejected(context.input("baked"), verification, bake_id, context.held)


def _leave_verdict(
    context: StageContext, champion: ChampionRecord, gate: GateReport, verification: VerificationReport | None
) -> None:
    """Leave verdict and report at the publication root: other runs of this bake end with them."""
    verdict = Verdict(
        bake_id=champion.bake_id,
        champion_digest=champion.digest,
        gate=gate,
        verification=verification,
        code=code_record(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    facts = gather(context.inputs, title=title_of(champion), champion=champion, config=grouped(context.config))
    if (root := publication_of(context.config)) is not None:
        root.keep_verdict(verdict, render(facts), context.held)


STAGE = Stage("keep-champion", keep_champion, inputs=("champion", "gate"), outputs=("decision",))
