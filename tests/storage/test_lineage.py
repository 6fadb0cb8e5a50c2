"""A lineage is walked from manifest to manifest; what is missing or was changed on the way is said."""

import json
import shutil

import pytest
from storage.published import SAMPLE, evolve_small, publish_small, sha256

from agent_forge.errors import CheckFailed, InputError
from agent_forge.records import ParentRecord
from agent_forge.storage.artifact import verify_artifact
from agent_forge.storage.lineage import walk
from agent_forge.storage.manifest import MANIFEST, manifest_text, sealed
from agent_forge.storage.minisign import SIGNATURE, generate, sign
from agent_forge.storage.origin import champion_digest, origin_of, selected_on


@pytest.fixture
def three(tmp_path):
    """Three published models, each baked from the one before; oldest first."""
    places = [tmp_path / name for name in ("first", "second", "third")]
    for place, champion in zip(places, [None, *places], strict=False):
        publish_small(place, champion)
    return places


def test_a_lineage_ends_at_the_first_champion(three):
    found = walk(str(three[2]))
    assert [link.uri for link in found] == [str(three[2]), three[1].as_uri(), three[0].as_uri(), SAMPLE.champion.uri]
    assert [link.bake_id for link in found] == [verify_artifact(place).bake_id for place in reversed(three)] + [None]
    assert found[-1].digest == SAMPLE.champion.digest
    assert (found[0].accuracy_before, found[0].accuracy_after) == (
        SAMPLE.verification.champion_accuracy,
        SAMPLE.verification.baked_accuracy,
    )


def test_a_missing_parent_is_said(three):
    shutil.rmtree(three[0])
    with pytest.raises(CheckFailed, match=r"first/manifest\.json is missing"):
        walk(str(three[2]))


def test_a_parent_that_was_published_anew_is_said(three):
    changed = verify_artifact(three[0]).model_copy(update={"created_at": "2030-01-01T00:00:00Z"})
    (three[0] / MANIFEST).write_text(manifest_text(sealed(changed)))
    with pytest.raises(CheckFailed, match=r"first/manifest\.json was changed"):
        walk(str(three[2]))


def test_a_circle_is_noticed(three, monkeypatch):
    # No real chain can be one; a made up one says that its parent is itself.
    parent = ParentRecord(uri=three[0].as_uri(), manifest_sha256=sha256(three[0] / MANIFEST))
    older = verify_artifact(three[0])
    turned = older.model_copy(update={"champion": older.champion.model_copy(update={"parent": parent})})
    monkeypatch.setattr("agent_forge.storage.lineage.parse_manifest", lambda *_: turned)
    with pytest.raises(CheckFailed, match="leads back to itself"):
        walk(str(three[0]))


def test_a_directory_without_a_manifest_has_no_lineage(tmp_path):
    with pytest.raises(InputError, match="not a published model"):
        walk(str(tmp_path))


def test_the_origin_of_a_published_model_is_its_manifest(three):
    origin = origin_of(str(three[1]), three[1], champion_digest(three[1]))
    assert origin.parent == ParentRecord(
        uri=three[1].as_uri(),
        manifest_sha256=sha256(three[1] / MANIFEST),
        bake_id=verify_artifact(three[1]).bake_id,
        intact=True,
    )


def test_a_signature_leaves_a_model_intact_and_another_config_does_not(three):
    (three[1] / SIGNATURE).write_text(sign((three[1] / MANIFEST).read_bytes(), generate(), "x"))
    assert origin_of(str(three[1]), three[1], champion_digest(three[1])).parent.intact
    (three[1] / "config.json").write_text('{"changed": true}')
    assert not origin_of(str(three[1]), three[1], champion_digest(three[1])).parent.intact


def test_another_programs_manifest_is_where_a_lineage_ends(tmp_path):
    champion = tmp_path / "champions" / "ab12"
    champion.mkdir(parents=True)
    (champion / "config.json").write_text("{}")
    (champion / MANIFEST).write_text(json.dumps({"generation": 7, "parents": ["a", "b"]}))
    origin = origin_of(str(champion), champion, champion_digest(champion))
    assert origin.parent == ParentRecord(uri=champion.as_uri(), manifest_sha256=sha256(champion / MANIFEST))
    publish_small(tmp_path / "baked", champion)
    bake, last = walk(str(tmp_path / "baked"))
    assert last.uri == champion.as_uri() and last.bake_id is None and last.manifest_sha256
    assert last.digest == bake.champion_digest == champion_digest(champion)


