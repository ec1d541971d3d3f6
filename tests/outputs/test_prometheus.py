"""What a strict reader of the format understands is what was meant."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.outputs.prometheus import Family, render

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
PAIR = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({PAIR}(?:,{PAIR})*)\}})? (\S+)")
NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|Inf)|NaN")


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), text)


def parse(text: str) -> list[Family]:
    """Read the text format 0.0.4; refuse whatever it doesn't allow."""
    families: list[Family] = []
    assert text == "" or text.endswith("\n")
    lines = text.split("\n")[:-1]
    while lines:
        name, help_ = re.fullmatch(rf"# HELP ({NAME}) (.*)", lines.pop(0)).groups()
        kind = re.fullmatch(
            rf"# TYPE {name} (counter|gauge|histogram|summary|untyped)", lines.pop(0)
        )[1]
        samples = []
        while lines and not lines[0].startswith("#"):
            found = SAMPLE.fullmatch(lines.pop(0))
            assert found[1].startswith(name)
            suffix = found[1].removeprefix(name)
            assert suffix in ("", "_sum", "_count", "_bucket")
            pairs = re.findall(PAIR, found[2] or "")
            labels = {key: unescape(value) for key, value in pairs}
            assert len(labels) == len(pairs)
            assert NUMBER.fullmatch(found.groups()[-1])
            value = float(found.groups()[-1])
            samples.append((labels, value, suffix) if suffix else (labels, value))
        assert name not in {family.name for family in families}
        families.append(Family(name, kind, unescape(help_), samples))
    return families


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
samples = st.tuples(st.dictionaries(words, texts, max_size=3), st.floats(allow_nan=False))
families = st.builds(
    Family, words, st.sampled_from(["counter", "gauge"]), texts, st.lists(samples, max_size=4)
)


@given(st.lists(families, max_size=4, unique_by=lambda family: family.name))
def test_a_strict_reader_reads_what_was_written(written):
    assert parse(render(written).decode()) == written


def test_an_exposition_reads_as_documented():
    family = Family("lines_total", "counter", "Lines.", [({"lane": 'a"\\\n'}, 3), ({}, 0.5)])
    assert render([family]) == (
        b"# HELP lines_total Lines.\n# TYPE lines_total counter\n"
        b'lines_total{lane="a\\"\\\\\\n"} 3\nlines_total 0.5\n'
    )


def test_numbers_are_written_as_go_reads_them():
    values = [math.nan, math.inf, -math.inf, 0.1, 1e300, 5e-324, 2.0**60, -3]
    lines = render([Family("x", "gauge", "X.", [({}, v) for v in values])]).decode().split("\n")
    found = [line.split(" ")[1] for line in lines[2:-1]]
    assert found[:3] == ["NaN", "+Inf", "-Inf"]
    assert [float(text) for text in found[3:]] == values[3:]


def test_a_summary_has_its_sum_and_count():
    family = Family("s", "summary", "S.", [({}, 1.5, "_sum"), ({}, 3, "_count")])
    assert render([family]).endswith(b"s_sum 1.5\ns_count 3\n")


@pytest.mark.parametrize(
    "families",
    [
        [Family("a-b", "gauge", "X.", [])],
        [Family("1a", "gauge", "X.", [])],
        [Family("", "gauge", "X.", [])],
        [Family("a", "meter", "X.", [])],
        [Family("a", "gauge", "X.", [({"b-c": "x"}, 1)])],
        [Family("a", "gauge", "X.", [({"__name__": "x"}, 1)])],
        [Family("a", "gauge", "X.", [({}, 1, "_x")])],
        [Family("a", "gauge", "X.", []), Family("a", "gauge", "X.", [])],
    ],
)
def test_what_no_reader_would_take_is_refused(families):
    with pytest.raises(ValueError, match=r"."):
        render(families)
