import inspect
import json
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aggd.config import FLAGS, OPTIONS, SECTIONS, Config, load
from aggd.errors import ConfigError
from aggd.options import Address, parse_address

EXAMPLE = Path(__file__).parent.parent / "conf" / "aggd.toml"
DEEP = ".".join("a" * 5000)
names = st.text('abcdefghijklmnopqrstuvwxyz_- ."\n\u00e9', max_size=12)


@pytest.fixture
def written(tmp_path):
    """Put text into a file, for load()."""

    def write(text):
        path = tmp_path / "aggd.toml"
        path.write_text(text)
        return path

    return write


def faults(path=None, environ=None, flags=None):
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, flags or {})
    return str(caught.value).split("\n")


def test_without_anything_written_the_defaults_hold():
    assert load(None, {}, {}) == Config()


def test_the_example_with_every_line_uncommented_is_the_defaults(written):
    text = re.sub(r"(?m)^#(?=\S)", "", EXAMPLE.read_text())
    tables = tomllib.loads(text)
    assert {f"{section}.{name}" for section in tables for name in tables[section]} == set(OPTIONS)
    assert load(written(text), {}, {}) == Config()


def test_the_example_as_it_stands_is_the_defaults():
    assert load(EXAMPLE, {}, {}) == Config()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_option_has_a_sentence_that_the_example_repeats(section):
    # cleandoc: Python takes the indentation away itself from 3.13 on.
    heading, *items = re.split(r"\n+(?=\S)", inspect.cleandoc(SECTIONS[section].__doc__))
    sentences = dict(re.sub(r"\s+", " ", item).split(": ", 1) for item in items)
    assert list(sentences) == [field.name for field in msgspec.structs.fields(SECTIONS[section])]
    example = re.sub(r"(?m)^# ?", "", EXAMPLE.read_text()).split(f"[{section}]")
    assert example[0].endswith(f"{heading}\n")
    for name, sentence in sentences.items():
        assert sentence.endswith(".")
        assert re.search(rf"{re.escape(sentence)} {name} = ", re.sub(r"\s+", " ", example[1]))


def test_the_command_line_beats_the_environment_beats_the_file(written):
    path = written('flush.interval = "1s"\nlisten.workers = 2\nretention.minute = "3d"')
    environ = {"AGGD_FLUSH__INTERVAL": "2s", "AGGD_LISTEN__WORKERS": "3"}
    config = load(path, environ, {"flush.interval": "3s", "listen.workers": None})
    assert config.flush.interval == 3
    assert config.listen.workers == 3
    assert config.retention.minute == 3 * 86400


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ('udp = "[::1]:8125"', "listen.udp", (Address("::1", 8125),)),
        ('udp = ["a:0", "127.0.0.1:1"]', "listen.udp", (Address("a", 0), Address("127.0.0.1", 1))),
        ('udp = "a:1, b:2"', "listen.udp", (Address("a", 1), Address("b", 2))),
        ("udp = []", "listen.udp", ()),
        ('udp = ""', "listen.udp", ()),
        ('receive_buffer = "1 MB"', "listen.receive_buffer", 1_000_000),
        ("max_body = 4096", "http.max_body", 4096),
        ("interval = 30", "flush.interval", 30),
        ('interval = "1 min"', "flush.interval", 60),
        ('hour = "1y"', "retention.hour", 31_536_000),
        ('pause = "1ms"', "listen.pause", 0.001),
        ("compiled = false", "listen.compiled", False),
        ("percentiles = [90, -10, 99.9]", "timers.percentiles", (90.0, -10.0, 99.9)),
        ('percentiles = ["90", -10]', "timers.percentiles", (90.0, -10.0)),
        ("percentiles = 90", "timers.percentiles", (90.0,)),
        ("percentiles = [90, 90.0]", "timers.percentiles", (90.0,)),
        ("percentiles = []", "timers.percentiles", ()),
        ('gauge_sign = "auto"', "protocol.gauge_sign", "auto"),
        ('type_C = "monotonic"', "protocol.type_C", "monotonic"),
        ('state_dir = "/var/lib/aggd"', "storage.state_dir", "/var/lib/aggd"),
    ],
)
def test_values_are_read_as_people_write_them(written, text, key, value):
    section, _, name = key.partition(".")
    config = load(written(f"[{section}]\n{text}"), {}, {})
    assert getattr(getattr(config, section), name) == value


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("AGGD_LISTEN__UDP", "a:1,[::]:2", "listen.udp", (Address("a", 1), Address("::", 2))),
        ("AGGD_LISTEN__COMPILED", "False", "listen.compiled", False),
        ("AGGD_LIMITS__SERIES", "500", "limits.series", 500),
        ("AGGD_PROTOCOL__TYPE_C", "monotonic", "protocol.type_C", "monotonic"),
        ("AGGD_TIMERS__PERCENTILES", "90,-10", "timers.percentiles", (90.0, -10.0)),
        ("AGGD_TIMERS__PERCENTILES", "", "timers.percentiles", ()),
        ("AGGD_STORAGE__STATE_DIR", "1", "storage.state_dir", "1"),
    ],
)
def test_the_environment_says_the_same_in_text(variable, text, key, value):
    section, _, name = key.partition(".")
    config = load(None, {variable: text, "PATH": "/bin"}, {})
    assert getattr(getattr(config, section), name) == value


