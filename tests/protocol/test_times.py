"""Times as they are written: RFC 3339 and seconds since the epoch."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.protocol.times import format_time, parse_time

TIMES = [
    ("1970-01-01T00:00:00Z", 0),
    ("2024-01-01T00:00:00Z", 1704067200),
    ("2024-01-01t00:00:00z", 1704067200),
    ("2024-01-01 00:00:00Z", 1704067200),
    ("2024-01-01T00:00:00.5Z", 1704067200.5),
    ("2024-01-01T00:00:00.250000000000Z", 1704067200.25),
    ("2024-01-01T01:00:00+01:00", 1704067200),
    ("2023-12-31T18:30:00-05:30", 1704067200),
    ("2024-01-01T00:00:00-00:00", 1704067200),
    ("2024-02-29T23:59:59Z", 1709251199),
    ("9999-12-31T23:59:59Z", 253402300799),
    (0, 0),
    (1704067200, 1704067200),
    (1704067200.25, 1704067200.25),
]

NO_TIMES = [
    "", "now", "2024", "2024-01-01", "2024-01-01T00:00:00", "2024-01-01T00:00Z",
    "20240101T000000Z", "1704067200", "1704067200.5", "2024-02-30T00:00:00Z",
    "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z",
    "2024-01-01T00:00:60Z", "2024-01-01T00:00:00+0100", "2024-01-01T00:00:00+24:00",
    "2024-01-01T00:00:00+05:99", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00,5Z",
    " 2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z\n", "2024-01-01T00:00:00 Z",
    "2024-W01-1T00:00:00Z", "\N{FULLWIDTH DIGIT TWO}024-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00+01:00", "9999-12-31T23:59:59-00:01",
    "+2024-01-01T00:00:00Z", -1, -0.5, 253402300800, 1e300, 10**400, float("nan"), float("inf"),
    float("-inf"), True, False,
]  # fmt: skip

zones = st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))
instants = st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29), timezones=zones)


@pytest.mark.parametrize(("text", "seconds"), TIMES)
def test_times_that_parse(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", NO_TIMES)
def test_times_that_do_not_parse(text):
    with pytest.raises(ValueError, match=r"RFC 3339 such as 2026-11-24T02:10:00Z.*, got "):
        parse_time(text)


def test_milliseconds_are_not_taken_for_seconds():
    with pytest.raises(ValueError, match=r"seconds since the epoch.*got 1704067200000"):
        parse_time(1704067200000)


def test_a_wrong_time_is_quoted_but_not_at_any_length():
    with pytest.raises(ValueError, match="got 'tomorrow'"):
        parse_time("tomorrow")
    with pytest.raises(ValueError, match="got 'xxxx") as caught:
        parse_time("x" * 10_000)
    assert len(str(caught.value)) < 200


@given(instants)
def test_an_instant_is_the_same_in_every_zone(when):
    expected = pytest.approx(when.timestamp(), abs=1e-6)
    assert parse_time(when.isoformat()) == expected
    assert parse_time(when.isoformat(" ")) == expected
    assert parse_time(when.astimezone(UTC).isoformat().replace("+00:00", "Z")) == expected


@given(
    st.text(max_size=30)
    | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
)
def test_any_text_is_a_time_of_four_digit_years_or_refused(text):
    try:
        seconds = parse_time(text)
    except ValueError:
        return
    assert 0 <= seconds < 253402300800


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1704067200, "2024-01-01T00:00:00Z"),
        (1704067200.0, "2024-01-01T00:00:00Z"),
        (1704067200.5, "2024-01-01T00:00:00.5Z"),
        (1704067200.000001, "2024-01-01T00:00:00.000001Z"),
        (1704067199.9999995, "2024-01-01T00:00:00Z"),
    ],
)
def test_times_are_written_in_utc_with_a_fraction_only_where_there_is_one(seconds, text):
    assert format_time(seconds) == text


@given(st.integers(0, 253402300799))
def test_a_whole_second_survives_being_written(seconds):
    assert parse_time(format_time(seconds)) == seconds


@given(st.floats(0, 4e9))
def test_a_time_survives_being_written_to_the_microsecond(seconds):
    assert parse_time(format_time(seconds)) == pytest.approx(seconds, abs=1.1e-6)
