"""One vocabulary for models whose tokenizers are the same but for added tokens.

The speaker's tokenizer keeps its ids; tokens that only others have follow after its last. A model gets rows of its
embeddings by token, not by id. A row that it lacks is taken from the base where that has the token, otherwise the mean
of the models that have it (mergekit's rule for unions): so a token of one parent alone keeps that parent's row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agent_forge.errors import ChampionError
from agent_forge.evolution.source import Source
from agent_forge.evolution.tensors import read_rows, read_tensor
from agent_forge.models.checks import read_json

# Parts of tokenizer.json that say how text becomes ids, beside added tokens; the others are the speaker's.
_COMPARED = ("normalizer", "pre_tokenizer", "model", "decoder")
_SLOW_FILES = ("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tekken.json")
_ABSENT = -1


@dataclass(frozen=True)
class Vocabulary:
    """Rows of the merged embeddings.

    Attributes:
        rows: how many there are.
        wanted: for every model which of its own rows each row is, -1 where it has none; empty when none moves.
        added: entries of tokenizer.json that the speaker's lacks.
        base: number of the base among the models, if there is one.
    """

    rows: int
    wanted: tuple[torch.Tensor, ...]
    added: tuple[Mapping[str, Any], ...]
    base: int | None

    def read(self, sources: Sequence[Source], number: int, name: str) -> torch.Tensor:
        """Return a model's tensor with one row for each token of the merged vocabulary."""
        own = read_tensor(sources[number].places[name])
        if not self.wanted:
            return own
        wanted = self.wanted[number]
        aligned = own.new_zeros((self.rows, *own.shape[1:]))
        present = wanted != _ABSENT
        aligned[present] = own[wanted[present]]
        for row in torch.nonzero(~present).flatten().tolist():
            if (lent := self._lent(sources, row, name)) is not None:
                aligned[row] = lent.to(own.dtype)
        return aligned

    def _lent(self, sources: Sequence[Source], row: int, name: str) -> torch.Tensor | None:
        donors = [number for number, wanted in enumerate(self.wanted) if wanted[row] != _ABSENT]
        if self.base is not None and self.base in donors:
            donors = [self.base]
        found = [read_rows(sources[d].places[name], [int(self.wanted[d][row])])[0].float() for d in donors]
        return torch.stack(found).mean(dim=0) if found else None


def common_vocabulary(sources: Sequence[Source], speaker: int, base: int | None) -> Vocabulary:
    """Return the vocabulary of a merge.

    Raises:
        ChampionError: when tokenizers differ in more than added tokens.
    """
    files = [_tokenizer(source) for source in sources]
    for source, file in zip(sources, files, strict=True):
        _check_same(sources[speaker], files[speaker], source, file)
    tokens = [_added_ids(file) for file in files]
    plain = _plain_ids(files[speaker])
    union, added = _union(files, tokens, speaker, plain)
    rows = max(
        *(source.rows for source in sources), *(index + 1 for token, index in union.items() if token in added), 1
    )
    if not added and all(own == union for own in tokens) and all(source.rows == rows for source in sources):
        return Vocabulary(rows, (), (), base)
    wanted = tuple(_wanted(source, own, plain, union, rows) for source, own in zip(sources, tokens, strict=True))
    _check_rows(added, union, wanted)
    return Vocabulary(rows, wanted, tuple(added.values()), base)


def extend_tokenizer(directory: Path, vocabulary: Vocabulary) -> None:
    """Add the tokens of the other models to the speaker's tokenizer, which was copied to a directory.

    Raises:
        ChampionError: when the tokenizer would number them otherwise.
    """
    from tokenizers import Tokenizer

    if not vocabulary.added:
        return
    content = read_json(directory / "tokenizer.json")
    content["added_tokens"] = [*content.get("added_tokens", ()), *vocabulary.added]
    text = json.dumps(content, ensure_ascii=False)
    tokenizer = Tokenizer.from_str(text)
    for entry in vocabulary.added:
        if tokenizer.token_to_id(entry["content"]) != entry["id"]:
            raise ChampionError(
                f"cannot merge: the speaker's tokenizer has gaps among its ids and cannot take {entry['content']}"
            )
    (directory / "tokenizer.json").write_text(text, encoding="utf-8")
    _add_to_settings(directory / "tokenizer_config.json", vocabulary)


def _add_to_settings(path: Path, vocabulary: Vocabulary) -> None:
    if not path.is_file() or "added_tokens_decoder" not in (settings := read_json(path)):
        return
    for entry in vocabulary.added:
        settings["added_tokens_decoder"][str(entry["id"])] = {k: v for k, v in entry.items() if k != "id"}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tokenizer(source: Source) -> dict[str, Any]:
    from tokenizers import Tokenizer

    if (file := source.path / "tokenizer.json").is_file():
        try:
            # Written anew by one version: files of others say the same in other words.
            content: dict[str, Any] = json.loads(Tokenizer.from_file(str(file)).to_str())
        except Exception as cause:
            raise ChampionError(f"{file} is not a tokenizer ({cause}); download or copy it again") from cause
        return content
    found = {name: (source.path / name).read_bytes() for name in _SLOW_FILES if (source.path / name).is_file()}
    return {"model": found}


def _check_same(speaker: Source, expected: Mapping[str, Any], source: Source, found: Mapping[str, Any]) -> None:
    for part in _COMPARED:
        if expected.get(part) != found.get(part):
            raise ChampionError(
                f"cannot merge: the tokenizers of {speaker.label} and {source.label} differ in their {part}; only "
                "added tokens may differ"
            )


def _plain_ids(file: Mapping[str, Any]) -> frozenset[int]:
    """Return the ids of the tokenizer's model, which all tokenizers have in common."""
    vocabulary = file["model"].get("vocab", {})
    return frozenset(vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary)))


def _added_ids(file: Mapping[str, Any]) -> dict[str, int]:
    return {entry["content"]: entry["id"] for entry in file.get("added_tokens") or ()}


def _union(
    files: Sequence[Mapping[str, Any]], tokens: Sequence[Mapping[str, int]], speaker: int, plain: frozenset[int]
) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    union = dict(tokens[speaker])
    added: dict[str, dict[str, Any]] = {}
    free = max((*plain, *union.values()), default=-1) + 1
    for file in files:
        for entry in sorted(file.get("added_tokens") or (), key=lambda entry: int(entry["id"])):
            token = entry["content"]
            # Part of the common model: the speaker knows it already, if not as an added token.
            if token not in union and entry["id"] not in plain:
                union[token], added[token] = free, {**entry, "id": free}
                free += 1
    return union, added


def _wanted(
    source: Source, own: Mapping[str, int], plain: frozenset[int], union: Mapping[str, int], rows: int
) -> torch.Tensor:
    """Return which row of a model each row is: by token where there is one, else the same row where it is spare too."""
    wanted = torch.arange(rows)
    wanted[source.rows :] = _ABSENT
    for index in own.values():
        if index not in plain and index < rows:
            wanted[index] = _ABSENT
    for token, index in union.items():
        if index not in plain and index < rows:
            mine = own.get(token, source.rows)
            wanted[index] = mine if mine < source.rows else _ABSENT
    return wanted


def _check_rows(added: Mapping[str, Any], union: Mapping[str, int], wanted: Sequence[torch.Tensor]) -> None:
    for token in added:
        if all(rows[union[token]] == _ABSENT for rows in wanted):
            raise ChampionError(f"cannot merge: no model has an embedding row for the added token {token}")
