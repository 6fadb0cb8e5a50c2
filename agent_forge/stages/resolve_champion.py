"""resolve-champion: turn a reference into a path and a digest, and find out whether the work is done already.

It loads the question sets too, since their digests are part of the bake id; so a wrong reference, data set or field
fails here, before any accelerator is asked for.
"""

import hashlib
import json
from pathlib import Path

from agent_forge.config import QuietSTaRConfig, result_values
from agent_forge.errors import ChampionError
from agent_forge.models.load import download
from agent_forge.records import ChampionRecord, SplitName
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.prepare_questions import draw_questions
from agent_forge.storage.code import source_sha256
from agent_forge.storage.files import path_digest, write_atomic
from agent_forge.storage.publish import published_manifest
from agent_forge.storage.references import hub_name, local_path


def resolve_champion(context: StageContext) -> StageOutcome:
    """Resolve, digest, and look for an existing manifest of the same bake id."""
    meter = Meter()
    config = context.config
    path = champion_path(config.model_path)
    digest = path_digest(path)
    _, report = draw_questions(config)
    bake_id = compute_bake_id(config, digest, report.digests)
    manifest = published_manifest(Path(config.output_path), bake_id)
    record = ChampionRecord(
        reference=config.model_path,
        uri=path.resolve().as_uri(),
        path=str(path.resolve()),
        digest=digest,
        bake_id=bake_id,
        already_published=str(manifest) if manifest else None,
    )
    write_atomic(context.outputs["champion"], record.model_dump_json(indent=2) + "\n")
    parameters = {"champion_digest": digest, "bake_id": bake_id, "already_published": str(bool(manifest)).lower()}
    return StageOutcome(meter.cost(), parameters=parameters)


def champion_path(reference: str) -> Path:
    """Return the local path of a champion, downloading it when it is a name on the hub.

    Raises:
        ChampionError: when there is nothing there.
    """
    path = local_path(reference)
    if path is None:
        return download(hub_name(reference))
    if not path.exists():
        raise ChampionError(f"{path} does not exist; give a model directory, a .gguf file or a hub name")
    return path


def compute_bake_id(config: QuietSTaRConfig, champion_digest: str, question_digests: dict[SplitName, str]) -> str:
    """Return the sha256 (hex) over everything that decides a bake's result.

    That is: champion digest, the fields that change results, question digests, code version.
    """
    content = {
        "champion": champion_digest,
        "config": result_values(config),
        "questions": question_digests,
        "code": source_sha256(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


STAGE = Stage("resolve-champion", resolve_champion, inputs=(), outputs=("champion",))
