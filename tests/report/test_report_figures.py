import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_forge.records import LossPoint
from agent_forge.report.figures import Mark, bars_plot, histogram_plot, interval_plot, loss_plot
from agent_forge.report.svg import BLUE, VARIABLES, draw


def marks(*names: str, value: float = 0.5) -> list[Mark]:
    return [Mark(name, value, (value - 0.1, value + 0.1), BLUE, "o") for name in names]


def one_plot(name: str = "sample", label: str = "arithmetic"):
    return interval_plot(name, "label", "caption", marks(label, "b"), "Axis", (0.0,))


def test_a_drawing_takes_its_colours_and_its_font_from_the_page():
    text = one_plot().wide
    assert "var(--blue)" in text
    assert "font-family" not in text
    assert re.search("#[0-9a-f]{6}", text) is None
    assert set(re.findall(r"var\((--\w+)\)", text)) <= set(VARIABLES.values())


def test_a_drawing_names_no_address_and_no_date():
    text = one_plot().wide
    assert "://" not in text
    assert "<metadata" not in text
    assert "<style" not in text
    assert "width=" not in text.split(">")[0]


def test_the_same_drawing_has_the_same_bytes_and_its_own_ids():
    assert one_plot() == one_plot()
    ids = set(re.findall(r' id="([^"]*)"', one_plot("first").wide))
    assert ids
    assert ids.isdisjoint(re.findall(r' id="([^"]*)"', one_plot("second").wide))
    assert all(identifier.startswith("first-wide-") for identifier in ids)


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=40))
def test_any_text_can_be_a_label(label):
    plot = one_plot(label=label)
    for text in (plot.wide, plot.narrow):
        assert ElementTree.fromstring(text).tag == "svg"


@pytest.mark.parametrize("label", ["$x_1$ costs $5", "<b>&amp;</b>", "hf_AbCdEfGhIjKl", "数学"])
def test_labels_are_drawn_as_they_are_but_for_credentials(label):
    drawn = "".join(ElementTree.fromstring(one_plot(label=label).wide).itertext())
    assert (label in drawn) == (not label.startswith("hf_"))


def test_what_is_not_finite_is_left_out():
    plot = interval_plot("nan", "label", "caption", marks("a", value=math.nan) + marks("b"), "Axis")
    assert "nan" not in plot.wide.replace("nan-wide", "")


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=200))
@settings(max_examples=10, deadline=None)
def test_a_histogram_counts_every_value_once(values):
    plot = histogram_plot("lengths", "label", "caption", values, "Tokens")
    assert sum(int(count.replace(",", "")) for _, count in plot.table.rows) == len(values)
    assert len(plot.table.rows) <= 24


def test_bars_have_their_counts_in_the_table():
    plot = bars_plot("bars", "label", "caption", {"Kept": 3, "Wrong": 1}, "Kept", "Samples")
    assert plot.table.rows == (("Kept", "3", "75.0%"), ("Wrong", "1", "25.0%"))


def test_a_long_curve_is_thinned_but_keeps_every_held_out_loss():
    curve = [
        LossPoint(step=step, tokens=step, learning_rate=1e-3, loss=1.0, heldout_loss=2.0 if step % 700 == 3 else None)
        for step in range(5000)
    ]
    plot = loss_plot(curve, 3, "label", "caption")
    assert len(plot.wide) < 60_000
    assert len(plot.table.rows) < 80
    assert sum(row[2] == "2.0000" for row in plot.table.rows) == 8
    assert "of 5000 points" in plot.table.caption


def test_nothing_is_drawn_in_a_colour_the_page_does_not_know():
    def paint(axes):
        axes.plot([0, 1], [0, 1], color=BLUE)
        axes.set_title("title")
        axes.legend(["line"])

    assert re.search("#[0-9a-f]{6}", draw("known", 200, 100, paint)) is None
