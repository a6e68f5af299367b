"""``make test-faults``: every fault on a small run, one record each, and the table of ``docs/reliability.md``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from engines.faults import cases
from engines.suite import PROJECT, read_records, run_suite
from engines.world import World

PAGE = PROJECT / "docs" / "reliability.md"
START, END = "<!-- made by make test-faults -->", "<!-- end of the table -->"


def main() -> int:
    """Run the cases and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    only = parser.parse_args().only
    if os.geteuid() != 0:
        print("test-faults: full disks are small file systems, which only root can mount. Run it as root.")
        return 2
    with tempfile.TemporaryDirectory(prefix="scfm-faults-") as scratch:
        world = World(Path(scratch) / "run")
        status = run_suite("faults", cases(world), Path(scratch) / "cases", only=only)
    write_page(read_records("faults"))
    return status


def write_page(records: list[dict]) -> None:
    """Replace the table of the page by one of these records.

    Parameters
    ----------
    records
        Records of :func:`engines.suite.run_suite`.
    """
    count = Counter(record["status"] for record in records)
    lines = [
        f"{len(records)} failures injected, {count['passed']} survived, {count['failed']} not.",
        "",
        "| failure | outcome |",
        "|---|---|",
        *(f"| {record['case']} | {_cell(record)} |" for record in sorted(records, key=lambda record: record["case"])),
    ]
    text = PAGE.read_text()
    head, rest = text.split(START)
    PAGE.write_text(f"{head}{START}\n{chr(10).join(lines)}\n{END}{rest.split(END)[1]}")


def _cell(record: dict) -> str:
    said = " ".join(record["outcome"].split()).replace("|", "\\|")
    return said if record["status"] == "passed" else f"**not survived**: {said}"


if __name__ == "__main__":
    sys.exit(main())
