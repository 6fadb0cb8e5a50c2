"""Data sets from the hub; the stand-in is the client's three calls, at the edge of the network."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from published_rows import parquet, rows

from agent_forge.errors import QuestionError
from agent_forge.questions.sources import load_task
from agent_forge.questions.sources.bbh import TASKS
from agent_forge.questions.sources.hub import HubPart, choose_configurations, split_names

# repository -> configuration -> split -> rows
Repositories = Mapping[str, Mapping[str, Mapping[str, list[dict[str, object]]]]]


class Hub:
    """A hub with these repositories; unlike the real one in nothing that is asked of it here."""

    def __init__(self, repositories: Repositories) -> None:
        self.repositories = repositories
        self.asked: list[tuple[str, str | None, str]] = []

    def get_dataset_config_names(self, repository: str) -> list[str]:
        return list(self._at(repository))

    def get_dataset_split_names(self, repository: str, configuration: str | None) -> list[str]:
        return list(self._at(repository)[configuration or "default"])

    def load_dataset(self, repository: str, configuration: str | None, split: str) -> list[dict[str, object]]:
        self.asked.append((repository, configuration, split))
        return self._at(repository)[configuration or "default"][split]

    def _at(self, repository: str) -> Mapping[str, Mapping[str, list[dict[str, object]]]]:
        if repository not in self.repositories:
            raise ConnectionError(f"Couldn't reach {repository}\non the hub")
        return self.repositories[repository]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    choice, split = rows("choice", 3), {"train": rows("choice", 3), "test": rows("choice", 2, 50)}
    subjects = ("algebra", "counting_and_probability", "geometry", "intermediate_algebra")
    subjects += ("number_theory", "prealgebra", "precalculus")
    made = Hub(
        {
            "openai/gsm8k": {"main": {"train": rows("gsm8k", 3), "test": rows("gsm8k", 2, 50)}, "socratic": {}},
            "EleutherAI/hendrycks_math": {name: {"train": rows("math", 1, n)} for n, name in enumerate(subjects)},
            "HuggingFaceH4/MATH-500": {"default": {"test": rows("math", 2, 50)}},
            "allenai/ai2_arc": {"ARC-Challenge": split, "ARC-Easy": {**split, "validation": choice}},
            "tau/commonsense_qa": {
                "default": {"train": choice, "validation": rows("choice", 2, 50), "test": [{"answerKey": ""}]}
            },
            "SaylorTwift/bbh": {task: {"test": rows("bbh", 2, 2 * n)} for n, task in enumerate(TASKS)},
            "me/copy": {"default": {"train": rows("gsm8k", 4), "test": rows("gsm8k", 3, 50)}},
            "me/two": {"easy": {"validation": rows("gsm8k", 3)}, "hard": {"train": rows("gsm8k", 1)}},
        }
    )
    monkeypatch.setitem(sys.modules, "datasets", made)
    return made


COUNTS = {
    "gsm8k": (3, 2),
    "math": (7, 2),
    "math500": (0, 2),
    "reasoning": (3, 2),
    "arc-challenge": (3, 2),
    "arc-easy": (3, 2),
    "commonsenseqa": (3, 2),
    "bbh/dyck_languages": (0, 2),
    "bbh": (0, 54),
}


@pytest.mark.parametrize("name", COUNTS)
def test_every_named_data_set_comes_from_the_hub_in_its_published_parts(name: str, hub: Hub) -> None:
    found = load_task(name)
    assert (len(found.parts.get("train", ())), len(found.parts["test"])) == COUNTS[name]
    assert found.task == name and {q.task for part in found.parts.values() for q in part} == {name}
    judged = {split for _, _, split in hub.asked} - {"train"}
    assert judged == {"validation" if name == "commonsenseqa" else "test"} == {found.names["test"]}
    assert all(repository in found.source for repository, _, _ in hub.asked)


@pytest.mark.parametrize("place", ["me/copy", "hf://me/copy", "me/copy:default"])
def test_another_repository_is_read_in_a_familys_form(place: str, hub: Hub) -> None:
    found = load_task(f"gsm8k:{place}")
    assert {part: len(questions) for part, questions in found.parts.items()} == {"train": 4, "test": 3}
    assert found.task == f"gsm8k:{place.removeprefix('hf://')}" == found.parts["train"][0].task
    assert found.source == "me/copy:train, me/copy:test"


def test_the_familys_own_configuration_comes_first(hub: Hub) -> None:
    load_task("gsm8k:openai/gsm8k")
    assert {configuration for _, configuration, _ in hub.asked} == {"main"}


def test_validation_questions_are_judged_on_where_there_are_no_test_questions(hub: Hub) -> None:
    found = load_task("gsm8k:me/two:easy")
    assert set(found.parts) == {"test"} and found.names == {"test": "validation"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm8k:me/two", "me/two has the configurations easy, hard.*gsm8k:me/two:CONFIGURATION"),
        ("gsm8k:me/two:none", "me/two has the configurations easy, hard, not none"),
        ("gsm8k:me/two:hard", "me/two has the splits train, none of which"),
        ("gsm8k:me/none", r"gsm8k:me/none cannot be loaded from the hub .*Couldn't reach me/none\)"),
        ("math:me/copy", "me/copy:train:1: no field problem; found question, answer"),
    ],
)
def test_a_repository_that_cannot_be_read_is_one_line(name: str, message: str, hub: Hub) -> None:
    with pytest.raises(QuestionError, match=message) as caught:
        load_task(name)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_for_any_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(QuestionError, match=r"agent-forge\[datasets\]"):
        load_task("gsm8k:me/copy")


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/nonexistent")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(QuestionError, match=r"Permission denied: '/nonexistent'.*dataset_path"):
        load_task("commonsenseqa")


README = """---
configs:
- config_name: main
  data_files: [{split: train, path: main/train-*.parquet}, {split: test, path: main/test-*.parquet}]
- config_name: socratic
  data_files: [{split: train, path: socratic/train-*.parquet}]
---
"""


def test_the_package_itself_reads_a_repository_as_this_asks_it_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "gsm8k"
    for part, first in (("train", 0), ("test", 50)):
        for shard in range(2):
            name = f"{part}-{shard:05d}-of-00002.parquet"
            parquet(repository / "main" / name, rows("gsm8k", 3, first + 3 * shard))
    parquet(repository / "socratic" / "train-00000-of-00001.parquet", rows("gsm8k", 1))
    (repository / "README.md").write_text(README)
    found = str(repository)
    assert choose_configurations("gsm8k:x", found, None, ("main",)) == ("main",)
    assert sorted(split_names("gsm8k:x", found, "main")) == ["test", "train"]
    read = list(HubPart(found, ("main",), "test").rows("gsm8k"))
    assert [row for _, row in read] == rows("gsm8k", 6, 50) and read[5][0] == f"{found}:test:6"
    with pytest.raises(QuestionError, match="has the configurations main, socratic"):
        choose_configurations("gsm8k:x", found, None, ("none",))
    with pytest.raises(QuestionError, match="validation") as caught:
        list(HubPart(found, ("main",), "validation").rows("gsm8k"))
    assert "\n" not in str(caught.value)
