"""Clusters, markers, rare labels and over-correction: planted truth, known answers, independent implementations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from helpers_diagnosis import cells_of, embed, embedded, plant, simulate
from scfm.diagnosis import clusters, markers, overcorrection, rare, retest
from scfm.diagnosis.causes import Explainer
from scfm.diagnosis.choose import choose_embeddings
from scfm.diagnosis.data import Cells
from scfm.diagnosis.doublets import doublet_scores
from scfm.diagnosis.messages import cluster_messages, marker_messages, rare_messages
from scfm.diagnosis.programmes import load_programmes
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.io.tables import IDENTITY
from scfm.metrics.registry import load_metrics
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas
from scfm.report.tables.names import Names
from scfm.report.tables.over_correction import over_correction

SETTINGS = DiagnosisSettings()
ABOUT = {"dataset": "sim", "method": "harmony", "embedding": "harmony.raw.0", "seed": 0}


def moved(cells, rows: np.ndarray, *, by: float) -> np.ndarray:
    """Coordinates of the PCA in which some cells are far from all others."""
    values = embed(cells).coordinates.astype(float)
    values[rows, 0] += by
    return values


def clusters_of(cells, near) -> pd.DataFrame:
    found = clusters.cluster_cells(near, 1.0)
    return clusters.cluster_rows(found, near, embed(cells), Explainer(cells, load_programmes(), SETTINGS), SETTINGS)


def test_a_cluster_of_one_donor_is_named_with_what_tells_it_apart() -> None:
    """100 cells of donor d1 inside one label, with genes of their own (as tumour cells) or ambient RNA."""
    counts, obs = simulate(0, n_cells=600, n_types=2, n_batches=2)
    obs["donor"] = ["d" + str(i % 4) for i in range(len(obs))]
    label = sorted(obs["label"].unique())[0]
    rows = ((obs["label"] == label) & (obs["donor"] == "d1")).to_numpy()
    plant(counts, rows, range(200, 270), mean=1.5, seed=0)
    cells = cells_of(counts, obs, genes=[f"Gene{i}" for i in range(300)])
    table = clusters_of(cells, embed(cells))
    flagged = table[table["flags"].str.contains("single_donor")]
    assert len(flagged) >= 1, table.to_string()
    row = flagged.iloc[0]
    assert (row["donor"], row["label"]) == ("d1", label) and row["donor_share"] > 0.95 and row["n_genes"] > 50
    told = cluster_messages(flagged, SETTINGS, ABOUT, corrected=True)[0]
    assert told["code"] == "W-CL-01" and "many genes of its own, as tumour cells" in told["text"]
    assert set(table.columns) == set(clusters.COLUMNS)


def with_doublets(seed: int = 0) -> tuple[Cells, np.ndarray]:
    """Two labels, four donors; the cells of donor d1 in the first label are sums with cells of the second label."""
    counts, obs = simulate(seed, n_cells=600, n_types=2, n_batches=2, type_effect=1.5)
    obs["donor"] = ["d" + str(i % 4) for i in range(len(obs))]
    own = (obs["label"] == obs["label"].min()).to_numpy()
    rng = np.random.default_rng(seed)
    for batch in np.unique(obs["batch"]):
        here = (obs["batch"] == batch).to_numpy()
        rows = np.flatnonzero(here & own & (obs["donor"] == "d1").to_numpy())
        counts[rows] += counts[rng.choice(np.flatnonzero(here & ~own), len(rows))]
    cells = cells_of(counts, obs, genes=[f"Gene{i}" for i in range(300)])
    order = np.argsort(obs.index.to_numpy(dtype=str), kind="stable")
    doublets = own & (obs["donor"] == "d1").to_numpy()
    return replace(cells, read_counts=lambda: sparse.csr_matrix(counts[order])), doublets[order]


def test_doublets_score_higher_than_single_cells_and_a_large_batch_is_sampled() -> None:
    cells, doublets = with_doublets()
    assert cells.read_counts is not None
    counts, batches = cells.read_counts(), cells.obs["batch"].to_numpy()
    scores = doublet_scores(counts, batches, max_cells=5000, seed=0)
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1
    assert roc_auc_score(doublets, scores) > 0.9
    np.testing.assert_array_equal(scores, doublet_scores(counts, batches, max_cells=5000, seed=0))
    some = doublet_scores(counts, batches, max_cells=100, seed=0)
    assert [int(np.isfinite(some[batches == b]).sum()) for b in np.unique(batches)] == [100, 100]
    few = np.arange(len(batches)) < 30
    assert np.isnan(doublet_scores(counts[few], batches[few], max_cells=5000, seed=0)).all()


def test_a_cluster_of_doublets_of_one_donor_is_told_from_one_of_ambient_rna_by_its_score() -> None:
    cells, _ = with_doublets()
    table = clusters_of(cells, embed(cells))
    row = table[table["flags"].str.contains("single_donor")].iloc[0]
    assert row["donor"] == "d1" and row["doublet"] > 1 and "doublet" in row["causes"].split(",")
    told = cluster_messages(table, SETTINGS, ABOUT, corrected=True)[0]
    assert (
        f"doublet score {row['doublet']:+.1f} sd" in told["text"] and "sex chromosomes not measurable" in told["text"]
    )
    off = replace(SETTINGS, doublet_cells=0)
    found = clusters.cluster_cells(embed(cells), 1.0)
    unscored = clusters.cluster_rows(found, embed(cells), embed(cells), Explainer(cells, load_programmes(), off), off)
    assert unscored["doublet"].isna().all()


def test_a_cluster_with_less_ambient_rna_than_its_label_is_not_ambient() -> None:
    counts, obs = simulate(1, n_cells=450, n_batches=1, n_types=3)
    label = sorted(obs["label"].unique())[0]
    own = np.flatnonzero(obs["label"] == label)
    others = counts[obs["label"] != label].sum(axis=0)
    dirty, clean = np.split(own, [len(own) * 2 // 3])
    mean = 0.3 * counts[dirty].sum(axis=1, keepdims=True) * others / others.sum()
    counts[dirty] += np.random.default_rng(0).poisson(mean)
    cells = cells_of(counts, obs)
    explainer = Explainer(cells, load_programmes(), SETTINGS)
    found = [
        clusters._against_label(np.flatnonzero(np.isin(cells.ids, obs.index[rows])), label, explainer)
        for rows in (dirty, clean)
    ]
    assert found[0].measured["ambient"] > SETTINGS.ambient and "ambient" in found[0].causes
    assert found[1].measured["ambient"] < 0 and "ambient" not in found[1].causes


def test_few_of_many_donors_are_named_by_their_entropy() -> None:
    row = dict.fromkeys(clusters.COLUMNS, float("nan")) | {"cluster": "3", "n_cells": 80, "label": "T", "donor": "d1"}
    row |= {
        "q_value": 1e-6,
        "donor_share": 0.55,
        "donor_share_of_label": 0.05,
        "donor_entropy": 0.21,
        "label_share": 1.0,
    }
    assert clusters._flags(pd.Series(row), SETTINGS) == ["few_donors"]
    assert clusters._flags(pd.Series(row | {"donor_entropy": 0.31}), SETTINGS) == []
    shown = pd.DataFrame([row | {"flags": "few_donors", "hint": "few_genes", "top_genes": ""}])
    (entry,) = cluster_messages(shown, SETTINGS, ABOUT, corrected=True)
    assert entry["code"] == "W-CL-01" and "has few donors: their entropy is 0.21" in entry["text"]


def test_mixed_tissues_of_one_label_are_not_called_mixed_labels() -> None:
    row = dict.fromkeys(clusters.COLUMNS, float("nan")) | {"cluster": "3", "n_cells": 80, "label": "T"}
    row |= {"flags": "rainbow", "label_share": 0.95, "tissue_entropy": 0.99, "tissue_entropy_before": 0.2}
    told = [
        cluster_messages(pd.DataFrame([row | changed]), SETTINGS, ABOUT, corrected=True)[0]["text"]
        for changed in ({}, {"label_share": 0.4}, {"label_share": 0.4, "tissue_entropy": float("nan")})
    ]
    assert "mostly T) mixes tissues: their entropy" in told[0] and "0.99" in told[0] and "mixes labels" not in told[0]
    assert "mixes labels: the largest, T, has 40% (limit 60%). Its tissues are mixed" in told[1]
    assert "mixes labels" in told[2] and "tissues" not in told[2]


def test_an_island_and_a_rainbow() -> None:
    counts, obs = simulate(1, n_cells=400, n_types=2, n_batches=2)
    cells = cells_of(counts, obs.drop(columns="donor"))
    labels, batches = cells.obs["label"].to_numpy(), cells.obs["batch"].to_numpy()
    island = np.flatnonzero((labels == np.unique(labels)[0]) & (batches == np.unique(batches)[0]))
    table = clusters_of(cells, embedded(cells, moved(cells, island, by=100)))
    rows = [r for r in table.itertuples() if "batch_island" in r.flags]  # the cells that moved, and those that stayed
    assert rows and {r.label for r in rows} == {np.unique(labels)[0]}
    assert all(r.batch_share >= 0.95 and r.batch_share_of_label < 0.7 for r in rows)
    assert "W-CL-03" in {m["code"] for m in cluster_messages(table, SETTINGS, ABOUT, corrected=True)}
    noise = embedded(cells, np.random.default_rng(0).normal(size=(len(labels), 5)))
    mixed = clusters_of(cells, noise)
    assert mixed["flags"].str.contains("rainbow").any()
    assert {m["code"] for m in cluster_messages(mixed, SETTINGS, ABOUT, corrected=True)} >= {"W-CL-02"}
    assert "W-CL-02" not in {m["code"] for m in cluster_messages(mixed, SETTINGS, ABOUT, corrected=False)}


def test_a_rare_label_is_lost_in_noise_and_kept_without_correction() -> None:
    counts, obs = simulate(2, n_cells=600, n_types=3, composition=[[0.65, 0.3, 0.05]] * 2, n_batches=2, type_effect=1.5)
    cells = cells_of(counts, obs)
    finder = rare.RareFinder(cells, DiagnosisSettings(rare_cells=60))
    near = embed(cells)
    before = finder.measure(near)
    name = sorted(obs["label"].unique())[2]
    assert list(before) == [name] and before[name]["best_f1"] > 0.8 and before[name]["held_out_recall"] > 0.8
    assert (finder.rows(near, before)["flags"] == "").all()
    noise = embedded(cells, np.random.default_rng(0).normal(size=(600, 5)))
    lost = finder.rows(noise, before)
    assert list(lost["flags"]) == ["lost"] and tuple(lost.columns) == rare.COLUMNS
    (told,) = rare_messages(lost, SETTINGS, ABOUT)
    assert told["code"] == "W-RARE-01" and f"{name} (" in told["text"]


def test_what_loses_a_rare_label_is_f1_neighbours_or_other_batches_and_not_the_recall_of_one_cluster() -> None:
    """The cluster with the best F1 can be a smaller and purer one than before: its recall falls, nothing is lost."""
    counts, obs = simulate(2, n_cells=200, n_types=2, composition=[[0.8, 0.2]] * 2, n_batches=2, type_effect=1.5)
    cells = cells_of(counts, obs)
    finder, near = rare.RareFinder(cells, DiagnosisSettings(rare_cells=60)), embed(cells)
    after = finder.measure(near)
    (name,) = after
    flags = {}
    for measure in rare.MEASURES:
        before = {name: after[name] | {measure: after[name][measure] + 0.25}}
        flags[measure] = finder.rows(near, before)["flags"].item()
    assert flags == {"best_f1": "lost", "best_recall": "", "purity": "lost", "held_out_recall": "lost"}


def test_a_rare_label_that_not_every_seed_finds_is_unstable() -> None:
    counts, obs = simulate(2, n_cells=600, n_types=3, composition=[[0.65, 0.3, 0.05]] * 2, n_batches=2, type_effect=1.5)
    cells = cells_of(counts, obs)
    finder, near = rare.RareFinder(cells, DiagnosisSettings(rare_cells=60)), embed(cells)
    noise = embedded(cells, np.random.default_rng(0).normal(size=(600, 5)))
    (row,) = finder.rows(near, finder.measure(near), [near, noise]).to_dict("records")
    assert (row["flags"], row["n_seeds"]) == ("unstable", 3)
    assert row["best_f1_high"] == row["best_f1_after"] and row["best_f1_low"] < 0.3
    (told,) = rare_messages(finder.rows(near, finder.measure(near), [noise]), SETTINGS, ABOUT)
    assert told["code"] == "W-RARE-02" and "over 2 seeds (largest difference allowed 0.2)" in told["text"]


def test_the_best_cluster_and_purity_have_known_answers() -> None:
    mine = np.array([1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    f1, recall = rare.best_cluster(mine, [np.zeros(8, dtype=int), np.array([0, 0, 1, 0, 1, 1, 1, 1])])
    assert (f1, recall) == (pytest.approx(2 * 2 / (3 + 3)), pytest.approx(2 / 3))
    codes = np.array([0, 0, 0, 1])
    assert rare.neighbor_purity(codes, np.array([[1, 2], [0, 3], [3, 3], [0, 0]]), codes == 0) == pytest.approx(1 / 3)


def test_markers_are_found_and_their_loss_is_told() -> None:
    counts, obs = simulate(3, n_cells=400, n_types=3, n_batches=2, type_effect=1.5)
    label = sorted(obs["label"].unique())[1]
    plant(counts, (obs["label"] == label).to_numpy(), range(100, 110), mean=8, seed=3)
    cells = cells_of(counts, obs)
    found = markers.find_markers(cells)
    planted = {cells.genes[i] for i in range(100, 110)}
    assert len(planted & set(found[label].genes)) >= 6 and found[label].source == "data"
    assert markers.find_markers(cells, {label: [cells.genes[5], "absent"]})[label].genes == (cells.genes[5],)
    measure = markers.MarkerMeasure(cells, found)
    near = embed(cells)
    before = measure.of(clusters.cluster_cells(near, 1.0), near)
    assert before[label]["auroc"] > 0.95 and before[label]["tau"] > 0.3 and before[label]["n_clusters"] >= 1
    shuffled = embedded(cells, np.random.default_rng(0).permutation(near.coordinates))
    after = measure.of(clusters.cluster_cells(shuffled, 1.0), shuffled)
    table = markers.marker_rows(before, after, found, SETTINGS)
    assert table.set_index("label").loc[label, "flags"] != "" and tuple(table.columns) == markers.COLUMNS
    assert {m["code"] for m in marker_messages(table, SETTINGS, ABOUT)} == {"W-MRK-01"}
    assert (markers.marker_rows(before, before, found, SETTINGS)["flags"] == "").all()


def test_auroc_of_columns_and_tau_have_known_answers() -> None:
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 4, (40, 3)).astype(float), rng.random(40) < 0.4
    expected = [roc_auc_score(positive, values[:, i]) for i in range(3)]
    np.testing.assert_allclose(markers.column_auroc(values, positive), expected)
    np.testing.assert_allclose(
        markers.tau(np.array([[4.0, 1.0, 2.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]), 0), [1, 0, 0.5]
    )


def test_over_correction_of_a_condition_fires_and_none_without_correction() -> None:
    """The condition is the batch: removing one removes the other."""
    counts, obs = simulate(4, n_cells=400, n_types=2, n_batches=2, batch_effect=0.5)
    cells = cells_of(counts, obs.assign(condition=obs["batch"]).drop(columns="donor"))
    assert overcorrection.biology_columns(cells) == ["condition"]
    before = embed(cells)
    tasks = overcorrection.probe_tasks(cells, before, SETTINGS)
    assert {t.scheme for t in tasks} == {"stratified"} and len(tasks) == 2
    corrector = retest.corrector_of({"method": "pca", "correction": "center"}, {})
    assert corrector is not None
    corrected = embedded(cells, corrector(before.coordinates, cells.obs["batch"].to_numpy(), 0))
    every = {"cells": cells, "corrector": corrector}
    table = overcorrection.overcorrection_rows(corrected, before, tasks, SETTINGS, **every)
    whole = table[(table["test"] == "biology_probe") & (table["label"] == "all")].iloc[0]
    assert whole["before"] > 0.9 and whole["value"] > 0.15 and whole["failed"]
    null = table[table["test"] == "null_batches"].iloc[0]
    assert 0.3 < null["value"] <= 1 and bool(null["failed"]) == (null["value"] < null["limit"])
    told = over_correction(*nothing_scored(), table.assign(**identity()), Names(), 0.02)
    assert [m["code"] for m in told] == ["W-OVER-01"] and "folds without donors" in told[0]["text"]
    silent = overcorrection.overcorrection_rows(before, before, tasks, SETTINGS, cells=cells, corrector=None)
    assert over_correction(*nothing_scored(), silent.assign(**identity()), Names(), 0.02) == []
    assert set(silent["reason"]) == {"", "not_rerun"} and tuple(silent.columns) == overcorrection.COLUMNS


def test_the_biology_probe_reads_nothing_from_an_emptied_dimension() -> None:
    rng = np.random.default_rng(0)
    target, values = rng.choice(["a", "b"], 400), rng.standard_normal((400, 5)).astype(np.float32)
    values[:, 2] = np.where(target == "a", 1e-17, -1e-17)
    task = overcorrection.Task("x", "condition", np.arange(400), target, np.arange(400) % 4, "stratified")
    assert overcorrection.probe(values, task) < 0.6


def nothing_scored() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and anchors without a row."""
    scores = ["dataset", "method", "correction", "family", "metric", "group", "status", "value"]
    anchors = pd.DataFrame(columns=["dataset", "metric", "low", "high", "batch_control"])
    return pd.DataFrame(columns=scores), anchors.astype({"batch_control": bool})


