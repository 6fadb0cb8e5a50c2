"""Imports go only down the list of layers."""

import ast
from collections import Counter
from pathlib import Path

import agent_forge

ROOT = Path(agent_forge.__file__).parent
LAYERS = (
    ("errors", "config", "records", "evolution_config", "evolution_records", "story_records"),
    (
        *(
            "questions",
            "answers",
            "sandbox",
            "thoughts",
            "traces",
            "statistics",
            "numbered",
            "result_columns",
            "observations",
            "looks",
        ),
        *("comparison", "gate", "verification", "simulation", "calibration", "audit"),
    ),
    ("models", "storage", "tracking"),
    ("report",),
    ("stages", "run_directory", "evolution"),
    (
        *("local_run", "fresh_process", "progress", "run_report", "serving", "stage_figures", "evolution_figures"),
        *("tracker", "tracking_worker", "train_job"),
    ),
    (
        *("quietstar_baker", "evomerge", "cli", "commands", "audit_commands", "artifact_commands"),
        *("command_parts", "evolution_commands", "evolution_task", "story", "serving_commands", "demo"),
    ),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agent_forge."):
            yield node.module.split(".")[1]


def test_every_import_goes_down():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if name != "__init__":
            wrong += [f"{path.name} imports {other}" for other in imported(path) if LEVEL[other] > LEVEL[name]]
    assert wrong == []


def test_files_of_tests_have_names_of_their_own():
    """They are imported by their name alone, so of two with the same name only one would be run."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []
