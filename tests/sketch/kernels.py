"""The two implementations of the digest's kernels."""

from types import ModuleType

import pytest

from aggd.sketch import centroids, digest

KERNELS: list[ModuleType] = [centroids]
if digest.COMPILED:
    from aggd.sketch import compact

    KERNELS.append(compact)

each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__.split(".")[-1])


def use(monkeypatch: pytest.MonkeyPatch, kernel: ModuleType) -> None:
    """Let the digest work with one of them."""
    for name in ("arrange", "compress", "describe"):
        monkeypatch.setattr(digest, name, getattr(kernel, name))
