"""The chapter on the design of the data: what it shows before any score."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from helpers_report import collected, write_run
from scfm.registries.messages import message
from scfm.registries.sections import load_chapters, load_sections
from scfm.report.sections.design_checks import check_sections, strength_sections
from scfm.report.sections.overview import design_problems
from scfm.report.tables.checks import told_of_dataset_steps
from scfm.report.tables.load import collect
from scfm.report.tables.status import failed_dataset_steps, verdict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A synthetic run with one data set and one method, collected."""
    root = tmp_path_factory.mktemp("design")
    made = write_run(root / "run", datasets=("pbmc",), methods=("pca", "harmony"))
    return made, collected(made, root / "tables")


def text_of(section) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", section.data))


def test_the_chapter_comes_before_any_score():
    chapters = list(load_chapters())
    assert chapters.index("design") == chapters.index("verdict") + 1
    assert chapters.index("design") < chapters.index("figure")
    shown = [name for name, section in load_sections().items() if section.chapter == "design"]
    assert shown == ["design", "design_checks", "strength"]


def test_cells_confounding_and_balance_are_shown_with_their_limits(run):
    data = run[1]
    section = check_sections(data, "pbmc")[0]
    text = re.sub(r"\s+", " ", text_of(section))
    part = data.design[(data.design["part"] == "samples") & (data.design["quantity"] == "n_cells")]
    largest = int(part["value"].max())
    assert f"{largest:,} (1)" in text
    assert "not declared in the samplesheet" in text
    assert "largest over smallest batch" in text and "10.00" in text
    assert "I-DES-01: Not declared, so not known: condition_key" in text
    assert "No condition_key is declared, so there is nothing to test." in text


def test_strength_names_band_and_limit_and_every_covariate(run):
    text = re.sub(r"\s+", " ", text_of(strength_sections(run[1], "pbmc")[0]))
    assert re.search(
        r"The batch explains \d+\.\d% of the variance .*: (clear|mild|dominant) \(negligible below 2%\)", text
    )
    assert "depth (log total counts)" not in text  # constant here, so no covariate
    assert "label" in text and "PC3" in text and "PC4" not in text


def test_errors_of_the_design_stand_first_in_the_verdict(run):
    data = run[1]
    values = {"batch_key": "batch", "key": "condition"}
    told = [message("W-BAL-02", labels=["x"], n_labels=1, dataset="pbmc", threshold=0.5)]
    told.append(message("E-CONF-01", other="", dataset="pbmc", values=values))
    problems = design_problems(replace(data, messages=told), "pbmc")
    assert problems[0].startswith("Every batch of 'batch' has cells of one level of 'condition' only")
    assert problems[-1].startswith("1 label is spread over few batches")


def test_without_a_description_there_is_no_section_and_the_run_says_what_failed(run, tmp_path):
    made, data = run
    found = collect(made.plan, made.datasets, [made.results])
    others = [s for s in found.dataset_statuses if s["step"] != "design"]
    for status, code in (("failed", "E-RUN-01"), (None, "E-RUN-02")):
        about = {"dataset": "pbmc", "embedding": "", "step": "design", "reason_code": "ScfmError"}
        failed = [{**about, "status": status, "reason": "The files differ."}] if status else []
        found.dataset_statuses = [*others, *failed]
        told = told_of_dataset_steps(found)
        assert [m["code"] for m in told] == [code] and "'design' of the data set" in told[0]["text"]
        ended = verdict(data.status, failed_dataset_steps(found))
        assert (ended["exit_status"], ended["n_failed"]) == (1, data.verdict["n_failed"] + 1)
        assert "pbmc (design)" in ended["message"]
    empty = data.with_tables(design=data.design.iloc[:0])
    assert check_sections(empty, "pbmc") == [] and strength_sections(empty, "pbmc") == []