def identity() -> dict[str, object]:
    return {"dataset": "sim", "embedding": "harmony.raw.0", "method": "harmony", "correction": "raw"}


def test_folds_keep_donors_together_and_corrections_of_the_pca_are_made_again() -> None:
    target = np.tile(["a", "b"], 40)
    donors = np.repeat([f"d{i}" for i in range(8)], 10)
    folds, scheme = overcorrection._folds(target, donors, 0)
    assert scheme == "donors" and all(len(set(folds[donors == d])) == 1 for d in set(donors))
    assert overcorrection._folds(target, np.where(target == "a", "x", "y"), 0)[1] == "stratified"
    center = retest.corrector_of({"method": "pca", "correction": "center"}, {})
    assert center is not None
    values = np.array([[1.0], [3.0], [10.0], [14.0]])
    np.testing.assert_allclose(center(values, np.array(["a", "a", "b", "b"], dtype=object), 0).ravel(), [-1, 1, -2, 2])
    assert retest.corrector_of({"method": "scvi", "correction": "raw"}, {}) is None


def test_the_uncorrected_the_best_two_and_the_named_are_chosen() -> None:
    metrics = load_metrics()
    counted = [m.name for m in metrics.values() if "standard" in m.in_total]
    values = {"pca": 0.2, "harmony": 0.9, "scvi": 0.7, "combat": 0.5, "label_onehot": 1.0, "twin_random": 0.99}
    rows = [
        {
            "dataset": "d", "embedding": f"{method}.raw.{seed}", "method": method, "correction": "raw", "seed": seed,
            "family": "control" if method == "label_onehot" else "linear", "batch_key": "b", "label_key": "l",
            "metric": metric, "group": "all", "value": value, "status": "ok", "reason": "",
        }
        for method, value in values.items()
        for seed in (0, 1)
        for metric in counted
    ]  # fmt: skip
    scores = pd.DataFrame(rows)
    options = {"profile": "standard", "bio_weight": 0.6, "never_best": {"twin_random"}}
    chosen = choose_embeddings(scores, metrics, wanted="combat.raw.1,missing", **options)
    best = ["harmony.raw.0", "scvi.raw.0"]
    assert chosen["embeddings"] == ["pca.raw.0", "pca.raw.1", *best, "combat.raw.1"]
    assert chosen["other_seeds"] == ["combat.raw.0", "harmony.raw.1", "scvi.raw.1"]
    assert [m["code"] for m in chosen["warnings"]] == ["W-DIAG-01"] and "'missing'" in chosen["warnings"][0]["text"]
    biological = choose_embeddings(scores, metrics, batch_role="biological", **options)
    assert biological["embeddings"][2:] == best


