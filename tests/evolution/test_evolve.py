"""Whole evolutions of small real models: interrupted anywhere they end with the same champion, which a bake knows."""

import json
import shutil
from pathlib import Path

import pytest
from small_evolution import CHAMPION, FIELDS, SmallEvolution

from agent_forge.artifact_commands import lineage, verify_artifact
from agent_forge.config import build_config
from agent_forge.errors import ChampionError, CheckFailed
from agent_forge.evolution import scoring
from agent_forge.evolution.base_models import find_base_models
from agent_forge.evolution.evolve import prepare
from agent_forge.evolution.recipe import Recipe
from agent_forge.evolution.scoring import CANDIDATE, Scorer
from agent_forge.evolution_config import EvolutionConfig, load_settings
from agent_forge.evolution_records import GENERATIONS, ChampionManifest, EvolutionReport, GenerationRecord
from agent_forge.evomerge import EvoMerge
from agent_forge.questions.overlap import overlap_between
from agent_forge.records import Question, read_record, read_rows
from agent_forge.report.evolution_page import render_evolution
from agent_forge.stages.context import Silent, StageContext
from agent_forge.stages.prepare_questions import prepare_questions
from agent_forge.stages.resolve_champion import resolve_champion
from agent_forge.storage.files import file_sha256, path_digest
from agent_forge.storage.minisign import SIGNATURE, generate, write_pair
from agent_forge.storage.origin import champion_digest, origin_of
from agent_forge.storage.question_files import read_split, read_split_report


class Killed(BaseException):
    """What nothing here catches, as nothing catches a kill."""


class Fuse(Silent):
    """Progress that kills at the n-th sign of life, and counts them."""

    def __init__(self, length: int = 10**9) -> None:
        self.left, self.count, self.sampled = length, 0, 0

    def stage(self, *_: object) -> None:
        self._burn()

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self.sampled += total - done if what.startswith("baseline") else 0
        self._burn()

    def advance(self, *_: object) -> None:
        self._burn()

    def _burn(self) -> None:
        self.count += 1
        if self.count > self.left:
            raise Killed


def settings_of(small: SmallEvolution, out: Path, **changes: object):
    models = [str(path) for path in small.models]
    return load_settings({"base_models": models, "output_path": str(out), **FIELDS, **changes})


@pytest.fixture(scope="session")
def finished(small):
    """An evolution that nothing disturbed: its directory, its report, and what its progress counted."""
    out, fuse = small.root / "finished", Fuse()
    report = EvoMerge(settings_of(small, out, publish_to=str(small.root / "store")), progress=fuse).run()
    return out, report, fuse


def test_the_champion_is_a_whole_model_with_its_manifest(finished, small):
    out, report, _ = finished
    assert not report.winner.base_model and report.gain is not None
    assert path_digest(out / "best_model") == report.champion_digest
    assert read_record(EvolutionReport, out / "evolution.json") == report
    assert [read_record(GenerationRecord, path).number for path in sorted((out / "generations").iterdir())] == [0, 1, 2]
    manifest = read_record(ChampionManifest, out / "best_model/manifest.json")
    assert manifest.recipe == report.winner.recipe and len(manifest.selected_on) == 24 + 24 + 40
    published = small.root / "store/champions" / report.champion_digest
    assert report.manifest_path == str(published / "manifest.json") and path_digest(published) == report.champion_digest
    # Places on this machine have no business in what is published, but for where base models are found.
    assert str(small.root) not in (published / "merge.json").read_text()
    page = (out / "evolution.html").read_text()
    assert page == render_evolution(report) and report.gain.against in page and "<svg" in page
    assert not {"candidate", "partial"} & {path.name for path in out.iterdir()}


def test_every_recipe_is_scored_once(finished):
    out, report, fuse = finished
    digests = [c.recipe_sha256 for path in (out / "generations").iterdir() for c in record(path).candidates]
    assert len(list((out / "scores/evolve").glob("*.json"))) == len(set(digests))
    compared = 3 + len(report.elites)
    assert fuse.sampled == 24 * len(set(digests)) + 24 * compared + 40 * 4


def record(path: Path) -> GenerationRecord:
    return read_record(GenerationRecord, path)


def test_an_evolution_that_was_cut_off_ends_with_the_same_champion(finished, small, tmp_path):
    _, report, fuse = finished
    with pytest.raises(Killed):
        EvoMerge(settings_of(small, tmp_path / "out"), progress=Fuse(fuse.count // 2)).run()
    again = Fuse()
    resumed = EvoMerge(settings_of(small, tmp_path / "out"), resume=True, progress=again).run()
    left_out = {"model_path", "manifest_path"}
    assert resumed.model_dump(exclude=left_out) == report.model_dump(exclude=left_out)
    assert again.sampled < fuse.sampled


def test_an_evolution_that_is_done_asks_nothing_again(finished, small):
    out, report, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "best_model").iterdir()}
    again = Fuse()
    store = str(small.root / "store")
    assert EvoMerge(settings_of(small, out, publish_to=store), resume=True, progress=again).run() == report
    assert again.sampled == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "best_model").iterdir()} == before


