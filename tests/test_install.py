import os
import shutil
import stat
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggd import install
from aggd.cli import main
from aggd.config import load
from aggd.install import UNITS, File, changed, difference, hidden, next_commands, write

COMMAND = Path("/srv/aggd/bin/aggd")
SYSTEM = {
    "etc/aggd/aggd.toml",
    "etc/sysctl.d/60-aggd.conf",
    "etc/sysusers.d/aggd.conf",
    *(f"etc/systemd/system/{unit}" for unit in UNITS),
}
USER = {".config/aggd/aggd.toml", *(f".config/systemd/user/{unit}" for unit in UNITS)}
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE = 12  # tenths, of 100


@pytest.fixture
def aggd(tmp_path):
    """Run ``aggd install-service`` in this process, below a directory of its own."""

    def invoke(*words, home="/home/joe"):
        words = ["install-service", "--prefix", str(tmp_path), *words]
        return CliRunner().invoke(main, words, env={"HOME": home})

    return invoke


def written(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def directives(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_all_files_go_where_systemd_looks(aggd, tmp_path):
    result = aggd()
    assert result.exit_code == 0, result.output
    assert written(tmp_path) == SYSTEM
    assert [f"wrote {tmp_path / path}" in result.stdout for path in SYSTEM] == [True] * len(SYSTEM)
    assert result.stdout.endswith(
        f"\nNext:\nsystemctl --root={tmp_path} enable aggd.socket aggd-http.socket aggd.service\n"
    )


def test_a_user_gets_units_that_ask_for_no_rights(aggd, tmp_path):
    result = aggd("--user")
    assert result.exit_code == 0, result.output
    home = tmp_path / "home/joe"
    assert written(tmp_path) == {f"home/joe/{path}" for path in USER}
    service = (home / ".config/systemd/user/aggd.service").read_text()
    for refused in (
        "DynamicUser",
        "User=",
        "Protect",
        "Private",
        "Capabilit",
        "multi-user",
        "/etc",
    ):
        assert refused not in service
    system = directives("".join(file.text for file in install.system_files(Path("/x"), COMMAND)))
    known = {*system, "WantedBy=default.target"}
    ours = directives(service.replace(str(install.running_command()), str(COMMAND)))
    assert set(ours) <= known
    assert {"Type=notify", "MemoryDenyWriteExecute=yes", "NoNewPrivileges=yes"} <= set(ours)
    assert "systemctl --user enable --now aggd.socket" in result.stdout


def test_the_service_runs_the_installation_that_wrote_it(aggd, tmp_path):
    aggd()
    service = (tmp_path / "etc/systemd/system/aggd.service").read_text()
    command = Path(sys.executable).parent / "aggd"
    assert (
        f"\nExecStart={command} run --config %E/aggd/aggd.toml --state-dir ${{STATE_DIRECTORY}}\n"
        in service
    )
    assert f"\nExecStartPre={command} check-config %E/aggd/aggd.toml\n" in service
    assert install.SHIPPED_COMMAND not in service


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("/srv/a b/aggd", '"/srv/a b/aggd"'),
        ("/srv/50%/aggd", "/srv/50%%/aggd"),
        ("/srv/aggd/bin/aggd", "/srv/aggd/bin/aggd"),
    ],
)
def test_a_path_is_quoted_as_systemd_reads_it(command, word):
    service = install.system_files(Path("/x"), Path(command))[0].text
    assert f"\nExecStart={word} run " in service


def test_a_dry_run_prints_the_files_and_writes_none(aggd, tmp_path):
    result = aggd("--dry-run")
    assert result.exit_code == 0
    assert written(tmp_path) == set()
    for file in install.system_files(tmp_path, install.running_command()):
        assert f"# {file.path}\n{file.text}" in result.stdout
    assert "wrote" not in result.stdout


def test_installing_twice_changes_nothing_and_is_no_error(aggd, tmp_path):
    aggd()
    before = {path: (tmp_path / path).read_bytes() for path in SYSTEM}
    assert aggd().exit_code == 0
    assert {path: (tmp_path / path).read_bytes() for path in SYSTEM} == before


def test_a_file_that_somebody_changed_stays_and_what_differs_is_shown(aggd, tmp_path):
    aggd()
    service = tmp_path / "etc/systemd/system/aggd.service"
    service.write_text(service.read_text().replace("RestartSec=1s", "RestartSec=9s"))
    (tmp_path / "etc/sysctl.d/60-aggd.conf").unlink()
    for words in [(), ("--dry-run",)]:
        result = aggd(*words)
        assert result.exit_code == 1
        assert f"--- {service}\n" in result.stdout
        assert "\n-RestartSec=9s\n+RestartSec=1s\n" in result.stdout
        assert f"somebody changed {service}; nothing was written, --force" in result.stderr
        assert "RestartSec=9s" in service.read_text()
        assert not (tmp_path / "etc/sysctl.d/60-aggd.conf").exists()  # all or nothing
    assert aggd("--force").exit_code == 0
    assert "RestartSec=1s" in service.read_text()


