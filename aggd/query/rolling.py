"""Statistics of windows that move: a point at each step over the window that ends there.

    from       to          step 1, window 3
    |----------|
         [-----.           a point's time is the end of its window, a multiple of the step;
           [-----.         the first window reaches back before `from`, the last one may
             [-----.       end after `to`, of which it holds what came before

Slots are as wide as both the window and the step allow: a week of windows of an hour
at every minute moves over 10,140 minutes.
"""

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple

from aggd.errors import RequestError
from aggd.query import statsd
from aggd.query.answer import MAX_BUCKETS, Aggregated
from aggd.query.scope import Past, Scope, Window, groups, pick, reach, whole
from aggd.query.selection import Selection, select
from aggd.query.stats import check
from aggd.query.sweep import Grid, move
from aggd.store.frame import Frame
from aggd.store.merge import EMPTY
from aggd.store.rollup import History
from aggd.store.rows import holding
from aggd.store.series import Kind, Registry
from aggd.store.shelf import Wanted
from aggd.units import format_duration

MAX_WINDOW = 12_000  # slots of a window: a week of minutes; half of `sweep.AT_ONCE`
MAX_SLOTS = 500_000  # of all groups: some 5 s, where each holds a full digest


def rolling(
    registry: Registry,
    history: History,
    name: str,
    names: Sequence[str],
    window: float,
    step: float,
    scope: Scope,
) -> Aggregated:
    """Statistics of one name over moving windows of `window` seconds, one every `step`."""
    lengths = Lengths(whole(history, "window", window), whole(history, "step", step))
    kind, series = pick(registry, name, scope.tags, scope.kind)
    for word in names:
        _check(word, kind)
    found = groups(name, kind, series, scope)
    chosen = select(kind, found)
    past, frames, grid = _reach(history, scope, lengths, chosen)
    words = list(dict.fromkeys(["count", *names]))
    points, count = move(frames, chosen, words, grid, past.start)
    return Aggregated(found, points, past, count)


def _check(word: str, kind: Kind) -> None:
    check(word, kind, "aggregation")
    if statsd.parts([word]):
        raise RequestError(
            "not_answerable", f"moving windows have no {word!r}; ask aggregate", "aggregation", 422
        )


class Lengths(NamedTuple):
    """Of a window, and from one to the next, in seconds."""

    window: int
    step: int


def _reach(
    history: History, scope: Scope, lengths: Lengths, selection: Selection
) -> tuple[Past, list[Frame], Grid]:
    """The window of the points, the frames of all their windows, and where these are."""
    slot = max(t.width for t in history.tiers if gcd(*lengths) % t.width == 0)
    start, end = scope.window
    every = Wanted(selection.kind, selection.ids)
    if start is None:
        past = reach(history, scope.window, scope.now, slot, every)
        since = past.start
    else:
        since = _after(int(start), lengths.step) - lengths.window
        past = reach(history, Window(since, end), scope.now, slot, every)
    past = past._replace(start=int(past.start if start is None else start) // slot * slot)
    frames, grid = past.frames, _grid(past, past.frames, since, slot, lengths)
    if _too_many(grid, selection):
        # Most of it may be long before or after these series.
        frames = holding(frames, type(EMPTY[selection.kind]), selection.ids)
        grid = _grid(past, frames, since, slot, lengths)
    _refuse_too_many(grid, selection)
    return past, frames, grid


def _grid(past: Past, frames: Sequence[Frame], since: int, slot: int, lengths: Lengths) -> Grid:
    """Windows between the edges of a question that may hold something of some frames."""
    window, step = lengths
    oldest = min((frame.start for frame in frames), default=past.start)
    newest = max((frame.end for frame in frames), default=past.start)
    first = max(_after(past.start, step), _after(oldest, step))
    last = min(past.end + -past.end % step, _after(newest + window, step))
    windows = max(0, (last - first) // step + 1)
    return Grid(first - window, slot, window // slot, step // slot, windows, since, past.until)


def _after(time: int, step: int) -> int:
    """The first multiple of a step after a time."""
    return time // step * step + step


def _too_many(grid: Grid, selection: Selection) -> bool:
    n = len(selection.groups)
    return n * grid.windows > MAX_BUCKETS or n * grid.slots > MAX_SLOTS


def _refuse_too_many(grid: Grid, selection: Selection) -> None:
    if grid.width > MAX_WINDOW:
        raise RequestError(
            "bad_window",
            f"window has {grid.width} slots of {format_duration(grid.slot)}, up to {MAX_WINDOW} "
            "are answered; ask for a shorter one, or one and a step of whole hours or days",
            "window",
            422,
        )
    if _too_many(grid, selection):
        n = len(selection.groups)
        raise RequestError(
            "too_many_points",
            f"step makes {n * grid.windows} points of {n * grid.slots} slots of "
            f"{format_duration(grid.slot)}; an answer has up to {MAX_BUCKETS} of {MAX_SLOTS}, "
            "ask for a longer step, a shorter range or fewer groups",
            "step",
            422,
        )
