"""Which slots tile a window: whole days, then hours, minutes, intervals toward the edges.

     10s..10s | min ... min | hour ... hour | day  day  day | hour .. | min .. | open

A tier that hasn't closed a slot yet is covered by the one below; where the finer one no
longer has what is asked for, the coarser slot is taken and the window widened.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Level(NamedTuple):
    """A tier as it is just now; times in seconds since the epoch."""

    width: int
    horizon: int  # everything from here on is still kept
    closed: int  # up to here its slots are complete
    starts: Callable[[int, int], list[int]]  # of the slots in a window that hold data


class Span(NamedTuple):
    """Slots of one tier, ``[start, end)``."""

    tier: int
    start: int
    end: int


def cover(levels: Sequence[Level], tier: int, start: int, end: int) -> list[Span]:
    """Cover ``[start, end)`` from a tier down, and from those above for what it no longer has.

    Parameters
    ----------
    levels : sequence of Level
        Finest first; each width divides the next.
    tier : int
        The coarsest to be used where it may be chosen.
    start, end : int
        Seconds since the epoch, `start` before `end`.
    """
    horizon = levels[tier].horizon
    if tier + 1 == len(levels) or horizon <= start:
        return _below(levels, tier, start, end)
    gone = min(end, horizon + -horizon % levels[tier + 1].width)
    older = cover(levels, tier + 1, start, gone)
    reached = max(span.end for span in older)  # a coarse slot may end after what is gone
    return older + (_below(levels, tier, reached, end) if reached < end else [])


def _below(levels: Sequence[Level], tier: int, start: int, end: int) -> list[Span]:
    """Cover from a tier and the finer ones."""
    if tier == 0:
        return [Span(0, start, end)]
    level = levels[tier]
    shut = max(start, min(end, level.closed))
    first = min(start + -start % level.width, shut)
    last = max(first, shut - shut % level.width)
    spans = _edge(levels, tier, start, first) if start < first else []
    if first < last:
        spans.append(Span(tier, first, last))
    if last < shut:
        spans += _edge(levels, tier, last, shut)
    if shut < end:
        # Not rolled up yet: still below, but for what had to leave from there, which
        # says nothing of when in its slot it was: all of that slot, then.
        left = [Span(tier, slot, slot + level.width) for slot in level.starts(shut, end)]
        first, last = min([shut, *(s.start for s in left)]), max([end, *(s.end for s in left)])
        spans += left + _below(levels, tier - 1, first, last)
    return spans


def _edge(levels: Sequence[Level], tier: int, start: int, end: int) -> list[Span]:
    """Cover a part of one closed slot: from below, or by all of it."""
    if levels[tier - 1].horizon <= start:
        return _below(levels, tier - 1, start, end)
    whole = start - start % levels[tier].width
    return [Span(tier, whole, whole + levels[tier].width)]
