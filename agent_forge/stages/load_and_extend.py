"""load-and-extend: the champion plus the two thought tokens, saved."""

from pathlib import Path

from agent_forge.errors import ChampionError
from agent_forge.models.extend import extend, save_extended
from agent_forge.models.load import load_champion
from agent_forge.models.prompting import chat_template_record
from agent_forge.records import ExtensionRecord
from agent_forge.stages.context import Meter, Stage, StageContext, StageOutcome
from agent_forge.stages.resolve_champion import champion_path
from agent_forge.storage.files import write_atomic
from agent_forge.storage.origin import champion_digest


def load_and_extend(context: StageContext) -> StageOutcome:
    """Load the champion, add the tokens, save the extended model and what was done to it."""
    meter = Meter()
    config = context.config
    uri, resolved = context.parameters["champion_uri"], context.parameters["champion_digest"]
    path = champion_path(uri)
    if (digest := champion_digest(path)) != resolved:
        raise ChampionError(f"{uri} has sha256 {digest} but {resolved} was resolved; it changed meanwhile: run again")
    loaded = load_champion(str(path), config.device, dtype="exact")
    extended = extend(
        loaded,
        config.start_thought_token,
        config.end_thought_token,
        config.thought_token_init,
        config.pad_vocabulary_to,
    )
    save_extended(extended, context.outputs["extended"])
    parameters = sum(weight.numel() for weight in extended.model.parameters())
    start_id, end_id = extended.ids
    record = ExtensionRecord(
        architecture=type(extended.model).__name__,
        parameters=parameters,
        dtype=str(loaded.checkpoint_dtype).removeprefix("torch."),
        old_vocabulary=extended.old_vocabulary,
        new_vocabulary=extended.new_vocabulary,
        start_thought_id=start_id,
        end_thought_id=end_id,
        recognised=extended.recognised,
        tied_embeddings=extended.tied,
        largest_logit_change=extended.largest_logit_change,
        context_length=loaded.context_length,
        warnings=loaded.warnings,
        chat_template=chat_template_record(loaded.tokenizer),
    )
    write_atomic(context.outputs["extension"], record.model_dump_json(indent=2) + "\n")
    metadata = {"extended": {"base": Path(uri).name, "champion_digest": resolved}}
    return StageOutcome(cost=meter.cost(), metadata=metadata)


STAGE = Stage("load-and-extend", load_and_extend, inputs=(), outputs=("extended", "extension"))
