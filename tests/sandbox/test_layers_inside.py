"""What runs inside finds nothing but the standard library there."""

import ast
import sys
from pathlib import Path

import pytest

from agent_forge import sandbox
from agent_forge.sandbox.launch import INSIDE


@pytest.mark.parametrize("name", INSIDE)
def test_modules_that_run_inside_import_the_standard_library_and_each_other(name: str) -> None:
    tree = ast.parse(Path(sandbox.__file__).with_name(f"{name}.py").read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {f"agent_forge.sandbox.{other}" for other in INSIDE}
    assert {module for module in found if module.split(".")[0] not in sys.stdlib_module_names} <= own
