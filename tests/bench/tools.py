"""What the load benchmarks share: the C programs, receivers by process id, the machine.

    gen --datagrams--> 127.0.0.1 --> sink | naive.py | aggd
                                            GET /metrics: what was taken

Every process is started here and ended by its id.  Nothing waits a fixed time for
a result: it asks until the answer is there, or a deadline has passed.
"""

import http.client
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "bench"  # ignored by git

DEADLINE = 30.0  # seconds, for whatever should happen soon
ASK = 0.05  # seconds between questions; one costs the daemon 0.6 ms of CPU
CALM = 0.03  # share of a core below which a receiver has nothing left to do


class BenchError(Exception):
    """What was to be measured can't be."""


def until(found: Callable[[], Any], what: str, deadline: float = DEADLINE, ask: float = ASK) -> Any:
    """Ask until the answer is true, and give it."""
    end = time.monotonic() + deadline
    while not (answer := found()):
        if time.monotonic() > end:
            raise BenchError(f"{what}: not within {deadline:.0f} s")
        time.sleep(ask)
    return answer


def end_on_sigterm() -> None:
    """Unwind on SIGTERM, so that no process is left standing still."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def machine() -> dict[str, Any]:
    """What the figures depend on, apart from the program."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    limit = Path("/proc/sys/net/core/rmem_max")
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "simd": [*found.get("baseline", []), *found.get("found", [])],
        "rmem_max": int(limit.read_text()) if limit.exists() else None,
        "load": os.getloadavg()[0],
    }


def machine_line(about: dict[str, Any]) -> str:
    """The machine in a few lines, for the head of a table."""
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['kernel']}, load {about['load']:.1f}\n"
        f"Python {about['python']}, numpy {about['numpy']} ({' '.join(about['simd'])}), "
        f"rmem_max {about['rmem_max']}"
    )


def cpu_model() -> str:
    """Name of the processor, as the kernel gives it."""
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*: (.*)$", text, re.M)
    return found[1] if found else platform.machine()


def core_distance() -> float | None:
    """Nanoseconds a cache line takes between two cores; None where there is one core."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return None
    run = subprocess.run(
        [program("pingpong"), *map(str, cores)], capture_output=True, check=True, timeout=DEADLINE
    )
    return float(run.stdout)


def program(name: str) -> Path:
    """One of the C programs beside this file, built if it is missing or older than its source."""
    source, built = HERE / f"{name}.c", BUILD / name
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "cc").split()
        flags = ["-O2", "-Wall", "-Wextra", "-pthread"]
        command = [*compiler, *flags, "-o", str(built), str(source), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BenchError(f"{name}.c: {getattr(error, 'stderr', None) or error}") from error
    return built


class Traffic(NamedTuple):
    """What a generator sends; rate in lines a second, 0 for as many as it can."""

    mode: str = "packed"
    series: int = 10_000
    tags: int = 0
    rate: float = 0
    seconds: float = 2.0
    mix: str = "c:40,ms:45,g:15"
    lines: int = 2_000_000_000
    pool: int = 0  # lines built beforehand and sent in turn; 0 leaves it to the generator

    def command(self, port: int) -> list[str]:
        options = [f"--{name}={value}" for name, value in self._asdict().items()]
        return [str(program("gen")), f"--port={port}", *options]


def start_traffic(port: int, traffic: Traffic) -> "subprocess.Popen[str]":
    """Send in the background; ``sent`` waits for the end."""
    return subprocess.Popen(traffic.command(port), stdout=subprocess.PIPE, text=True)


def sent(generator: "subprocess.Popen[str]", traffic: Traffic) -> dict[str, Any]:
    """What a generator has sent, when it is done."""
    try:
        output, _ = generator.communicate(timeout=traffic.seconds + DEADLINE)
    except BaseException:
        generator.kill()
        generator.wait()
        raise
    if generator.returncode:
        raise BenchError(f"gen ended with {generator.returncode}: {traffic}")
    return dict(json.loads(output))


def thread_cpu(pid: int) -> Counter[str]:
    """CPU seconds of a process so far, by the name of the thread.

    The first thread is ``main``, and threads that never took a name are ``other``.
    schedstat counts nanoseconds; stat, for kernels without it, ticks of 10 ms.
    """
    used: Counter[str] = Counter()
    tasks = Path(f"/proc/{pid}/task")
    process = (tasks / str(pid) / "comm").read_text().strip()
    for task in tasks.iterdir():
        try:
            name = (task / "comm").read_text().strip()
            seconds = task_seconds(task)
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has just ended
        own = "main" if int(task.name) == pid else "other"
        used[own if name == process else name] += seconds
    return used


def task_seconds(task: Path) -> float:
    """CPU seconds of one thread."""
    exact = task / "schedstat"
    if exact.exists():
        return int(exact.read_text().split()[0]) / 1e9
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> tuple[int, int]:
    """Bytes in RAM, now and at most so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    now, most = (re.search(rf"{name}:\s*(\d+) kB", text) for name in ("VmRSS", "VmHWM"))
    assert now
    assert most
    return int(now[1]) * 1024, int(most[1]) * 1024