def test_a_file_of_another_version_is_replaced_without_asking(aggd, tmp_path):
    aggd()
    socket = tmp_path / "etc/systemd/system/aggd.socket"
    ours = socket.read_text()
    body = ours.rpartition(install.STAMP)[0].replace("32M", "8M")
    socket.write_text(install._stamped(body))
    assert aggd().exit_code == 0
    assert socket.read_text() == ours


@pytest.mark.parametrize("more", ["[Socket]\nBacklog=9\n", "\n", "# mine"])
def test_lines_added_at_the_end_are_a_change(tmp_path, more):
    file = File(tmp_path / "unit", install._stamped("[Socket]\n"))
    write(file)
    assert changed([file]) == []
    file.path.write_text(file.text + more)
    assert changed([file]) == [file]
    assert more.splitlines()[-1] in difference(file)


def test_a_file_that_we_never_wrote_is_a_change_even_if_it_is_empty(tmp_path):
    file = File(tmp_path / "unit", install._stamped("[Socket]\n"))
    file.path.write_text("")
    assert changed([file]) == [file]


def test_options_that_are_there_stay_even_by_force(aggd, tmp_path):
    options = tmp_path / "etc/aggd/aggd.toml"
    options.parent.mkdir(parents=True)
    options.write_text("flush.interval = '30s'\n")
    result = aggd("--force")
    assert result.exit_code == 0
    assert str(options) not in result.stdout
    assert options.read_text() == "flush.interval = '30s'\n"


def test_the_service_may_read_what_a_strict_umask_would_hide(tmp_path):
    before = os.umask(0o077)
    try:
        write(File(tmp_path / "etc/aggd/aggd.toml", ""))
    finally:
        os.umask(before)
    modes = [
        stat.S_IMODE((tmp_path / p).stat().st_mode) for p in ("etc/aggd/aggd.toml", "etc/aggd")
    ]
    assert modes == [0o644, 0o755]


def test_a_directory_that_cannot_be_written_is_told(aggd, tmp_path):
    (tmp_path / "etc").write_text("no directory")
    result = aggd()
    assert result.exit_code == 1
    assert f"aggd: can't write {tmp_path}/etc" in result.stderr
    assert "wrote" not in result.stdout


def test_an_unknown_option_is_wrong_usage(aggd):
    assert aggd("--systm").exit_code == 2


def test_a_command_that_the_service_would_not_see_is_told():
    assert hidden(Path("/home/joe/aggd/bin/aggd")) == Path("/home/joe/aggd/bin/aggd")
    assert hidden(Path("/homes/aggd/bin/aggd")) in (None, Path(sys.executable).resolve())


def test_what_is_left_to_do_starts_the_sockets_with_the_service():
    start = "aggd.socket aggd-http.socket aggd.service"
    assert next_commands(Path("/"), user=False) == [
        "systemd-sysusers /etc/sysusers.d/aggd.conf",
        "sysctl --load=/etc/sysctl.d/60-aggd.conf",
        "systemctl daemon-reload",
        f"systemctl enable --now {start}",
    ]
    assert next_commands(Path("/"), user=True) == [
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {start}",
    ]


def test_the_options_that_are_shipped_can_be_loaded(aggd, tmp_path):
    aggd()
    assert load(tmp_path / "etc/aggd/aggd.toml", {}, {}) == load(None, {}, {})


def test_the_sockets_are_bound_where_the_options_say():
    config = load(None, {}, {})
    share = resources.files("aggd") / "share/systemd"
    host, port = config.listen.udp[0]
    assert f"ListenDatagram={host}:{port}" in (share / "aggd.socket").read_text()
    host, port = config.http.listen
    assert f"ListenStream={host}:{port}" in (share / "aggd-http.socket").read_text()
    buffer = config.listen.receive_buffer
    assert f"ReceiveBuffer={buffer >> 20}M\n" in (share / "aggd.socket").read_text()
    assert f"\nnet.core.rmem_max = {buffer}\n" in (share / "60-aggd.conf").read_text()


if ANALYZE:

    def analyze(*words, **environment):
        return subprocess.run(
            [ANALYZE, *map(str, words)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_systemd_understands_every_line(aggd, tmp_path):
        aggd()
        done = analyze("verify", *(tmp_path / "etc/systemd/system").iterdir())
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_systemd_of_a_user_understands_every_line(aggd, tmp_path):
        aggd("--user")
        units = (tmp_path / "home/joe/.config/systemd/user").iterdir()
        done = analyze("--user", "verify", *units, XDG_RUNTIME_DIR=str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")

    def test_systemd_finds_a_command_whose_path_needs_quotes(tmp_path):
        command = tmp_path / "50% of it" / "aggd"
        command.parent.mkdir()
        command.symlink_to("/bin/true")
        files = install.system_files(tmp_path, command)
        for file in files:
            write(file)
        done = analyze("verify", *(tmp_path / "etc/systemd/system").iterdir())
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_service_has_little_that_an_intruder_could_use(aggd, tmp_path):
        aggd()
        unit = tmp_path / "etc/systemd/system/aggd.service"
        done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", unit)
        assert done.returncode == 0, done.stdout
