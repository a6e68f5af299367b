"""What the report says where there is nothing to say it of: new cells only, one batch, tests that do not apply."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from helpers_report import read_report
from scfm.report.sections import overview
from scfm.report.sections.balanced import balanced_sections
from scfm.report.sections.fails import sentences
from scfm.report.sections.guide import methods_text
from scfm.report.sections.losses import marker_sections, overcorrection_sections
from scfm.report.sections.run import status_sections
from scfm.report.sections.verdict import verdict
from scfm.report.summary import run_summary
from scfm.report.tables.score_checks import datasets_of_one_batch, one_batch
from scfm.report.view.data import ReportData
from scfm.report.view.labels import Grid
from scfm.report.view.summary import summarise


@pytest.fixture(scope="module")
def data(collected_run) -> ReportData:
    """The report data of a synthetic run of two data sets."""
    return read_report(*collected_run)


@pytest.fixture(scope="module")
def mapped(data: ReportData) -> ReportData:
    """A run with ``--reference``: the new cells of two files, one of which could not be mapped."""
    about_embeddings = [name for name, table in data.tables.items() if "embedding" in table]
    empty = {name: data.tables[name].iloc[:0] for name in about_embeddings}
    query = data.query.assign(dataset="ifnb")
    rows = [
        {"dataset": name, "n_cells": 200, "reference": "atlas/reference", "query": f"{name}.h5ad"}
        for name in ("pbmc", "ifnb")
    ]
    return replace(
        data.with_tables(**empty, query=query), plan=data.plan.iloc[:0], datasets=rows, embeddings=[], messages=[]
    )


def scored(embedding: str, **reasons: str) -> list[dict[str, str]]:
    """Rows of ``scores.tsv`` of an embedding: metric and reason, an empty one where there is a value."""
    return [
        {
            "dataset": "d",
            "embedding": embedding,
            "metric": metric,
            "group": "all",
            "status": "not_applicable" if reason else "ok",
            "reason": reason,
        }
        for metric, reason in reasons.items()
    ]


def test_an_embedding_of_one_batch_makes_no_data_set_of_one_batch() -> None:
    mine = scored("mine.raw.0", bras="one_batch", kbet="one_batch", leiden_nmi="")
    assert datasets_of_one_batch(pd.DataFrame(mine + scored("pca.raw.0", bras="one_batch", leiden_nmi=""))) == ["d"]
    for reason in ("", "label_in_one_batch"):
        scores = pd.DataFrame(mine + scored("pca.raw.0", bras=reason, leiden_nmi=""))
        assert datasets_of_one_batch(scores) == [] and one_batch(scores) == []


def test_the_verdict_stays_where_one_embedding_has_the_cells_of_one_batch(data: ReportData) -> None:
    is_mine = (data.scores["embedding"] == "combat.raw.0") & (data.scores["metric"] == "bras")
    scores = data.scores.assign(reason=data.scores["reason"].mask(is_mine, "one_batch"))
    assert is_mine.any()
    points = verdict(data.with_tables(scores=scores), "pbmc", summarise(data, "pbmc"))
    assert not any("one batch" in point for point in points) and points[0].startswith("By total, ")


@pytest.mark.parametrize(
    ("value", "p", "said"),
    [
        (0.8, 0.01, "a kNN probe finds the batch with AUROC 0.80 (chance 0.50)"),
        (0.8, float("nan"), "a kNN probe finds the batch with AUROC 0.80 (chance 0.50)"),
        (0.52, 0.2, "a kNN probe does not find the batch: AUROC 0.52 (chance 0.50)"),
        (0.41, float("nan"), "a kNN probe does not find the batch: AUROC 0.41 (chance 0.50)"),
    ],
)
def test_a_probe_that_guesses_finds_no_batch(data: ReportData, value: float, p: float, said: str) -> None:
    probing = data.probing.assign(value=value, baseline_permuted=0.5, p_value=p)
    (section,) = overview.verdict_sections(data.with_tables(probing=probing))
    assert f"{said}." in " ".join(section.data.split())


def test_new_cells_alone_are_no_failed_preparation(mapped: ReportData) -> None:
    assert overview.describe_run(mapped) == "New cells of 2 data sets, mapped to a reference."
    assert overview.describe_size(mapped, "ifnb") == "200 new cells for the reference atlas/reference."
    assert overview.verdict_line(mapped) == (
        "1 of 2 data sets could not be mapped: pbmc. The reasons are among the messages."
    )
    assert overview.data_set_box(mapped, "ifnb")["shortlist"] == ""
    assert status_sections(mapped, "ifnb") == []


def test_the_summary_says_which_new_cells_were_mapped(mapped: ReportData) -> None:
    lines = run_summary(mapped).splitlines()
    assert lines[0] == "Embeddings: none planned, new cells are mapped to a reference"
    assert "ifnb: mapped to the reference atlas/reference, see tables/query.tsv." in lines
    assert "pbmc: not mapped to the reference atlas/reference, see the messages." in lines


def test_the_methods_text_of_new_cells_describes_their_mapping_only(mapped: ReportData, data: ReportData) -> None:
    text = methods_text(mapped).data
    assert "New cells were placed among those of a reference" in text and "nearest reference cells" in text
    assert "variable genes" not in text and "variable genes" in methods_text(data).data


def test_embeddings_that_can_not_be_made_are_not_called_complete(data: ReportData) -> None:
    row = data.plan.iloc[[0]].assign(embedding="scgpt.raw.0", method="scgpt", status="not_applicable")
    line = overview.verdict_line(replace(data, plan=pd.concat([data.plan, row], ignore_index=True)))
    follows = "below; what follows from them is missing too"
    assert line.endswith(f"{follows}, 1 more can't be made here, and all others are complete.")
    assert overview.verdict_line(data).endswith(f"{follows}, and all others are complete.")


def test_a_failed_step_about_a_data_set_is_said_where_every_embedding_is_complete(data: ReportData) -> None:
    clean = data.with_tables(status=data.status.assign(status="ok"))
    said = overview.verdict_line(replace(clean, verdict={"n_failed": 1}))
    assert said.endswith("gave their results. 1 step about a whole data set failed: see the messages.")
    assert overview.verdict_line(replace(clean, verdict={"n_failed": 0})).endswith("gave their results.")


@pytest.mark.parametrize(
    ("name", "function", "said", "instead"),
    [
        ("markers", marker_sections, "No label lost", "The markers of no label could be judged."),
        ("overcorrection", overcorrection_sections, "No sign of over-correction", "No test of over-correction applies"),
        ("balanced", balanced_sections, "On balanced cells no mean", "No batch metric can be computed on balanced"),
    ],
)
def test_what_was_not_tested_is_not_called_good(data: ReportData, name: str, function, said: str, instead: str) -> None:
    quiet = replace(data, messages=[])
    known = quiet.tables[name]
    assert said in function(quiet, "pbmc")[0].data
    blank = {"balanced": float("nan"), "change": float("nan")} if name == "balanced" else {}
    undefined = quiet.with_tables(**{name: known.assign(status="not_applicable", reason="few_cells", **blank)})
    section = function(undefined, "pbmc")[0].data
    assert instead in section and said not in section


def test_labels_of_few_cells_are_not_called_recognised() -> None:
    key = ("pca", "raw")
    row = type("Row", (), {"key": key, "group": "ranked"})()
    grid = Grid("held_out_recall", "Recall", "bio", {"rare": 4}, {("rare", key): 0.9})
    assert sentences(grid, [row]) == []
    assert sentences(replace(grid, cells={"rare": 40}), [row])[0].startswith("Nearest neighbours recognise at least")