def test_a_damaged_parent_is_no_champion(three):
    content = (three[0] / MANIFEST).read_bytes()
    (three[0] / MANIFEST).write_bytes(content.replace(b'"bake_id"', b'"cake_id"', 1))
    with pytest.raises(CheckFailed, match="own digest does not fit"):
        origin_of(str(three[0]), three[0], champion_digest(three[0]))


CARDS = {
    "plain": ("---\nlicense: mit\nbase_model: a/b\n---\n# x", "mit", ("a/b",)),
    "lists": ("---\nlicense: [mit]\nbase_model: [a/b, c/d, 7]\n---\n", "mit", ("a/b", "c/d")),
    "windows": ("---\r\nlicense: apache-2.0\r\n---\r\ntext", "apache-2.0", ()),
    "hostile": ("---\nlicense: \"mit\\n---\\n# injected\"\nbase_model: '../x'\n---\n", None, ()),
}


@pytest.mark.parametrize("name", CARDS)
def test_licence_and_origin_are_read_from_the_champions_card(tmp_path, name):
    text, licence, models = CARDS[name]
    (tmp_path / "README.md").write_bytes(text.encode())
    card = origin_of(str(tmp_path), tmp_path, "").card
    assert (card.license, card.base_model) == (licence, models)


@pytest.mark.parametrize(
    "text", ["no front matter", "---\n- a list\n---\n", "---\n!!python/object:os.x {}\n---\n", "---"]
)
def test_other_cards_say_nothing(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    assert origin_of(str(tmp_path), tmp_path, "").card is None


def test_commands_say_it_in_lines(three, refusal, monkeypatch, capsys):
    from agent_forge import cli

    monkeypatch.setattr("sys.argv", ["forge", "lineage", str(three[2])])
    assert cli._run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bake", "bake", "bake", "first"]
    monkeypatch.setattr("sys.argv", ["forge", "lineage", str(three[2]), "--json"])
    assert cli._run() == 0
    assert [link["uri"] for link in json.loads(capsys.readouterr().out)][-1] == SAMPLE.champion.uri
    shutil.rmtree(three[0])
    monkeypatch.setattr("sys.argv", ["forge", "lineage", str(three[2])])
    assert cli._run() == 1
    assert "is missing" in capsys.readouterr().err


def test_a_lineage_ends_at_an_evolved_champion_and_names_what_it_was_merged_from(tmp_path):
    evolve_small(tmp_path / "evolved")
    publish_small(tmp_path / "baked", tmp_path / "evolved")
    (champion,) = walk(str(tmp_path / "baked"))[1:]
    assert champion.evolution_id == "e" * 64 and champion.merged_from == (f"hf://x/math ({'d' * 12})",)
    assert champion.uri == (tmp_path / "evolved").as_uri() and champion.bake_id is None
    assert walk(str(tmp_path / "evolved"))[0].evolution_id == champion.evolution_id


def test_what_chose_a_champion_is_passed_on_by_the_model_that_was_baked_from_it(tmp_path):
    evolved = evolve_small(tmp_path / "evolved")
    publish_small(tmp_path / "baked", tmp_path / "evolved", selected_on=evolved.selected_on)
    publish_small(tmp_path / "other")
    told = {
        name: selected_on((tmp_path / name / MANIFEST).read_bytes(), name) for name in ("evolved", "baked", "other")
    }
    assert told == {"evolved": evolved.selected_on, "baked": evolved.selected_on, "other": ()}
    assert selected_on(b'{"name": "of another program"}', "m") == selected_on(None, "m") == ()
    # A champion that was changed after its manifest is still one that those questions chose.
    (tmp_path / "evolved/config.json").write_text('{"changed": true}')
    origin = origin_of(str(tmp_path / "evolved"), tmp_path / "evolved", champion_digest(tmp_path / "evolved"))
    assert origin.parent.intact is False and origin.parent.bake_id is None
