"""Where it fails: values by label, what is greyed, and what the sentences say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers_report import read_report
from scfm.report.sections.fails import fail_sections, grid_table, label_by_batch, sentences
from scfm.report.view.labels import Grid, batch_pairs, held_out_recall, metric_grids, recall_grid
from scfm.report.view.rows import RANKED, EmbeddingRow, embedding_rows

A, B = ("a", "raw"), ("b", "raw")


@pytest.fixture(scope="module")
def data(collected_run):
    """The report data of a simulated run, with the recall of every label in every held-out batch."""
    found = read_report(*collected_run)
    return found.with_tables(probing=pd.concat([found.probing, recall_rows(found)], ignore_index=True))


def recall_rows(data):
    """Return recall by label and held-out batch of ``pbmc``: B is lost in one batch, by all but Harmony."""
    plan = data.plan[(data.plan["dataset"] == "pbmc") & ~data.plan["is_control"]]
    base = data.probing.query("dataset == 'pbmc' and scheme == 'leave_one_batch_out' and classifier == 'knn'").iloc[0]
    rows = []
    for e in plan.itertuples():
        for label, recalls in {"B": (0.9, 0.1, 0.2), "Mono": (0.9, 0.8, 0.7)}.items():
            lift = 0.6 if label == "B" and e.method == "harmony" else 0.0
            values = [min(1.0, r + lift) for r in recalls]
            for fold, value in zip(("3' v1", "3' v2", "5'", "mean"), [*values, np.mean(values)], strict=True):
                about = {"embedding": e.embedding, "method": e.method, "family": e.family, "correction": e.correction}
                n = 12 if fold == "5'" else 60
                cell = {"fold": fold, "group": label, "metric": "recall", "value": value, "n_test": n}
                rows.append({**base.to_dict(), **about, "seed": e.seed, **cell})
    return pd.DataFrame(rows)


def row(method, group=RANKED):
    """Return an embedding without scores of its own."""
    return EmbeddingRow(method, "raw", method.upper(), "linear", group)


def grid(numbers, cells, name="bras", **options):
    """Return a grid of two embeddings."""
    return Grid(name, "BRAS", "batch", cells, numbers, **options)


def test_grids_hold_means_over_seeds_and_cells_by_label_batch_metrics_first(data):
    grids = metric_grids(data, "pbmc")
    assert grids[0].name == "bras" and [g.group for g in grids] == sorted((g.group for g in grids), reverse=False)
    scores = data.scores.query("dataset == 'pbmc' and method == 'scvi' and correction == 'raw' and metric == 'bras'")
    parts = scores[scores["group"] == "Mono"]
    assert len(parts) == 2
    assert grids[0].numbers["Mono", ("scvi", "raw")] == pytest.approx(parts["value"].mean())
    assert grids[0].reasons["HSC", ("scvi", "raw")] == "label_in_one_batch"
    assert list(grids[0].cells.items()) == [("CD4 T", 500), ("Mono", 450), ("B", 200), ("HSC", 50)]


def test_a_small_label_is_never_the_weakest():
    numbers = {("x", A): 0.5, ("y", A): 0.1, ("z", A): 0.6}
    assert grid(numbers, {"x": 100, "y": 19, "z": 20}).weakest(A) == "x"
    assert grid(numbers, {"x": 100, "y": 20, "z": 20}).weakest(A) == "y"
    assert grid({("x", A): 0.5}, {"x": 100}).weakest(A) == ""


def test_labels_within_the_tolerance_have_no_weakest():
    numbers = {("x", A): 0.50, ("y", A): 0.52, ("z", A): 0.9}
    cells = dict.fromkeys("xyz", 100)
    assert grid(numbers, cells, tie=0.03).weakest(A) == "" and grid(numbers, cells, tie=0.01).weakest(A) == "x"


def test_cells_are_framed_greyed_and_explained():
    numbers = {("x", A): 0.5, ("y", A): 0.1, ("z", A): 0.6}
    found = grid(numbers, {"x": 100, "z": 60, "y": 5}, reasons={("x", B): "one_batch"})
    html = grid_table(found, [row("a"), row("b"), row("c")])
    assert html.count("scfm-lowest") == 1 and html.index("scfm-lowest") < html.index("A, x: 0.500") + 200
    assert "5 cells: too few to judge this label" in html and html.count("scfm-few") == 1
    assert "not defined: one_batch" in html and "x (100)" in html
    assert "C" not in [h.split("<")[0].strip() for h in html.split('scope="row">')[1:]]  # no value: no row


def test_sentences_count_the_weakest_label_of_ranked_embeddings_only():
    numbers = {("x", A): 0.5, ("y", A): 0.1, ("x", B): 0.2, ("y", B): 0.3, ("x", ("c", "raw")): 0.0}
    rows = [row("a"), row("b"), row("c", "not_ranked")]
    found = sentences(grid(numbers, {"x": 100, "y": 40}), rows)
    assert found == [
        "Label whose batches mix worst by BRAS, where one can be told from the others (2 of 2 embeddings): y in 1"
        " (40 cells, 0.10); x in 1 (100 cells, 0.20)."
    ]
    assert sentences(grid(numbers, {"x": 100, "y": 40}), rows, biological=True) == []
    assert sentences(grid(numbers, {"x": 100, "y": 40}, name="kbet"), rows) == []


def test_labels_that_are_not_recognised_in_a_new_batch_are_named():
    numbers = {("x", A): 0.49, ("x", B): 0.2, ("y", A): 0.1, ("y", B): 0.9, ("z", A): 0.0, ("w", A): 0.5}
    found = grid(numbers, {"x": 100, "y": 40, "w": 30, "z": 10}, name="held_out_recall")
    assert sentences(found, [row("a"), row("b")])[0].endswith(
        "held out: x in 2 of 2 embeddings; y in 1 of 2 embeddings."
    )
    good = grid({("x", A): 0.5}, {"x": 100}, name="held_out_recall")
    assert sentences(good, [row("a")])[0].startswith("Nearest neighbours recognise at least half of the cells of every")


def test_recall_is_the_mean_row_of_the_probe_of_held_out_batches(data):
    found = recall_grid(data, "pbmc")
    assert found.numbers["B", ("pca", "raw")] == pytest.approx(0.4)
    assert found.numbers["B", ("harmony", "raw")] == pytest.approx((1.0 + 0.7 + 0.8) / 3)
    assert found.cells == {"Mono": 450, "B": 200}  # the scored cells of the data set, not those of a fold
    assert recall_grid(data, "ifnb") is None and len(held_out_recall(data, "ifnb")) == 0


def test_pairs_are_means_over_embeddings_with_their_range(data):
    columns = [("pca", "raw"), ("harmony", "raw")]
    found = batch_pairs(data, "pbmc", columns).set_index(["label", "batch"])
    assert found.loc[("B", "3' v2")].tolist() == pytest.approx([0.4, 0.1, 0.7, 60])
    assert len(found) == 6
    html = label_by_batch(found.reset_index(), 2)[0].data
    assert "60 cells; from 0.10 to 0.70 over embeddings" in html
    assert html.count("scfm-few") == 2  # both labels have 12 cells in one batch
    assert label_by_batch(found.reset_index().iloc[:0], 2) == []


def test_a_pair_without_cells_is_a_dash(data):
    found = batch_pairs(data, "pbmc", [("pca", "raw")])
    html = label_by_batch(found[~((found["label"] == "B") & (found["batch"] == "3' v1"))], 1)[0].data
    assert html.count("no cells of this label in this batch, or no value") == 1


def test_sections_of_a_data_set(data):
    sections = fail_sections(data, "pbmc")
    assert [s.key for s in sections] == ["labels", "pairs"]
    assert "Labels of which nearest neighbours recognise fewer than half" in sections[0].data
    rows = [r for r in embedding_rows(data, "pbmc") if r.group == RANKED]
    assert f"mean over {len(rows)} embeddings" in sections[1].description
    assert [s.key for s in fail_sections(data, "ifnb")] == ["labels"]  # its batch is biological: no sentence on mixing
    assert "mix worst" not in fail_sections(data, "ifnb")[0].data
    bare = data.with_tables(scores=data.scores.iloc[:0], totals=data.totals.iloc[:0], probing=data.probing.iloc[:0])
    assert fail_sections(bare, "pbmc") == []


def test_names_of_labels_are_escaped(data):
    scores = data.scores.replace({"group": {"Mono": "<img src=x>"}})
    html = fail_sections(data.with_tables(scores=scores), "pbmc")[0].data
    assert "<img" not in html and "&lt;img src=x&gt;" in html
