"""Words in order and the ids under each: names to series, tags to series.

    leaves   [api.a  api.b] [db.query  web.a] ...    2000 words each, split where full
             [  0     ~1  ] [   3        4  ] ...    the first id under each, ~ where
    more     api.b: [1 2 5 ...]                      there are more, and then all of them

A glob that begins with a literal is a range of leaves.  Others look for their longest
literal in the text of a whole leaf first, 16 ns a word; ids beside the words make
them columns without a look-up each, which takes 800.

One thread writes and any number read meanwhile; a lock is held for as long as a word
goes in, or a leaf is copied: microseconds.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import translate
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]

LEAF = 2000  # words of a leaf: a new one moves 8 kB of pointers at most
SPARSE = 16  # ids that may be marked in the time one is searched for

_NOTHING: Ids = np.empty(0, np.int32)
_SIGNS = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")


class Glob(NamedTuple):
    """A pattern as an index can use it.

    Attributes
    ----------
    exact : bool
        The text has no signs: only itself fits.
    prefix, literal : str
        What every word that fits begins with; the longest text it has after that.
    pattern : re.Pattern or None
        What decides; None where prefix and literal say it all.
    """

    text: str
    exact: bool
    prefix: str
    literal: str
    pattern: re.Pattern[str] | None

    def among(self, words: Sequence[str]) -> list[int]:
        """Places of those of some words with the prefix that fit."""
        literal, pattern = self.literal, self.pattern
        if pattern is None:
            return [i for i, word in enumerate(words) if literal in word]
        fits = pattern.match
        return [i for i, word in enumerate(words) if literal in word and fits(word)]


def glob(text: str) -> Glob:
    """Read a glob as ``fnmatch`` does, over the whole word and case by case."""
    if not any(sign in text for sign in "*?["):
        return Glob(text, True, text, "", None)
    prefix, *rest = _SIGNS.split(text)
    literal = max(rest, key=len, default="")
    simple = text in (f"{prefix}*", f"*{literal}*")
    return Glob(text, False, prefix, literal, None if simple else re.compile(translate(text)))


def common(postings: Sequence[Ids]) -> Ids:
    """Ids that stand in each of some ascending arrays, ascending."""
    found, *others = sorted(postings, key=len)
    for other in others:
        found = found[within(found, other)]
    return found


def within(ids: Ids, of: Ids) -> NDArray[np.bool_]:
    """Tell which of some ids stand in other, ascending ones."""
    if not of.size or not ids.size:
        return np.zeros(ids.size, np.bool_)
    if ids.size * SPARSE < of.size:
        hit: NDArray[np.bool_] = of.take(of.searchsorted(ids), mode="clip") == ids
        return hit
    marks = np.zeros(max(int(ids.max()), int(of[-1])) + 1, np.bool_)
    marks[of] = True
    return marks[ids]


class Part(NamedTuple):
    """Some words, in order, and the first id under each: ~id where there are more."""

    words: list[str]
    firsts: Ids

    def numbers(self) -> Ids:
        """The first id under each word."""
        return np.where(self.firsts < 0, ~self.firsts, self.firsts)

    def between(self, first: int, last: int | None = None) -> "Part":
        """The words in ``[first, last)``."""
        return Part(self.words[first:last], self.firsts[first:last])

    def take(self, places: list[int]) -> "Part":
        """The words in some places."""
        return Part([self.words[i] for i in places], self.firsts[places])


class _Leaf:
    """Words that stand side by side, never none."""

    __slots__ = ("firsts", "head", "text", "words")

    def __init__(self, words: list[str], firsts: "array[int]") -> None:
        self.words = words
        self.firsts = firsts
        self.head = words[0]
        self.text: str | None = None  # of all words; None until it is asked for

    def insert(self, word: str, number: int) -> int:
        words = self.words
        place = bisect_left(words, word)
        words.insert(place, word)
        self.firsts.insert(place, number)
        self.text = None
        return place

    def remove(self, word: str) -> None:
        place = bisect_left(self.words, word)
        del self.words[place], self.firsts[place]
        self.head, self.text = self.words[0], None

    def halves(self) -> "list[_Leaf]":
        middle = len(self.words) // 2
        return [
            _Leaf(self.words[:middle], self.firsts[:middle]),
            _Leaf(self.words[middle:], self.firsts[middle:]),
        ]

    def holds(self, literal: str) -> bool:
        """Tell whether some word may have a literal."""
        if self.text is None:
            self.text = "\n".join(self.words)
        return literal in self.text


class Index:
    """Words, in order, with the ascending ids under each."""

    def __init__(self) -> None:
        self._leaves: list[_Leaf] = []
        self._heads: list[str] = []  # of the leaves; for the writer alone
        self._first: dict[str, int] = {}
        self._more: dict[str, array[int]] = {}
        self._lock = Lock()  # of all leaves

    def __len__(self) -> int:
        return len(self._first)

    def __contains__(self, word: str) -> bool:
        return word in self._first

    def add(self, word: str, number: int) -> int:
        """Put an id, larger than all before it, under a word; the first one there.

        Costs 0.2 us, and 1.5 for a new word.
        """
        more = self._more.get(word)
        if more is not None:
            more.append(number)
            return more[0]
        first = self._first.setdefault(word, number)
        if first == number:
            self._insert(word, number)
        else:
            self._put(word, array("i", (first, number)))
        return first

    def _insert(self, word: str, number: int) -> None:
        at = self._place(word)
        with self._lock:
            if not self._leaves:
                self._replace(0, [_Leaf([word], array("i", (number,)))])
                return
            leaf = self._leaves[at]
            if leaf.insert(word, number) == 0:
                self._heads[at] = leaf.head = word
            if len(leaf.words) > LEAF:
                self._replace(at, leaf.halves())

    def _place(self, word: str) -> int:
        return (bisect_right(self._heads, word) or 1) - 1

    def _replace(self, at: int, leaves: list[_Leaf]) -> None:
        # By new ones: whoever walks the old one still finds every word in it.
        self._leaves[at : at + 1] = leaves
        self._heads[at : at + 1] = [leaf.head for leaf in leaves]

    def _put(self, word: str, ids: "array[int]") -> None:
        """Have these ids, at least one, under a known word."""
        leaf = self._leaves[self._place(word)]
        with self._lock:
            self._first[word] = ids[0]
            leaf.firsts[bisect_left(leaf.words, word)] = ~ids[0] if len(ids) > 1 else ids[0]
            if len(ids) > 1:
                self._more[word] = ids
            else:
                self._more.pop(word, None)

    def take_away(self, word: str, gone: Ids) -> Ids:
        """Take ids, ascending, one at least from under a word; those that are left."""
        if word not in self._more:
            self._remove(word)
            return _NOTHING
        ids = self.of(word)
        left = ids[~within(ids, gone)]
        if left.size:
            self._put(word, array("i", left.tobytes()))
        else:
            self._remove(word)
        return left

    def _remove(self, word: str) -> None:
        with self._lock:
            del self._first[word]
            self._more.pop(word, None)
            at = self._place(word)
            leaf = self._leaves[at]
            if len(leaf.words) == 1:
                self._replace(at, [])
            else:
                leaf.remove(word)
                self._heads[at] = leaf.head

    def of(self, word: str) -> Ids:
        """Ids under a word."""
        more = self._more.get(word)
        if more is not None:
            # A copy, as an array that is read in place can't be added to.
            return np.frombuffer(more.tobytes(), np.int32)
        first = self._first.get(word)
        return _NOTHING if first is None else np.array([first], np.int32)

    def under(self, part: Part) -> Ids:
        """Ids under some words, word by word."""
        words, firsts = part
        pieces, done = [], 0
        for place in np.flatnonzero(firsts < 0).tolist():
            pieces += [firsts[done:place], self.of(words[place])]
            done = place + 1
        return np.concatenate([*pieces, firsts[done:]]) if done else firsts

    def walk(self, prefix: str = "", start: str = "", literal: str = "") -> Iterator[Part]:
        """Words with a prefix, from `start` on, in order, a leaf at a time.

        Leaves without any word that has the `literal` are left out.
        """
        start = max(start, prefix)
        k = len(prefix)
        for leaf in self._from(start):
            with self._lock:
                if literal and not leaf.holds(literal):
                    continue
                words, firsts = leaf.words[:], leaf.firsts.tobytes()
            part = Part(words, np.frombuffer(firsts, np.int32))
            if words[0] < start:
                part = part.between(bisect_left(words, start))
            if not words[-1].startswith(prefix):
                part = part.between(0, bisect_right(part.words, prefix, key=lambda word: word[:k]))
            if part.words:
                yield part
            if words[-1][:k] > prefix:
                return

    def _from(self, word: str) -> list[_Leaf]:
        with self._lock:
            return self._leaves[self._place(word) :]

    def fitting(self, match: Glob, start: str = "") -> Iterator[Part]:
        """Words that fit a glob, from `start` on, in order, up to a leaf at a time."""
        if match.exact:
            ids = self.of(match.text)
            if ids.size and match.text >= start:
                yield Part([match.text], ids[:1] if ids.size == 1 else ~ids[:1])
            return
        for part in self.walk(match.prefix, start, match.literal):
            if match.literal or match.pattern is not None:
                part = part.take(match.among(part.words))
            if part.words:
                yield part

    def reach(self, prefix: str) -> int:
        """How many words with a prefix there may be, from the leaves that may hold them."""
        k = len(prefix)
        leaves = self._from(prefix)
        return LEAF * bisect_right(leaves, prefix, key=lambda leaf: leaf.head[:k])

    def near(self, word: str, many: int) -> list[str]:
        """Up to `many` words on either side of where a word stands in the order."""
        with self._lock:
            at = self._place(word)
            leaves = self._leaves[max(0, at - 1) : at + 2]
            words = [near for leaf in leaves for near in leaf.words]
        place = bisect_left(words, word)
        return words[max(0, place - many) : place + many]

    def _check(self, words: Iterable[str]) -> None:
        assert [word for leaf in self._leaves for word in leaf.words] == sorted(self._first)
        assert set(words) == self._first.keys() >= self._more.keys()
        assert self._heads == [leaf.head for leaf in self._leaves]
        for leaf in self._leaves:
            assert 0 < len(leaf.words) == len(leaf.firsts) <= LEAF
            assert leaf.head == leaf.words[0]
            assert leaf.text in (None, "\n".join(leaf.words))
            for word, first in zip(leaf.words, leaf.firsts, strict=True):
                ids = self.of(word)
                assert ids[0] == self._first[word]
                assert first == (~ids[0] if ids.size > 1 else ids[0])
                assert (ids.size > 1) == (word in self._more)
                assert (np.diff(ids) > 0).all(), (word, ids)
