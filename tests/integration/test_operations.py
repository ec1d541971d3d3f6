"""The page about operations names what the daemon has: its figures, and what a reload changes."""

import re
from pathlib import Path

import pytest

from aggd.reload import LIVE
from tests.daemon import Daemon

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
FAMILY = re.compile(r"^# TYPE (\w+) (\w+)$", re.M)
LABEL = re.compile(r'(\w+)="')
NAME = re.compile(r"aggd_[a-z_]+")


def section(title: str) -> str:
    """Text under a heading, up to the next of any level."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", PAGE, re.M | re.S)
    assert found, title
    return found[1]


def rows(title: str) -> list[list[str]]:
    """Cells of the tables in a section, without their heads; `\\|` isn't a border."""
    lines = re.findall(r"^\| (.*) \|$", section(title), re.M)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines[1:]]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """What `/metrics` of a daemon with a state directory shows."""
    daemon = Daemon("--state-dir", str(tmp_path_factory.mktemp("state")))
    try:
        daemon.send(b"a:1|c\nb:-1|ms\nno colon")
        daemon.stats("b", 1)
        yield daemon.request("/metrics")[1].decode()
    finally:
        daemon.stop()


def test_the_table_has_every_figure_and_no_other(exposed):
    listed = [NAME.findall(row[0])[0] for row in rows("Figures")]
    assert sorted(listed) == sorted(name for name, _ in FAMILY.findall(exposed))


def test_the_table_has_the_labels_of_every_figure(exposed):
    for name, labels, _ in rows("Figures"):
        samples = re.findall(rf"^{name.strip('`')}{{(.*)}} ", exposed, re.M)
        assert {label for sample in samples for label in LABEL.findall(sample)} == set(
            labels.split()
        ), name


def test_every_figure_that_the_page_mentions_is_exposed(exposed):
    kinds = dict(FAMILY.findall(exposed))
    summaries = {
        f"{n}_{end}" for n, k in kinds.items() if k == "summary" for end in ("sum", "count")
    }
    assert set(NAME.findall(PAGE)) <= {*kinds} | summaries


def test_the_page_has_what_a_reload_changes_and_nothing_else():
    keys = {key for row in rows("Reload") for key in re.findall(r"`(\w+\.\w+)`", row[1])}
    assert keys == LIVE