def run_stage(stage, root: Path, inputs=(), **parameters: str):
    values = {name: value for name, value in FIELDS.items() if name in ("eval_dataset", "prompt_template")}
    config = build_config(
        {
            **values,
            "model_path": parameters.pop("model"),
            "output_path": str(root),
            "eval_samples": 300,
            "bake_samples": 300,
        }
    )
    outputs = {"champion": root / "champion.json", "questions": root / "questions"}
    return stage(StageContext(config, {}, parameters, outputs, root))


def test_the_bake_keeps_clear_of_what_chose_its_champion(finished, tmp_path):
    out, _, _ = finished
    model = str(out / "best_model")
    resolved = run_stage(resolve_champion, tmp_path, model=model).parameters
    assert json.loads(resolved["champion_selection"])["uri"] == (out / "best_model").resolve().as_uri()
    run_stage(prepare_questions, tmp_path, model=model, champion_selection=resolved["champion_selection"])
    baked = [question for split in ("bake", "gate", "verify") for question in read_split(tmp_path / "questions", split)]
    used = [q for path in (out / "questions").iterdir() for q in read_rows(Question, path)]
    assert {question.id for question in used} & {question.id for question in baked} == set()
    assert overlap_between(used, baked) == []
    report = read_split_report(tmp_path / "questions")
    assert report.digests == {**json.loads(resolved["question_digests"])}
    assert {question.id for question in report.selected_on} == {question.id for question in used}
    # Of a champion that nothing chose, it would ask some of them.
    plain = run_stage(resolve_champion, tmp_path, model=str(CHAMPION)).parameters
    assert plain["champion_selection"] == "{}"
    run_stage(prepare_questions, tmp_path / "plain", model=model)
    asked = {question.id for question in read_split(tmp_path / "plain/questions", "gate")}
    assert asked & {question.id for question in used}


def test_a_changed_manifest_stops_the_bake(finished, tmp_path):
    out, _, _ = finished
    model = Path(shutil.copytree(out / "best_model", tmp_path / "model"))
    resolved = run_stage(resolve_champion, tmp_path, model=str(model)).parameters
    (model / "manifest.json").unlink()
    with pytest.raises(Exception, match="removed or changed"):
        run_stage(prepare_questions, tmp_path, model=str(model), champion_selection=resolved["champion_selection"])


def test_a_champion_can_be_verified_and_has_a_lineage(finished, tmp_path, capsys):
    out, report, _ = finished
    verify_artifact(str(out / "best_model"))
    lineage(str(out / "best_model"))
    said = capsys.readouterr().out
    assert report.evolution_id in said and "noisy0" in said
    model = Path(shutil.copytree(out / "best_model", tmp_path / "model"))
    text = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(text.replace('"generation": ', '"generation":  '))
    with pytest.raises(CheckFailed, match="not as it was written"):
        verify_artifact(str(model))
    (model / "manifest.json").write_text(text)
    (model / "config.json").write_text("{}")
    with pytest.raises(CheckFailed, match=r"config\.json"):
        verify_artifact(str(model))


def test_a_signed_champion_is_the_same_champion(finished, small, tmp_path, capsys):
    out, report, _ = finished
    public = write_pair(generate(), tmp_path / "key")
    shutil.copytree(out, tmp_path / "out")
    store = tmp_path / "store"
    signed = settings_of(small, tmp_path / "out", publish_to=str(store), signing_key_file=str(tmp_path / "key"))
    for _ in range(2):
        assert EvoMerge(signed, resume=True).run().champion_digest == report.champion_digest
    for place in (tmp_path / "out/best_model", store / "champions" / report.champion_digest):
        assert champion_digest(place) == report.champion_digest != path_digest(place)
        assert origin_of(str(place), place, champion_digest(place)).parent.intact
        verify_artifact(str(place), public)
        lineage(str(place))
        assert "signed by key" in capsys.readouterr().out
        with pytest.raises(CheckFailed, match="not with"):
            verify_artifact(str(place), write_pair(generate(), tmp_path / f"other-{place.name}"))
    resolved = run_stage(resolve_champion, tmp_path / "bake", model=str(place))
    assert resolved.parameters["champion_digest"] == report.champion_digest
    (place / SIGNATURE).unlink()
    with pytest.raises(CheckFailed, match="is not signed"):
        verify_artifact(str(place), public)


def test_an_evolved_base_model_brings_along_what_chose_it(finished, small):
    out, _, _ = finished
    manifest = read_record(ChampionManifest, out / "best_model/manifest.json")
    config = EvolutionConfig(base_models=(str(out / "best_model"), str(small.models[1])))
    found = find_base_models(config, Silent())
    assert found.selected_on == manifest.selected_on
    assert found.parents[0].origin.manifest_sha256 == file_sha256(out / "best_model/manifest.json")


