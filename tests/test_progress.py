"""Log lines: JSON where nobody watches, with what is needed to find and to add them up, and no credentials."""

import io
import json

import pytest
from small_bake import SECRETS

from agent_forge.errors import ConfigError
from agent_forge.progress import Bar, JsonLines, Lines, LogLine, choose_progress
from agent_forge.records import Cost
from agent_forge.report.redact import MASK, secrets_of

BAKE_ID = "b" * 64
COST = Cost(seconds=1.5, tokens=7, questions=3, peak_memory_bytes=11, peak_device_memory_bytes=13)


def logged(act, secrets=()):
    """Return what is logged as JSON, each line parsed."""
    stream = io.StringIO()
    lines = JsonLines(stream, secrets)
    act(lines)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_which_run_stage_and_cell_it_is_of():
    def act(log):
        log.run(BAKE_ID)
        log.stage("evaluate-round/2-0", "began")
        log.note("warning: memory ran out")
        log.stage("evaluate-round/2-0", "ended after 1.5 s", COST)
        log.note("after it")

    began, warned, ended, after = logged(act)
    assert [began[key] for key in ("run", "stage", "cell", "level")] == ["b" * 12, "evaluate-round", "2-0", "info"]
    assert (warned["level"], warned["message"], warned["cell"]) == ("warning", "memory ran out", "2-0")
    assert Cost.model_validate({name: ended[name] for name in Cost.model_fields}) == COST
    assert "seconds" not in began and "stage" not in after


def test_a_line_of_another_process_becomes_one_of_this_run():
    (other,) = logged(lambda log: log.note("warning: inside"))

    def act(log):
        log.run(BAKE_ID)
        log.stage("verify", "began")
        log.note(json.dumps(other))
        log.note("not JSON")
        log.note('{"json": "of something else"}')

    _, line, *rest = logged(act)
    assert (line["level"], line["message"], line["run"], line["stage"]) == ("warning", "inside", "b" * 12, "verify")
    assert [plain["message"] for plain in rest] == ["not JSON", '{"json": "of something else"}']
    plain = io.StringIO()
    Lines(plain).note(json.dumps(other))
    assert plain.getvalue() == "warning: inside\n"


@pytest.mark.parametrize("kind", [Lines, JsonLines])
def test_credentials_are_masked_in_every_line(kind):
    stream = io.StringIO()
    log = kind(stream, secrets_of(SECRETS | {"PWD": "/work/place", "SHORT_TOKEN": "a"}))
    log.note(f"key {SECRETS['WANDB_API_KEY']} in /work/place at s3://AKIA:secret@bucket")
    log.stage(f"stage {SECRETS['HF_TOKEN']}", f"ended {SECRETS['HF_TOKEN']}")
    said = stream.getvalue()
    assert not [secret for secret in (*SECRETS.values(), "secret@") if secret in said]
    assert MASK in said and "/work/place" in said


@pytest.mark.parametrize(
    ("chosen", "terminal", "kind"),
    [("", True, Bar), ("", False, JsonLines), ("text", False, Lines), ("json", True, JsonLines), ("auto", True, Bar)],
)
def test_the_format_follows_the_terminal_unless_it_is_chosen(monkeypatch, chosen, terminal, kind):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    assert type(choose_progress({"FORGE_LOG": chosen})) is kind


def test_another_format_is_refused():
    with pytest.raises(ConfigError, match="auto, text or json"):
        choose_progress({"FORGE_LOG": "xml"})


def test_every_line_of_a_run_is_one_of_its_log(undisturbed):
    *said, _verdict, _why, _model, _report = undisturbed.said.read_text().splitlines()
    lines = [LogLine.model_validate_json(line) for line in said]
    assert len({line.run for line in lines}) == 1 and lines[0].run
    spent = {line.stage: line for line in lines if line.seconds is not None}
    assert {"load-and-extend", "evaluate-round", "bake", "verify", "push-artifact"} <= set(spent)
    assert spent["verify"].tokens and spent["bake"].peak_memory_bytes


def test_no_credential_is_in_anything_a_run_leaves_or_says(undisturbed):
    files = [undisturbed.said, *(path for path in undisturbed.finished.rglob("*") if path.is_file())]
    assert len(files) > 20
    leaking = [path for path in files if any(secret.encode() in path.read_bytes() for secret in SECRETS.values())]
    assert leaking == []
