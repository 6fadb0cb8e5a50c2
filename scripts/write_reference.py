#!/usr/bin/env python3
"""Write docs/configuration.md from the configuration's own descriptions; a test checks that it is up to date.

python scripts/write_reference.py
"""

import json
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from agent_forge.config import STAGE_NAMES, QuietSTaRConfig, Section, field_sections, field_stages
from agent_forge.evolution_config import SECTION, EvolutionConfig

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
HEAD = """# Configuration fields

Written by `make docs` from `agent_forge/config.py`. Values come from arguments (`--set FIELD=VALUE`), then
`--config FILE` (JSON or YAML, flat or grouped by section), then the environment (`FORGE_<FIELD>`), then these defaults.
The last column names the stages that `--resume` runs again when the field has changed, besides those that read what
these write.
"""
EVOLUTION = (
    """Of `forge evo` alone, which reads the other sections' fields beside them: see [evolution.md](evolution.md)."""
)


def reference() -> str:
    """Return the page: a table of fields for each section."""
    sections = field_sections()
    lines = [HEAD]
    for section in get_args(Section):
        lines += [f"## {section}", "", "| field | default | meaning | runs again |", "| --- | --- | --- | --- |"]
        lines += [*(_row(name) for name in sections if sections[name] == section), ""]
    lines += [f"## {SECTION}", "", EVOLUTION, "", "| field | default | meaning |", "| --- | --- | --- |"]
    lines += [_cells(*_told(name, field)) for name, field in EvolutionConfig.model_fields.items()]
    return "\n".join([*lines, ""])


def _row(name: str) -> str:
    again = ", ".join(stage for stage in STAGE_NAMES if stage in field_stages()[name]) or "nothing"
    return _cells(*_told(name, QuietSTaRConfig.model_fields[name]), again)


def _told(name: str, field: FieldInfo) -> tuple[str, str, str]:
    default = "required" if field.is_required() else f"`{_value(field.default)}`"
    return f"`{name}`", default, field.description or ""


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(value: object) -> str:
    """Return a default as it would be given to `--set`."""
    if isinstance(value, tuple):
        return ",".join(value) or "[]"
    return json.dumps(value)[1:-1] if isinstance(value, str) and value else json.dumps(value)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE}")
