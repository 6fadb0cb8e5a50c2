"""resolve-champion: turn a reference into a path and a digest, and find out whether the work is done already.

It loads the question sets too, since their digests are part of the bake id; so a wrong reference, data set or field
fails here, before any accelerator is asked for.
"""

import json
from pathlib import Path

from agent_forge.config import STAGE_NAMES, WHOLE, QuietSTaRConfig, narrowed, result_values
from agent_forge.errors import ConfigError, ForgeError
from agent_forge.questions.corpora import open_corpora
from agent_forge.records import ChampionRecord, SplitReport
from agent_forge.report.redact import masked
from agent_forge.stages.context import Meter, Progress, Stage, StageContext, StageOutcome
from agent_forge.stages.pipeline_limits import refuse_what_pipelines_cannot
from agent_forge.stages.prepare_questions import draw_questions
from agent_forge.storage.cluster_store import root_beside
from agent_forge.storage.code import source_sha256
from agent_forge.storage.directory_publication import DirectoryPublication
from agent_forge.storage.files import write_atomic
from agent_forge.storage.manifest import bake_id_of
from agent_forge.storage.origin import champion_digest, origin_of, read_selection, selection_parameter
from agent_forge.storage.publication import IN_THE_PIPELINE, publication, publication_of, require_signable, shared
from agent_forge.storage.references import find
from agent_forge.storage.s3_publication import S3Publication


def resolve_champion(context: StageContext) -> StageOutcome:
    """Resolve, digest, and look for an existing manifest of the same bake id."""
    meter = Meter()
    if context.artifacts_at:
        refuse_what_pipelines_cannot(context.config, context.artifacts_at)
    config = _rooted(context)
    open_corpora(config.also_exclude)
    path = champion_path(config.model_path, context.progress)
    check_places(config, path)
    digest = champion_digest(path)
    selection = champion_selection(config, path, digest)
    report = (context.drawn or draw_questions(config, read_selection(selection))).report
    record = champion_record(config, path, digest, report)
    if not settled(config, record.bake_id):
        check_model(config, path)
    write_atomic(context.outputs["champion"], record.model_dump_json(indent=2) + "\n")
    parameters = {
        "champion_uri": record.uri,
        "champion_digest": digest,
        "champion_selection": selection,
        "question_digests": json.dumps(report.inputs(), sort_keys=True),
        "code_digest": source_sha256(),
        "bake_id": record.bake_id,
        "already_published": str(bool(record.already_published)).lower(),
        "full_config": _told(config),
    }
    narrow = (name for name in STAGE_NAMES if name not in WHOLE)
    parameters |= {config_parameter(name): _told(narrowed(config, name)) for name in narrow}
    return StageOutcome(cost=meter.cost(), parameters=parameters)


def _rooted(context: StageContext) -> QuietSTaRConfig:
    """Return the configuration with a publication root that can be written to.

    A pipeline that was given none publishes beside its own artifacts where it can, so that a second run finds the bake.
    """
    config = context.config
    root = publication_of(config)
    if root is not None:
        root.check()
    beside = root_beside(context.artifacts_at) if config.output_path == IN_THE_PIPELINE else None
    if beside is None:
        return config
    try:
        S3Publication(beside, attempts=1).check()
    except ForgeError as cause:
        context.warn(f"the model will be an artifact of this run only, which no later run can find: {cause}")
        return config
    return config.model_copy(update={"output_path": beside})


def config_parameter(stage: str) -> str:
    """Return the name of the output that holds one stage's configuration."""
    return f"{stage.replace('-', '_')}_config"


def _told(config: QuietSTaRConfig) -> str:
    """Return a configuration as JSON, without what it says by default."""
    return json.dumps(config.model_dump(mode="json", exclude_defaults=True), sort_keys=True)


def champion_path(reference: str, progress: Progress | None = None) -> Path:
    """Return the local path of a champion, downloading it when it is not on this machine.

    Raises:
        ChampionError: when there is nothing there.
    """
    return find(reference).path(progress)


def champion_selection(config: QuietSTaRConfig, path: Path, digest: str) -> str:
    """Return what the questions that a champion was chosen by are found by; `{}` for none."""
    return selection_parameter(origin_of(config.model_path, path, digest).parent, path)


def champion_record(config: QuietSTaRConfig, path: Path, digest: str, splits: SplitReport) -> ChampionRecord:
    """Describe a champion of a known digest and the bake that this configuration makes of it."""
    bake_id = compute_bake_id(config, digest, splits.question_digests())
    root = publication_of(config)
    manifest = root.published(bake_id) if root else None
    origin = origin_of(config.model_path, path, digest)
    return ChampionRecord(
        reference=config.model_path,
        uri=origin.uri,
        path=str(path.resolve()),
        digest=digest,
        bake_id=bake_id,
        already_published=manifest,
        revision=origin.revision,
        parent=origin.parent,
        card=origin.card,
    )


def settled(config: QuietSTaRConfig, bake_id: str) -> bool:
    """Whether a bake was made or judged already where the configuration publishes."""
    root = publication_of(config)
    return root is not None and bool(root.published(bake_id) or (shared(config) and root.verdict(bake_id)))


def check_model(config: QuietSTaRConfig, path: Path) -> None:
    """Refuse a champion that cannot be used, as far as that shows without its weights.

    Raises:
        ChampionError: when it is no whole model with a usable tokenizer.
        ConfigError: when a thought and an answer do not fit its context.
    """
    # Hundreds of megabytes, which a run that waits for another one, or finds its work done, never needs.
    from agent_forge.models.load import outline
    from agent_forge.stages.bench import require_room

    require_room(config, outline(path))


def check_places(config: QuietSTaRConfig, path: Path) -> None:
    """Refuse a configuration by which the champion or the manifest would come to harm.

    Raises:
        ConfigError: when the run would be written into the champion, or credentials into what is published.
    """
    for field, place in (("output_path", config.output_path), ("publish_to", config.publish_to or config.output_path)):
        root = publication(place)
        inside = isinstance(root, DirectoryPublication) and root.root.resolve().is_relative_to(path.resolve())
        if path.is_dir() and inside:
            raise ConfigError(f"{field} {place} is inside the champion {path}, which is never changed; choose another")
    _refuse_credentials(config)
    require_signable(config)


def _refuse_credentials(config: QuietSTaRConfig) -> None:
    """Refuse what would be published with the model: better said now than masked then."""
    for name, value in {"model_path": config.model_path, **result_values(config)}.items():
        if masked(value, name) != json.loads(json.dumps(value)):
            raise ConfigError(
                f"{name} holds what looks like a credential, and a published manifest would show it; give credentials "
                "in the environment or in a file"
            )


def compute_bake_id(config: QuietSTaRConfig, champion_digest: str, question_digests: dict[str, str]) -> str:
    """Return the sha256 (hex) over everything that decides a bake's result.

    That is: champion digest, the fields that change results, question digests, code version.
    """
    return bake_id_of(champion_digest, result_values(config), question_digests, source_sha256())


STAGE = Stage("resolve-champion", resolve_champion, inputs=(), outputs=("champion",))
