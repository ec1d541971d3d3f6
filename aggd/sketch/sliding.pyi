from aggd.sketch.ragged import Floats, Index, Rows
from aggd.sketch.spans import Bools, Counts

def order(value: Floats) -> Index: ...
def quantiles(
    start: Index,
    order: Index,
    place: Rows,
    mean: Floats,
    units: Index,
    atom: Bools,
    scale: float,
    low: Floats,
    high: Floats,
    width: int,
    stride: int,
    q: Floats,
) -> Floats: ...
def smallest(
    start: Index, place: Rows, places: int, width: int, stride: int, windows: int, k: int
) -> Counts: ...
