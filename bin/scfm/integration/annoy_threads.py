"""Annoy with one thread, inside a library that has no setting for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def one_annoy_thread(module: ModuleType) -> Iterator[ModuleType]:
    """Give a module that imports ``AnnoyIndex`` with its forests built by one thread; it is left as it was.

    Annoy splits a forest over all cores of the machine and seeds each thread on its own, so the neighbours, and with
    them the result, would depend on how many cores the machine has.
    """
    original = module.AnnoyIndex

    class OneThreadIndex(original):
        def build(self, n_trees: int, n_jobs: int = 1) -> bool:
            return super().build(n_trees, n_jobs)

    module.AnnoyIndex = OneThreadIndex
    try:
        yield module
    finally:
        module.AnnoyIndex = original
