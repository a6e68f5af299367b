"""How long a task imports packages: most of a small task's time, and what a group of embeddings shares."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class ImportClock(MetaPathFinder):
    """Measure the seconds in which modules are loaded; the first entry of ``sys.meta_path`` while it runs.

    A module that is imported by another one counts once, as part of the outer one.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._taken = 0.0

    def start(self) -> None:
        """Measure from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Measure no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def add(self, seconds: float) -> None:
        """Count the imports of a child process too."""
        self.seconds += seconds

    def take(self) -> float:
        """Return the seconds since the last call."""
        taken, self._taken = self.seconds - self._taken, self.seconds
        return taken

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as the other finders do, and have its loading measured."""
        for finder in sys.meta_path:
            if isinstance(finder, ImportClock) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                loader = spec.loader
                # built-in and frozen modules are loaded by a class, in no time
                if loader is not None and not isinstance(loader, type) and hasattr(loader, "exec_module"):
                    self._measure(loader)
                return spec
        return None

    def _measure(self, loader: Any) -> None:
        """Let the loader of one module add its time to the clock."""
        load = loader.exec_module

        def timed(module: ModuleType) -> None:
            self._depth += 1
            start = time.perf_counter()
            try:
                load(module)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.seconds += time.perf_counter() - start

        loader.exec_module = timed


#: the clock of this process; :func:`scfm.task.cli.run` starts it
CLOCK = ImportClock()
