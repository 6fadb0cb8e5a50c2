"""The page as a whole: complete, well-formed, inert, self-contained, and the same every time."""

import html
import re
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import sample_run

from agent_forge.gate import judge
from agent_forge.records import Question, ResultRow
from agent_forge.report import formats
from agent_forge.report.page import render

NAMES = sorted(sample_run.RUNS)
VOID = {"meta", "link", "br", "img", "hr", "input", "source", "wbr"}
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(1)">\'"--></style></svg>&lt;{{ 7 * 7 }}'


class Outline(HTMLParser):
    """Elements with their attributes and ancestors, text by element, and every tag that does not match."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.mismatches: list[str] = []
        self.text: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.mismatches.append(f"</{tag}> in {self.open[-3:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def visible(self) -> str:
        return " ".join(" ".join(data for parent, data in self.text if parent not in ("style", "title")).split())


@cache
def page(name: str) -> str:
    return render(sample_run.RUNS[name]())


def outline(text: str) -> Outline:
    parsed = Outline()
    parsed.feed(text)
    parsed.close()
    return parsed


@pytest.mark.parametrize("name", NAMES)
def test_every_tag_is_closed_in_order(name):
    parsed = outline(page(name))
    assert parsed.mismatches == []
    assert parsed.open == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_loaded_and_nothing_runs(name):
    parsed = outline(page(name))
    tags = {tag for tag, _, _ in parsed.elements}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form", "audio", "video"})
    for tag, attributes, _ in parsed.elements:
        assert not any(key.startswith("on") or key in {"src", "srcset", "action", "data"} for key in attributes), tag
        for key in ("href", "xlink:href"):
            assert attributes.get(key, "#").startswith("#")
    styles = " ".join(data for parent, data in parsed.text if parent == "style")
    assert "@import" not in styles
    assert "url(" not in styles
    inline = re.findall(r"url\(([^)]*)\)", page(name))
    assert all(target.startswith("#") for target in inline)
    assert "http://" not in page(name)
    assert "https://" not in page(name)


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_links_lead_somewhere(name):
    parsed = outline(page(name))
    ids = [attributes["id"] for _, attributes, _ in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {
        attributes["href"].removeprefix("#") for tag, attributes, _ in parsed.elements if tag in {"a", "use"}
    } | set(re.findall(r"url\(#([^)]*)\)", page(name)))
    wanted |= {a["aria-labelledby"] for _, a, _ in parsed.elements if "aria-labelledby" in a}
    assert wanted <= set(ids)


@pytest.mark.parametrize("name", NAMES)
def test_headings_are_one_title_and_no_level_is_skipped(name):
    levels = [HEADINGS.index(tag) for tag, _, _ in outline(page(name)).elements if tag in HEADINGS]
    assert levels.count(0) == 1
    assert levels[0] == 0
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", NAMES)
def test_document_declares_language_encoding_and_width(name):
    parsed = outline(page(name))
    assert page(name).startswith("<!DOCTYPE html>\n<html lang=")
    assert parsed.all("html")[0]["lang"] == "en"
    assert {"charset": "utf-8"} in parsed.all("meta")
    assert any(meta.get("name") == "viewport" for meta in parsed.all("meta"))


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_a_caption_and_scoped_headers(name):
    parsed = outline(page(name))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all(header.get("scope") in {"col", "row"} for header in parsed.all("th"))


@pytest.mark.parametrize("name", NAMES)
def test_every_plot_has_a_text_alternative(name):
    parsed = outline(page(name))
    images = [attributes for _, attributes, _ in parsed.elements if attributes.get("role") == "img"]
    assert all(len(image["aria-label"]) > 40 for image in images)
    for tag, attributes, ancestors in parsed.elements:
        if tag == "svg":
            assert attributes["aria-hidden"] == "true"
            assert "figure" in ancestors or attributes.get("class") == "icon"
    drawn = [a for tag, a, ancestors in parsed.elements if tag == "svg" and "figure" in ancestors]
    assert len(drawn) == 2 * len(images)
    assert len(parsed.all("figcaption")) == len(images)


@pytest.mark.parametrize(
    ("name", "plots"),
    [("published", 6), ("rejected", 6), ("kept", 2), ("undecided", 3), ("harmed", 3), ("minimal", 0)],
)
def test_each_run_has_the_plots_that_apply(name, plots):
    assert page(name).count('role="img"') == plots


@pytest.mark.parametrize("name", ["published", "undecided"])
def test_the_same_facts_give_the_same_bytes(name):
    assert render(sample_run.RUNS[name]()) == page(name)


def test_the_order_of_rows_and_questions_does_not_show():
    facts = sample_run.published()
    shuffled = facts.model_copy(
        update={
            "gate_rows": facts.gate_rows[::-1],
            "verify_rows": facts.verify_rows[::-1],
            "questions": dict(reversed(facts.questions.items())),
            "costs": dict(reversed(facts.costs.items())),
        }
    )
    assert render(shuffled) == page("published")


def test_planned_looks_appear_with_what_each_asked_for():
    facts = sample_run.published()
    gate = judge(facts.gate_rows, **sample_run.LIMITS, planned=(facts.gate.questions, 2 * facts.gate.questions))
    seen = outline(render(facts.model_copy(update={"gate": gate}))).visible
    assert (
        "2 looks were planned" in seen and "It ended at look 1; 50.0% of the planned questions were not asked" in seen
    )
    for look in gate.looks.planned:
        assert f"{look.questions} {formats.significant(look.level)} {look.boundary:.3f}" in seen
    assert "looks were planned" not in outline(page("published")).visible


@pytest.mark.parametrize("name", ["published", "rejected", "kept", "undecided", "harmed"])
def test_every_figure_of_the_gate_appears(name):
    facts = sample_run.RUNS[name]()
    gate, seen = facts.gate, outline(page(name)).visible
    figures = [
        gate.verdict,
        gate.reason,
        formats.percent(gate.baseline_accuracy),
        formats.percent(gate.thought_accuracy),
        formats.percent(gate.pause_accuracy),
        formats.points(gate.difference),
        formats.points_interval(gate.confidence_interval),
        f"{100 * gate.confidence_level:g}% interval",
        f"p {formats.probability(gate.p_value)}",
        f"at most {gate.alpha} is asked for",
        formats.threshold(gate.min_improvement),
        formats.threshold(gate.non_inferiority_margin),
        formats.threshold(gate.minimum_detectable_effect),
        f"found in {formats.percent(gate.power)}",
        f"Rounds {formats.plural(gate.effective_rounds, 'distinct round')}; repeated answers count once. {gate.rounds}",
        f"{gate.flips.gained} and {gate.flips.lost}",
        f"Better by thinking: {formats.plural(gate.flips.gained, 'question')}",
        f"Worse by thinking: {formats.plural(gate.flips.lost, 'question')}",
        formats.points(gate.thought_minus_pause),
        f"p {formats.probability(gate.pause_p_value)}",
        *gate.warnings,
    ]
    for task in gate.per_task:
        figures += [
            f"{task.task} {task.role} {task.questions} {formats.percent(task.baseline_accuracy)} "
            f"{formats.percent(task.thought_accuracy)} {formats.points(task.difference).removesuffix(' points')} "
            f"{formats.points_interval(task.confidence_interval).removesuffix(' points')} "
            f"{formats.points(task.lower_bound).removesuffix(' points')} "
            f"{formats.probability(task.p_value).removeprefix('= ')}"
        ]
    assert [figure for figure in figures if " ".join(figure.split()) not in seen] == []


@pytest.mark.parametrize("name", ["published", "rejected"])
def test_every_figure_of_the_verification_appears(name):
    facts = sample_run.RUNS[name]()
    report, seen = facts.verification, outline(page(name)).visible
    shares = ("champion_accuracy", "baked_accuracy", "thought_accuracy", "swapped_accuracy")
    rates = ("retention", "opened_rate", "well_formed_rate", "min_well_formed_rate")
    figures = [
        report.reason,
        *(formats.percent(getattr(report, field)) for field in (*shares, *rates)),
        formats.points(report.difference),
        formats.points_interval(report.confidence_interval),
        formats.points(report.swapped_difference),
        f"p {formats.probability(report.swapped_p_value)}",
        f"{report.flips.gained} and {report.flips.lost}",
    ]
    assert [figure for figure in figures if figure not in seen] == []
    assert seen.count("✕ failed") == len(report.failed_checks)
    assert seen.count("✓ passed") == 4 - len(report.failed_checks)


def test_traces_costs_and_manifest_appear():
    facts = sample_run.published()
    seen = outline(page("published")).visible
    assert all(f"{count:,}" in seen for count in (facts.traces.samples, facts.traces.kept, facts.traces.questions))
    assert all(f"{count:,}" in seen for count in facts.traces.rejected.values())
    assert all(f"{stage} {formats.duration(cost.seconds)}" in seen for stage, cost in facts.costs.items())
    assert f"Total {formats.duration(sum(cost.seconds for cost in facts.costs.values()))}" in seen
    assert all(file.sha256 in seen for file in facts.manifest.files)
    assert all(digest in seen for digest in facts.splits.digests.values())
    assert facts.champion.digest in seen


@pytest.mark.parametrize(
    ("name", "word", "steps"),
    [
        ("published", "Published", "✓✓✓✓"),
        ("rejected", "Rejected", "✓✓✕–"),
        ("kept", "Left as it was", "✓–––"),
        ("harmed", "Left as it was", "✓–––"),
        ("undecided", "Undecided", "✓–––"),
        ("minimal", "In progress", "…………"),
    ],
)
def test_first_screen_names_the_outcome(name, word, steps):
    assert f": {word}</title>" in page(name)
    assert f"</svg>{word}</p>" in page(name)
    assert "".join(re.findall(r'class="dot" aria-hidden="true">(.)<', page(name))) == steps


@pytest.mark.parametrize("name", ["kept", "harmed", "undecided"])
def test_sections_that_do_not_apply_say_so_in_one_line(name):
    verdict = sample_run.RUNS[name]().gate.verdict
    assert page(name).count(f"Not part of this run: the verdict is {verdict}, so ") == 3
    assert "There is none: this run published no model." in page(name)


def hostile_run():
    facts = sample_run.rejected()
    rows = tuple(
        ResultRow.model_validate(
            {
                **row.model_dump(exclude={"completion_sha256"}),
                "completion": f"{row.completion}{HOSTILE}\x00\x1b[31m\ud800\ufffe\u202e{row.round}",
                "thought": HOSTILE * 40,
                "extracted": HOSTILE,
                "task": f"$a_b$ {HOSTILE}",
            }
        )
        for row in facts.verify_rows
    )
    questions = {
        key: Question(**{**question.model_dump(), "prompt": HOSTILE + question.prompt, "reference": HOSTILE})
        for key, question in facts.questions.items()
    }
    tasks = tuple(
        task.model_copy(update={"task": f"$a_b$ {HOSTILE} {n}"}) for n, task in enumerate(facts.gate.per_task * 2)
    )
    gate = facts.gate.model_copy(update={"per_task": tasks, "reason": HOSTILE, "warnings": (HOSTILE,)})
    config = {HOSTILE: {HOSTILE: HOSTILE}}
    traces = facts.traces.model_copy(update={"rejected": {HOSTILE: 3, "\x00": 1}})
    update = {"verify_rows": rows, "questions": questions, "gate": gate, "config": config, "traces": traces}
    return facts.model_copy(update={**update, "title": HOSTILE, "warnings": (HOSTILE,), "costs": {}})


def test_excluded_corpora_twins_and_giveaways_appear():
    shown = outline(page("published")).visible
    assert "Left out for standing in corpora/merge-data.jsonl.gz bake 12, gate 3, verify 0 15" in shown
    assert "Questions for bake with a twin in gate The same but for the numbers; kept. 41 of 800" in shown
    assert "31 of 1,200 (2.6%)" in shown and "0 + 0 - 0 mod 0" in shown


def test_text_from_data_stays_text():
    text = render(hostile_run())
    parsed = outline(text)
    assert parsed.mismatches == []
    assert {tag for tag, _, _ in parsed.elements}.isdisjoint({"script", "img"})
    assert HOSTILE in parsed.visible
    assert html.escape("<script>alert(1)</script>") in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]", text)
    text.encode("utf-8")


def test_long_texts_are_cut_and_say_so():
    assert re.search(r"[\d,]+ more characters not shown", render(hostile_run()))


SECRETS = {
    "hub": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz",
    "store": "s3://AKIAQ:sup3r/s3cret@bucket/model",
    "endpoint": "https://user:pa@ss@host.example/path",
    "header": "Authorization: Bearer abc.def-ghi_jkl",
    "github": "ghp_0123456789abcdefghij",
    "aws": "AKIAABCDEFGHIJKLMNOP",
    "signed": "https://host.example/x?X-Amz-Signature=deadbeef&part=1",
    "variable": "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow",
}
LEAKS = ("hf_Ab", "s3cret", "pa@ss", "abc.def", "ghp_01", "AKIAAB", "deadbeef", "wJalr", "MIIEow", "hunter2", "0xfeed")


def test_credentials_are_masked_everywhere():
    facts = sample_run.published()
    text = " ".join(SECRETS.values())
    by_name = {"api_key": "hunter2", "wandb": {"secrets": {"value": "hunter2"}}, "HF_TOKEN": 0xFEED, "extra": SECRETS}
    row = facts.verify_rows[0].model_copy(update={"thought": text})
    rows = tuple(
        other.model_copy(update={"thought": text}) if other.arm == "baked" else other for other in facts.verify_rows
    )
    manifest = facts.manifest.model_copy(update={"config": by_name, "image": SECRETS["endpoint"]})
    champion = facts.champion.model_copy(update={"reference": SECRETS["signed"], "uri": SECRETS["endpoint"]})
    page = render(
        facts.model_copy(
            update={
                "title": SECRETS["hub"],
                "config": {"model": by_name},
                "verify_rows": (row, *rows[1:]),
                "warnings": (text,),
                "manifest": manifest,
                "champion": champion,
                "costs": {SECRETS["github"]: facts.costs["bake"]},
            }
        )
    )
    assert [leak for leak in LEAKS if leak in page] == []
    assert "host.example/path" in page
    assert "&lt;|startofthought|&gt;" in render(facts)


def test_rows_of_another_run_are_reported():
    facts, other = sample_run.published(), sample_run.kept()
    text = render(facts.model_copy(update={"gate_rows": other.gate_rows}))
    assert "they are not of the same run" in text
    assert "they are not of the same run" not in page("published")


def test_records_without_rows_still_make_a_page():
    facts = sample_run.rejected().model_copy(update={"gate_rows": (), "verify_rows": (), "questions": {}})
    parsed = outline(render(facts))
    assert parsed.mismatches == []
    assert formats.percent(facts.gate.thought_accuracy) in parsed.visible
    assert parsed.visible.count("no intervals and no examples can be shown") == 2


def test_questions_without_text_are_shown_by_id():
    facts = sample_run.published().model_copy(update={"questions": {}})
    assert "The text of this question is not at hand." in render(facts)


def test_model_published_before_says_so():
    facts = sample_run.published()
    champion = facts.champion.model_copy(update={"already_published": "runs/earlier/published"})
    text = render(sample_run.minimal().model_copy(update={"champion": champion, "manifest": facts.manifest}))
    assert "published then" in text
    assert "runs/earlier/published" in text
    assert facts.manifest.traces_sha256 in text


@pytest.mark.parametrize("missing", ["results", "manifest"])
def test_published_needs_either_the_results_or_the_manifest(missing):
    facts = sample_run.published()
    assert "</svg>Published</p>" in render(facts.model_copy(update={missing: None}))
    neither = facts.model_copy(update={"results": None, "manifest": None})
    assert "</svg>Passed, not published</p>" in render(neither)


def test_run_that_ended_before_its_check_is_not_called_running():
    facts = sample_run.rejected().model_copy(update={"verification": None, "verify_rows": (), "bake": None})
    assert "</svg>Not published</p>" in render(facts)
    assert "</svg>In progress</p>" in render(facts.model_copy(update={"results": None}))
