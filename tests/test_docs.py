"""The documents agree with the program: commands, fields, links and generated pages."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from agent_forge.cli import app
from agent_forge.config import QuietSTaRConfig, parse_assignment

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_field_reference_is_up_to_date():
    found = (ROOT / "docs/configuration.md").read_text()
    assert found == script("write_reference").reference(), "run `make docs`"
    assert all(f"| `{name}` |" in found for name in QuietSTaRConfig.model_fields)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_options_and_fields_exist(page):
    text = page.read_text()
    for command, rest in re.findall(r"\bforge ([a-z][a-z-]+)([^`\n#]*)", text):
        assert command in COMMANDS, f"forge {command}"
        options = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert not set(re.findall(r"--[a-z-]+", rest)) - options - {"--help"}, f"forge {command}{rest}"
    for assignment in re.findall(r"--set ([a-z_]+=\w+)", text):
        parse_assignment(assignment)
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"\b(?:bench|tests|scripts)/\w+\.py\b", text):
        assert (ROOT / path).exists(), path


def test_the_self_check_runs_the_suite_and_passes_its_verdict_on():
    def run(*arguments):
        command = [sys.executable, str(ROOT / "scripts/test_quietstar.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = run("tests/test_statistics.py", "-k", "holm", "-p", "no:cacheprovider")
    assert good.returncode == 0 and "passed" in good.stdout, good.stdout + good.stderr
    assert run("tests/no_such_file.py").returncode == 2
    assert "pytest" in run("--help").stdout
