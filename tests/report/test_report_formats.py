import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.report import formats

FINITE = st.floats(-1, 1)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (formats.percent(0.12345), "12.3%"),
        (formats.percent(None), "n/a"),
        (formats.percent(math.nan), "n/a"),
        (formats.points(0.084), "+8.4 points"),
        (formats.points(-0.05), "−5.0 points"),
        (formats.points(-0.0001), "0.0 points"),
        (formats.threshold(-0.05), "5.0 points"),
        (formats.points_interval((-0.011, 0.09)), "−1.1 to +9.0 points"),
        (formats.points_interval((-math.inf, 0.09)), "n/a"),
        (formats.probability(0.0009), "< 0.001"),
        (formats.probability(0.05), "= 0.050"),
        (formats.probability(1.0), "> 0.999"),
        (formats.probability(math.nan), "n/a"),
        (formats.duration(0.44), "0.4 s"),
        (formats.duration(59.96), "1 min 0 s"),
        (formats.duration(192), "3 min 12 s"),
        (formats.duration(7499), "2 h 5 min"),
        (formats.duration(273_600), "3 d 4 h"),
        (formats.size(512), "512 B"),
        (formats.size(3_984_589), "3.8 MiB"),
        (formats.size((1 << 30) - 1), "1.0 GiB"),
        (formats.number(1_234_567), "1,234,567"),
        (formats.significant(2.94e-7), "2.94e−07"),
        (formats.plural(1, "question"), "1 question"),
        (formats.plural(1200, "question"), "1,200 questions"),
    ],
)
def test_numbers_read_as_people_write_them(written, read):
    assert written == read


@given(FINITE)
def test_points_carry_the_sign_of_what_is_shown(difference):
    text = formats.points(difference).removesuffix(" points").replace("−", "-")
    assert float(text) == pytest.approx(100 * difference, abs=0.0501)
    assert (text[0] in "+-") == (float(text) != 0)


@given(st.floats(0, 1e9))
def test_a_duration_never_shows_sixty_of_anything(seconds):
    words = formats.duration(seconds).split()
    numbers = dict(zip(words[1::2], map(float, words[::2]), strict=True))
    limits = {"s": 60, "min": 60, "h": 24, "d": math.inf}
    assert all(number < limits[unit] for unit, number in numbers.items())


@given(st.integers(0, 1 << 50))
def test_a_size_stays_below_the_next_unit(count):
    number, unit = formats.size(count).split()
    assert float(number) < 1024 or unit == "TiB"
