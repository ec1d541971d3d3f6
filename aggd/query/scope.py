"""What a question is about: a name to series, series to groups, a window to frames."""

import difflib
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from aggd.errors import RequestError
from aggd.protocol.times import format_time
from aggd.query.search import Run, runs_of
from aggd.query.selection import Group, merged, plain, select, single, split, tag_map
from aggd.sketch import digest
from aggd.store.frame import Frame, Ids, Timers
from aggd.store.merge import gather
from aggd.store.rollup import FOREVER, History, Tiling
from aggd.store.series import Kind, Registry, Series
from aggd.store.shelf import Wanted
from aggd.units import format_duration

ORDER = (Kind.TIMER, Kind.GAUGE, Kind.COUNTER, Kind.SET)  # which kind of a shared name is meant
NAMES_SEARCHED = 100_000  # for a suggestion: 20 ms
NAMES_COMPARED = 300  # 10 ms
NEIGHBOURS = 50  # names on either side of where an unknown one would stand
LOOKS = 3  # at a history that others write to
MAX_GROUPS = 10_000  # of one answer


class Window(NamedTuple):
    """``[start, end)`` in seconds since the epoch; None reaches as far as there are data."""

    start: float | None = None
    end: float | None = None


class Scope(NamedTuple):
    """What every question about statistics has."""

    window: Window
    now: float
    tags: Sequence[str] = ()
    by: Sequence[str] = ()
    kind: Kind | None = None


class Past(NamedTuple):
    """The frames that hold a window, and the window they really hold, in seconds."""

    frames: list[Frame]
    fine: list[Frame] | None  # the same in the finest tier, where it has all of it
    start: int
    end: int
    interval: int  # width of the finest tier
    until: float  # what of the window is over: its end, or now

    @property
    def seconds(self) -> float:
        """Length of what is over of the window, which rates are of."""
        return self.until - self.start

    def resolution(self, searched: bool) -> str:
        """Finest width among the frames used; `searched` says that the finest tier was."""
        widths = [self.interval] if searched else [frame.width for frame in self.frames]
        return format_duration(min(widths, default=self.interval))


