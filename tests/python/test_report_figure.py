"""The overview figure: which rows it has, in which order, and what each of them says."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from helpers_report import read_report
from scfm.registries.messages import message
from scfm.report.sections.figure import describe, figure_sections
from scfm.report.view.rows import (
    CONTROL,
    MIN_LABEL_CELLS,
    NO_SCORES,
    NOT_RANKED,
    RANKED,
    Spread,
    embedding_rows,
    warnings_of,
)


@pytest.fixture(scope="module")
def data(collected_run):
    """The report data of a simulated run."""
    return read_report(*collected_run)


@pytest.fixture(scope="module")
def rows(data):
    """The rows of ``pbmc`` by method and correction, in order."""
    return {r.key: r for r in embedding_rows(data, "pbmc")}


def html_of(data, dataset="pbmc"):
    """Return the figure."""
    return figure_sections(data, dataset)[0].data


def first_weight(data, dataset):
    """Return the raw totals with the first weight, straight from the table."""
    totals = data.totals
    return totals[(totals["dataset"] == dataset) & (totals["scaling"] == "raw") & (totals["bio_weight"] == 0.6)]


def test_every_planned_method_and_correction_has_one_row(data, rows):
    planned = data.plan[data.plan["dataset"] == "pbmc"]
    assert sorted(rows) == sorted(set(zip(planned["method"], planned["correction"], strict=True)))
    groups = [r.group for r in rows.values()]
    assert groups == sorted(groups, key=(RANKED, NOT_RANKED, NO_SCORES, CONTROL).index)


def test_rows_are_sorted_by_the_first_total_and_hold_its_mean_and_range_over_seeds(data, rows):
    totals = first_weight(data, "pbmc").groupby(["method", "correction"])["total"]
    ranked = [r for r in rows.values() if r.group == RANKED]
    assert [r.total.mean for r in ranked] == sorted((r.total.mean for r in ranked), reverse=True)
    for row in ranked:
        values = totals.get_group(row.key)
        assert (row.total.mean, row.total.low, row.total.high, row.total.n) == pytest.approx(
            (values.mean(), values.min(), values.max(), len(values))
        )
    assert rows["scvi", "raw"].total.varies and not rows["harmony", "raw"].total.varies


def test_an_embedding_without_scores_says_what_failed(rows):
    row = rows["mymodel", "raw"]
    assert (row.group, row.note) == (NO_SCORES, "failed: score") and not row.total.known
    assert row.warnings[0].startswith("E-RUN-02: mymodel (mymodel.raw.0): the step 'score' left nothing.")


def test_incomplete_and_floor_embeddings_are_marked_and_not_ranked(data):
    totals = data.totals.astype({"coverage": float})
    totals.loc[totals["embedding"] == "harmony.raw.0", "coverage"] = 0.5
    low = totals["embedding"] == "combat.raw.0"
    totals.loc[low, ["bio", "rank_bio"]] = 0.1
    found = {r.key: r for r in embedding_rows(data.with_tables(totals=totals), "pbmc")}
    assert (found["harmony", "raw"].group, found["harmony", "raw"].note) == (NOT_RANKED, "incomplete")
    assert (found["combat", "raw"].group, found["combat", "raw"].note) == (NOT_RANKED, "bio no better than the floor")
    text = html_of(data.with_tables(totals=totals))
    assert text.index("Scored, not ranked") < text.index("bio no better than the floor") < text.index("Controls")


def test_floor_and_ceiling_are_the_highest_bio_of_unrelated_and_of_other_controls(rows):
    controls = [r for r in rows.values() if r.group == CONTROL]
    floor = max((r for r in controls if r.method in ("random", "shuffled")), key=lambda r: r.bio.mean)
    assert {r.method: r.role for r in controls if r.role} == {floor.method: "floor", "label_onehot": "ceiling"}


def test_the_probe_is_the_mean_over_folds_of_nearest_neighbours_on_the_batch(data, rows):
    p = data.probing.query(
        "dataset == 'pbmc' and embedding == 'pca.raw.0' and target == 'batch' and classifier == 'knn' and"
        " metric == 'auroc' and fold == 'mean' and group == 'all' and scheme == 'kfold'"
    )
    assert len(p) == 1
    assert rows["pca", "raw"].probe.value == pytest.approx(p["value"].item())
    assert rows["pca", "raw"].probe.chance == pytest.approx(p["baseline_permuted"].item())


def test_the_weakest_label_has_enough_cells(data, rows):
    parts = data.scores.query(
        "dataset == 'pbmc' and embedding == 'harmony.raw.0' and metric == 'bras' and group != 'all'"
    )
    known = parts[parts["status"] == "ok"]
    weakest = rows["harmony", "raw"].weakest
    assert (weakest.label, weakest.value) == (known.loc[known["value"].idxmin(), "group"], known["value"].min())
    scores = data.scores.copy()
    small = (scores["group"] == weakest.label) & (scores["metric"] == "bras")
    scores.loc[small, "n_cells"] = MIN_LABEL_CELLS - 1
    other = {r.key: r for r in embedding_rows(data.with_tables(scores=scores), "pbmc")}["harmony", "raw"].weakest
    assert other.label != weakest.label and other.value > weakest.value


def test_labels_that_cannot_be_told_from_the_weakest_are_counted(data):
    wide = replace(data, params={**data.params, "tie_tolerance": 1.0})
    rows = {r.key: r for r in embedding_rows(wide, "pbmc")}
    assert rows["harmony", "raw"].weakest.ties == 2 and "; 2 more within the tolerance" in html_of(wide)
    narrow = replace(data, params={**data.params, "tie_tolerance": 0.0})
    assert {r.key: r for r in embedding_rows(narrow, "pbmc")}["harmony", "raw"].weakest.ties == 0


def test_warnings_name_the_seed_and_reach_what_was_corrected_from_the_method(data):
    entries = [
        {**message("W-QC-01", values={"n_empty": 1}), "dataset": "pbmc", "method": "scvi", "seed": 1},
        {**message("W-QC-01", values={"n_empty": 2}), "dataset": "pbmc", "method": "scvi", "embedding": "scvi.raw.0"},
        {**message("W-QC-01", values={"n_empty": 3}), "dataset": "ifnb", "method": "scvi"},
    ]
    changed = replace(data, messages=entries)
    raw, corrected = (list(warnings_of(changed, "pbmc", "scvi", c)) for c in ("raw", "center_l2"))
    assert [t.split(" stays")[0] for t in corrected] == ["W-QC-01 (seed 1): 1 cell without a single count"]
    assert len(raw) == 2 and raw[1].startswith("W-QC-01: 2 cells")
    html = html_of(changed)
    assert "1 warning: W-QC-01 (seed 1)" in html and "2 warnings: W-QC-01 (seed 1)" in html
    assert html.count("<a href='#scfm-card-pbmc-scvi' class='scfm-warn'") == 2  # raw and corrected lead to one card


def test_the_figure_shows_the_numbers_of_the_rows(data, rows):
    text = html_of(data)
    row = rows["scvi", "raw"]
    assert f"title='scVI, total {row.total.mean:.3f}, seeds from {row.total.low:.3f} to {row.total.high:.3f}'" in text
    assert f"scVI, iLISI: {row.metrics['ilisi']:.3f}" in text
    assert text.count("<tr>") == 1 + sum(r.group != CONTROL or bool(r.role) for r in rows.values())
    assert "Total 0.6/0.4" in text and "0.5/0.5" not in text


def test_a_missing_metric_is_a_dash_with_its_reason(data):
    scores = data.scores.copy()
    gone = (scores["embedding"] == "pca.raw.0") & (scores["metric"] == "ilisi") & (scores["group"] == "all")
    scores.loc[gone, ["value", "status", "reason"]] = [np.nan, "not_applicable", "too_few_cells"]
    assert "PCA, iLISI: not defined (too_few_cells)" in html_of(data.with_tables(scores=scores))


def test_a_biological_batch_has_no_weakest_label_and_is_sorted_by_bio(data):
    section = figure_sections(data, "ifnb")[0]
    assert "Weakest label" not in section.data and "highest bio comes first" in section.description
    bios = [r.bio.mean for r in embedding_rows(data, "ifnb") if r.group == NOT_RANKED]
    assert len(bios) > 5 and bios == sorted(bios, reverse=True)
    assert "Scored, not ranked (no total: the batch is declared biological)" in section.data


def test_names_from_data_are_escaped(data):
    plan = data.plan.replace("mymodel", "<script>x")
    changed = replace(data, plan=plan)
    text = html_of(changed)
    assert "<script" not in text and "&lt;script&gt;x" in text


def test_what_is_missing_has_no_value_to_sort_by(data):
    start = html_of(data).index("<b>mymodel</b>")
    row = html_of(data)[start : html_of(data).index("</tr>", start)]
    assert row.count("data-sort=''") == 4  # total, bio, batch and weakest label; the probe has a value
    assert re.search(r"data-sort='0\.\d+'", row)


def test_nothing_is_drawn_without_scores(data):
    empty = data.with_tables(scores=data.scores.iloc[:0], totals=data.totals.iloc[:0])
    assert figure_sections(empty, "pbmc") == []


def test_seeds_are_told_only_where_there_are_several():
    row = embedding_row(Spread(0.5, 0.4, 0.6, 3))
    assert "up to 3" in describe([row])
    assert "One seed was run" in describe([replace(row, total=Spread(0.5, 0.5, 0.5, 1), bio=Spread(0.5, 0.5, 0.5, 1))])


def embedding_row(total):
    """Return a ranked row."""
    from scfm.report.view.rows import EmbeddingRow

    return EmbeddingRow("a", "raw", "A", "linear", RANKED, total=total, bio=total, batch=total)


def test_widths_of_bars_are_percentages(data):
    widths = [float(w) for w in re.findall(r"width:([0-9.]+)%", html_of(data))]
    assert len(widths) > 40 and all(0 <= w <= 100 for w in widths)
