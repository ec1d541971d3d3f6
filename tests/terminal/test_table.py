import csv
import io
import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aggd.terminal.table import (
    aligned,
    as_csv,
    bar,
    columns,
    number,
    painted,
    percent,
    plain,
    printable,
)

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
tables = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(words, min_size=n, max_size=n), min_size=1, max_size=6)
)


@given(tables, st.integers(0, 5))
def test_every_column_starts_and_ends_at_one_place(rows, left):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row, line in zip(rows, aligned(rows, left), strict=True):
        line = line.ljust(sum(widths) + 2 * len(widths))
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            assert line[:width] == (cell.ljust(width) if i < left else cell.rjust(width))
            assert line[width : width + 2] == "  "
            line = line[width + 2 :]


def test_wide_letters_and_combining_marks_take_their_columns():
    fullwidth, accented = "\N{FULLWIDTH LATIN SMALL LETTER A}", "e\N{COMBINING ACUTE ACCENT}"
    assert [columns(text) for text in ("abc", "延迟", fullwidth, accented)] == [3, 4, 2, 1]
    assert aligned([["延迟", "1"], ["abcd", "22"]], left=1) == ["延迟   1", "abcd  22"]


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_printed(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_escapes_of_a_sender_are_shown_and_not_obeyed():
    assert printable("a\x1b[2Jb\n") == r"a\x1b[2Jb\n"
    assert aligned([["a\x1b[2J", "1"]], left=1) == [r"a\x1b[2J  1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (1234, "1234"),
        (23.501215559, "23.5012"),
        (310.0, "310"),
        (1234567.75, "1234568"),
        (123456789012, "123456789012"),
        (1e18, "1e+18"),
        (-0.00012345678, "-0.000123457"),
    ],
)
def test_numbers_have_six_digits_and_whole_ones_all(value, text):
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_right_to_six_digits(value):
    assert float(number(value)) == pytest.approx(value, rel=5.1e-6, abs=1e-320)


def test_fractions_are_percents():
    assert [percent(f) for f in (None, 0.5, 0.987654)] == ["-", "50 %", "98.77 %"]
    assert [percent(f, sign="+") for f in (0.5, -0.25)] == ["+50 %", "-25 %"]
    assert percent(0.044321, 2) == "4.4 %"


cells = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.lists(st.lists(cells, min_size=2, max_size=2)))
@example([[None, 'a,"b"\n'], [True, 0.1 + 0.2]])
def test_csv_keeps_every_cell_with_all_its_digits(rows):
    # A carriage return is read back by nobody without loss.
    assume(not any(isinstance(cell, str) and "\r" in cell for row in rows for cell in row))
    text = as_csv(["one", "two"], rows) + "\n"
    header, *got = csv.reader(io.StringIO(text, newline=""))
    assert header == ["one", "two"]
    for found, row in zip(got, rows, strict=True):
        for cell, value in zip(found, row, strict=True):
            if value is None:
                assert cell == ""
            elif isinstance(value, bool):
                assert cell == ("true" if value else "false")
            elif isinstance(value, float):
                assert float(cell) == value
            else:
                assert cell == str(value)


@given(st.floats(0, 1), st.integers(1, 200))
def test_a_bar_is_as_long_as_its_part_to_an_eighth_of_a_column(part, width):
    drawn = bar(part, width)
    eighths = sum("▏▎▍▌▋▊▉█".index(block) + 1 for block in drawn)
    assert len(drawn) <= width
    assert eighths == pytest.approx(part * width * 8, abs=0.5) or (part > 0 and eighths == 1)
    assert bool(drawn) == (part > 0)
    assert len(drawn) == math.ceil(eighths / 8)


def test_a_drawing_in_ascii_has_the_same_places():
    assert plain("1 ┤⣀ ⠁█▏\n0 └┬─│") == "1 +* *##\n0 ++-|"
    assert plain("caf\xe9") == "caf?"


def test_only_what_is_drawn_and_alerts_have_colour():
    text = "12 ┤⣀⣀ ⠁\nno ALERT here\nALERT page: now"
    assert painted(text) == (
        "12 ┤\x1b[36m⣀⣀\x1b[0m \x1b[36m⠁\x1b[0m\nno ALERT here\n\x1b[1;31mALERT page: now\x1b[0m"
    )
