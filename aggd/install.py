"""aggd as a service of systemd: which files go where, and what was changed in them.

    aggd/share/systemd/aggd.service   --- command, stamp --->   /etc/systemd/system/aggd.service

A file ends in a stamp, a hash of the lines above it.  One whose stamp is right is as some aggd
wrote it and may be replaced; in any other somebody's work would be lost.
"""

import difflib
import hashlib
import sys
import sysconfig
from importlib import resources
from pathlib import Path
from typing import NamedTuple

UNITS = ("aggd.service", "aggd.socket", "aggd-http.socket")
SHIPPED_COMMAND = "/opt/aggd/bin/aggd"  # in aggd.service, where the running one is put in
SYSTEM_ONLY = "# As a system service:"  # opens a paragraph of aggd.service
STAMP = "# install-service: "
# Not to be seen by a service with ProtectHome and PrivateTmp.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")


class File(NamedTuple):
    """A file of the service: where it goes, what is in it."""

    path: Path
    text: str


def system_files(prefix: Path, command: Path) -> list[File]:
    """Files of a service of the system, under the root directory `prefix`."""
    etc = prefix / "etc"
    return [
        *(File(etc / "systemd/system" / unit, _unit(unit, command)) for unit in UNITS),
        File(etc / "sysusers.d/aggd.conf", _stamped(_shipped("systemd/aggd.sysusers"))),
        File(etc / "sysctl.d/60-aggd.conf", _stamped(_shipped("systemd/60-aggd.conf"))),
        *_options(etc),
    ]


def user_files(prefix: Path, command: Path, home: Path) -> list[File]:
    """Files of a service of the user who has this `home`, under the root directory `prefix`."""
    config = prefix / home.relative_to(home.anchor) / ".config"
    return [
        *(File(config / "systemd/user" / unit, _user_unit(unit, command)) for unit in UNITS),
        *_options(config),
    ]


def _options(config: Path) -> list[File]:
    """The file of options where there is none: it is there to be changed."""
    path = config / "aggd/aggd.toml"
    return [] if path.exists() else [File(path, _shipped("conf/aggd.toml"))]


def _shipped(name: str) -> str:
    return (resources.files("aggd") / "share" / name).read_text()


def _unit(name: str, command: Path) -> str:
    return _stamped(_shipped(f"systemd/{name}").replace(SHIPPED_COMMAND, _quoted(command)))


def _user_unit(name: str, command: Path) -> str:
    """The same unit without what only the systemd of the system can do."""
    paragraphs = _shipped(f"systemd/{name}").split("\n\n")
    text = "\n\n".join(part for part in paragraphs if not part.startswith(SYSTEM_ONLY))
    text = text.replace("multi-user.target", "default.target")
    text = text.replace("/etc/aggd", "~/.config/aggd").replace("systemctl ", "systemctl --user ")
    return _stamped(text.replace(SHIPPED_COMMAND, _quoted(command)))


def _quoted(command: Path) -> str:
    """A path as the command lines of a unit have it; systemd refuses quotes and backslashes."""
    escaped = str(command).replace("%", "%%")
    return f'"{escaped}"' if " " in escaped else escaped


def _stamped(text: str) -> str:
    return f"{text}{STAMP}{hashlib.sha256(text.encode()).hexdigest()}\n"


def running_command() -> Path:
    """Where the command of the running installation is, whether or not it was started by it."""
    return Path(sysconfig.get_path("scripts")) / "aggd"


def hidden(command: Path) -> Path | None:
    """Which of the command and its interpreter a service of the system wouldn't see, if any."""
    needed = command, Path(sys.executable).resolve()
    return next((path for path in needed if any(map(path.is_relative_to, HIDDEN))), None)


def changed(files: list[File]) -> list[File]:
    """Those that are there, differ, and are not as some aggd wrote them."""
    return [file for file in files if file.path.exists() and _is_changed(file)]


def _is_changed(file: File) -> bool:
    found = _present(file)
    return found != file.text and found != _stamped(found.rpartition(STAMP)[0])


def _present(file: File) -> str:
    return file.path.read_text(errors="replace")


def difference(file: File) -> str:
    """What replacing a file would change in it, as ``diff -u`` shows it."""
    there, ours = _present(file).splitlines(True), file.text.splitlines(True)
    names = f"{file.path}", f"{file.path} of aggd"
    return "".join(difflib.unified_diff(there, ours, *names))


def write(file: File) -> None:
    """Write a file that everybody may read, whatever the umask: the service is somebody else."""
    _make(file.path.parent)
    file.path.write_text(file.text)
    file.path.chmod(0o644)


def _make(directory: Path) -> None:
    if not directory.is_dir():
        _make(directory.parent)
        directory.mkdir()
        directory.chmod(0o755)


def next_commands(prefix: Path, user: bool) -> list[str]:
    """What remains to be done, in this order; an image needs only what outlives its build."""
    start = "aggd.socket aggd-http.socket aggd.service"
    if user:
        return ["systemctl --user daemon-reload", f"systemctl --user enable --now {start}"]
    if prefix != Path("/"):
        return [f"systemctl --root={prefix} enable {start}"]
    return [
        "systemd-sysusers /etc/sysusers.d/aggd.conf",
        "sysctl --load=/etc/sysctl.d/60-aggd.conf",
        "systemctl daemon-reload",
        f"systemctl enable --now {start}",
    ]