def test_variables_that_kubernetes_sets_for_a_service_called_aggd_are_not_ours():
    environ = {"AGGD_SERVICE_HOST": "10.0.0.1", "AGGD_PORT_8125_UDP_PROTO": "udp", "AGGD_": ""}
    assert load(None, environ, {}) == Config()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('listen.udp = "8125"', '"8125"; it must be an address such as'),
        ('listen.udp = ["a:1", 5]', '["a:1", 5]; it must be an address such as'),
        ('listen.udp = "a:65536"', '"a:65536"; it must be an address such as'),
        ("listen.udp = 8125", "8125; it must be an address such as"),
        ('listen.udp = "::1:8125"', '"::1:8125"; it must be an address such as'),
        ('listen.workers = "two"', '"two"; it must be a whole number'),
        ("listen.workers = 1.5", "1.5; it must be a whole number"),
        ("listen.workers = [2]", "[2]; it must be a whole number"),
        ("listen.workers = 0", "0; it must be at least 1"),
        ("listen.workers = 1000", "1000; it must be at most 256"),
        ("listen.compiled = 1", "1; it must be true or false"),
        ('listen.receive_buffer = "1B"', '"1B"; it must be at least 4KiB'),
        ('listen.receive_buffer = "32M"', '"32M"; it must be a size such as'),
        ('listen.pause = "1s"', '"1s"; it must be at most 10ms'),
        ('http.listen = ""', '""; it must be an address such as'),
        ("http.max_body = true", "true; it must be a size such as"),
        ('flush.interval = "7s"', '"7s"; it must be one that divides a minute: "1s", "2s"'),
        ("flush.interval = 0", "0; it must be one that divides a minute"),
        ('flush.interval = "0.5s"', '"0.5s"; it must be one that divides a minute'),
        ('retention.interval = "1m"', '"1m"; it must be at least 2m'),
        ('retention.day = "5 yards"', '"5 yards"; it must be a duration such as'),
        ('retention.day = "2.00001d"', "; it must be a duration such as"),
        ('retention.minute = "91d"', '"91d"; it must be at most 90d as retention.hour is'),
        ('retention.hour = "6d"', '"6d"; it must be at least 7d as retention.minute is'),
        ('limits.future = "-1s"', '"-1s"; it must be a duration such as'),
        ("limits.future = nan", "NaN; it must be a duration such as"),
        ("limits.series = 2024-01-01", '"2024-01-01"; it must be a whole number'),
        ("timers.percentiles = [90, 0]", "[90, 0]; it must be a number from -100 to 100 other"),
        ("timers.percentiles = 100.5", "100.5; it must be a number from -100 to 100 other than 0"),
        ("timers.percentiles = -101", "-101; it must be a number from -100 to 100 other than 0"),
        ("timers.percentiles = [nan]", "[NaN]; it must be a number from -100 to 100"),
        ("timers.percentiles = [true]", "[true]; it must be a number from -100 to 100"),
        ("timers.percentiles = [[90]]", "[...]; it must be a number from -100 to 100"),
        ("timers.percentiles = [{a = 1}]", "[a table]; it must be a number from -100 to 100"),
        ('timers.percentiles = "p90"', '"p90"; it must be a number from -100 to 100'),
        ('protocol.gauge_sign = "sum"', '"sum"; it must be one of "delta", "absolute", "auto"'),
        ("storage.state_dir = 5", "5; it must be a string"),
        ("storage.state_dir.x = 5", "a table; it must be a string"),
        ("listen.udp = [{a.b = 1}, [[]]]", "[a table, ...]; it must be an address such as"),
    ],
)
def test_a_wrong_value_is_quoted_with_its_line_and_what_is_right(written, text, right):
    path = written(f"# a comment with listen.udp = 3 in it\n\n{text}\n")
    key = ".".join(text.split(" = ")[0].split(".")[:2])
    [fault] = faults(path)
    assert fault.startswith(f"{path}:3: {key} is ")
    assert right in fault


