"""conf/aggd.toml to a frozen, checked Config.

    defaults < file < AGGD_SECTION__KEY in the environment < command line

Every default lives here with its unit; its sentence stands in conf/aggd.toml as well.
Whatever is wrong is reported together, a line each, from where it was written:

    /etc/aggd/aggd.toml:4: listen.workers is "two"; it must be a whole number
    AGGD_HTTP__MAX_BODY: http.max_body is "1B"; it must be at least 1KiB
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta, Struct

from aggd.errors import ConfigError
from aggd.options import Address, Bind, Binds, Bytes, Interval, Pause, Seconds, Thresholds, option
from aggd.units import DAY, GIB, HOUR, KIB, MIB, MINUTE, YEAR, format_duration

FLAGS = {
    "listen.udp": "--udp",
    "http.listen": "--http",
    "flush.interval": "--interval",
    "storage.state_dir": "--state-dir",
}


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Options under one heading; the docstring has a sentence for each."""


class Listen(Section, frozen=True, kw_only=True):
    """Where statsd lines come in.

    udp: Addresses on which datagrams are received, one or a list; port 0 takes any free port, an
        empty list none.
    workers: Receiving threads for each address; more than one share its datagrams by sender
        (SO_REUSEPORT).
    compiled: Receive in the compiled lane where it was built; false takes the Python lane, which
        gives the same samples and is slower.
    receive_buffer: Bytes of datagrams the kernel is asked to hold for us; it grants no more than
        net.core.rmem_max.
    pause: Sleep after a batch of datagrams that was less than half full, which saves CPU under
        light load; 0s never sleeps.
    """

    udp: Binds = (Address("127.0.0.1", 8125),)
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    compiled: bool = True
    receive_buffer: Annotated[Bytes, Meta(ge=4 * KIB, le=GIB)] = 32 * MIB
    pause: Annotated[Pause, Meta(ge=0, le=0.01)] = 300e-6


class Http(Section, frozen=True, kw_only=True):
    """Where questions are answered.

    listen: Address of queries, writing over HTTP and /metrics; port 0 takes any free port.
    max_body: Bytes of one request's body past which it is refused with 413.
    """

    listen: Bind = Address("127.0.0.1", 8127)
    max_body: Annotated[Bytes, Meta(ge=KIB, le=GIB)] = 16 * MIB


class Flush(Section, frozen=True, kw_only=True):
    """When an interval closes.

    interval: Length of the finest slot, in whole seconds that divide a minute; it closes when it
        is over.
    """

    interval: Interval = 10


class Retention(Section, frozen=True, kw_only=True):
    """How long each resolution is kept; a coarser one at least as long as a finer one.

    interval: How long slots of one flush interval are kept, at least two minutes.
    minute: How long slots of a minute are kept, at least two hours.
    hour: How long slots of an hour are kept, at least two days.
    day: How long slots of a day are kept, at least two days; a year has 365 days.
    """

    interval: Annotated[Seconds, Meta(ge=2 * MINUTE)] = HOUR
    minute: Annotated[Seconds, Meta(ge=2 * HOUR)] = 7 * DAY
    hour: Annotated[Seconds, Meta(ge=2 * DAY)] = 90 * DAY
    day: Annotated[Seconds, Meta(ge=2 * DAY)] = 5 * YEAR


class Limits(Section, frozen=True, kw_only=True):
    """What senders can make us hold; what is past a limit is counted by cause.

    series: Number of series; samples of any further one are kept under aggd.overflow.
    name_bytes: Bytes of a name; lines with a longer one are dropped.
    tags: Number of tags of a series; further ones are dropped, the sample is kept.
    tag_key_bytes: Bytes of a tag's key; a tag with a longer one is dropped, the sample is kept.
    tag_value_bytes: Bytes of a tag's value; a tag with a longer one is dropped, the sample is kept.
    samples_memory: Bytes of raw samples that are kept beside the newest sketches and make answers
        exact.
    frames_memory: Bytes of frames in memory, raw samples included; past it the oldest of the
        finest resolution leave.
    future: How far ahead of our clock a timestamp may be; lines with a later one are dropped.
    """

    series: Annotated[int, Meta(ge=1, le=(1 << 31) - 1)] = 1_000_000  # rows are int32
    name_bytes: Annotated[int, Meta(ge=1)] = 512
    tags: Annotated[int, Meta(ge=0)] = 64
    tag_key_bytes: Annotated[int, Meta(ge=1)] = 200
    tag_value_bytes: Annotated[int, Meta(ge=1)] = 1024
    samples_memory: Annotated[Bytes, Meta(ge=0)] = 256 * MIB
    frames_memory: Annotated[Bytes, Meta(ge=MIB)] = 512 * MIB
    future: Annotated[Seconds, Meta(ge=0)] = 60


