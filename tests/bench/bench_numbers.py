"""What digests cost and how far they are off: ``python -m tests.bench.bench_numbers``.

Prints tables: errors of rank by distribution and by way of merging, nanoseconds a
point for both kernels, peers on the same samples, and what a million raw samples
cost.  Times are medians of repeats, with the distance of the middle half as
spread.  About 40 seconds.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from types import ModuleType

import numpy as np

from aggd.sketch import centroids, digest, distinct, moments, quantiles
from tests import reference

Q = np.array([0.5, 0.9, 0.99, 0.999, 0.9999])
SECONDS = 0.6  # a figure repeats for that long


def main() -> None:
    """Print every table."""
    print(f"{cpu()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"kernels: {', '.join(name for name, _ in kernels())}")
    accuracy()
    speed()
    peers()
    raw_samples()


def cpu() -> str:
    """Name the processor: numpy's sort differs tenfold between them."""
    with open("/proc/cpuinfo") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def kernels() -> Iterator[tuple[str, ModuleType]]:
    """The implementations at hand; the last one is what aggd runs on."""
    yield "numpy", centroids
    if digest.COMPILED:
        yield "compiled", import_module("aggd.sketch.compact")


def use(kernel: ModuleType) -> None:
    for name in ("arrange", "compress", "describe"):
        setattr(digest, name, getattr(kernel, name))


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Median and spread in seconds."""
    work()
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(times) < 3 or (time.perf_counter() < until and len(times) < 1000):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(times, n=4)
    return middle, high - low


def head(title: str, *columns: str) -> None:
    print(f"\n{title}\n" + "".join(f"{column:>14}" for column in columns))


def row(name: str, *figures: str) -> None:
    print(f"{name:<28}" + "".join(f"{figure:>14}" for figure in figures))


def accuracy() -> None:
    head("rank error in ppm (bound)", " " * 14, *(f"p{100 * q:g}" for q in Q))
    row("bound", *(f"{1e6 * bound:.0f}" for bound in quantiles.rank_error(Q)))
    for name in reference.HARD:
        value, weight = reference.hard_samples(name, 100_000)
        order = np.argsort(value, kind="stable")
        weighed = None if weight is None else weight[order]
        for way, digests in ways(value, weight):
            got = quantiles.quantile(digests, value.min()[None], value.max()[None], Q)[0]
            wrong = reference.rank_errors(value[order], weighed, got, Q)
            row(f"{name}, {way}", *(f"{1e6 * error:.0f}" for error in wrong))


def ways(value: np.ndarray, weight: np.ndarray | None) -> Iterator[tuple[str, digest.Digests]]:
    yield "one pass", digest.build(zeros(value.size), value, weight, 1)
    minutes = digest.build(spread(value.size, 1440), value, weight, 1440)
    yield "1440 at once", digest.merge([(zeros(1440), minutes)], 1)
    hours = digest.merge([(spread(1440, 24), minutes)], 24)
    yield "by the hour", digest.merge([(zeros(24), hours)], 1)


def zeros(n: int) -> np.ndarray:
    return np.zeros(n, np.int32)


def spread(n: int, rows: int) -> np.ndarray:
    return (np.arange(n) * rows // n).astype(np.int32)


def speed() -> None:
    head("ns a point", " " * 14, *(name for name, _ in kernels()))
    for n, rows in ((460_000, 4500), (630_000, 100_000), (1_000_000, 1)):
        building(n, rows)
    for count, rows, per in (
        (8, 100_000, 6),
        (16, 2000, 1000),
        (400, 20, 10_000),
        (400, 1, 10_000),
    ):
        merging(count, rows, per)
    reading(200_000, 1000)


def building(n: int, rows: int) -> None:
    rng = np.random.default_rng(1)
    label, value = rng.integers(0, rows, n).astype(np.int32), rng.exponential(size=n)
    weight = rng.choice([1.0, 10.0], n)
    size = 2 * digest.K
    tell(f"build {n} in {rows}", n, lambda: digest.build(label, value, None, rows))
    tell("  with weights", n, lambda: digest.build(label, value, weight, rows))
    tell("  summarise", n, lambda: digest.summarise(label, value, None, rows, size, True))


def merging(count: int, rows: int, per: int) -> None:
    """Digests of twice the size, as an open interval has them."""
    label = np.arange(rows, dtype=np.int32)
    each = np.repeat(label, per)
    value = np.random.default_rng(1).exponential(size=each.size)
    part = digest.build(each, value, None, rows, 2 * digest.K)
    size = part.mean.size
    parts = [
        (label, digest.Digests(part.offset, part.mean + k * 1e-3, part.weight, part.atom))
        for k in range(count)
    ]
    name = f"merge {count} x {rows} x {size // rows}"
    tell(name, count * size, lambda: digest.merge(parts, rows))


def reading(n: int, rows: int) -> None:
    rng = np.random.default_rng(1)
    use_last()
    label, value = rng.integers(0, rows, n).astype(np.int32), rng.exponential(size=n)
    known, digests = moments.of(label, value, None, rows), digest.build(label, value, None, rows)
    low, high = known.low, known.high
    member = rng.integers(0, 2**64, n, np.uint64)
    x = np.array([0.5, 1.0, 2.0, 4.0])
    head(f"ns, {rows} rows of {n // rows}", " " * 14, "each")
    alone("moments.of, a sample", n, lambda: moments.of(label, value, None, rows))
    alone("quantile, an answer", 4 * rows, lambda: quantiles.quantile(digests, low, high, Q[:4]))
    alone("cdf, an answer", 4 * rows, lambda: quantiles.cdf(digests, low, high, x))
    alone("distinct.build, a member", n, lambda: distinct.build(label, member, rows))


def use_last() -> None:
    use(list(kernels())[-1][1])


def tell(name: str, points: int, work: Callable[[], object]) -> None:
    """One row: the same work with each kernel."""
    figures = []
    for _, kernel in kernels():
        use(kernel)
        figures.append(nanoseconds(points, work))
    row(name, *figures)


def alone(name: str, points: int, work: Callable[[], object]) -> None:
    row(name, nanoseconds(points, work))


def nanoseconds(points: int, work: Callable[[], object]) -> str:
    middle, width = (seconds * 1e9 / points for seconds in clock(work))
    return f"{middle:.1f} +-{width / 2:.1f}"


def peers() -> None:
    n = 100_000
    quantiles = [f"p{100 * q:g} ppm" for q in (0.5, 0.9, 0.99)]
    head(f"peers, {n} lognormal samples", " " * 14, "M/s", *quantiles, "p99.99 value")
    value, _ = reference.hard_samples("lognormal", n)
    ordered = np.sort(value)
    low, high = value.min()[None], value.max()[None]

    def ours() -> Callable[[np.ndarray], np.ndarray]:
        built = digest.build(zeros(n), value, None, 1)
        return lambda q: quantiles.quantile(built, low, high, q)[0]

    def tdigest() -> Callable[[np.ndarray], np.ndarray]:
        built = import_module("tdigest").TDigest()
        built.batch_update(value[: n // 10])  # 80,000 a second: a tenth is enough to see it
        return lambda q: np.array([built.percentile(100 * x) for x in q])

    def fastdigest() -> Callable[[np.ndarray], np.ndarray]:
        built = import_module("fastdigest").TDigest.from_values(value, max_centroids=digest.K)
        return lambda q: np.array([built.quantile(x) for x in q])

    for name, build, samples in (
        ("aggd", ours, n),
        ("tdigest", tdigest, n // 10),
        ("fastdigest", fastdigest, n),
    ):
        try:
            version = "" if name == "aggd" else metadata.version(name)
        except metadata.PackageNotFoundError:
            row(name, "not installed")
            continue
        middle, _ = clock(build)
        read = build()
        seen = ordered if samples == n else np.sort(value[:samples])
        wrong = reference.rank_errors(seen, None, read(Q[:3]), Q[:3])
        tail = abs(read(Q[-1:])[0] / np.quantile(seen, Q[-1]) - 1)
        ppm = [f"{1e6 * error:.0f}" for error in wrong]
        row(f"{name} {version}", f"{samples / middle / 1e6:.2f}", *ppm, f"{100 * tail:.1f} %")


def raw_samples() -> None:
    head("1 M raw samples", " " * 14, "ms")
    rng = np.random.default_rng(1)
    value = rng.lognormal(size=1_000_000)
    stamp = np.sort(rng.uniform(0, 86_400, value.size))
    edges = np.arange(0, 86_401, 300.0)
    label = zeros(value.size)
    built = digest.build(label, value, None, 1)
    low, high = value.min()[None], value.max()[None]

    def partitions() -> list[float]:
        rest, found, gone = value, [], 0
        for q in (0.5, 0.9, 0.95, 0.99):
            k = int(q * (value.size - 1)) - gone
            rest = np.partition(rest, k)[k:]
            gone += k
            found.append(float(rest[0]))
        return found

    def means() -> np.ndarray:
        cut = np.searchsorted(stamp, edges)
        return np.add.reduceat(value, cut[:-1]) / np.diff(cut)

    for name, work in {
        "mean, std, min, max in numpy": lambda: (
            value.mean(),
            value.std(),
            value.min(),
            value.max(),
        ),
        "moments.of": lambda: moments.of(label, value, None, 1),
        "p50 p90 p95 p99: np.sort": lambda: np.sort(value),
        "  np.percentile": lambda: np.percentile(value, [50, 90, 95, 99]),
        "  nested np.partition": partitions,
        "  building a digest": lambda: digest.build(label, value, None, 1),
        "  from the kept digest": lambda: quantiles.quantile(built, low, high, Q[:4]),
        "5-minute means: reduceat": means,
        "  np.bincount": lambda: np.bincount((stamp // 300).astype(np.intp), weights=value),
    }.items():
        middle, width = clock(work)
        row(name, f"{middle * 1e3:.2f} +-{width * 5e2:.2f}")


if __name__ == "__main__":
    sys.exit(main())