def test_all_that_is_wrong_is_reported_together(written):
    path = written('[flush]\ninterval = "7s"\n\n[ listen ]\nworkers = "two"\nudpp = 1\n')
    environ = {"AGGD_LOG__LEVEL": "loud"}
    found = faults(path, environ, {"http.listen": "here", "flush.interval": "8s"})
    assert [line.split(" is ")[0] for line in found] == [
        f"{path}:2: flush.interval",
        f"{path}:5: listen.workers",
        f"{path}:6: listen.udpp",
        "AGGD_LOG__LEVEL: log.level",
        "--http: http.listen",
        "--interval: flush.interval",
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[listen]\nudpp = 1", "2: listen.udpp is not known; did you mean listen.udp?"),
        ("[lisen]\nudp = 1", "1: lisen is not known; did you mean listen?"),
        ("interval = 1", "1: interval is not known; did you mean flush.interval or retention."),
        ("[http]\nudp = 1", "2: http.udp is not known; did you mean listen.udp?"),
        ("[http]\nbind = 1", "2: http.bind is not known; known are http.listen, http.max_body"),
        ("[protocol]\ntype_c = 1", "2: protocol.type_c is not known; did you mean protocol.type_C"),
        ("[zzzz]", "1: zzzz is not known; known are listen, http, flush, "),
        ('"listen.udp" = 1', '1: "listen.udp" is not known; '),
        ("listen = 1", "1: listen is 1; it must be a table, [listen]"),
        ('["listen"]\n"udpp" = 1', "2: listen.udpp is not known; did you mean listen.udp?"),
        ("[[listen]]", "1: listen is [a table]; it must be a table, [listen]"),
        ("listen = {udp = 'x'}", '1: listen.udp is "x"; it must be '),
    ],
)
def test_what_is_not_known_is_named_with_the_nearest_that_is(written, text, hint):
    path = written(text)
    [fault] = faults(path)
    assert fault.startswith(f"{path}:{hint}")


@pytest.mark.parametrize("variable", ["AGGD_FLUSH__INTEVAL", "AGGD_FLUSH_INTERVAL"])
def test_a_misspelt_variable_is_named_with_the_nearest_one(variable):
    [fault] = faults(environ={variable: "1s"})
    assert fault.startswith(f"{variable}: ")
    assert fault.endswith(" is not known; did you mean AGGD_FLUSH__INTERVAL?")


@given(st.sampled_from(["", *SECTIONS]), names)
def test_any_unknown_key_anywhere_is_named(section, name):
    assume(f"{section}.{name}" not in OPTIONS and name not in SECTIONS)
    heading, prefix = (f"[{section}]", f"{section}.") if section else ("", "")
    with TemporaryDirectory() as directory:
        path = Path(directory, "aggd.toml")
        path.write_text(f"{heading}\n{json.dumps(name)} = 1")
        [fault] = faults(path)
    shown = name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)
    where, _, what = fault.partition(": ")
    assert where in (f"{path}:2", f"{path}:1", str(path))  # a key of escapes may not be found
    assert what.startswith(f"{prefix}{shown} is not known; ")


@given(st.binary() | st.text("[]{}=.,\"'# \nlistenudp01").map(str.encode))
def test_any_bytes_are_a_configuration_or_a_config_error(data):
    with TemporaryDirectory() as directory, suppress(ConfigError):
        path = Path(directory, "aggd.toml")
        path.write_bytes(data)
        assert isinstance(load(path, {}, {}), Config)


@pytest.mark.parametrize(
    "text",
    [f"a = {'[' * 5000}", f"listen.{DEEP} = 1", f"listen.udp = [{{{DEEP} = 1}}]"],
    ids=["lists", "tables", "tables in a list"],
)
def test_a_file_nested_deeper_than_the_stack_is_refused(written, text):
    assert len(faults(written(text))) == 1


def test_a_syntax_error_is_reported_with_line_and_column_beside_other_faults(written):
    path = written("[listen]\nudp 1\n")
    found = faults(path, flags={"flush.interval": "7s"})
    assert found[0].startswith(f"{path}:2:5: not TOML: ")
    assert found[1].startswith("--interval: flush.interval is ")


def test_a_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none.toml"
    assert faults(path) == [f"{path}: can't be read: No such file or directory"]


@pytest.mark.parametrize("text", ["127.0.0.1:8125", "[::1]:0", "host-1:65535", "[fe80::1%eth0]:1"])
def test_an_address_reads_back_as_it_was_written(text):
    assert str(parse_address(text)) == text


def test_flags_are_known_keys():
    assert set(FLAGS) <= set(OPTIONS)
