"""Events and service checks; the vectors have their grammar, here is what they leave open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.errors import ProtocolError
from aggd.protocol.events import Check, Event, event, service_check
from aggd.protocol.lines import LineParser

EVENTS = [
    (b"_e{1,1}:a|b", Event("a", "b")),
    (b"_e{01,1}:a|b", Event("a", "b")),
    (b"_e{5,4}:a|b:c|d||e", Event("a|b:c", "d||e")),
    (b"_e{4,8}:a\\nb|c\\nd\\\\te", Event("a\nb", "c\nd\\\\te")),
    (b"_e{1,2}:a|b \r\0", Event("a", "b ")),
    (b"_e{1,0}:a|", Event("a", "")),
    (b"_e{1,0}:a||p:low", Event("a", "", "low")),
    (b"_e{2,2}:\xff\xff|\xff\xff", Event("\ufffd\ufffd", "\ufffd\ufffd")),
    (
        b"_e{1,1}:a|b|#y,x:1|t:error|p:low|s:nagios|k:key|h:web|d:5|c:id|e:ext|card:LOW",
        Event(
            "a", "b", "low", "error", ("x:1", "y"), 5, "web", "key", "nagios", "id", "ext", "low"
        ),
    ),
    (b"_e{1,1}:a|b|d:1|d:2|#x|#y", Event("a", "b", tags=("y",), timestamp=2)),
    (b"_e{1,1}:a|b||", Event("a", "b")),
]

NO_EVENTS = [
    b"_e{", b"_e{}", b"_e{1}:a|b", b"_e{1,1}", b"_e{1,1}:", b"_e{1,1}:a", b"_e{1,1}:ab",
    b"_e{0,1}:|b", b"_e{2,1}:a|b", b"_e{1,2}:a|b", b"_e{1,1}:a|bc", b"_e{1,1}:a|b p:low",
    b"_e{1,1}a|b", b"_e{-1,1}:a|b", b"_e{+1,1}:a|b", b"_e{1_0,1}:aaaaaaaaaa|b", b"_e{ 1,1}:a|b",
    b"_e{1,1 }:a|b", b"_e{1234567890,1}:a|b", b"_e{999999999,1}:a|b",
    "_e{\N{ARABIC-INDIC DIGIT ONE},1}:a|b".encode(),
]  # fmt: skip

CHECKS = [
    (b"_sc|a|0", Check("a", 0)),
    (b"_sc|a b/c|3", Check("a b/c", 3)),
    (
        b"_sc|a|1|d:5|h:web|#y,x:1|m:all\\nwell|c:id|e:ext|card:High",
        Check("a", 1, ("x:1", "y"), 5, "web", "all\nwell", "id", "ext", "high"),
    ),
    (b"_sc|a|2|m:|", Check("a", 2, message="")),
    (b"_sc|a|2|m:1|m:2", Check("a", 2, message="2")),
]

NO_CHECKS = [
    b"_sc|", b"_sc||", b"_sc|a", b"_sc||0", b"_sc|a|", b"_sc|a|4", b"_sc|a|00", b"_sc|a| 0",
    b"_sc|a|-1", b"_sc|a|OK", b"_sc|a|0x0", "_sc|a|\N{FULLWIDTH DIGIT ONE}".encode(),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), EVENTS)
def test_events_that_parse(line, expected):
    warnings = []
    assert event(line, warnings) == expected
    assert warnings == []


@pytest.mark.parametrize("line", NO_EVENTS)
def test_events_that_do_not_parse(line):
    with pytest.raises(ProtocolError) as caught:
        event(line, [])
    assert caught.value.reason == "bad_event"
    assert LineParser().parse(line).bad == [("bad_event", line)]


@pytest.mark.parametrize(("line", "expected"), CHECKS)
def test_checks_that_parse(line, expected):
    warnings = []
    assert service_check(line, warnings) == expected
    assert warnings == []


@pytest.mark.parametrize("line", NO_CHECKS)
def test_checks_that_do_not_parse(line):
    with pytest.raises(ProtocolError) as caught:
        service_check(line, [])
    assert caught.value.reason == "bad_service_check"
    assert LineParser().parse(line).bad == [("bad_service_check", line)]


@pytest.mark.parametrize(
    "field", [b"p:urgent", b"t:test", b"d:soon", b"d:-1", b"d:1_0", b"m:no", b"new:1", b"T5", b"@1"]
)
def test_a_bad_field_of_an_event_is_left_out_with_a_warning(field):
    warnings = []
    assert event(b"_e{1,1}:a|b|h:web|" + field, warnings) == Event("a", "b", hostname="web")
    assert warnings == ["unknown_field"]


@pytest.mark.parametrize("field", [b"p:low", b"t:error", b"d:x", b"k:key", b"s:src", b"text"])
def test_a_bad_field_of_a_check_is_left_out_with_a_warning(field):
    warnings = []
    assert service_check(b"_sc|a|0|h:web|" + field, warnings) == Check("a", 0, hostname="web")
    assert warnings == ["unknown_field"]


def test_a_tag_without_key_is_a_warning_here_too():
    for line in (b"_e{1,1}:a|b|#x,:y", b"_sc|a|0|#x,:y"):
        parsed = LineParser().parse(line)
        assert parsed.records[0].tags == ("x",)
        assert parsed.warnings == ["bad_tag"]


def test_only_texts_for_people_have_escaped_newlines():
    found = event(rb"_e{1,1}:a|b|k:C:\new|s:\n|h:\n", [])
    assert (found.aggregation_key, found.source_type, found.hostname) == (r"C:\new", r"\n", r"\n")


def test_an_event_ends_with_its_line_and_costs_no_other():
    parsed = LineParser().parse(b"a:1|c\n_e{3,1}:a\nb|c\nb:2|c")
    assert [r.name for r in parsed.records] == ["a", "b"]
    assert [refusal.reason for refusal in parsed.bad] == ["bad_event", "no_colon"]


texts = st.text(max_size=10).filter(lambda t: not {"\n", "\\"} & set(t))


@given(texts.filter(bool), texts, st.sampled_from([b"", b"|#x", b" \r\0"]))
def test_title_and_text_are_counted_in_bytes_and_may_hold_anything(title, text, rest):
    a, b = title.encode(), text.encode()
    found = event(b"_e{%d,%d}:%s|%s%s" % (len(a), len(b), a, b, rest), [])
    assert (found.title, found.text) == (title, text)
