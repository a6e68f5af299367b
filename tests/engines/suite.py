"""Run the cases of a suite, keep one JSON record per case, and skip those whose record is of the same code."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from helpers_pipeline import Run, run_pipeline

PROJECT = Path(__file__).resolve().parents[2]
RECORDS = PROJECT / ".suites"
#: what decides whether a record is still true: the pipeline, and these suites
PIPELINE = ["assets", "bin", "conf", "main.nf", "modules", "nextflow.config", "subworkflows", "workflows"]
SOURCES = [*PIPELINE, "tests/engines"]

#: a case gets a folder of its own and returns what it saw in a sentence, or one by the name of each failure in it
Case = Callable[[Path], str | dict[str, str]]


def digest(sources: Sequence[str] = SOURCES) -> str:
    """Return a SHA-256 over every tracked or new file below some folders, by default of the pipeline and its suites."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *sources],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    total = hashlib.sha256()
    for name in sorted(set(listed.stdout.splitlines())):
        path = PROJECT / name
        if path.is_file():
            total.update(name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def undisturbed(*options: str) -> Run:
    """Return a run of the demo on this machine, without engines; it is kept for all suites until the code changes."""
    key = hashlib.sha256("\0".join([digest(PIPELINE), *options]).encode()).hexdigest()[:16]
    folder = RECORDS / "reference" / key
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run = run_pipeline(folder, "-profile", "test", *options)
        assert run.status == 0, run.log
        shutil.rmtree(folder / "work")
        (folder / "done").touch()
    return Run(folder, folder / "out", 0, "")


def slug(name: str) -> str:
    """Return the name of a case as the name of a file."""
    return re.sub(r"\W+", "_", name).strip("_")


def read_records(suite: str) -> list[dict]:
    """Return the records of a suite, ordered by case."""
    return [json.loads(path.read_text()) for path in sorted((RECORDS / suite).glob("*.json"))]


def run_suite(suite: str, cases: Mapping[str, Case], scratch: Path, *, only: str = "", keep: bool = False) -> int:
    """Run the cases that have no record of this code.

    Parameters
    ----------
    suite
        Name of the folder below :data:`RECORDS`.
    cases
        Case by name, in the order in which they run.
    scratch
        Folder in which every case gets one of its own.
    only
        Run the cases whose name holds this text.
    keep
        A case that passed with an earlier state of the code is not run again.

    Returns
    -------
    Exit status: 0 where every case passed.
    """
    folder = RECORDS / suite
    folder.mkdir(parents=True, exist_ok=True)
    code, failed, passed = digest(), 0, 0
    for name, case in cases.items():
        if only not in name:
            continue
        file = folder / f"{slug(name)}.json"
        record = json.loads(file.read_text()) if file.exists() else {}
        if record.get("status") != "passed" or (record.get("code") != code and not keep):
            record = _run(name, case, scratch / slug(name)) | {"code": code}
            file.write_text(json.dumps(record, indent=2) + "\n")
        print(f"{record['status']:7}{record['seconds']:7.1f} s  {name}", flush=True)
        print("".join(f"{'':18}{what}: {said}\n" for what, said in record["outcomes"].items()), end="", flush=True)
        failed += record["status"] != "passed"
        passed += record["status"] == "passed"
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def replace_part(page: Path, name: str, text: str) -> None:
    """Replace what stands between the two marks of a part of a page.

    Parameters
    ----------
    page
        Markdown file with ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
    name
        Name of the part.
    text
        What is written between the marks.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    head, rest = page.read_text().split(begin)
    page.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}")


def _shortened(text: str, head: int = 200, tail: int = 2000) -> str:
    """Return the begin and the end of a text: the log of a run says at its end what went wrong."""
    return text if len(text) <= head + tail else f"{text[:head]} [...] {text[-tail:]}"


def _run(name: str, case: Case, folder: Path) -> dict:
    """Run one case; an assertion that fails is its outcome."""
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        status, outcome = "passed", case(folder)
    except Exception as error:  # noqa: BLE001  # the next case runs, and the record says why
        status, outcome = "failed", _shortened(f"{type(error).__name__}: {error}")
        folder.mkdir(parents=True, exist_ok=True)  # a case may have removed it
        (folder / "traceback.txt").write_text(traceback.format_exc())
    doc = (inspect.getdoc(getattr(case, "func", case)) or "").splitlines()[0]
    return {
        "case": name,
        "what": doc,
        "status": status,
        "outcomes": outcome if isinstance(outcome, dict) else {name: outcome},
        "seconds": round(time.monotonic() - start, 1),
    }
