"""The summary of a run: outcomes, reasons, messages and the answer of every data set, as plain text."""

from __future__ import annotations

import re

import pytest

from helpers_report import read_report
from scfm.report.summary import plain, run_summary


@pytest.fixture(scope="module")
def data(collected_run):
    """The report data of a synthetic run of two data sets, in which ComBat fails on ``ifnb``."""
    return read_report(*collected_run)


def test_every_planned_embedding_is_counted_once(data) -> None:
    first = run_summary(data).splitlines()[0]
    completed, planned, failed, other = map(int, re.findall(r"\d+", first))
    broken = data.status.query("status == 'failed'").drop_duplicates(["dataset", "embedding"])
    points = data.tables["sweep"]["n_seeds"].sum()  # the points of a sweep are in no plan of the report
    assert planned == len(data.plan) + points == completed + failed + other
    assert failed == len(broken) > 0
    assert other == 1  # the correction of the embedding that failed


def test_a_failure_is_named_with_its_step_and_reason(data) -> None:
    lines = [
        line for line in run_summary(data).splitlines() if line.startswith("  failed: ifnb.combat.raw.0 (embed): ")
    ]
    reason = data.status.query("embedding == 'combat.raw.0' and dataset == 'ifnb' and step == 'embed'")["reason"].item()
    assert len(lines) == 1 and lines[0].endswith(reason) and reason


def test_messages_are_counted_by_severity(data) -> None:
    line = next(line for line in run_summary(data).splitlines() if line.startswith("Messages: "))
    warnings = sum(m["severity"] == "warning" for m in data.messages)
    assert warnings > 1 and f", {warnings} warnings" in line
    assert all(m["code"] in line for m in data.messages if m["severity"] != "info")


def test_every_data_set_has_its_answer_without_markup(data) -> None:
    lines = run_summary(data).splitlines()
    for name in data.dataset_names():
        answer = next(line for line in lines if line.startswith(f"{name}: "))
        assert len(answer) > 60 and "<" not in answer
    assert any(line.startswith("ifnb: The batch is declared biological") for line in lines)
    assert any(line.startswith("pbmc: By total, ") for line in lines)


def test_plain_text_of_markup() -> None:
    assert plain("By total, <b>A &amp; B</b>\n can't be <i class='x'>told apart</i>.") == (
        "By total, A & B can't be told apart."
    )
