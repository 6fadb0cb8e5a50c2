"""Plant leaks among a million innocent questions and look for them: found, innocent ones dropped, time and memory.

    python bench/leaks.py [--questions 1000000] [--seed 0] [--data DIR]

Questions have 60 words whose frequencies fall as in English text (Zipf); 100 leaks in ten disguises are planted in a
file that the other questions do not know. With `--data DIR`, which holds `gsm8k/train.jsonl`, `gsm8k/test.jsonl` and
`math500/test.jsonl` as published, the innocent questions dropped between those are counted instead. Exits 1 when a
planted leak is missed or one innocent question in a hundred is dropped.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from agent_forge.questions.overlap import NGRAM, find_shared
from agent_forge.questions.sources import TaskQuestions
from agent_forge.questions.split import split_questions
from agent_forge.records import Question

WORDS = 60
PLANTED = 100
VOCABULARY = 30_000
MOST_DROPPED = 0.01


def spaced(text: str, source: random.Random) -> str:
    return text.replace(" ", source.choice(["  ", "\n", "\t", "\u00a0", " \u200b"]))


def dashed(text: str, source: random.Random) -> str:
    return " ".join(f"{word}{source.choice(['', ',', ' —', ';', '…', ')'])}" for word in text.split())


def wide(text: str, _: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and c not in "'-*/" else c for c in text)


def inside(text: str, _: random.Random) -> str:
    return f"Here is one that I was asked yesterday: {text} That is all I remember of that test."


def span(text: str, source: random.Random) -> str:
    words = text.split()
    start = source.randrange(len(words) - NGRAM + 1)
    return f"unlike that one {' '.join(words[start : start + NGRAM])} and so on"


DISGUISES: tuple[Callable[[str, random.Random], str], ...] = (
    lambda text, _: text,
    lambda text, _: text.upper(),
    lambda text, _: text.title(),
    spaced,
    dashed,
    wide,
    inside,
    span,
    lambda text, source: dashed(span(text.upper(), source), source),
    lambda text, _: f"> **Q:** _{text}_\n> **A:**",
)


def innocent(count: int, seed: int) -> Iterator[str]:
    """Yield texts of 60 words, numbers among them; the most frequent word is a twentieth of the text."""
    source = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(source.choice(letters, source.integers(2, 10))) for _ in range(VOCABULARY)]
    words[7:200:10] = [str(number) for number in range(len(words[7:200:10]))]
    weights = 1 / (np.arange(VOCABULARY) + 2.7)
    cumulative = np.cumsum(weights / weights.sum())
    names = np.array(words, dtype=object)
    for _ in range(0, count, 1000):
        for row in names[np.searchsorted(cumulative, source.random((1000, WORDS)))]:
            yield " ".join(row)


def planted(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Return questions and their disguised copies."""
    source = random.Random(seed)
    originals = list(innocent(1000, seed + 1))[:count]
    # Short ones are planted whole.
    originals[::10] = [f"what is {n} + {n + 1} times {n % 7}" for n in range(0, count, 10)]
    copies = []
    for number, text in enumerate(originals):
        disguise = DISGUISES[(number + number // 10) % len(DISGUISES)] if number % 10 else inside
        copies.append(disguise(text, source))
    return originals, copies


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def synthetic(count: int, seed: int) -> bool:
    originals, copies = planted(PLANTED, seed)
    questions = [*originals, *innocent(count - PLANTED, seed + 2)][:count]
    others = [*copies, *innocent(max(count // 5, 1), seed + 3)]
    print(f"{count:,} questions of {WORDS} words against {len(others):,}; before: {peak():.2f} GiB", flush=True)
    began = time.perf_counter()
    leaking = [number for number, _ in find_shared(questions, others.__iter__)]
    found = sum(number < PLANTED for number in leaking)
    dropped = (len(leaking) - found) / (count - PLANTED)
    print(f"planted found {found} / {PLANTED}")
    print(f"innocent dropped {len(leaking) - found} ({dropped:.4%})")
    print(f"leaks: {time.perf_counter() - began:.0f} s, peak {peak():.2f} GiB", flush=True)
    del others
    began = time.perf_counter()
    asked = (
        Question(id=f"{number:07}", prompt=text, reference="7", kind="number") for number, text in enumerate(questions)
    )
    task = TaskQuestions("questions", {"any": tuple(asked)}, "synthetic")
    report = split_questions([task], [], 2, 2, None).report
    print(f"split: {report.counts}, {len(report.dropped)} dropped")
    print(f"split: {time.perf_counter() - began:.0f} s, peak {peak():.2f} GiB")
    return found == PLANTED and dropped < MOST_DROPPED


def published(directory: Path) -> bool:
    fields = {"gsm8k/train": "question", "gsm8k/test": "question", "math500/test": "problem"}
    texts = {
        name: [json.loads(line)[field] for line in (directory / f"{name}.jsonl").read_text("utf-8").splitlines()]
        for name, field in fields.items()
    }
    good = True
    for first, second in combinations(texts, 2):
        shared = list(find_shared(texts[first], texts[second].__iter__))
        rate = len(shared) / len(texts[first])
        print(f"{first} against {second}: {len(shared)} of {len(texts[first]):,} dropped ({rate:.2%})")
        for number, found in shared[:10]:
            print(f"  {number}: {found.gram}")
        good = good and rate < MOST_DROPPED
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    good = published(arguments.data) if arguments.data else synthetic(arguments.questions, arguments.seed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
