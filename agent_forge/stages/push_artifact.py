"""push-artifact: publish a verified model with the manifest that makes it real."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

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
from agent_forge.report.model_card import CARD, model_card
from agent_forge.report.redact import masked
from agent_forge.stages.champion import read_champion
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.report_output import write_report_output
from agent_forge.storage.artifact import check_claims
from agent_forge.storage.beside import put_beside
from agent_forge.storage.code import code_record, hardware, package_versions
from agent_forge.storage.files import list_files, path_digest, write_atomic
from agent_forge.storage.manifest import manifest_text, sealed
from agent_forge.storage.minisign import SIGNATURE, SecretKey, read_secret_key, sign
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
    check_claims(manifest)
    model, manifest = with_card(context, manifest)
    key = _signing_key(context)
    places: list[str] = []
    if (kept := context.outputs.get("model")) is not None:
        places.append(str(publish_into(model, manifest, kept)))
        _sign(key, manifest, manifest, places[-1])
    if (root := publication_of(context.config)) is not None:
        places.append(root.publish(model, manifest, context.held, context.progress))
        # Another run may have published the same bake first: then its manifest is the real one.
        ours, manifest = manifest, root.manifest(manifest.bake_id)
        if not _sign(key, ours, manifest, places[-1]):
            context.warn("not signed: another run published this bake, and its model or manifest is not this run's")
    if not places:
        raise ConfigError(f"output_path {context.config.output_path} needs the output model; give a directory")
    write_atomic(context.outputs["manifest"], manifest_text(manifest))
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


def with_card(context: StageContext, manifest: Manifest) -> tuple[Path, Manifest]:
    """Return a directory with the baked model and its card, and the sealed manifest of exactly that.

    The model's files are links: a copy would double what a large model takes up.
    """
    prepared, baked = context.scratch / "published", context.input("baked")
    shutil.rmtree(prepared, ignore_errors=True)
    for file in list_files(baked):
        place = prepared / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((baked / file.path).resolve())
    (prepared / CARD).unlink(missing_ok=True)
    write_atomic(prepared / CARD, model_card(manifest))
    return prepared, sealed(manifest.model_copy(update={"files": list_files(prepared)}))


def _signing_key(context: StageContext) -> SecretKey | None:
    file = context.config.signing_key_file
    return read_secret_key(Path(file)) if file else None


def _sign(key: SecretKey | None, ours: Manifest, published: Manifest, place: str) -> bool:
    """Sign what was published, if it is what this run would publish; return whether it is, or needs no signature."""
    if key is None:
        return True
    # When and where the same model was published from does not matter.
    same = {"created_at": published.created_at, "hardware": published.hardware, "content_sha256": ""}
    if ours.model_copy(update=same) != published.model_copy(update={"content_sha256": ""}):
        return False
    text = sign(manifest_text(published).encode(), key, f"agent_forge manifest of bake {published.bake_id}")
    put_beside(place, SIGNATURE, text)
    return True


def build_manifest(context: StageContext) -> Manifest:
    """Gather what the run knows of the baked model; whatever looks like a credential is masked.

    Its files are not listed yet: the card is one of them, and is made of this.
    """
    champion = read_champion(context)
    splits = read_split_report(context.input("questions"))
    extension = read_record(ExtensionRecord, context.input("extension"))
    manifest = Manifest(
        bake_id=champion.bake_id,
        champion=champion,
        config=result_values(context.config),
        code=code_record(),
        image=os.environ.get("FORGE_IMAGE"),
        packages=package_versions(context.config.engine),
        hardware=hardware(),
        question_digests=splits.question_digests(),
        gate=read_record(GateReport, context.input("gate")),
        traces_sha256=path_digest(context.input("trace_set")),
        bake=read_record(BakeReport, context.input("bake_report")),
        verification=read_record(VerificationReport, context.input("verification")),
        files=(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        prompting=prompting_record(context.config, extension, splits.few_shot),
        selected_on=splits.selected_on,
    )
    return Manifest.model_validate(masked(manifest.model_dump(mode="json")))


STAGE = Stage(
    "push-artifact",
    push_artifact,
    inputs=("champion", "extension", "questions", "gate", "trace_set", "baked", "bake_report", "verification"),
    outputs=("manifest",),
)