class Protocol(Section, frozen=True, kw_only=True):
    """What a line means where the dialects differ.

    gauge_sign: What g:+3|g does: delta adds 3, absolute sets 3, auto sets where the line carries
        a DogStatsD field (# c: e: card: T) and adds elsewhere.
    type_C: What c:5|C does: counter adds 5, monotonic adds the increase since the last total.
    sanitize_names: Clean names as statsd does: blanks become _, / becomes -, and other ASCII
        characters than letters, digits and _ - . = go; false removes control characters only.
    netdata_defaults: Take lines without a value or a type as Netdata does, instead of dropping
        them.
    """

    gauge_sign: Literal["delta", "absolute", "auto"] = "delta"
    type_C: Literal["counter", "monotonic"] = "counter"  # noqa: N815, as in the protocol
    sanitize_names: bool = True
    netdata_defaults: bool = False


class Timers(Section, frozen=True, kw_only=True):
    """What answers about timers show by statsd's names.

    percentiles: Percentiles as statsd's percentThreshold has them, 90 for the lowest 90 %, -10 for
        the highest 10 %; each adds upper_90 (lower_top10) and mean, sum, sum_squares and count of
        the same samples.
    """

    percentiles: Thresholds = ()


class Storage(Section, frozen=True, kw_only=True):
    """Where the past outlives the process.

    state_dir: Directory that holds frames and the catalogue; empty keeps all in memory only.
    checkpoint: How often the open interval is written, which is the most that a kill -9 costs.
    max_bytes: Bytes of all files; past it the oldest file of the finest resolution goes.
    cache: Bytes of what was read from disk lately and is kept in memory.
    """

    state_dir: str = ""
    checkpoint: Annotated[Seconds, Meta(ge=1, le=HOUR)] = 1
    max_bytes: Annotated[Bytes, Meta(ge=MIB)] = 10 * GIB
    cache: Annotated[Bytes, Meta(ge=0)] = 64 * MIB


class Log(Section, frozen=True, kw_only=True):
    """What is logged, on standard error.

    level: Least severity that is logged: debug, info, warning or error.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section, frozen=True, kw_only=True):
    """All settings, parsed to seconds, bytes and addresses."""

    listen: Listen = Listen()
    http: Http = Http()
    flush: Flush = Flush()
    retention: Retention = Retention()
    limits: Limits = Limits()
    protocol: Protocol = Protocol()
    timers: Timers = Timers()
    storage: Storage = Storage()
    log: Log = Log()


SECTIONS = get_type_hints(Config)
OPTIONS = {
    f"{section}.{name}": option(hint)
    for section, struct in SECTIONS.items()
    for name, hint in get_type_hints(struct, include_extras=True).items()
}


class _Setting(NamedTuple):
    """A value as somebody wrote it: under which key, where, what."""

    key: str
    where: str
    found: object


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Put a Config together, or raise ConfigError with a line for each thing that is wrong.

    `flags` holds what the command line gave, by dotted key (``listen.udp``); None is not given.
    """
    faults: list[str] = []
    written: dict[str, _Setting] = {}
    sections: dict[str, dict[str, Any]] = {}
    for setting in _settings(path, environ, flags, faults):
        try:
            value = _value(setting)
        except ConfigError as fault:
            faults.append(str(fault))
        else:
            section, _, name = setting.key.partition(".")
            sections.setdefault(section, {})[name] = value
            written[setting.key] = setting
    config = msgspec.convert(sections, Config)
    if faults := faults or list(_conflicts(config.retention, written)):
        raise ConfigError("\n".join(faults))
    return config


def _conflicts(retention: Retention, written: Mapping[str, _Setting]) -> Iterator[str]:
    """What no option can tell alone: a coarser resolution has to reach as far as a finer one."""
    kept = {
        f"retention.{name}": seconds for name, seconds in msgspec.structs.asdict(retention).items()
    }
    for finer, coarser in pairwise(kept):
        if kept[finer] > kept[coarser] and coarser in written:
            bound = f"at least {format_duration(kept[finer])} as {finer} is"
            yield _fault(written[coarser], bound)
        elif kept[finer] > kept[coarser]:
            bound = f"at most {format_duration(kept[coarser])} as {coarser} is"
            yield _fault(written[finer], bound)


