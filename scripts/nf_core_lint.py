#!/usr/bin/env python3
"""Run nf-core's pipeline lint checks one by one, offline, and fail on any failure.

``nf-core pipelines lint`` asks the network for modules, schemas and its own version before it checks anything. The
checks themselves are methods of ``PipelineLint`` and need no network but for those that ``.nf-core.yml`` switches off
with a reason.

Usage: nf_core_lint.py [FOLDER]. Needs the package nf-core (an environment of its own: ``make lint`` sets it up).
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path


def main(folder: Path) -> int:
    """Print every failure and warning with its check; return 1 if there is a failure."""
    os.environ.setdefault("NFCORE_NO_VERSION_CHECK", "1")
    from nf_core.pipelines.lint import PipelineLint

    logging.getLogger("nf_core").setLevel(logging.ERROR)
    lint = PipelineLint(folder, hide_progress=True)
    lint._load()
    lint._load_lint_config()
    config = lint.lint_config or {}
    off = []
    counts = {"passed": 0, "ignored": 0, "warned": 0, "failed": 0}
    for name in lint.lint_tests:
        if config.get(name, {}) is False:
            off.append(name)
            continue
        result = getattr(lint, name)()
        for kind in counts:
            counts[kind] += len(result.get(kind, []))
        for kind in ("warned", "failed"):
            for text in result.get(kind, []):
                print(f"{kind.upper():7} {name}: {text}")
    print("nf-core checks:", ", ".join(f"{number} {kind}" for kind, number in counts.items()))
    print(f"switched off in .nf-core.yml, each with its reason: {', '.join(off) or 'none'}")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
