"""The whole way: executables, then MultiQC, then the page that a reader opens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from helpers_report import ASSETS, collect_command, write_run

BIN = Path(__file__).resolve().parents[2] / "bin"


class Loads(HTMLParser):
    """Collects everything a browser would fetch for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag, attrs):
        """Note sources, style sheets and the like; a link that a reader may click is no request."""
        named = dict(attrs)
        self.urls += [named[k] for k in ("src", "srcset", "data", "poster") if named.get(k)]
        if tag == "link" and named.get("href"):
            self.urls.append(named["href"])


def call(*command, cwd: Path) -> str:
    """Run a command that must succeed; return what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(cwd), "HOME": str(cwd)}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Plan, page and MultiQC's log of a synthetic run."""
    pytest.importorskip("multiqc", reason="MultiQC is not installed in this environment")
    root = tmp_path_factory.mktemp("multiqc")
    run = write_run(root / "run")
    call(*collect_command(run, root / "tables"), "--trace", run.trace, cwd=root)
    call(
        sys.executable,
        BIN / "build_report.py",
        "--tables",
        root / "tables",
        "--plan",
        run.plan,
        "--plots",
        run.plots,
        "--histories",
        run.histories,
        "--params",
        run.params,
        "--versions",
        run.versions,
        "--assets",
        ASSETS,
        "--outdir",
        root / "content",
        cwd=root,
    )
    log = call(
        sys.executable,
        "-m",
        "multiqc",
        "--force",
        "--config",
        ASSETS / "multiqc_config.yml",
        "--config",
        root / "content" / "scfmbench_order.yml",
        "--filename",
        "scfmbench_report.html",
        "--outdir",
        root / "out",
        root / "content",
        cwd=root,
    )
    return pd.read_csv(run.plan, sep="\t"), (root / "out" / "scfmbench_report.html").read_text(), log


def test_the_page_is_whole_and_small_enough_to_mail(report):
    _, page, log = report
    assert len(page) < 15_000_000
    assert "Report      : " in log
    assert not re.search(r"\b(Error|WARNING|Traceback|not recognised|Couldn't)\b", log), log


def test_nothing_is_fetched_from_elsewhere(report):
    _, page, _ = report
    loads = Loads()
    loads.feed(page)
    assert loads.urls  # pictures are there, as data
    assert [u[:80] for u in loads.urls if not u.startswith(("data:", "#"))] == []
    assert not re.search(r"@import\s+(url)?\(?['\"]?https?:|url\(['\"]?(https?:)?//", page)


def test_every_planned_embedding_and_the_reason_of_the_failure_are_in_it(report):
    plan, page, _ = report
    for name in plan["embedding"]:
        assert name in page, name
    assert "ComBat needs at least two cells per batch &amp; gene" in page
    assert "exit status 137 in attempt 2" in page


def test_chapters_and_sections_stand_in_reading_order(report):
    _, page, _ = report
    headings = [
        re.sub(r"<[^>]+>|\s+", " ", h).strip() for h in re.findall(r"<h[23][^>]*>(.*?)</h[23]>", page, flags=re.DOTALL)
    ]
    wanted = [
        "Overview",
        "Messages",
        "The answer in short",
        "Across data sets",
        "Probes per data set",
        "ifnb",  # its batch is biological: no totals, no ranks
        "Summary",
        "Bio against batch",
        "All metrics",
        "By label",
        "All metrics at a glance",
        "Labels predicted from the embedding",
        "Batches predicted from the embedding",
        "All probes",
        "Chance and majority",
        "Probes before and after centring",
        "Centroid alignment",
        "UMAPs by batch and label",
        "Training curves",
        "pbmc",
        "Summary",
        "Totals",
        "Rank with and without each metric",
        "Centred against raw",
        "Change by centring, metric by metric",
        "The run",
        "What became of every step (ifnb)",
        "Time and memory (pbmc)",
        "How to read it",
        "What each metric says, and what it misses",
        "Text for a methods section",
        "Software Versions",
    ]
    rest = iter(headings)
    assert [w for w in wanted if not any(h == w for h in rest)] == [], headings


def test_versions_are_told(report):
    _, page, _ = report
    assert "scvi-tools" in page and "1.4.2" in page