def _settings(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    faults: list[str],
) -> list[_Setting]:
    """Everything that was written, the weaker first; a file that can't be read is a fault."""
    settings: list[_Setting] = []
    try:
        settings += _from_file(path) if path else ()
    except ConfigError as fault:
        faults.append(str(fault))
    settings += _from_environment(environ)
    settings += (_Setting(k, FLAGS.get(k, k), v) for k, v in flags.items() if v is not None)
    return settings


def _from_file(path: Path) -> Iterator[_Setting]:
    try:
        text = path.read_bytes().decode()
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: nested too deep") from None
    except ValueError as error:  # of the syntax, of UTF-8, of a number with 5,000 digits
        what, *place = re.split(r" \(at line (\d+), column (\d+)\)$", str(error))
        raise ConfigError(f"{':'.join([str(path), *place[:2]])}: not TOML: {what}") from None
    for section, table in tables.items():
        if section not in SECTIONS or not isinstance(table, dict):
            key = _bare(section)
            yield _Setting(key, _place(path, text, key), table)
            continue
        for name, found in table.items():
            key = f"{section}.{_bare(name)}"
            yield _Setting(key, _place(path, text, key), found)


def _bare(name: str) -> str:
    """The name as TOML would have it in a key, so that odd ones show and stay on a line."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)


def _place(path: Path, text: str, key: str) -> str:
    """Where the key, or at least its section, stands in the text."""
    section = line_of_section = ""
    for number, line in enumerate(text.split("\n"), 1):
        line = re.sub(r"""["']([\w-]+)["']""", r"\1", line, flags=re.ASCII)
        header = re.match(r"\[\[?([^]]+)]", line.strip())
        name = re.match(r"([^=#]+)=", line)
        here = header[1].strip() if header else section + name[1].strip() if name else ""
        if here == key or here.startswith(f"{key}."):
            return f"{path}:{number}"
        if here == key.partition(".")[0]:
            line_of_section = f":{number}"
        section = f"{here}." if header else section
    return f"{path}{line_of_section}"


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    """AGGD_SECTION__KEY; other AGGD_ names aren't ours (Kubernetes sets AGGD_SERVICE_HOST)."""
    keys = {key.upper().replace(".", "__"): key for key in OPTIONS}
    misspelt = {variable.replace("__", "_") for variable in keys}
    for variable, found in environ.items():
        name = variable.removeprefix("AGGD_")
        if name != variable and ("__" in name or name in misspelt):
            key = keys.get(name) or ".".join(map(_bare, name.lower().split("__", 1)))
            yield _Setting(key, variable, found)


def _value(setting: _Setting) -> Any:
    """Read one value, or raise ConfigError that says where, what was found, what is right."""
    if setting.key not in OPTIONS:
        raise ConfigError(_unknown(setting))
    reader, low, high, types = OPTIONS[setting.key]
    try:
        if not isinstance(setting.found, types):
            raise ValueError
        value = reader.read(_text(setting.found))
    except ValueError:
        raise ConfigError(_fault(setting, reader.what)) from None
    if low is not None and value < low:
        raise ConfigError(_fault(setting, f"at least {reader.write(low)}"))
    if high is not None and value > high:
        raise ConfigError(_fault(setting, f"at most {reader.write(high)}"))
    return value


def _text(found: object) -> str:
    if isinstance(found, list):
        return ",".join("?" if isinstance(item, list | dict) else _text(item) for item in found)
    return str(found).lower() if isinstance(found, bool) else str(found)


def _fault(setting: _Setting, right: str) -> str:
    return f"{setting.where}: {setting.key} is {_shown(setting.found)}; it must be {right}"


def _shown(found: object) -> str:
    """The value as it was written; tables may be deeper than the stack, so not theirs."""
    if isinstance(found, dict):
        return "a table"
    if isinstance(found, list):
        return f"[{', '.join('...' if isinstance(x, list) else _shown(x) for x in found)}]"
    return json.dumps(found, ensure_ascii=False, default=str)


def _unknown(setting: _Setting) -> str:
    section, _, name = setting.key.rpartition(".")
    if setting.key in SECTIONS:
        return _fault(setting, f"a table, [{setting.key}]")
    near = [key for key in OPTIONS if key.partition(".")[2] == name]
    near = near or difflib.get_close_matches(setting.key, [*OPTIONS, *SECTIONS], 1, 0.75)
    if setting.where.startswith("AGGD_"):
        near = ["AGGD_" + key.upper().replace(".", "__") for key in near]
    known = [key for key in OPTIONS if key.startswith(f"{section}.")] or SECTIONS
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return f"{setting.where}: {setting.key} is not known; {hint}"
