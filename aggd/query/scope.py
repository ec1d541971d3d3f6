"""What a question is about: a name to series, series to groups, a window to frames."""

import difflib
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from aggd.errors import RequestError
from aggd.protocol.times import LATEST, format_time
from aggd.query.selection import Group, merged, plain, select, split, tag_map
from aggd.sketch import digest
from aggd.store.frame import Frame, Ids, Timers
from aggd.store.merge import EMPTY, gather
from aggd.store.rollup import FOREVER, History, Tiling
from aggd.store.rows import holding
from aggd.store.series import Kind, Registry, Series
from aggd.store.shelf import Wanted
from aggd.units import DAY, format_duration

ORDER = (Kind.TIMER, Kind.GAUGE, Kind.COUNTER, Kind.SET)  # which kind of a shared name is meant
NAMES_SEARCHED = 100_000  # for a suggestion: 20 ms
NAMES_COMPARED = 300  # 10 ms
NEIGHBOURS = 50  # names on either side of where an unknown one would stand
LOOKS = 3  # at a history that others write to
LAST = int(LATEST) - DAY  # end of every window: its slots must end before the year 10000
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

    frames: list[Frame]  # as few as can be
    fine: list[Frame]  # those samples are looked for in: of the finest tier, if it has them all
    start: int
    end: int
    interval: int  # width of the finest tier
    until: float  # what of the window is over: its end, or now

    @property
    def seconds(self) -> float:
        """Length of what is over of the window, which rates are of."""
        return self.until - self.start

    def covers(self, searched: bool) -> dict[str, str]:
        """Edges, and the finest width among the frames used; `searched` says that samples were."""
        used = self.fine if searched else self.frames
        return {
            "from": format_time(self.start),
            "to": format_time(self.end),
            "resolution": format_duration(min((f.width for f in used), default=self.interval)),
        }


def whole(history: History, field: str, seconds: float) -> int:
    """A length that was asked for, which must be of whole slots of the finest tier."""
    if seconds % history.width:
        message = (
            f"{field} must be a multiple of the flush interval, "
            f"{format_duration(history.width)}, got {format_duration(seconds)}"
        )
        raise RequestError(f"bad_{field}", message, field)
    return int(seconds)


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
    last = min(-int(-end // 1), LAST)
    tiling, fine = _both(history, min(int(start), last), last, widest, wanted)
    start = tiling.start if window.start is not None else _begun(tiling, wanted)
    until = now if start < now < tiling.end else float(tiling.end)
    return Past(tiling.frames, fine, start, tiling.end, history.width, until)


def _begun(tiling: Tiling, wanted: Wanted | None) -> int:
    """Where the data of what is wanted begin; others may be far older."""
    if wanted is None or not wanted.ids.size:
        return tiling.start
    held = holding(tiling.frames, type(EMPTY[wanted.kind]), wanted.ids)
    return min((frame.start for frame in held), default=tiling.start)


def _both(
    history: History, start: int, end: int, widest: int, wanted: Wanted | None
) -> tuple[Tiling, list[Frame]]:
    """The coarsest and the finest frames of a window, of the same samples.

    Where the finest have gone the answer comes from the coarsest alone; where only those
    would widen the window, from the finest.  Others may add frames between the two looks;
    if they still do after a few, the answer comes from the coarsest, too.
    """
    fine = history.fine(start, end)
    for _ in range(LOOKS):
        tiling, before = history.tile(start, end, widest, wanted), fine
        fine = history.fine(start, end)
        if before is None or fine is None:
            break
        if (fine.start, fine.end) != (tiling.start, tiling.end):
            return fine, fine.frames
        if list(map(id, before.frames)) == list(map(id, fine.frames)):
            return tiling, fine.frames
    return tiling, tiling.frames


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


def groups(name: str, kind: Kind, series: Sequence[Series], scope: Scope) -> list[Group]:
    """Groups of the series of one name and kind: by tags, or all as one, if only of none.

    Raises
    ------
    RequestError
        422 where there are more than `MAX_GROUPS`.
    """
    if not scope.by:
        return [merged(series) if series else Group(name, kind, tag_map(tuple(scope.tags)), ())]
    found = split(series, scope.by)
    if len(found) > MAX_GROUPS:
        raise RequestError(
            "too_many_groups",
            f"by={','.join(scope.by)} makes {len(found)} groups; an answer has up to "
            f"{MAX_GROUPS}, narrow them with tags",
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

    @property
    def ids(self) -> Ids:
        """The series."""
        return np.array(self.group.series, np.int32)


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
    (group,) = groups(name, kind, series, scope._replace(by=()))
    selection = select(kind, [group])
    parts = ((frame, 0) for frame in past.frames)
    timers = gather(parts, kind, selection.ids, selection.labels)
    assert isinstance(timers, Timers)
    return Found(group, past, timers)


def covers(found: Found, searched: bool = False) -> dict[str, object]:
    """What an answer about one timer is about; `searched` says that all samples were found."""
    past, count = found.past, found.timers.moments.count
    return {
        "name": found.group.name,
        "kind": found.group.kind.word,
        "tags": found.group.tags,
        **past.covers(searched),
        "exact": searched or bool(digest.exact(found.timers.digests).all()),
        "count": plain(float(count[0])) if count.size else 0,
    }
