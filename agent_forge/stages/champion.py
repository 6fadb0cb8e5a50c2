"""Reading what `resolve-champion` found, without anything that finding it takes."""

from agent_forge.records import ChampionRecord, read_record
from agent_forge.stages.context import StageContext


def read_champion(context: StageContext) -> ChampionRecord:
    """Read the champion's record under the bake id that the run goes by.

    A run that is continued with another configuration keeps the record, but makes another bake: its id is then given
    as a parameter.
    """
    record = read_record(ChampionRecord, context.input("champion"))
    if (bake_id := context.parameters.get("bake_id")) is None:
        return record
    return record.model_copy(update={"bake_id": bake_id, "already_published": None})
