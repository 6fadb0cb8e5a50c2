"""keep-champion: nothing is published; say why, and keep a rejected bake aside under a name that says so."""

from agent_forge.records import GateReport, Record, VerificationReport, read_record
from agent_forge.stages.champion import read_champion
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.report_output import write_report_output
from agent_forge.storage.files import write_atomic
from agent_forge.storage.publication import publication


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
    return StageOutcome(cost=meter.cost(), parameters={"reason": decision.reason})


def _keep_aside(context: StageContext, verification: VerificationReport, bake_id: str) -> str:
    """Return where the rejected model is: in a pipeline it stays the artifact that it was."""
    root = publication(context.config.output_path)
    if root is None:
        return str(context.input("baked"))
    return root.keep_rejected(context.input("baked"), verification, bake_id)


STAGE = Stage("keep-champion", keep_champion, inputs=("champion", "gate"), outputs=("decision",))
