from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggd.units import format_duration, format_size, parse_duration, parse_size

DURATIONS = {
    **{"10s": 10, "1m": 60, "5m": 300, "1h": 3600, "1d": 86400, "1w": 604800, "5y": 157_680_000},
    **{"5min": 300, "5 minutes": 300, "hour": 3600, "day": 86400, " 2 weeks ": 1_209_600},
    **{"30": 30, "0.5": 0.5, ".5h": 1800, "1.5 hours": 5400, "0s": 0, "1e-3": 0.001},
    **{"300us": 0.0003, "300 \N{MICRO SIGN}s": 0.0003, "250ms": 0.25, "5.s": 5},
}
NO_DURATIONS = [
    *["", "s5", "-5s", "+5s", "5x", "5 m s", "1h30m", "nan", "inf", "1e999", "5M", "5 Minutes"],
    *["\N{ARABIC-INDIC DIGIT THREE}s", ".", "5_0s", "10\N{NO-BREAK SPACE}parsecs", "ms us"],
]
SIZES = {
    **{"512": 512, "512B": 512, "0": 0, "16KiB": 16384, "256MiB": 1 << 28, "1.5 GiB": 3 << 29},
    **{"10MB": 10_000_000, "1kb": 1000, "2tib": 2 << 40, "1e3": 1000},
}
NO_SIZES = ["", "5M", "32m", "-1", "0.1", "1.0001KiB", "MiB", "1e400", "nan", "5 MiB s"]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration_is_read_as_people_write_it(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_quoted_back(text):
    with pytest.raises(ValueError, match="not a duration such as") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_a_size_is_read_as_people_write_it(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_quoted_back(text):
    with pytest.raises(ValueError, match="not a whole number of bytes") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@given(st.floats(0, allow_infinity=False))
@example(0.0003)
@example(1e22)
@example(5e-324)
def test_a_duration_survives_being_written(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 1 << 53))
def test_a_size_survives_being_written(size):
    assert parse_size(format_size(size)) == size


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for parse in (parse_duration, parse_size):
        with suppress(ValueError):
            assert parse(text) >= 0


def test_durations_and_sizes_are_written_in_their_largest_whole_unit():
    seconds = [0, 0.0003, 0.25, 10, 90, 300, 5400, 604800, 31536000, 0.1234567]
    written = ["0s", "300us", "250ms", "10s", "90s", "5m", "90m", "7d", "1y", "0.1234567s"]
    assert [format_duration(s) for s in seconds] == written
    assert [format_size(n) for n in (0, 1000, 1024, 1 << 28)] == ["0B", "1000B", "1KiB", "256MiB"]
