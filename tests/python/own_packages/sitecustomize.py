"""Hide from a task what its own environment lacks; on ``PYTHONPATH`` of the runs of ``helpers_pipeline``.

All tasks of a test run share one Python, so a package that is missing in the environment of a process would be noticed
in a container or with conda only. ``SCFM_HIDDEN_PACKAGES`` is a JSON file, process -> top-level modules that are hidden
from it (``helpers_environments.py``); the process is the last part of the executable's ``--process``. CHECK_INPUTS with
``--own_environment`` looks for the packages of all methods here, as it does where no engine brings them.
"""

import json
import os
import sys
from typing import Any


class Filtered:
    """A finder of ``sys.meta_path`` that finds some top-level modules no longer."""

    def __init__(self, finder: Any, names: frozenset[str]) -> None:
        self.finder, self.names = finder, names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Find a module as the finder does, unless it is hidden."""
        return None if fullname in self.names else self.finder.find_spec(fullname, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


def hide() -> None:
    """Hide what the process named on the command line does not have."""
    listed, words = os.environ.get("SCFM_HIDDEN_PACKAGES"), sys.orig_argv
    if listed and "--process" in words[:-1] and "--own_environment" not in words:
        process = words[words.index("--process") + 1].split(":")[-1]
        with open(listed, encoding="utf-8") as file:
            names = json.load(file).get(process)
        if names is None:
            raise SystemExit(f"No environment is known of the process {process}.")
        sys.meta_path[:] = [Filtered(finder, frozenset(names)) for finder in sys.meta_path]


hide()
