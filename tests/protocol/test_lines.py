"""The line protocol: what parses, what doesn't, and what one line costs another."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.protocol.lines import LineParser, Parsed, Sample
from aggd.protocol.samples import LARGEST, SMALLEST_RATE

# name, tags, type, values and, where it isn't 1, rate
LINES_THAT_PARSE = [
    # statsd's README and docs/metric_types.md
    (b"gorets:1|c", ("gorets", "", "c", [1])),
    (b"gorets:1|c|@0.1", ("gorets", "", "c", [1], 0.1)),
    (b"glork:320|ms|@0.1", ("glork", "", "ms", [320], 0.1)),
    (b"gaugor:333|g", ("gaugor", "", "g", [333])),
    (b"gaugor:-10|g", ("gaugor", "", "g", [-10])),
    (b"uniques:765|s", ("uniques", "", "s", [b"765"])),
    # DogStatsD's datagram format, v1.0 to v1.6
    (b"page.views:1|c", ("page.views", "", "c", [1])),
    (b"fuel.level:0.5|g", ("fuel.level", "", "g", [0.5])),
    (b"song.length:240|h|@0.5", ("song.length", "", "h", [240], 0.5)),
    (b"users.uniques:1234|s", ("users.uniques", "", "s", [b"1234"])),
    (b"users.online:1|c|#country:china", ("users.online", "country:china", "c", [1])),
    (
        b"users.online:1|c|@0.5|#country:china",
        ("users.online", "country:china", "c", [1], 0.5),
    ),
    (b"song.length:240:234|h|@0.5", ("song.length", "", "h", [240, 234], 0.5)),
    (b"page.views:1|g|#env:dev|c:83c0a99c0a54", ("page.views", "env:dev", "g", [1])),
    (b"page.views:15|c|#env:dev|T1656581400", ("page.views", "env:dev", "c", [15])),
    (b"my.counter:1|c|e:it-false,cn-redis", ("my.counter", "", "c", [1])),
    (b"my.counter:1|c|card:high", ("my.counter", "", "c", [1])),
    # Telegraf's, statsd_exporter's, Graphite's and statsite's ways to tag and to count
    (
        b"users.current,service=payroll,region=us-west:32|g",
        ("users.current", "region:us-west service:payroll", "g", [32]),
    ),
    (b"metric.name#tagName=val:0|c", ("metric.name", "tagName:val", "c", [0])),
    (b"metric[tag=val].rest:0|c", ("metric.rest", "tag:val", "c", [0])),
    (b"disk.used;rack=a1;dc=dc1:3|g", ("disk.used", "dc:dc1 rack:a1", "g", [3])),
    (b"tubez:-5|kv", ("tubez", "", "kv", [-5])),
    (b"req:1|m", ("req", "", "m", [1])),
    (b"total:100|C", ("total", "", "C", [100])),
    # numbers in all shapes
    (b"a:.5|c", ("a", "", "c", [0.5])),
    (b"a:5.|c", ("a", "", "c", [5])),
    (b"a:+10e1|c", ("a", "", "c", [100])),
    (b"a:1.0E-5|c", ("a", "", "c", [1e-5])),
    (b"a:0012|c", ("a", "", "c", [12])),
    (b"a:1e-400|c", ("a", "", "c", [0])),
    (b"a:9007199254740993|c", ("a", "", "c", [2.0**53])),
    (b"a: 1 |c", ("a", "", "c", [1])),
    (b"a:1|\tc ", ("a", "", "c", [1])),
    (b"a:1e300|c", ("a", "", "c", [1e300])),
    # rates
    (b"a:1|c|@.1", ("a", "", "c", [1], 0.1)),
    (b"a:1|c|@1e-3", ("a", "", "c", [1], 1e-3)),
    (b"a:1|c|@+1", ("a", "", "c", [1])),
    (b"a:1|c|@ 0.5 ", ("a", "", "c", [1], 0.5)),
    (b"a:1|c|@0.5|@0.2", ("a", "", "c", [1], 0.2)),
    (b"a:1|c|@0.2|@1", ("a", "", "c", [1])),
    (b"a:1|c|#x|@0.5|#y", ("a", "x y", "c", [1], 0.5)),
    # packed, and members of sets, which are opaque
    (b"a::1:2:|ms", ("a", "", "ms", [1, 2])),
    (b"clients:2001:db8::1|s", ("clients", "", "s", [b"2001:db8::1"])),
    (b"a: x |s", ("a", "", "s", [b" x "])),
    (b"a:\xff|s", ("a", "", "s", [b"\xff"])),
    # names that look like something else
    (b"_errors:1|c", ("_errors", "", "c", [1])),
    (b"_score:1|c", ("_score", "", "c", [1])),
    (b"__proto__:1|c", ("__proto__", "", "c", [1])),
    (b"123:4|c", ("123", "", "c", [4])),
    # what surrounds a line
    (b"\xef\xbb\xbfa:1|c", ("a", "", "c", [1])),
    (b" \t\ra:1|c \t\r\0", ("a", "", "c", [1])),
    (b"a:1|c|", ("a", "", "c", [1])),
    (b"a:1|c||#x", ("a", "x", "c", [1])),
]

LINES_THAT_DO_NOT = [
    (b"foo", "no_colon"),
    (b"a|c", "no_colon"),
    (b"\0\1\2", "no_colon"),
    (b"a|b:1|c", "pipe_in_name"),
    (b"|:1|c", "pipe_in_name"),
    (b":1|c", "empty_name"),
    (b"$%^:1|c", "empty_name"),
    (b"\xff\xfe:1|c", "empty_name"),
    (b";a=b:1|c", "empty_name"),
    (b"$:x|zz|Tx", "empty_name"),
    (b"a:1", "no_type"),
    (b"a:1|", "no_type"),
    (b"a:1||@0.5", "no_type"),
    (b"a:1|zz", "unknown_type"),
    (b"a:1|MS", "unknown_type"),
    (b"a:1|counter", "unknown_type"),
    (b"a:1|#t:1", "unknown_type"),
    (b"a:1|cb:2|c", "unknown_type"),
    (b"a:|c", "empty_value"),
    (b"a: |c", "empty_value"),
    (b"a:::|g", "empty_value"),
    (b"a:|s", "empty_value"),
    (b"a:x|c", "bad_value"),
    (b"a:1:x:3|ms", "bad_value"),
    (b"a:1,000|g", "bad_value"),
    (b"a:0x10|g", "bad_value"),
    (b"a:0x1p-2|g", "bad_value"),
    (b"a:0b11|g", "bad_value"),
    (b"a:12.89g|g", "bad_value"),
    (b"a:--5|g", "bad_value"),
    (b"a:+-5|g", "bad_value"),
    (b"a:- 5|g", "bad_value"),
    (b"a:.|g", "bad_value"),
    (b"a:1e|g", "bad_value"),
    (b"a:1\x002|c", "bad_value"),
    (b"a:1e400|g", "overflow"),
    (b"a:-1e301|g", "overflow"),
    (b"a:%s|g" % (b"9" * 400), "overflow"),
    (b"a:1|c|@", "bad_rate"),
    (b"a:1|c|@-0.1", "bad_rate"),
    (b"a:1|c|@0,5", "bad_rate"),
    (b"a:1|c|@@0.1", "bad_rate"),
    (b"a:1|c|@0x1", "bad_rate"),
    (b"a:1|c|@1e400", "bad_rate"),
    (b"a:1|c|@0.1b:2|c", "bad_rate"),
    (b"a:1|c|T", "bad_timestamp"),
    (b"a:1|c|T0", "bad_timestamp"),
    (b"a:1|c|T-1", "bad_timestamp"),
    (b"a:1|c|T1.5", "bad_timestamp"),
    (b"a:1|c|T1e9", "bad_timestamp"),
    (b"a:1|c|T%s" % (b"9" * 19), "bad_timestamp"),
]


def parse(datagram: bytes, **options: bool) -> Parsed:
    return LineParser(**options).parse(datagram)


def one(line: bytes, **options: bool) -> Sample:
    """The only sample of a line without fault."""
    parsed = parse(line, **options)
    assert not parsed.bad
    (sample,) = parsed.records
    return sample


def reasons(parsed: Parsed) -> list[str]:
    return [refusal.reason for refusal in parsed.bad]


@pytest.mark.parametrize(("line", "expected"), LINES_THAT_PARSE)
def test_lines_that_parse(line, expected):
    name, tags, kind, values, rate = (*expected, 1.0)[:5]
    sample = one(line)
    assert sample[:4] == (name, tuple(tags.split()), kind, tuple(values))
    assert sample.rate == rate
    assert parse(line).warnings == []


@pytest.mark.parametrize(("line", "reason"), LINES_THAT_DO_NOT)
def test_lines_that_do_not_parse(line, reason):
    parsed = parse(line)
    assert parsed.records == []
    assert reasons(parsed) == [reason]
    assert parsed.bad[0].line == line
    assert parsed.warnings == []


ARABIC, SUPERSCRIPT = "\N{ARABIC-INDIC DIGIT ONE}", "\N{SUPERSCRIPT TWO}"
FLOATS_OF_PYTHON = [
    "nan", "-nan", "NaN", "inf", "-inf", "+inf", "Infinity", "1_0", "1_0.5", "1e1_0", ARABIC,
    "\N{FULLWIDTH DIGIT ONE}", "1\N{NO-BREAK SPACE}", "\N{EM SPACE}1", "1\v", "1\f", "\x851",
]  # fmt: skip


@pytest.mark.parametrize("text", FLOATS_OF_PYTHON)
@pytest.mark.parametrize("kind", [b"c", b"g", b"ms", b"kv"])
def test_what_only_python_takes_for_a_number_is_none(text, kind):
    float(text)  # the trap
    assert reasons(parse(b"a:%s|%s" % (text.encode(), kind))) == ["bad_value"]
    assert reasons(parse(b"a:1:%s|%s" % (text.encode(), kind))) == ["bad_value"]
    assert reasons(parse(b"a:1|%s|@%s" % (kind, text.encode()))) == ["bad_rate"]


@pytest.mark.parametrize("text", ["1_0", "+1", ARABIC, "1\v", "\N{EM SPACE}1"])
def test_what_only_python_takes_for_an_integer_is_no_timestamp(text):
    int(text)  # the trap
    assert reasons(parse(b"a:1|c|T" + text.encode())) == ["bad_timestamp"]


def test_a_superscript_is_no_digit_whatever_isdigit_says():
    assert SUPERSCRIPT.isdigit()
    for line in ("a:%s|g", "a:1|g|@%s", "a:1|g|T%s", "_e{%s,1}:aa|b", "_sc|a|%s"):
        assert len(parse((line % SUPERSCRIPT).encode()).bad) == 1


@pytest.mark.parametrize(
    "line", [b"a:1|c|T%s", b"a:%s|c", b"a:1|c|@%s", b"_e{%s,1}:a|b", b"_e{1,%s}:a|b"]
)
def test_five_thousand_digits_are_refused_and_do_not_raise(line):
    with pytest.raises(ValueError, match="4300"):
        int("9" * 5000)
    assert len(parse(line % (b"9" * 5000)).bad) == 1


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028"])
def test_only_lf_ends_a_line_whatever_splitlines_says(end):
    assert len(f"x{end}y".splitlines()) == 2
    parsed = parse(f"a:1|c|#t:x{end}y:2|c\nb:2|c".encode())
    assert [r.name for r in parsed.records] == ["a", "b"]
    assert parsed.records[0].tags == (f"t:x{end}y:2",)


@pytest.mark.parametrize("blank", ["\v", "\f", "\x1c", "\x1f", "\N{NO-BREAK SPACE}", "\x85"])
def test_only_blanks_tabs_cr_and_nul_are_stripped_whatever_strip_says(blank):
    assert f"{blank}x{blank}".strip() == "x"
    assert reasons(parse(f"a:1|c{blank}".encode())) == ["unknown_type"]
    assert one(f"a:1|c|#t{blank}".encode()).tags == (f"t{blank}",)


def test_one_bad_line_does_not_cost_its_neighbours():
    parsed = parse(b"a:1|c\nnonsense\n\nb:x|c\r\nb:2|c")
    assert [(r.name, r.values) for r in parsed.records] == [("a", (1.0,)), ("b", (2.0,))]
    assert parsed.bad == [("no_colon", b"nonsense"), ("bad_value", b"b:x|c")]
    assert parsed.lines == 4


def test_empty_lines_are_no_mistake_and_not_counted():
    parsed = parse(b"\n\r\n \t\n\0\n")
    assert (parsed.lines, parsed.records, parsed.bad) == (0, [], [])


def test_a_bad_value_costs_only_its_sample():
    parsed = parse(b"a:1|c:x|c:3|c")
    assert [r.values for r in parsed.records] == [(1.0,), (3.0,)]
    assert reasons(parsed) == ["bad_value"]


def test_a_bad_type_or_rate_ends_the_line():
    for line in (b"a:1|c:2|zz:3|c", b"a:1|c:2|c|@x:3|c"):
        parsed = parse(line)
        assert [r.values for r in parsed.records] == [(1.0,)]
        assert len(parsed.bad) == 1


def test_a_bad_timestamp_refuses_all_samples_of_its_line():
    parsed = parse(b"a:1|c:2|ms:3|g|Tx\nb:1|c")
    assert [r.name for r in parsed.records] == ["b"]
    assert reasons(parsed) == ["bad_timestamp"]


def test_a_rate_belongs_to_its_sample_and_all_other_fields_to_the_line():
    parsed = parse(b"a:1|ms|@0.5:2|ms|#t|c:x|e:y|card:LOW|T5|@0.2:3|ms")
    assert [(r.values, r.rate) for r in parsed.records] == [((1,), 0.5), ((2,), 0.2), ((3,), 1.0)]
    for sample in parsed.records:
        assert sample.tags == ("t",)
        assert sample[6:] == (5.0, "x", "y", "low", True)


def test_telegrafs_samples_behind_a_pipe_are_read():
    parsed = parse(b"valid.multiple:0|ms|@0.1:0|ms|:1|ms")
    assert [(r.values, r.rate) for r in parsed.records] == [((0,), 0.1), ((0,), 1.0), ((1,), 1.0)]


@pytest.mark.parametrize("before", [b"1|c", b"1|c|@0.5", b"1|c|"])
def test_a_member_of_a_set_keeps_its_blanks_wherever_it_stands(before):
    assert parse(b"a:%s: x |s" % before).records[-1].values == (b" x ",)


def test_a_container_is_no_second_counter():
    sample = parse(b"a:5|g|c:2|c").records
    assert [(r.kind, r.values, r.container) for r in sample] == [("g", (5.0,), "2")]


def test_the_sign_of_every_packed_value_is_told():
    assert one(b"g:10:+2:-3:-0:+.5|g").signs == " +--+"
    assert [one(b"g:%s|g" % v).signs for v in (b"1", b"+1", b"-1")] == [" ", "+", "-"]


@pytest.mark.parametrize("field", [b"#t", b"#", b"c:x", b"e:x", b"card:low", b"T5"])
def test_a_field_of_dogstatsd_makes_a_line_extended(field):
    assert one(b"a:1|g|" + field).extended
    assert not one(b"a:1|g|@0.5").extended


@pytest.mark.parametrize(
    ("line", "warnings"),
    [
        (b"a:1|c|@0", ["rate_clamped"]),
        (b"a:1|c|@2", ["rate_clamped"]),
        (b"a:1|c|@1e-9", ["rate_clamped"]),
        (b"a:1|c|@2:2|c|@3", ["rate_clamped"]),
        (b"a:1|c|f:new", ["unknown_field"]),
        (b"a:1|c|c:", ["unknown_field"]),
        (b"a:1|c|0.5", ["unknown_field"]),
        (b"a:1|c|x|y|@2", ["rate_clamped", "unknown_field"]),
        (b"a:1|c|#:v", ["bad_tag"]),
        (b"a[b:1|c", ["bad_tag"]),
        (b"a;b=:1|c|x", ["bad_tag", "unknown_field"]),
    ],
)
def test_each_leniency_is_one_warning_of_the_line(line, warnings):
    parsed = parse(line)
    assert parsed.warnings == warnings
    assert parsed.records
    assert parsed.bad == []


@pytest.mark.parametrize("line", [b"a:x|c|new", b"a[:1|zz", b"a:1|c|new|@x", b"a:1|c|#:v|Tx"])
def test_a_line_of_which_nothing_is_kept_warns_of_nothing(line):
    parsed = parse(line)
    assert (len(parsed.bad), parsed.records, parsed.warnings) == (1, [], [])


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(b"0", 1.0), (b"-0", 1.0), (b"0e5", 1.0), (b"1.1", 1.0), (b"1e-10", SMALLEST_RATE),
     (b"1e-400", SMALLEST_RATE), (b"1e-6", 1e-6)],
)  # fmt: skip
def test_a_rate_out_of_range_becomes_the_nearest_that_does_no_harm(rate, expected):
    assert one(b"a:1|c|@" + rate).rate == expected


def test_names_can_be_taken_as_they_are():
    assert one(b"a b/c+d:1|c", sanitize_names=False).name == "a b/c+d"
    assert one(b"a\x07\x7f\xc2\x85b:1|c", sanitize_names=False).name == "ab"
    assert one(b"a b;k=v:1|c", sanitize_names=False)[:2] == ("a b", ("k:v",))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"name", ("name", (), "c", (1.0,))),
        (b"name|c", ("name", (), "c", (1.0,))),
        (b"name|c|@0.5|#k:v", ("name", ("k:v",), "c", (1.0,))),
        (b"name:5", ("name", (), "m", (5.0,))),
    ],
)
def test_netdatas_lines_without_value_or_type_are_taken_on_request(line, expected):
    assert one(line, netdata_defaults=True)[:4] == expected
    assert len(parse(line).bad) == 1


@pytest.mark.parametrize("line", [b"a|b:1|c", b"a|c:1|c", b"|c", b"a:|c", b"a|zz"])
def test_netdatas_defaults_do_not_make_sense_of_nonsense(line):
    assert len(parse(line, netdata_defaults=True).bad) == 1


def test_lines_can_be_added_to_what_is_there():
    parser, parsed = LineParser(), Parsed()
    for line in (b"a:1|c", b"", b"x", b"b:2|c|@7"):
        parser.line(line, parsed)
    assert [r.name for r in parsed.records] == ["a", "b"]
    assert (reasons(parsed), parsed.warnings, parsed.lines) == (["no_colon"], ["rate_clamped"], 3)


def test_a_known_name_warns_each_time_it_comes():
    assert parse(b"a[:1|c\na[:1|c\na[:1:2|c").warnings == ["bad_tag"] * 3


def test_what_a_parser_remembers_is_bounded_in_bytes():
    parser = LineParser()
    tracemalloc.start()
    for i in range(600):  # 72 MB of lines and of tags made from them
        parser.parse(b"a:1|c|#%d" % i + b"x" * 60_000)
    assert tracemalloc.get_traced_memory()[0] < 48 << 20
    tracemalloc.stop()


names = st.text("abcXYZ019_.-", min_size=1, max_size=12)
words = st.text("ab01é.-/_", min_size=1, max_size=6)
tag_sets = st.sets(st.builds("{}:{}".format, words, words) | words, max_size=4)
numbers = st.floats(-LARGEST, LARGEST)
members = st.binary(min_size=1, max_size=8).filter(lambda m: not set(m) & set(b"|\n"))


@st.composite
def samples(draw):
    kind = draw(st.sampled_from(["c", "C", "m", "g", "ms", "h", "d", "kv", "s"]))
    if kind == "s":
        values, signs = (draw(members),), " "
    else:
        values = tuple(draw(st.lists(numbers, min_size=1, max_size=3)))
        signs = "".join("-" if repr(v)[0] == "-" else draw(st.sampled_from(" +")) for v in values)
    tags = tuple(sorted(draw(tag_sets)))
    fields = [
        draw(st.none() | st.integers(1, 1 << 53).map(float)),
        *(draw(st.none() | words) for _ in range(3)),
    ]
    fields[3] = fields[3] and fields[3].lower()
    extended = bool(tags) or any(field is not None for field in fields)
    rate = draw(st.floats(SMALLEST_RATE, 1.0))
    return Sample(draw(names), tags, kind, values, signs, rate, *fields, extended)


def written(sample: Sample) -> bytes:
    """A line that says what the sample does."""
    if sample.kind == "s":
        value = sample.values[0]
    else:
        signed = zip(sample.values, sample.signs, strict=True)
        value = ":".join(f"{s.strip('- ')}{v!r}" for v, s in signed).encode()
    line = b"%s:%s|%s" % (sample.name.encode(), value, sample.kind.encode())
    line += f"|@{sample.rate!r}".encode()
    line += f"|#{','.join(sample.tags)}".encode() if sample.tags else b""
    starts = ("T", "c:", "e:", "card:")
    for start, field in zip(starts, sample[6:10], strict=True):
        if field is not None:
            line += f"|{start}{int(field) if start == 'T' else field}".encode()
    return line


@given(samples())
def test_a_sample_survives_being_written_and_parsed(sample):
    parsed = parse(written(sample))
    assert (parsed.records, parsed.bad, parsed.warnings) == ([sample], [], [])


@given(st.lists(samples(), max_size=5))
def test_samples_survive_in_one_datagram_as_alone(several):
    datagram = b"\n".join(map(written, several))
    assert parse(datagram).records == [r for s in several for r in parse(written(s)).records]
