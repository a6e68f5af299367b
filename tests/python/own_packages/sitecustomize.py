"""Hide from a task what its own environment lacks; on ``PYTHONPATH`` of the runs of ``helpers_pipeline``.

All tasks of a test run share one Python, so a package that is missing in the environment of a process would be noticed
in a container or with conda only. ``SCFM_HIDDEN_PACKAGES`` is a JSON file, process -> top-level modules that are hidden
from it (``helpers_environments.py``); the process is the last part of the executable's ``--process``.
"""

import json
import os
import sys


class Hidden:
    """The first finder of ``sys.meta_path``: says that some top-level modules are not installed."""

    def __init__(self, names: list[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raise ModuleNotFoundError for a hidden module and leave all others to the next finder."""
        if fullname in self.names:
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)


def hide() -> None:
    """Hide what the process named on the command line does not have."""
    listed, words = os.environ.get("SCFM_HIDDEN_PACKAGES"), sys.orig_argv
    if listed and "--process" in words[:-1]:
        process = words[words.index("--process") + 1].split(":")[-1]
        with open(listed, encoding="utf-8") as file:
            names = json.load(file).get(process)
        if names is None:
            raise SystemExit(f"No environment is known of the process {process}.")
        sys.meta_path.insert(0, Hidden(names))


hide()
