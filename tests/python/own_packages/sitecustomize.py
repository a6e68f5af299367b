"""Hide from a task what its own environment lacks; on ``PYTHONPATH`` of the runs of ``helpers_pipeline``.

All tasks of a test run share one Python, so a package that is missing in the environment of a process would be noticed
in a container or with conda only. ``SCFM_HIDDEN_PACKAGES`` is a JSON file (``helpers_environments.py``): process -> the
top-level modules and the distributions that are hidden from it; the process is the last part of the executable's
``--process``. CHECK_INPUTS with ``--own_environment`` looks for the packages of all methods here, as it does where no
engine brings them.
"""

import json
import os
import re
import sys
from typing import Any


class Filtered:
    """A finder of ``sys.meta_path`` that finds some top-level modules and distributions no longer."""

    def __init__(self, finder: Any, modules: list[str], distributions: list[str]) -> None:
        self.finder, self.modules, self.distributions = finder, frozenset(modules), frozenset(distributions)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Find a module as the finder does, unless it is hidden."""
        return None if fullname in self.modules else self.finder.find_spec(fullname, path, target)

    def find_distributions(self, context: Any) -> Any:
        """Find what is installed as the finder does, without what is hidden: packages ask before they import."""
        if not hasattr(self.finder, "find_distributions"):
            return
        if context.name is not None and canonical(context.name) in self.distributions:
            return
        for found in self.finder.find_distributions(context):
            if context.name is not None or canonical(found.metadata["Name"] or "") not in self.distributions:
                yield found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


def canonical(name: str) -> str:
    """Return the name of a distribution as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hide() -> None:
    """Hide what the process named on the command line does not have."""
    listed, words = os.environ.get("SCFM_HIDDEN_PACKAGES"), sys.orig_argv
    if listed and "--process" in words[:-1] and "--own_environment" not in words:
        process = words[words.index("--process") + 1].split(":")[-1]
        with open(listed, encoding="utf-8") as file:
            hidden = json.load(file).get(process)
        if hidden is None:
            raise SystemExit(f"No environment is known of the process {process}.")
        sys.meta_path[:] = [Filtered(finder, *hidden) for finder in sys.meta_path]


hide()
