"""The parser accepts or refuses any bytes, and never anything else."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import ProtocolError
from aggd.protocol.lines import BOM, LineParser, Parsed
from aggd.protocol.names import clean, identity
from aggd.protocol.points import points
from tests.fuzz.mutations import mutated

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
SEASONED = LineParser()
keys = st.sampled_from(["name", "value", "timestamp", "type", "tags", "sample_rate", "x"])


@settings(max_examples=1000)
@given(st.binary(max_size=300) | mutated())
def test_every_line_becomes_records_or_one_refusal(datagram):
    parsed = LineParser().parse(datagram)
    assert len(parsed.bad) + len(parsed.records) >= parsed.lines
    for record in parsed.records:
        assert record.tags == tuple(sorted(set(record.tags), key=str.encode))


def found(parsed: Parsed):
    return parsed.records, parsed.bad, parsed.warnings, parsed.lines


@given(st.binary(max_size=300) | mutated())
def test_lines_mean_the_same_alone_as_in_a_datagram(datagram):
    together = Parsed()
    for line in datagram.removeprefix(BOM).split(b"\n"):
        LineParser().line(line, together)
    assert found(together) == found(LineParser().parse(datagram))


@given(mutated())
def test_what_a_parser_has_seen_before_changes_nothing(datagram):
    once, again, fresh = (p.parse(datagram) for p in (SEASONED, SEASONED, LineParser()))
    assert found(once) == found(again) == found(fresh)


@given(st.binary(max_size=300) | mutated(), st.booleans(), st.booleans())
def test_with_any_options_every_line_is_accounted_for(datagram, sanitize, netdata):
    parsed = LineParser(sanitize, netdata).parse(datagram)
    assert parsed.lines == LineParser().parse(datagram).lines
    assert len(parsed.bad) + len(parsed.records) >= parsed.lines


@given(st.binary(max_size=60), st.none() | st.binary(max_size=60), st.booleans())
def test_naming_gives_a_name_or_refuses(head, tags, sanitize):
    cleaned = clean(head, sanitize)
    if cleaned and not set(head) & set(b"[]#,;"):
        assert identity(head, tags, sanitize).name == cleaned
        return
    with suppress(ProtocolError):  # no name is left, the only fault naming refuses
        assert identity(head, tags, sanitize).name


@given(st.lists(st.dictionaries(keys, json_values, max_size=6) | json_values, max_size=4))
def test_every_point_becomes_a_sample_or_a_rejection(data):
    samples, rejected = points(data)
    assert len(samples) + len(rejected) == len(data)


UNITS = [
    b":", b"|", b":1", b"|#a", b"[", b"]", b"#", b",", b"a:1|c:", b"\r", b" ", b"0", b"9", b"1.",
    b"1e", b"\0", b"\n", b"\xff", b"\xe2\x80\xae", b"|:1", b"|@1", b"|@1:1|c", b":1|c", b";a=",
    b"k=v,", b"k:v,", b"|T1", b"\\n",
]  # fmt: skip
STARTS = [
    b"",
    b"a",
    b"a;",
    b"a[",
    b"a:",
    b"a:1|c",
    b"a:1|c|#",
    b"a:1|c|@",
    b"_e{1,1}:a|b",
    b"_sc|a|0",
]


@pytest.mark.parametrize("unit", UNITS)
def test_cost_grows_with_the_bytes_and_not_with_their_square(unit):
    # A quadratic step would take minutes on this; the suite's timeout is the deadline.
    for start in STARTS:
        LineParser().parse(start + unit * 100_000)