REFUSED = {
    "unknown model": ({"base_models": "nonesuch,other"}, ["nonesuch", "model_references", "hf://"]),
    "known names": (
        {"base_models": ["maths", "other"], "model_references": {"math": "x", "code": "y"}},
        ["maths", "code, math"],
    ),
    "one model": ({"base_models": "one"}, ["base_models"]),
    "unknown method": ({"methods": "magic"}, ["methods", "magic"]),
    "no base": ({"methods": "ties"}, ["ties", "base"]),
    "unknown field": ({"popluation": 3}, ["popluation", "population"]),
    "small population": ({"population": 2}, ["population", "4"]),
    "model path": ({"model_path": "x"}, ["model_path", "base_models"]),
    "too few questions": ({"confirm_samples": 10**6}, ["confirm_samples"]),
    "layer groups": ({"layer_groups": 9}, ["layer_groups", "3 layers"]),
    "a directory of no model": ({"base_models": ["/tmp", "/usr"]}, ["/tmp"]),
    "a key that is none": ({"signing_key_file": "/dev/null"}, ["/dev/null", "forge keygen"]),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_line(small, tmp_path, refusal, changes, words):
    rows = [{"prompt": f"{number} and {number}?", "reference": "1", "kind": "number"} for number in range(40)]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    few = {"eval_dataset": str(tmp_path / "few.jsonl"), "evolve_samples": 2, "select_samples": 2, "confirm_samples": 2}
    line = refusal(*small.arguments(tmp_path / "out", **{**few, **changes}))
    assert [word for word in words if word not in line] == [], line
    assert not (tmp_path / "out").exists()


def test_a_used_directory_is_refused(finished, small, refusal):
    out, _, _ = finished
    assert "--resume" in refusal(*small.arguments(out))


def test_an_interrupted_evolution_says_how_to_go_on(small, tmp_path, monkeypatch, capsys):
    from agent_forge import cli, progress

    class Interrupting(Fuse):
        def _burn(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "choose_progress", lambda: Interrupting())
    monkeypatch.setattr("sys.argv", ["forge", *small.arguments(tmp_path / "out")])
    assert cli._run() == 130
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and f"--resume to continue in {tmp_path / 'out'}" in said.err


class Told(Silent):
    """Progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


def test_processes_side_by_side_score_as_one_does(small, finished, tmp_path):
    told = Told()
    settings = settings_of(small, tmp_path / "out", processes=2, gens=1)
    EvoMerge(settings, progress=told).run()
    for name in ("0000.json", "0001.json"):
        assert (tmp_path / "out" / GENERATIONS / name).read_bytes() == (finished[0] / GENERATIONS / name).read_bytes()
    assert "evolve: 3 of 3 merges scored" in told.notes and "evolve: 4 of 4 merges scored" in told.notes
    assert not list((tmp_path / "out").glob(f"*{CANDIDATE}*"))


def test_when_every_merge_fails_the_best_base_model_is_handed_over(small, tmp_path, monkeypatch):
    whole = scoring.merge

    def broken(recipe, out):
        if len(recipe.parents) > 1:
            raise ChampionError("merged tensor x holds NaN")
        return whole(recipe, out)

    monkeypatch.setattr(scoring, "merge", broken)
    report = EvoMerge(settings_of(small, tmp_path / "out")).run()
    assert report.winner.base_model and report.gain is None and report.elites == ()
    assert [one.best for one in report.generations[1:]] == [None, None]
    assert read_record(ChampionManifest, tmp_path / "out/best_model/manifest.json").gain is None
    page, text = (tmp_path / "out" / name for name in ("evolution.html", "evolution.md"))
    assert "No merge is better" in page.read_text() and "failed" in text.read_text()


def test_other_settings_take_over_what_still_holds(finished, small, tmp_path):
    out, report, fuse = finished
    shutil.copytree(out, tmp_path / "out")
    longer = Fuse()
    after = EvoMerge(settings_of(small, tmp_path / "out", gens=3), resume=True, progress=longer).run()
    assert after.generations[:3] == report.generations and len(after.generations) == 4
    assert longer.sampled < fuse.sampled and after.evolution_id != report.evolution_id
    back = EvoMerge(settings_of(small, tmp_path / "out"), resume=True).run()
    # The champion of the other settings has made way, and so have the other's generations.
    assert back.champion_digest == report.champion_digest == champion_digest(tmp_path / "out/best_model")
    assert len(list((tmp_path / "out/generations").iterdir())) == 3


def test_a_recipe_that_no_model_comes_of_is_worse_than_any_and_remembered(small, tmp_path):
    settings = settings_of(small, tmp_path)
    prepared = prepare(settings, Silent())
    scorer = Scorer(settings, prepared.models, prepared.asked, tmp_path, Silent())
    broken = Recipe(method="linear", parents=prepared.space.parents, normalize=False, weights=(3e38, 3e38, 3e38))
    score = scorer.score(broken, "evolve")
    assert score.score is None and "infinity" in score.failure
    assert scorer.score(broken, "evolve") == score
    assert not (tmp_path / "candidate").exists() and not list((tmp_path / "partial").iterdir())
