"""Clients in JavaScript are tested where node is at hand; where it isn't, the end says so."""

import shutil

NODE = shutil.which("node") and shutil.which("npm")

collect_ignore = [] if NODE else ["test_hot_shots.py"]


def pytest_terminal_summary(terminalreporter):
    if not NODE:
        terminalreporter.line("hot-shots was not tested: node or npm is not at hand")
