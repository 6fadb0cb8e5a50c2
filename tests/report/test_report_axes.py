import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent_forge.report.axes import Axis, Plane, listed, measured, round_values, spread
from agent_forge.report.svg import BLUE, text_width

numbers = st.floats(-1e6, 1e6)


@given(numbers, st.floats(1e-3, 1e6), st.integers(2, 16), st.booleans())
def test_ticks_are_round_few_and_within_bounds(low, reach, most, whole):
    ticks = round_values(low, low + reach, most, whole)
    slack = 1e-6 * max(abs(low), reach)
    assert len(ticks) <= most + 1
    assert all(low - slack <= tick <= low + reach + slack for tick in ticks)
    assert not whole or all(tick == int(tick) for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-3) for step in steps)


@given(st.lists(numbers, min_size=1, max_size=20), st.floats(0, 1))
def test_bounds_hold_every_value_and_are_apart(values, margin):
    low, high = spread(values, margin)
    assert low < high and low <= min(values) and max(values) <= high


def test_ends_of_an_axis_are_ends_of_the_plane_whichever_way_it_runs():
    plane = Plane(400, 200, measured((0, 10), 5, "x"), listed(["a", "b"]))
    assert plane.at(0, -0.75) == (plane.left, plane.top)
    assert plane.at(10, 1.5) == (plane.right, plane.bottom)


def test_longer_names_leave_less_room():
    short, long = (Plane(400, 200, measured((0, 1), 5, "x"), listed([name])) for name in ("a", "a" * 20))
    assert long.left - short.left == text_width("a" * 20) - text_width("a")


def test_a_value_that_is_not_known_interrupts_a_line():
    plane = Plane(400, 200, Axis(0, 4, ()), Axis(0, 1, ()))
    plane.line([(0, 0.1), (1, 0.2), (2, math.nan), (3, 0.2), (4, 0.1)], BLUE, 1)
    assert plane.canvas.element().count("<path") == 2
