"""Series to groups."""

from hypothesis import given
from hypothesis import strategies as st

from aggd.query.selection import merged, select, single, split, tag_map
from aggd.store.series import Kind, Limits, Registry

tags = st.sets(st.sampled_from(["a:1", "a:2", "b:1", "b:2", "c", "d:x:y"])).map(
    lambda found: tuple(sorted(found))
)


def series(*every):
    registry = Registry(Limits())
    return [registry[registry.resolve(Kind.TIMER, "t", tags, 0.0)] for tags in every]


@given(st.lists(tags, min_size=1, max_size=12, unique=True), st.sampled_from([["a"], ["b", "a"]]))
def test_groups_by_tags_share_their_values_and_hold_every_series_once(every, by):
    groups = split(series(*every), by)
    assert sorted(i for group in groups for i in group.series) == list(range(len(every)))
    shown = [tuple(map(str, group.tags.values())) for group in groups]
    assert len(set(shown)) == len(shown)
    for group in groups:
        assert list(group.tags) == by
        for i in group.series:
            assert {key: tag_map(every[i]).get(key) for key in by} == group.tags
    selection = select(Kind.TIMER, groups)
    assert selection.labels.tolist() == sorted(selection.labels.tolist())
    for i, label in zip(selection.ids.tolist(), selection.labels.tolist(), strict=True):
        assert i in groups[label].series


def test_merged_series_have_the_tags_they_share():
    group = merged(series(("env:x", "host:a"), ("env:x", "host:b")))
    assert (group.tags, group.series) == ({"env": "x"}, (0, 1))
    assert single(series(("env:x", "host:a"))[0]).tags == {"env": "x", "host": "a"}


def test_bare_and_repeated_tags_are_shown_as_they_are():
    assert tag_map(("bare", "zone:a", "zone:b", "d:x:y")) == {
        "bare": "",
        "zone": ["a", "b"],
        "d": "x:y",
    }
