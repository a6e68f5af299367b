"""``make test-faults``: every failure on a small run, then load; records, and the tables of ``reliability.md``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from engines import faults, load
from engines.suite import PROJECT, digest, read_records, replace_part, run_suite
from engines.world import World, tables_only
from scfm.registries.pages import markdown_table

PAGE = PROJECT / "docs" / "reliability.md"
SUITES = {"faults": "failures injected", "load": "cases of load"}


def main() -> int:
    """Run the cases and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--keep", action="store_true", help="cases that passed with an earlier state of the code, too")
    parser.add_argument("--suite", choices=sorted(SUITES), help="one of the two suites")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("test-faults: full disks are small file systems, which only root can mount. Run it as root.")
        return 2
    # a shell that starts this suite in the background makes it, and all that it starts, ignore SIGINT
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 0
    with tempfile.TemporaryDirectory(prefix="scfm-faults-") as scratch:
        world = World(Path(scratch) / "run", project=tables_only(Path(scratch) / "pipeline"))
        for suite, of_world in {"faults": faults.cases, "load": load.cases}.items():
            if args.suite in (None, suite):
                folder = Path(scratch) / suite
                status |= run_suite(suite, of_world(world), folder, only=args.only, keep=args.keep)
                write_records(suite)
    return status


def write_records(suite: str) -> None:
    """Write the records of a suite into the page, in the place of that kind."""
    records, code = read_records(suite), digest()
    found = [(record, what, said) for record in records for what, said in record["outcomes"].items()]
    count = Counter(record["status"] for record, _, _ in found)
    earlier = sum(record["code"] != code for record, _, _ in found)
    survived = f"{len(found)} {SUITES[suite]}, {count['passed']} survived, {count['failed']} not."
    survived += f" {earlier} of them with an earlier state of the code." if earlier else ""
    rows = [[what, _outcome(record["status"], said)] for record, what, said in sorted(found, key=lambda f: f[1])]
    replace_part(
        PAGE, {"faults": "failures"}.get(suite, suite), f"{survived}\n\n{markdown_table(['case', 'outcome'], rows)}"
    )


def _outcome(status: str, said: str) -> str:
    said = " ".join(said.split()).replace("<", "&lt;")
    return said if status == "passed" else f"**not survived**: {said}"


if __name__ == "__main__":
    sys.exit(main())
