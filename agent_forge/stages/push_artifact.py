"""push-artifact: publish a verified model with the manifest that makes it real."""

import os
from datetime import UTC, datetime

from agent_forge.config import result_values
from agent_forge.errors import CheckFailed, ConfigError
from agent_forge.models.template import prompting_record
from agent_forge.records import (
    BakeReport,
    ExtensionRecord,
    GateReport,
    Manifest,
    VerificationReport,
    read_record,
)
from agent_forge.stages.champion import read_champion
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.report_output import write_report_output
from agent_forge.storage.code import code_record, hardware, package_versions
from agent_forge.storage.files import list_files, path_digest, write_atomic
from agent_forge.storage.publication import publication_of
from agent_forge.storage.publish import publish_into
from agent_forge.storage.question_files import read_split_report


def push_artifact(context: StageContext) -> StageOutcome:
    """Publish below the publication root, or as the output `model` when a pipeline keeps it, or both.

    Refuses a model whose reports do not say bake and publish, whoever asks.
    """
    meter = Meter()
    manifest = build_manifest(context)
    if manifest.gate.verdict != "bake" or manifest.verification.verdict != "publish":
        raise CheckFailed(
            f"not published: the gate says {manifest.gate.verdict}, verification {manifest.verification.verdict}"
        )
    baked, places = context.input("baked"), []
    if (kept := context.outputs.get("model")) is not None:
        places.append(str(publish_into(baked, manifest, kept)))
    if (root := publication_of(context.config)) is not None:
        places.append(root.publish(baked, manifest, context.held, context.progress))
        # Another run may have published the same bake first: then its manifest is the real one.
        manifest = root.manifest(manifest.bake_id)
    if not places:
        raise ConfigError(f"output_path {context.config.output_path} needs the output model; give a directory")
    write_atomic(context.outputs["manifest"], manifest.model_dump_json(indent=2) + "\n")
    write_report_output(context, "push-artifact", {"manifest": [context.outputs["manifest"]]})
    about = {
        "bake_id": manifest.bake_id,
        "base": manifest.champion.uri,
        "champion_digest": manifest.champion.digest,
        "verdict": manifest.verification.verdict,
    }
    return StageOutcome(
        cost=meter.cost(),
        parameters={"model_path": places[-1].rpartition("/")[0], "manifest_path": places[-1]},
        metadata={"model": about},
    )


def build_manifest(context: StageContext) -> Manifest:
    """Gather what the run knows of the baked model."""
    champion = read_champion(context)
    splits = read_split_report(context.input("questions"))
    extension = read_record(ExtensionRecord, context.input("extension"))
    return Manifest(
        bake_id=champion.bake_id,
        champion=champion,
        config=result_values(context.config),
        code=code_record(),
        image=os.environ.get("FORGE_IMAGE"),
        packages=package_versions(),
        hardware=hardware(),
        question_digests=splits.digests,
        gate=read_record(GateReport, context.input("gate")),
        traces_sha256=path_digest(context.input("trace_set")),
        bake=read_record(BakeReport, context.input("bake_report")),
        verification=read_record(VerificationReport, context.input("verification")),
        files=list_files(context.input("baked")),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        prompting=prompting_record(context.config, extension, splits.few_shot),
    )


STAGE = Stage(
    "push-artifact",
    push_artifact,
    inputs=("champion", "extension", "questions", "gate", "trace_set", "baked", "bake_report", "verification"),
    outputs=("manifest",),
)
