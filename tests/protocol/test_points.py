"""Points of JSON: what is taken, what is refused, and in which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggd.protocol.lines import LineParser
from aggd.protocol.points import KEYS, points
from aggd.protocol.samples import LARGEST

DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]

SECOND = "2024-01-01T00:00:00"
SEED = {
    "name": "api.latency", "value": 23.5, "timestamp": f"{SECOND}Z", "type": "timer",
    "tags": {"env": "prod"}, "sample_rate": 1.0,
}  # fmt: skip


def one(**fields):
    """The sample of a point that is right."""
    (sample,), rejected = points([{"name": "n", "value": 1, **fields}])
    assert rejected == []
    return sample


def refused(point):
    """The rejection of a point that is wrong."""
    samples, (rejected,) = points([point])
    assert samples == []
    return rejected


REJECTED = [
    ({"name": None}, "bad_name", "null"),
    ({"name": 5}, "bad_name", "5"),
    ({"name": ["a"]}, "bad_name", "a list"),
    ({"name": ""}, "empty_name", "''"),
    ({"name": "$%^"}, "empty_name", "'$%^'"),
    ({"value": None}, "bad_value", "null"),
    ({"value": "1"}, "bad_value", "'1'"),
    ({"value": True}, "bad_value", "true"),
    ({"value": float("nan")}, "bad_value", "nan"),
    ({"value": float("-inf")}, "bad_value", "-inf"),
    ({"value": 1.1e300}, "bad_value", "1.1e+300"),
    ({"value": -(10**301)}, "bad_value", "an integer beyond 1e+300"),
    ({"value": 10**5000}, "bad_value", "an integer beyond 1e+300"),
    ({"value": {}}, "bad_value", "an object"),
    ({"type": "set", "value": None}, "bad_value", "null"),
    ({"type": "set", "value": ""}, "bad_value", "''"),
    ({"type": "set", "value": False}, "bad_value", "false"),
    ({"type": "set", "value": []}, "bad_value", "a list"),
    ({"type": "set", "value": float("inf")}, "bad_value", "inf"),
    ({"type": "set", "value": 10**5000}, "bad_value", "an integer beyond 1e+300"),
    ({"type": "meter"}, "bad_type", "'meter'"),
    ({"type": "Timer"}, "bad_type", "'Timer'"),
    ({"type": ""}, "bad_type", "''"),
    ({"type": 1}, "bad_type", "1"),
    ({"type": ["c"]}, "bad_type", "a list"),
    ({"timestamp": "1704067200"}, "bad_timestamp", "'1704067200'"),
    ({"timestamp": "2024-01-01"}, "bad_timestamp", "'2024-01-01'"),
    ({"timestamp": 1704067200000}, "bad_timestamp", "1704067200000"),
    ({"timestamp": -1}, "bad_timestamp", "-1"),
    ({"timestamp": False}, "bad_timestamp", "false"),
    ({"timestamp": []}, "bad_timestamp", "a list"),
    ({"timestamp": 10**5000}, "bad_timestamp", "an integer beyond 1e+300"),
    ({"tags": "env:prod"}, "bad_tags", "'env:prod'"),
    ({"tags": 0}, "bad_tags", "0"),
    ({"tags": False}, "bad_tags", "false"),
    ({"tags": ""}, "bad_tags", "''"),
    ({"tags": [5]}, "bad_tags", "a list"),
    ({"tags": [""]}, "bad_tags", "''"),
    ({"tags": [":v"]}, "bad_tags", "''"),
    ({"tags": ["a,b"]}, "bad_tags", "'a,b'"),
    ({"tags": {"": "v"}}, "bad_tags", "''"),
    ({"tags": {" ": "v"}}, "bad_tags", "' '"),
    ({"tags": {"a:b": "v"}}, "bad_tags", "'a:b'"),
    ({"tags": {"a,b": "v"}}, "bad_tags", "'a,b'"),
    ({"tags": {"a": []}}, "bad_tags", "an object"),
    ({"tags": {"a": float("nan")}}, "bad_tags", "nan"),
    ({"sample_rate": 0}, "bad_sample_rate", "0"),
    ({"sample_rate": -0.5}, "bad_sample_rate", "-0.5"),
    ({"sample_rate": 1.5}, "bad_sample_rate", "1.5"),
    ({"sample_rate": 1e-7}, "bad_sample_rate", "1e-07"),
    ({"sample_rate": "1"}, "bad_sample_rate", "'1'"),
    ({"sample_rate": True}, "bad_sample_rate", "true"),
    ({"sample_rate": float("nan")}, "bad_sample_rate", "nan"),
    ({"samplerate": 1}, "unknown_field", "'samplerate'"),
    ({"Value": 1}, "unknown_field", "'Value'"),
]


@pytest.mark.parametrize(("fields", "reason", "quoted"), REJECTED)
def test_a_point_that_is_wrong_is_refused_with_a_reason_that_quotes_it(fields, reason, quoted):
    rejected = refused({"name": "n", "value": 1, **fields})
    assert (rejected.index, rejected.reason) == (0, reason)
    assert quoted in rejected.message


@pytest.mark.parametrize("point", [None, 5, "n", True, [], [["name", "n"]], 1.5])
def test_what_is_no_object_is_no_point(point):
    assert refused(point).reason == "bad_point"


@pytest.mark.parametrize("missing", ["name", "value"])
def test_name_and_value_are_required(missing):
    assert refused({k: v for k, v in SEED.items() if k != missing}).reason == f"bad_{missing}"


def test_all_fields_are_read():
    (sample,), rejected = points([SEED])
    assert rejected == []
    assert sample[:7] == ("api.latency", ("env:prod",), "ms", (23.5,), " ", 1.0, 1704067200.0)


def test_name_and_value_are_enough_for_a_timer_of_now():
    assert one()[:7] == ("n", (), "ms", (1.0,), " ", 1.0, None)


def test_null_is_as_good_as_absent():
    assert one(type=None, tags=None, timestamp=None, sample_rate=None) == one()
    assert one(tags={}) == one(tags=[]) == one()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("counter", "c"), ("gauge", "g"), ("timer", "ms"), ("histogram", "h"), ("distribution", "d"),
     *((letters, letters) for letters in ("c", "C", "m", "g", "ms", "h", "d", "kv"))],
)  # fmt: skip
def test_types_have_names_and_letters(name, kind):
    assert one(type=name).kind == kind


def test_a_gauge_is_absolute_whatever_its_sign():
    sample = one(type="gauge", value=-4)
    assert (sample.values, sample.signs, sample.extended) == ((-4.0,), " ", False)


@pytest.mark.parametrize(
    ("value", "member"),
    [("joe", b"joe"), (" x:y|z ", b" x:y|z "), ("é", b"\xc3\xa9"), (17, b"17"), (17.0, b"17"),
     (-0.5, b"-0.5"), (2**60, str(2**60).encode()), (1e22, b"1e+22")],
)  # fmt: skip
def test_members_of_sets_are_texts_or_numbers(value, member):
    assert one(type="set", value=value).values == (member,)
    assert one(type="s", value=value).values == (member,)


@pytest.mark.parametrize("value", [0, -0.0, 1, 2**53, 10**300, LARGEST, -LARGEST, 5e-324])
def test_finite_numbers_are_taken_as_they_are(value):
    (found,) = one(value=value).values
    assert isinstance(found, float)
    assert found == float(value)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"b": "2", "a": "1"}, ("a:1", "b:2")),
        ({"k": ""}, ("k",)),
        ({"k": None}, ("k",)),
        ({"k": "a:b,c=d"}, ("k:a:b,c=d",)),
        (
            {"k": 1, "l": 1.0, "m": 1.5, "n": True, "o": False},
            ("k:1", "l:1", "m:1.5", "n:true", "o:false"),
        ),
        ({" k": "v "}, ("k:v",)),
        ({"k": "\ud800"}, ("k:?",)),
        (["b:2", "a:1", "a:1", "bare", "k=v", " x "], ("a:1", "b:2", "bare", "k:v", "x")),
        (["k:a,b"], ("k:a,b",)),
    ],
)
def test_tags_come_to_normal_form(tags, expected):
    assert one(tags=tags).tags == expected


def test_tags_that_python_takes_for_equal_are_told_apart():
    several = [{"k": 1}, {"k": True}, {"k": "1"}, {"k": "true"}, {"k": 0}, {"k": False}]
    samples, _ = points([{"name": "n", "value": 1, "tags": tags} for tags in several * 2])
    assert [s.tags[0][2:] for s in samples] == ["1", "true", "1", "true", "0", "false"] * 2


def test_false_is_no_time_though_it_equals_zero():
    samples, rejected = points([{"name": "n", "value": 1, "timestamp": t} for t in (0, False, 0.0)])
    assert [s.timestamp for s in samples] == [0.0, 0.0]
    assert [r.index for r in rejected] == [1]


@pytest.mark.parametrize("field", KEYS)
def test_a_value_however_deep_is_refused_and_does_not_raise(field):
    assert refused({"name": "n", "value": 1, field: DEEP}).reason
    assert refused({"name": "n", "value": 1, field: {"a": DEEP}}).reason


def test_a_long_value_is_quoted_in_part():
    for field in ("value", "type", "timestamp", "tags"):
        assert len(refused({"name": "n", "value": 1, field: "x" * 10_000}).message) < 250
    assert len(refused({"name": "n", "value": 1, "k" * 10_000: 1}).message) < 250


def test_one_bad_point_does_not_cost_its_neighbours():
    samples, rejected = points([SEED, 5, {"name": "n"}, SEED, {**SEED, "x": 1}])
    assert len(samples) == 2
    assert [(r.index, r.reason) for r in rejected] == [
        (1, "bad_point"), (2, "bad_value"), (4, "unknown_field"),
    ]  # fmt: skip


def test_names_are_cleaned_unless_they_should_stay():
    assert one(name="a b/c").name == "a_b-c"
    (sample,), _ = points([{"name": "a b/c\0", "value": 1}], sanitize_names=False)
    assert sample.name == "a b/c"


def test_more_names_times_and_tags_than_are_remembered_are_read_alike():
    data = [
        {
            "name": f"n{i}",
            "value": i,
            "timestamp": f"2024-01-01T00:00:00.{i:05}Z",
            "tags": {"k": str(i)},
        }
        for i in range(10_000)
    ]
    samples, rejected = points(data + data)
    assert rejected == []
    assert samples[:10_000] == samples[10_000:]
    assert samples[9_999][:2] == ("n9999", ("k:9999",))
    assert samples[9_999].timestamp == pytest.approx(1704067200.09999)


keys = st.text("abc_.-é", min_size=1, max_size=4)
tag_values = st.text("abc1:=/# é", max_size=5)


@given(keys, st.dictionaries(keys, tag_values, max_size=4), st.floats(-LARGEST, LARGEST))
def test_a_point_and_a_line_name_the_same_series(name, tags, value):
    line = f"{name}:{value!r}|ms|#{','.join(f'{k}:{v}' for k, v in tags.items())}"
    (parsed,) = LineParser().parse(line.encode()).records
    (sample,), _ = points(json.loads(json.dumps([{"name": name, "value": value, "tags": tags}])))
    assert (sample.name, sample.tags, sample.values) == (parsed.name, parsed.tags, parsed.values)