def reach(
    history: History,
    window: Window,
    now: float,
    widest: int = FOREVER,
    wanted: Wanted | None = None,
) -> Past:
    """Find the frames of a window, with the series that are wanted and perhaps others."""
    start, end = window
    if end is None:
        # Senders may be ahead of our clock by a little.
        newest = history.rings[0].newest()
        end = now if newest is None else max(now, newest + history.width)
    if start is None:
        oldest = history.oldest()
        start = min(end, now if oldest is None else oldest)
    first, last = int(start), -int(-end // 1)
    tiling, fine = _both(history, first, last, widest, wanted)
    until = now if tiling.start < now < tiling.end else float(tiling.end)
    return Past(tiling.frames, fine, tiling.start, tiling.end, history.width, until)


def _both(
    history: History, start: int, end: int, widest: int, wanted: Wanted | None
) -> tuple[Tiling, list[Frame] | None]:
    """The coarsest and the finest frames of a window, of the same samples.

    Others may add frames between the two looks; if they still do after a few, the
    answer comes from the coarsest alone.
    """
    fine = history.fine(start, end)
    for _ in range(LOOKS):
        tiling, before = history.tile(start, end, widest, wanted), fine
        fine = history.fine(start, end)
        if before is None or fine is None:
            break
        if list(map(id, before.frames)) == list(map(id, fine.frames)):
            return tiling, fine.frames
    return tiling, None


def pick(
    registry: Registry, name: str, tags: Sequence[str], kind: Kind | None
) -> tuple[Kind, list[Series]]:
    """Series of one name and one kind that carry `tags`; there may be none that do.

    Raises
    ------
    RequestError
        404 where nobody sent the name, or not as this kind.
    """
    every = registry.narrowed(registry.index.of(name))
    kinds = _kinds(registry, every)
    if not kinds:
        raise _unknown(registry, name)
    found = registry.narrowed(every, tags)
    if kind is None:
        among = _kinds(registry, found) or kinds
        kind = next(k for k in ORDER if k in among)
    elif kind not in kinds:
        known = " and ".join(f"a {k.word}" for k in ORDER if k in kinds)
        raise RequestError("unknown_name", f"{name!r} is {known}, no {kind.word}", "kind", 404)
    return kind, registry.series(registry.narrowed(found, (), kind))


def _kinds(registry: Registry, ids: Ids) -> set[Kind]:
    kinds = registry.kinds[ids]
    return {kind for kind in Kind if (kinds == kind).any()}


def _unknown(registry: Registry, name: str) -> RequestError:
    neighbours = registry.index.near(name, NEIGHBOURS)
    near = nearest(name, chain(neighbours, registry.names()))
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return RequestError("unknown_name", f"nobody has sent {name[:200]!r}{hint}", "name", 404)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Up to three of `names` that are spelled alike; bounded work, so it may miss some."""
    name = name[:200]
    head, tail = name[:2].lower(), name[-3:].lower()
    alike = (
        n for n in islice(names, NAMES_SEARCHED)
        if n[:2].lower() == head or n[-3:].lower() == tail
    )  # fmt: skip
    compared = dict.fromkeys(islice(alike, NAMES_COMPARED))
    return difflib.get_close_matches(name, compared, 3, 0.6)


def groups(series: Sequence[Series], by: Sequence[str], *, merge: bool) -> list[Group]:
    """Groups of series of one name and kind: by tags, all as one, or each alone."""
    if not series:
        return []
    if by:
        found = split(series, by)
    elif merge:
        found = [merged(series)]
    else:
        found = [single(one) for one in series]
    if by and len(found) > MAX_GROUPS:
        raise RequestError(
            "too_many_groups",
            f"by={','.join(by)} makes {len(found)} groups; an answer has up to {MAX_GROUPS}, "
            "narrow them with tags",
            "by",
            422,
        )
    return found


def wanted(kind: Kind, series: Sequence[Series]) -> Wanted:
    """All that an answer about some series reads."""
    return Wanted(kind, np.array([one.id for one in series], np.int32))


class Found(NamedTuple):
    """All timers of one name in a window, merged: no row where there are no samples."""

    group: Group
    past: Past
    timers: Timers

    def runs(self) -> list[Run] | None:
        """Every sample, sorted in each run; None where some are no longer known."""
        ids = np.array(self.group.series, np.int32)
        frames = self.past.frames if self.past.fine is None else self.past.fine
        runs = [run for frame in frames for run in runs_of(frame.timers, ids)]
        kept = [run for run in runs if run is not None]
        return kept if len(kept) == len(runs) else None


def timers_of(registry: Registry, history: History, name: str, scope: Scope) -> Found:
    """Merge the timers of one name over a window.

    Raises
    ------
    RequestError
        404 where nobody sent the name, 422 where it is no timer.
    """
    kind, series = pick(registry, name, scope.tags, scope.kind)
    if kind is not Kind.TIMER:
        message = f"{name!r} is a {kind.word}: only timers have a distribution"
        raise RequestError("not_answerable", message, "name", 422)
    past = reach(history, scope.window, scope.now, wanted=wanted(kind, series))
    found = groups(series, (), merge=True)
    group = found[0] if found else Group(name, kind, tag_map(tuple(scope.tags)), ())
    selection = select(kind, [group])
    parts = ((frame, 0) for frame in past.frames)
    timers = gather(parts, kind, selection.ids, selection.labels, keep=False)
    assert isinstance(timers, Timers)
    return Found(group, past, timers)


def covers(found: Found, searched: bool = False) -> dict[str, object]:
    """What an answer about one distribution is about."""
    past, count = found.past, found.timers.moments.count
    return {
        "name": found.group.name,
        "kind": found.group.kind.word,
        "tags": found.group.tags,
        "from": format_time(past.start),
        "to": format_time(past.end),
        "resolution": past.resolution(searched),
        "exact": searched or bool(digest.exact(found.timers.digests).all()),
        "count": plain(float(count[0])) if count.size else 0,
    }