def calm(pid: int) -> None:
    """Wait until a process has nothing left to do."""

    def idle() -> bool:
        before, start = thread_cpu(pid).total(), time.monotonic()
        time.sleep(ASK)
        return thread_cpu(pid).total() - before < CALM * (time.monotonic() - start)

    until(idle, f"process {pid} calm", 2 * DEADLINE)


class Daemon:
    """aggd or the naive version: a process that says its addresses and answers /metrics."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed by stop
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        self.pid = self.process.pid
        try:
            what = f"addresses of {' '.join(command)}"
            self.udp, self.http = until(self._addresses, what, ask=0.002)
        except BaseException:
            self.stop()
            raise
        self.ready = time.monotonic() - self.started  # seconds

    def _addresses(self) -> tuple[int, int] | None:
        text = self.log()
        ports = [re.search(rf"{kind} 127\.0\.0\.1:(\d+)", text) for kind in ("udp", "http")]
        if self.process.poll() is not None:
            raise BenchError(f"ended with {self.process.returncode}: {text[-2000:]}")
        return (int(ports[0][1]), int(ports[1][1])) if ports[0] and ports[1] else None

    def log(self) -> str:
        """What was written to stderr."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def figures(self) -> Counter[str]:
        """Figures of /metrics by name, summed over labels."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=DEADLINE)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"/metrics: {error!r}; {self.log()[-2000:]}") from error
        total: Counter[str] = Counter()
        for name, value in re.findall(r"^(\w+)(?:{.*})? (\S+)$", text, re.M):
            total[name] += float(value)
        return total

    def settled(self, before: Counter[str], datagrams: int) -> Counter[str]:
        """Figures as soon as every datagram since `before` was taken or counted as dropped."""

        def grown() -> Counter[str] | None:
            now = self.figures()
            new = Counter({name: now[name] - before[name] for name in now})
            drops = new["aggd_kernel_drops_total"] + new["aggd_queue_drops_total"]
            open_lines = new["aggd_lines_total"] - new["aggd_lines_bad_total"]
            if new["aggd_datagrams_total"] + drops < datagrams:
                return None
            return new if new["aggd_samples_total"] >= open_lines else None

        return until(grown, f"{datagrams} datagrams taken or dropped", 2 * DEADLINE)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Run during the block and stand still after it, out of the way of the others."""
        self.process.send_signal(signal.SIGCONT)
        calm(self.pid)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End the process."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def aggd(interval: str = "10s", compiled: bool = True) -> Daemon:
    """The daemon on free ports of the loopback."""
    options = ["--udp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--interval", interval]
    environment = {"AGGD_LISTEN__COMPILED": "true" if compiled else "false"}
    daemon = Daemon("-m", "aggd", "run", *options, **environment)
    if compiled and "compiled lane" not in daemon.log():
        daemon.stop()
        raise BenchError(f"the compiled lane was not built: {daemon.log()}")
    return daemon


def naive(interval: str = "10s") -> Daemon:
    """The naive version, driven the same way."""
    return Daemon(str(HERE / "naive.py"), interval.removesuffix("s"))


def middle(values: list[float]) -> tuple[float, float, float]:
    """Median, smallest and largest."""
    ordered = sorted(values)
    half = len(ordered) // 2
    median = (ordered[half] + ordered[~half]) / 2
    return median, ordered[0], ordered[-1]


def spread(values: list[float], form: str = ".2f") -> str:
    """Median with the smallest and largest of several figures, a dash for none."""
    if not values:
        return "-"
    median, low, high = middle(values)
    return f"{median:{form}}" + (f" ({low:{form}}-{high:{form}})" if len(values) > 1 else "")