def test_the_columns_are_those_of_the_schemas() -> None:
    schemas = Schemas(ASSETS)
    for name, module in (
        ("clusters", clusters),
        ("markers", markers),
        ("rare", rare),
        ("overcorrection", overcorrection),
    ):
        assert schemas.columns(name) == [*IDENTITY, *module.COLUMNS]


def test_what_a_correction_does_without_batches_is_no_removal() -> None:
    """Unit length and a dropped component read no batch, so batches dealt at random can move nothing."""
    counts, obs = simulate(4, n_cells=400, n_types=3, n_batches=2)
    cells = cells_of(counts, obs)
    before = embed(cells)
    for name in ("l2", "drop_pc1"):
        corrector = retest.corrector_of({"method": "pca", "correction": name}, {})
        assert corrector is not None
        row = retest.null_row(before, cells, corrector, SETTINGS)
        assert (row["value"], row["failed"]) == (1.0, False), name
    centred = {
        name: retest.null_row(before, cells, retest.corrector_of({"method": "pca", "correction": name}, {}), SETTINGS)
        for name in ("center", "center_l2")
    }
    assert 0 < centred["center"]["value"] < 1 and 0 < centred["center_l2"]["value"] < 1
    harmony = retest.corrector_of({"method": "harmony", "correction": "raw"}, {})
    assert harmony(before.coordinates, np.full(400, "all", dtype=object), 0) is before.coordinates
