"""The commands on a state directory, as a user gives them."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggd import ndjson, parquet
from aggd.cli import main
from aggd.units import MINUTE
from tests.state import MINUTES, NAMES, START, content, fill

BROKEN = "not a row\n"
RECENT = {"name": "new", "kind": "counter", "start": START, "width": 60, "count": 1.0, "sum": 2.0}


@pytest.fixture(scope="module")
def state(new_directory) -> Path:
    return fill(new_directory())


@pytest.fixture
def aggd():
    """Run the command in this process."""
    return lambda *words, **more: CliRunner().invoke(main, [*map(str, words)], **more)


@pytest.fixture
def broken(directory) -> Path:
    """A directory with a byte that was flipped in a row of minutes, as a disk would."""
    state = fill(directory / "state", minutes=2)
    (file,) = (state / "minute").glob("*.db")
    data = bytearray(file.read_bytes())
    # The magic number of zstd: here begins a row.
    data[data.rindex(b"\x28\xb5\x2f\xfd") + 20] ^= 1
    file.write_bytes(data)
    return state


def test_storage_prints_a_table_or_json(aggd, state):
    result = aggd("storage", "--state-dir", state)
    assert result.exit_code == 0
    minute = next(line for line in result.stdout.splitlines() if line.startswith("minute"))
    assert minute.split()[1:4] == ["2023-11-15T00:00:00Z", "2023-11-15T01:05:00Z", str(MINUTES)]
    answer = json.loads(aggd("storage", "--state-dir", state, "--json").stdout)
    assert answer["directory"] == str(state)
    assert [tier["tier"] for tier in answer["tiers"]] == ["interval-10s", "minute", "hour", "day"]


def test_storage_takes_budget_and_retention_from_the_configuration(aggd, state, directory):
    file = directory / "aggd.toml"
    file.write_text(
        f'storage.state_dir = "{state}"\nstorage.max_bytes = "1MiB"\nretention.minute = "3h"\n'
    )
    answer = json.loads(aggd("storage", "--config", file, "--json").stdout)
    assert answer["max_bytes"] == 1 << 20
    assert answer["tiers"][1]["capacity"] == 180


def test_verify_says_that_all_is_good(aggd, state):
    result = aggd("verify", "--state-dir", state)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("all good\n")
    assert json.loads(aggd("verify", "--state-dir", state, "--json").stdout)["faults"] == []


def test_verify_finds_a_flipped_byte_and_export_says_that_something_is_missing(aggd, broken):
    result = aggd("verify", "--state-dir", broken)
    (fault, summary) = result.stdout.splitlines()
    assert result.exit_code == 1
    assert fault.startswith(f"{broken}/minute/2023-11-15.db: 2023-11-15T00:0")
    assert "damaged" in fault
    assert summary.endswith(": 1 faults")
    (found,) = json.loads(aggd("verify", "--state-dir", broken, "--json").stdout)["faults"]
    assert found["slot"].startswith("2023-11-15T00:0")
    result = aggd("export", "--state-dir", broken, "--resolution", "minute")
    assert result.exit_code == 1
    assert "are missing; see 'aggd verify'" in result.stderr
    assert len(result.stdout.splitlines()) < 2 * 4 * len(NAMES)


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_export_and_import_carry_everything_over(aggd, state, directory, form):
    file, other = directory / "rows", directory / "b"
    result = aggd("export", "--state-dir", state, "--format", form, "-o", file)
    read = {"ndjson": ndjson, "parquet": parquet}[form].read
    rows = len(list(read(io.BytesIO(file.read_bytes()))))
    assert (result.exit_code, result.stderr) == (0, f"{rows} rows to {file}\n")
    result = aggd("import", "--state-dir", other, file)
    assert (result.exit_code, result.stdout) == (0, f"{rows} rows were taken\n")
    assert content(other, MINUTE) == content(state, MINUTE)
    result = aggd("import", "--state-dir", other, file)
    assert "0 rows were taken\n" in result.stdout
    assert "their slots have the series already" in result.stdout


def test_parquet_goes_to_standard_output_too(aggd, state):
    words = "--match", "a.one", "--kind", "set", "--resolution", "hour", "--format", "parquet"
    result = aggd("export", "--state-dir", state, *words)
    ((_, row),) = parquet.read(io.BytesIO(result.stdout_bytes))
    assert (row.name, row.kind, row.width) == ("a.one", "set", 3600)


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["--resolution", "minute", "--kind", "gauge"], MINUTES * 3),
        (["--resolution", "minute", "--kind", "gauge", "--match", "a.*"], MINUTES * 2),
        (["--resolution", "hour", "--tags", "of:a.one, bare"], 4),
        (["--resolution", "minute", "--from", "2023-11-15T01:00:00Z", "--kind", "set"], 15),
        (["--resolution", "minute", "--to", str(START + 61), "--kind", "set"], 6),
        (["--resolution", "day"], 0),
    ],
)
def test_export_takes_what_is_asked_for(aggd, state, words, rows):
    result = aggd("export", "--state-dir", state, *words)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, rows)


def test_import_reads_standard_input_and_refuses_line_by_line(aggd, directory):
    text = json.dumps(RECENT) + "\n" + BROKEN + json.dumps({**RECENT, "name": "other"}) + "\n"
    result = aggd("import", "--state-dir", directory / "b", "-", input=text)
    assert result.exit_code == 1
    assert result.stdout == "2 rows were taken\n"
    first, last = result.stderr.splitlines()
    assert first.startswith("-:2: ")
    assert last == "aggd: 1 were refused"


def test_only_the_first_refusals_are_told_one_by_one(aggd, directory):
    result = aggd("import", "--state-dir", directory / "b", "-", input=BROKEN * 250)
    assert len(result.stderr.splitlines()) == 101
    assert result.stderr.endswith("aggd: 250 were refused\n")


def test_import_adds_only_when_told_so(aggd, directory):
    file = directory / "rows"
    file.write_text(json.dumps(RECENT))
    for words in [], [], ["--merge"]:
        assert aggd("import", "--state-dir", directory / "b", *words, file).exit_code == 0
    ((count, total),) = content(directory / "b", MINUTE).values()
    assert (count, total) == (2.0, 4.0)


@pytest.mark.parametrize("name", ["storage", "verify", "export", "import"])
def test_wrong_usage_ends_with_2(aggd, name, directory):
    more = [str(directory)] if name == "import" else []
    result = aggd(name, *more, env={"AGGD_STORAGE__STATE_DIR": ""})
    assert result.exit_code == 2
    assert "name a directory with --state-dir, or a file with --config" in result.stderr
    file = directory / "aggd.toml"
    file.write_text("storage.cache = 'large'")
    result = aggd(name, *more, "--config", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{file}:1: storage.cache" in result.stderr


@pytest.mark.parametrize("name", ["storage", "verify", "export"])
def test_a_directory_that_is_not_there_is_not_made(aggd, name, directory):
    result = aggd(name, "--state-dir", directory / "none")
    assert result.exit_code == 2
    assert result.stderr == (
        f"aggd: {directory}/none is no directory; name the state directory of an aggd\n"
    )
    assert not (directory / "none").exists()


@pytest.mark.parametrize("words", [["--from", "soon"], ["--to", "-5"]])
def test_a_window_that_is_none_is_wrong_usage(aggd, state, words):
    result = aggd("export", "--state-dir", state, *words)
    assert result.exit_code == 2
    assert "time must be RFC 3339" in result.stderr


def test_a_file_that_can_not_be_read_or_written_ends_with_1(aggd, state, directory):
    result = aggd("import", "--state-dir", directory / "b", directory / "none")
    assert result.exit_code == 1
    assert "No such file" in result.stderr
    result = aggd("export", "--state-dir", state, "-o", directory / "none" / "rows")
    assert result.exit_code == 1


def test_a_reader_that_leaves_ends_an_export_quietly(state):
    command = [sys.executable, "-m", "aggd", "export", "--state-dir", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read()
    assert (first[:8], complaint, process.returncode) == (b'{"name":', b"", 1)


def test_a_bar_is_drawn_where_somebody_looks(state):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "aggd", "verify", "--state-dir", str(state)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    drawn = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "verify" in drawn
    assert "100%" in drawn
