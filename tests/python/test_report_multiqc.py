"""The whole way: executables, then MultiQC, then the page that a reader opens."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from helpers_report import ASSETS
from scfm.registries.tables import load_tables

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
def report(collected_run, tmp_path_factory):
    """Plan, page and MultiQC's log of a synthetic run."""
    pytest.importorskip("multiqc", reason="MultiQC is not installed in this environment")
    root = tmp_path_factory.mktemp("multiqc")
    run, tables = collected_run
    call(
        sys.executable,
        BIN / "build_report.py",
        "--tables",
        tables,
        "--plan",
        run.plan,
        "--plots",
        run.plots,
        "--histories",
        run.histories,
        "--params",
        run.params,
        "--schema",
        ASSETS.parent / "nextflow_schema.json",
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
        BIN / "write_page.py",
        "--content",
        root / "content",
        "--config",
        ASSETS / "multiqc_config.yml",
        "--outdir",
        root / "out",
        "--process",
        "MULTIQC",
        cwd=root,
    )
    assert "multiqc: " in (root / "versions.yml").read_text()
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


def test_chapters_and_sections_are_in_reading_order(report):
    _, page, _ = report
    headings = [
        re.sub(r"<[^>]+>|\s+", " ", h).strip()
        for h in re.findall(r"<h[234][^>]*>(.*?)</h[234]>", page, flags=re.DOTALL)
    ]
    wanted = [
        "Verdict",
        "What to take from this run",
        "Messages",
        "Overview figure",
        "pbmc",
        "Overview",
        "ifnb",  # its batch is biological: no totals, no ranks
        "Overview",
        "Trade-off",
        "Bio against batch",
        "Where it fails",
        "Across data sets",
        "Probes per data set",
        "Method cards",
        "Can I trust it",
        "Chance and majority",
        "Rank with and without each metric",
        "What became of every step",
        "Provenance and methods",
        "What was run",
        "Text for a methods section",
        "Software versions",
        "Tables",
        "Appendix",
        "What each metric measures, and its limitations",
        "pbmc",
        "Summary",
        "All metrics",
        "Totals",
        "Labels predicted from the embedding",
        "Batches predicted from the embedding",
        "All probes",
        "Centred against raw",
        "Change by centring, metric by metric",
        "Probes before and after centring",
        "UMAPs of corrected embeddings and controls",
        "Time and memory",
    ]
    rest = iter(headings)
    assert [w for w in wanted if not any(h == w for h in rest)] == [], headings


def test_versions_are_reported(report):
    _, page, _ = report
    assert "scvi-tools" in page and "1.4.2" in page


def test_no_second_copy_of_the_sections_is_in_the_page(report):
    """MultiQC writes one for chat services; it would be half of the page."""
    _, page, _ = report
    copy = re.search(r'aiReportMetadataBase64 = "([^"]*)"', page)[1]
    assert json.loads(base64.b64decode(copy)) == {"tools": {}, "sections": {}}


def test_every_link_within_the_page_has_its_target_and_ids_are_unique(report):
    _, page, _ = report
    body = page[page.index("<nav") :]
    ids = re.findall(r"""\sid=["']([^"']+)["']""", body)
    chapters = {i for i in ids if i.startswith("scfm")}
    assert len([i for i in ids if i.startswith("scfm")]) == len(chapters)
    links = {t for t in re.findall(r"""href=["']#([^"']+)["']""", body) if t.startswith("scfm")}
    assert len(links) > 10 and links <= chapters


def test_folded_chapters_are_closed_and_all_others_open(report):
    _, page, _ = report
    folded = re.findall(r'<details class="scfm-fold"><summary>\s*<h2 id="scfmbench_(\w+)"', page)
    assert folded == ["across", "cards", "provenance", "appendix"]


def test_every_table_is_linked_to_its_tsv(report):
    _, page, _ = report
    for name in load_tables():
        assert f'href="../tables/{name}.tsv"' in page, name
