"""Words in order and the ids under each, against a dictionary."""

from bisect import bisect_left
from fnmatch import fnmatchcase
from threading import Event, Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggd.store import index as indexes
from aggd.store.index import Index, common, glob, within

words = st.text(st.sampled_from("ab.*["), max_size=5)
patterns = st.text(st.sampled_from("ab.*?[]!-"), max_size=8)
steps = st.lists(st.tuples(words, st.integers(0, 3)), max_size=60)
ids = st.sets(st.integers(0, 200)).map(lambda found: np.array(sorted(found), np.int32))


@pytest.fixture
def small_leaves(monkeypatch):
    monkeypatch.setattr(indexes, "LEAF", 4)


def indexed(*every: str) -> Index:
    index = Index()
    for i, word in enumerate(every):
        index.add(word, i)
    return index


@settings(max_examples=200, deadline=None)
@given(steps)
@pytest.mark.usefixtures("small_leaves")
def test_an_index_is_a_dictionary_of_ascending_ids_in_order(every):
    index, model = Index(), {}
    for number, (word, kept) in enumerate(every):
        if kept or word not in model:
            assert index.add(word, number) == model.setdefault(word, [number])[0]
            if model[word][-1] != number:
                model[word].append(number)
        else:
            gone = np.array(model[word][::2], np.int32)
            model[word] = model[word][1::2]
            assert index.take_away(word, gone).tolist() == model[word]
            model = {w: of for w, of in model.items() if of}
        index._check(model)
    assert len(index) == len(model)
    assert all(index.of(word).tolist() == of for word, of in model.items())
    assert index.of("never").size == 0
    assert [word for part in index.walk() for word in part.words] == sorted(model)
    under = [i for part in index.walk() for i in index.under(part).tolist()]
    assert under == [i for word in sorted(model) for i in model[word]]
    numbers = [i for part in index.walk() for i in part.numbers().tolist()]
    assert numbers == [model[word][0] for word in sorted(model)]


@settings(max_examples=300, deadline=None)
@given(st.sets(words, max_size=30), patterns, words)
@pytest.mark.usefixtures("small_leaves")
def test_globs_find_what_fnmatch_does_from_any_word_on(every, pattern, start):
    index = indexed(*every)
    found = [word for part in index.fitting(glob(pattern), start) for word in part.words]
    fits = [word for word in every if fnmatchcase(word, pattern)]
    assert found == sorted(word for word in fits if word >= start)
    begins = {word for word in every if word.startswith(glob(pattern).prefix)}
    assert set(fits) <= begins
    assert len(begins) <= index.reach(glob(pattern).prefix)


@pytest.mark.parametrize(
    ("pattern", "prefix", "literal", "decides"),
    [
        ("api.*", "api.", "", False),
        ("*", "", "", False),
        ("*.p99*", "", ".p99", False),
        ("a*.latency", "a", ".latency", True),
        ("*a?bc", "", "bc", True),
        ("a[bc", "a[bc", "", True),
        ("x[ab]yy*z", "x", "yy", True),
    ],
)
def test_a_glob_gives_up_what_it_has_of_literal_text(pattern, prefix, literal, decides):
    found = glob(pattern)
    assert (found.prefix, found.literal, found.pattern is not None) == (prefix, literal, decides)


@given(st.lists(ids, min_size=1, max_size=4))
def test_common_ids_stand_in_every_array(postings):
    expected = set.intersection(*(set(posting.tolist()) for posting in postings))
    assert common(postings).tolist() == sorted(expected)


@given(ids, st.integers(0, 300))
def test_a_few_ids_are_searched_as_many_are_marked(of, few):
    asked = np.array([few, *range(400)], np.int32)
    expected = [i in set(of.tolist()) for i in asked.tolist()]
    assert within(asked, of).tolist() == expected
    assert within(asked[:1], of).tolist() == expected[:1]


def test_names_around_a_place_in_the_order_are_near():
    index = indexed(*(f"n{i:05d}" for i in range(5000)))
    assert index.near("n02500x", 2) == ["n02499", "n02500", "n02501", "n02502"]
    assert index.near("a", 2) == ["n00000", "n00001"]
    assert index.near("z", 1) == ["n04999"]
    assert Index().near("a", 3) == []


def test_who_walks_while_words_come_and_go_finds_all_that_stay():
    stay = [f"stay.{i * 7919 % 3000:04d}" for i in range(3000)]
    index, done = indexed(*stay), Event()

    def write():
        for i in range(20_000):
            index.add(f"stay.{i * 31 % 3000:04d}.{i}", 3000 + i)
            if i % 3 == 0:
                index.take_away(f"stay.{i * 31 % 3000:04d}.{i}", np.array([3000 + i], np.int32))
        done.set()

    writer = Thread(target=write)
    writer.start()
    walks = 0
    while not done.is_set() or not walks:
        found = [word for part in index.walk("stay.") for word in part.words]
        assert found == sorted(found)
        places = [bisect_left(found, word) for word in stay]
        assert [found[place] for place in places] == stay
        walks += 1
    writer.join()
    index._check(index._first)
