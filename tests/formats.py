"""Sections written in a format of rows, and read from it."""

import io
from collections.abc import Iterable, Iterator

import numpy as np

from aggd.store.archive import checked, frame_of
from aggd.store.frame import Frame, frozen, only
from aggd.store.series import Kind, Limits, Registry
from tests.store.frames import frame
from tests.store.test_frame import FULL

REGISTRY = Registry(Limits())
for number in range(32):
    REGISTRY.resolve(Kind(number % 4), f"x{number}", ("bare", "z:1", "z:2"), 0.0)
LINES = [*FULL, (7, 2.5, 1.0), (7, 3.5, 1.0), (3, -1.0, 1.0), (10, 1 / 3, 1 / 0.3), (4, 0.1, 1e6)]


def sections() -> Iterator[tuple[Kind, Frame]]:
    """A frame of each kind."""
    whole = frame(LINES, 1_700_006_400, 10).without_points()
    for kind in Kind:
        yield kind, frozen(only(whole.start, whole.width, whole.sections()[kind]))


def written(form, kind: Kind, whole: Frame) -> bytes:
    """A frame of one kind as a writer writes it."""
    out = io.BytesIO()
    writer = form.Writer(out)
    section = whole.sections()[kind]
    writer.write(REGISTRY.series(section.series), whole.start, whole.width, section)
    writer.close()
    return out.getvalue()


def back(kind: Kind, found: Iterable) -> Frame:
    """The frame of rows that were read."""
    rows = [checked(row) for _, row in found]
    ids = [int(row.name.removeprefix("x")) for row in rows]
    assert {row.kind for row in rows} == {kind.word}
    return frame_of(rows, np.array(ids, np.int32), 1_700_006_400, 10)
