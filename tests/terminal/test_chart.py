import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggd.terminal.chart import DOTS, Curve, Size, Span, chart, draw, nice, scale

HOUR = Span(1_700_000_000, 1_700_003_600)
anything = st.floats(allow_nan=False, allow_infinity=False)
levels = st.floats(-1e6, 1e6)


def dots(lines):
    """Every dot of a drawing, from the left and from the bottom."""
    return {
        (x * 2 + right, (len(lines) - y) * 4 - 1 - down)
        for y, line in enumerate(lines)
        for x, cell in enumerate(line)
        for right in (0, 1)
        for down in range(4)
        if cell != " " and (ord(cell) - 0x2800) & DOTS[right][down]
    }


@given(st.lists(anything, max_size=30), st.integers(4, 40))
@example([5e-324], 18)
@example([-1.7e308, 1.7e308], 18)
@example([1.0, 1.0000000000000002], 18)
def test_a_scale_holds_every_value_between_nice_numbers(values, rows):
    level = scale(values, rows)
    assert level.low < level.high
    assert level.step > 0
    slack = 1e-9 * level.length
    for value in values:
        bounded = max(-1e300, min(value, 1e300))
        assert level.low - slack <= bounded <= level.high + slack
    for edge in (level.low, level.high):
        assert edge / level.step == pytest.approx(round(edge / level.step), rel=1e-9)
    assert f"{level.step:e}"[0] in "125"


@pytest.mark.parametrize(
    ("values", "low", "high", "step"),
    [
        ([30, 290], 0, 300, 50),
        ([200, 290], 200, 300, 20),
        ([-290, -30], -300, 0, 50),
        ([], 0, 1, 0.2),
        ([7], 3, 11, 1),
        ([0], -0.6, 0.6, 0.2),
    ],
)
def test_a_scale_starts_at_zero_where_that_is_near(values, low, high, step):
    assert scale(values, 16) == pytest.approx((low, high, step))


@given(st.floats(1e-290, 1e290))
def test_a_nice_number_is_the_next_of_1_2_and_5(step):
    found = nice(step)
    assert step * (1 - 1e-8) <= found <= step * 2.5 * (1 + 1e-8)
    assert re.match("[125]\\.0*e|[014]\\.9+", f"{found:.12e}")


points = st.lists(
    st.tuples(st.integers(0, 3600), levels), min_size=1, max_size=40, unique_by=lambda p: p[0]
).map(sorted)


@given(points, st.integers(4, 30), st.integers(20, 120))
def test_every_point_is_drawn_at_its_place_and_the_line_has_no_holes(found, rows, columns):
    times = [HOUR.low + at for at, _ in found]
    values = [value for _, value in found]
    level = scale(values, rows)
    drawn = dots(draw(Curve(times, values, 3600), Size(columns, rows), HOUR, level))
    across, up = columns * 2, rows * 4
    for at, value in zip(times, values, strict=True):
        assert (HOUR.place(at, across), level.place(value, up)) in drawn
    reached = {x for x, _ in drawn}
    assert reached == set(range(min(reached), max(reached) + 1))
    for x, y in drawn - {min(drawn)}:
        near = {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(x, y)}
        assert near & drawn or len(drawn) == 1


@given(points)
def test_points_further_apart_than_a_step_are_not_joined(found):
    times = [HOUR.low + at for at, _ in found]
    curve = Curve(times, [value for _, value in found], 0.5)
    assert len(dots(draw(curve, Size(80, 20), HOUR, Span(-1e6, 1e6)))) <= len(found)


def test_what_is_absent_is_not_drawn():
    curve = Curve([HOUR.low, HOUR.low + 10, HOUR.low + 20], [1, None, 1], 10)
    assert len(dots(draw(curve, Size(720, 4), HOUR, Span(0, 2)))) == 2


@given(st.lists(levels, min_size=1, max_size=50), st.integers(1, 40), st.integers(0, 200))
def test_a_chart_is_as_large_as_it_was_asked_to_be(values, rows, columns):
    times = [HOUR.low + 10 * i for i in range(len(values))]
    size = Size(columns, rows)
    lines = chart(Curve(times, values, 10), size, HOUR, scale(values, size.inner))
    assert len(lines) == max(rows, 6)
    assert max(map(len, lines)) <= max(columns, lines[0].index("┤") + 21)


@given(st.lists(levels, min_size=1, max_size=50))
def test_labels_of_the_level_fall_from_the_top_and_span_the_values(values):
    size = Size(80, 20)
    times = [HOUR.low + 10 * i for i in range(len(values))]
    lines = chart(Curve(times, values, 10), size, HOUR, scale(values, size.inner))
    labels = [float(line.partition("┤")[0]) for line in lines if "┤" in line]
    assert labels == sorted(set(labels), reverse=True)
    assert labels[-1] <= min(values) + 1e-6
    assert max(values) - 1e-6 <= labels[0]


@given(st.integers(0, 250_000_000_000), st.integers(1, 3_000_000_000), st.integers(20, 300))
def test_times_stand_under_their_marks_with_room_between(start, length, columns):
    time = Span(start, start + length)
    *_, axis, labels = chart(Curve([], [], 1), Size(columns, 6), time, Span(0, 1, 1))
    marks = [at for at, sign in enumerate(axis) if sign == "┬"]
    texts = list(re.finditer(r"\S+(?: \S+)?", labels))
    assert {found.start() for found in texts} <= set(marks)
    assert marks
    assert len(texts) >= len(marks) - 1


def test_a_span_without_a_nice_time_is_told_by_its_start():
    time = Span(HOUR.low + 0.1, HOUR.low + 0.6)
    *_, axis, labels = chart(Curve([], [], 1), Size(25, 6), time, Span(0, 1, 1))
    assert (axis, labels) == ("  └┬─────────────────────", "   2023-11-14 22:13")


def test_a_chart_is_drawn_as_people_read_it():
    times = [HOUR.low + 60 * i for i in range(61)]
    curve = Curve(times, [abs(i - 30) for i in range(61)], 60)
    assert datetime.fromtimestamp(HOUR.low, UTC).strftime("%H:%M") == "22:13"
    assert chart(curve, Size(40, 9), HOUR, scale(curve.values, 7)) == [
        "30 ┤⠑⠤⡀                              ⢀⡠⠊",
        "   │  ⠈⠒⢄⡀                         ⡠⠒⠁",
        "20 ┤     ⠈⠢⡀                    ⢀⠔⠉",
        "   │       ⠈⠑⠢⡀              ⢀⠔⠒⠁",
        "10 ┤          ⠈⠒⢄          ⡠⠔⠁",
        "   │             ⠑⠤⣀    ⣀⡠⠊",
        " 0 ┤                ⠑⠤⡠⠊",
        "   └─┬────────┬───────┬────────┬────────",
        "     22:15    22:30   22:45    23:00",
    ]
