"""The parser accepts or refuses any bytes, and never anything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.errors import ProtocolError
from aggd.protocol.lines import LineParser
from aggd.protocol.names import identity
from aggd.protocol.points import points
from tests.fuzz.mutations import mutated

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
keys = st.sampled_from(["name", "value", "timestamp", "type", "tags", "sample_rate", "x"])


@settings(max_examples=1000)
@given(st.binary(max_size=300) | mutated())
def test_every_line_becomes_records_or_one_refusal(datagram):
    parsed = LineParser().parse(datagram)
    assert len(parsed.bad) + len(parsed.records) >= parsed.lines
    for record in parsed.records:
        assert record.tags == tuple(sorted(set(record.tags), key=str.encode))


@given(mutated())
def test_lines_mean_the_same_alone_as_in_a_datagram(datagram):
    whole, alone = LineParser().parse(datagram), LineParser()
    parts = [alone.parse(line) for line in datagram.split(b"\n")]
    first_may_have_a_bom = not datagram.count(b"\xef\xbb\xbf")
    if first_may_have_a_bom:
        assert whole.records == [r for part in parts for r in part.records]
        assert whole.bad == [b for part in parts for b in part.bad]


@given(st.binary(max_size=60), st.none() | st.binary(max_size=60), st.booleans())
def test_naming_gives_a_name_or_refuses(head, tags, sanitize):
    try:
        found = identity(head, tags, sanitize)
    except ProtocolError as refusal:
        assert refusal.reason == "empty_name"
    else:
        assert found.name


@given(st.lists(st.dictionaries(keys, json_values, max_size=6) | json_values, max_size=4))
def test_every_point_becomes_a_sample_or_a_rejection(data):
    samples, rejected = points(data)
    assert len(samples) + len(rejected) == len(data)


@pytest.mark.parametrize("unit", [b":", b"|", b":1", b"|#a", b"[", b"#", b",", b"a:1|c:", b"\r"])
def test_cost_grows_with_the_bytes_and_not_with_their_square(unit):
    # A quadratic step would take minutes on this; the suite's timeout is the deadline.
    LineParser().parse(b"a:1|c" + unit * 400_000)
    LineParser().parse(unit * 400_000)
