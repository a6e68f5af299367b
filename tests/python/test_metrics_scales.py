"""The ends of every scale, symmetries, and what is not defined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers_metrics import SIDECAR, blobs, make_inputs, uneven, with_codes
from scfm.errors import ResourceError
from scfm.metrics.connectivities import umap_connectivities
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.lisi import neighbor_weights
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.scoring import COLUMNS, run_metric, score, study_table

METRICS = load_metrics()
BATCH = [m.name for m in METRICS.values() if m.group == "batch"]
BIO = [m.name for m in METRICS.values() if m.group == "bio"]


def _value(name: str, data: MetricInputs) -> float:
    status, result = run_metric(METRICS[name], data)
    assert status == "ok", result.overall.reason
    return result.overall.value


def _table(data: MetricInputs, names=tuple(METRICS)):
    frame = score(data, [METRICS[n] for n in names], SIDECAR)
    return frame.set_index(["metric", "group"])


@pytest.fixture(scope="module")
def apart() -> MetricInputs:
    """Batches far from each other inside every label; each batch of a label is larger than a neighbourhood."""
    values, labels, batches = blobs(per_cell=100, batch_shift=1000, label_shift=100)
    return make_inputs(values, labels, batches)


@pytest.fixture(scope="module")
def mixed() -> MetricInputs:
    """Batches drawn at random inside well separated labels; the uncorrected data has them apart."""
    values, labels, _ = blobs(per_cell=300, n_batches=1, n_labels=2, dims=8)
    batches = np.random.default_rng(1).choice(["b0", "b1", "b2"], len(labels))
    before = values + 50 * np.eye(8)[:3][np.unique(batches, return_inverse=True)[1]]
    return make_inputs(values, labels, batches, pca=before)


# a label in three islands still has its largest island: connectivity ends at the share of the largest batch
WORST = {"graph_connectivity": 1 / 3, "graph_connectivity_undirected": 1 / 3}


@pytest.mark.parametrize("name", [n for n in BATCH if n != "batch_kl"])
def test_separated_batches_hit_the_bottom(name: str, apart: MetricInputs) -> None:
    assert _value(name, apart) == pytest.approx(WORST.get(name, 0), abs=0.01)


# what random batches give: LISI uses about 20 effective neighbours, kBET tests at 5 %, some cells are no cell's
# neighbour
BEST = {
    "ilisi": 0.8,
    "cilisi": 0.8,
    "kbet": 0.93,
    "batch_entropy": 0.95,
    "pcr_comparison": 0.99,
    "bras": 0.95,
    "batch_asw": 0.95,
    "graph_connectivity": 0.97,
}


@pytest.mark.parametrize("name", [n for n in BATCH if n != "batch_kl"])
def test_random_batches_hit_the_top(name: str, mixed: MetricInputs) -> None:
    assert BEST.get(name, 1) <= _value(name, mixed) <= 1


def test_lisi_of_random_batches_is_what_its_weights_allow(mixed: MetricInputs) -> None:
    """With random batches the expected Simpson index is 1/B + (1 - 1/B) * sum of squared weights."""
    near = mixed.nearest(90)
    weights = neighbor_weights(near.distances, near.indices == np.arange(mixed.n_cells)[:, None], 30)
    expected = 1 / (1 / 3 + 2 / 3 * np.median(np.square(weights).sum(axis=1)))
    assert _value("ilisi", mixed) == pytest.approx((expected - 1) / 2, abs=0.03)


def test_divergence_ends(apart: MetricInputs, mixed: MetricInputs) -> None:
    assert _value("batch_kl", mixed) == pytest.approx(2 / 100, abs=0.01)  # (batches - 1) / (2 k), k = 50
    assert _value("batch_kl", apart) == pytest.approx(np.log(3), abs=0.02)


def test_kbet_accepts_19_of_20_random_neighbourhoods(mixed: MetricInputs) -> None:
    assert _value("kbet", mixed) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("name", [n for n in BIO if n != "neighborhood_preservation"])
def test_labels_apart_hit_the_top_and_shuffled_labels_the_bottom(name: str, mixed: MetricInputs) -> None:
    assert _value(name, mixed) > 0.9
    names = np.array(mixed.labels.names)[mixed.labels.codes]
    shuffled = with_codes(mixed, labels=np.random.default_rng(2).permutation(names))
    bottom = {"silhouette_label": 0.5, "isolated_labels": 0.5}.get(name, 0)
    assert _value(name, shuffled) == pytest.approx(bottom, abs=0.1 if name == "clisi" else 0.02)


def test_row_order_changes_nothing() -> None:
    values, labels, batches = uneven()
    ids = np.array([f"cell_{i:03d}" for i in range(len(labels))], dtype=object)
    order = np.random.default_rng(3).permutation(len(labels))
    first = _table(make_inputs(values, labels, batches, ids=ids))
    second = _table(make_inputs(values[order], labels[order], batches[order], ids=ids[order]))
    assert list(first.index) == list(second.index)
    np.testing.assert_allclose(first["value"].to_numpy(float), second["value"].to_numpy(float), atol=1e-9)
    assert first["value"].notna().sum() > 50


def test_moving_and_turning_the_embedding_changes_nothing() -> None:
    """All metrics but BRAS (angles) are blind to shifts; all are blind to rotations."""
    values, labels, batches = uneven()
    rotation = np.linalg.qr(np.random.default_rng(4).standard_normal((values.shape[1],) * 2))[0]
    first = _table(make_inputs(values, labels, batches))["value"].to_numpy(float)
    turned = _table(make_inputs(values @ rotation, labels, batches, pca=values))["value"].to_numpy(float)
    np.testing.assert_allclose(first, turned, atol=2e-4)
    names = [n for n in METRICS if n != "bras"]
    still = _table(make_inputs(values, labels, batches), names)["value"].to_numpy(float)
    moved = _table(make_inputs(values + 5, labels, batches, pca=values), names)["value"].to_numpy(float)
    np.testing.assert_allclose(still, moved, atol=2e-4)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.floats(0, 4), st.permutations(["p", "q", "r"]))
def test_property_ranges_and_renaming(seed: int, shift: float, names: list[str]) -> None:
    """Values stay in their ranges, per label too, and names do not matter (kBET: see docs/metrics.md)."""
    values, labels, batches = uneven(seed=seed, n=150, shift=shift)
    data = make_inputs(values, labels, batches)
    table = _table(data)
    for (metric, group), value in table["value"].dropna().items():
        low, high = -0.5 if metric.endswith("_ari") else 0, np.inf if metric == "batch_kl" else 1
        assert low - 1e-9 <= value <= high + 1e-9, (metric, group)
    new_labels = dict(zip(["alpha", "beta", "gamma"], names, strict=True))
    renamed = with_codes(
        data,
        labels=[new_labels[x] for x in np.array(data.labels.names)[data.labels.codes]],
        batches=[{"one": "z", "two": "y", "three": "x"}[b] for b in np.array(data.batches.names)[data.batches.codes]],
    )
    names_free = [n for n in METRICS if n != "kbet"]
    other = _table(renamed, names_free)
    for (metric, group), value in table["value"].items():
        if metric in names_free:
            assert other.loc[(metric, new_labels.get(group, group)), "value"] == pytest.approx(
                value, abs=1e-9, nan_ok=True
            )


# --- not defined -----------------------------------------------------------------------------------------------------


def test_one_batch() -> None:
    values, labels, _ = blobs(per_cell=40, n_batches=1)
    table = _table(make_inputs(values, labels, ["only"] * len(labels)))
    whole = table.xs("all", level="group")
    assert set(whole.index[whole["status"] == "not_applicable"]) == set(BATCH)
    assert set(whole.loc[BATCH, "reason"]) == {"one_batch"}
    assert whole.loc[BATCH, "value"].isna().all()


def test_one_label() -> None:
    values, _, batches = blobs(per_cell=40, n_labels=1, batch_shift=2)
    whole = _table(make_inputs(values, ["only"] * len(batches), batches)).xs("all", level="group")
    needs_labels = set(BIO) - {"neighborhood_preservation"}
    assert set(whole.index[whole["status"] == "not_applicable"]) == needs_labels
    assert set(whole.loc[sorted(needs_labels), "reason"]) == {"one_label"}


def test_label_in_one_batch_is_left_out_with_a_reason() -> None:
    values, labels, batches = uneven()
    keep = ~((labels == "gamma") & (batches != "one"))
    table = _table(make_inputs(values[keep], labels[keep], batches[keep]))
    for metric in ("bras", "kbet", "batch_asw", "cilisi", "batch_entropy", "batch_kl"):
        row = table.loc[(metric, "gamma")]
        assert (row["status"], row["reason"]) == ("not_applicable", "label_in_one_batch"), metric
        assert np.isnan(row["value"])
    for metric in ("bras", "kbet", "batch_asw"):
        parts = table.loc[[(metric, "alpha"), (metric, "beta")], "value"]
        assert table.loc[(metric, "all"), "value"] == pytest.approx(parts.mean())


def test_every_label_in_one_batch() -> None:
    values, labels, _ = blobs(per_cell=60, n_labels=2)
    table = _table(make_inputs(values, labels, np.where(labels == "type 0", "a", "b")))
    for metric in ("bras", "kbet", "batch_asw", "cilisi", "batch_entropy", "batch_kl"):
        assert table.loc[(metric, "all"), "reason"] == "label_in_one_batch", metric


def test_small_label_and_few_cells() -> None:
    values, labels, batches = uneven()
    labels = labels.astype(object)
    labels[:4] = "rare"
    batches = batches.astype(object)
    batches[:4] = ["one", "one", "two", "two"]
    table = _table(make_inputs(values, labels, batches))
    for metric in ("kbet", "cilisi"):
        assert table.loc[(metric, "rare"), "reason"] == "too_few_cells"
    assert table.loc[("bras", "rare"), "status"] == "ok"
    few = _table(make_inputs(values[:5], labels[:5], ["a", "b", "a", "b", "a"]))
    assert few.loc[("ilisi", "all"), "reason"] == "too_few_cells"
    assert few.loc[("clisi", "all"), "reason"] == "too_few_cells"
    assert few.loc[("neighborhood_preservation", "all"), "reason"] == "too_few_cells"
    assert "failed" not in set(few["status"])


def test_a_graph_has_the_metrics_of_graphs_and_no_others() -> None:
    """The 15-NN graph given as a graph: the same clusters, the same components, and no proxy for anything else."""
    data = make_inputs(*uneven())
    near = data.nearest(15)
    graph = umap_connectivities(near.indices, near.distances)
    whole = _table(replace(data, coordinates=None, neighbors=None, graph=graph, _kept={})).xs("all", level="group")
    defined = {"leiden_nmi", "leiden_ari", "graph_connectivity", "graph_connectivity_undirected"}
    assert set(whole.index[whole["status"] == "ok"]) == defined
    assert set(whole.loc[~whole.index.isin(defined), "reason"]) == {"graph_output"}
    same = _table(data).xs("all", level="group")
    for name in defined - {"graph_connectivity"}:  # the union of both directions has no strong components of its own
        assert whole.loc[name, "value"] == same.loc[name, "value"], name


def test_too_small_a_search_is_not_taken_for_the_metric() -> None:
    """30 neighbours give the metrics of 15; LISI, kBET and entropy would be other metrics with the same name."""
    values, labels, batches = uneven()
    whole = _table(make_inputs(values, labels, batches, k=30)).xs("all", level="group")
    gone = {"ilisi", "clisi", "kbet", "batch_entropy", "batch_kl"}
    assert set(whole.index[whole["status"] != "ok"]) == gone
    assert set(whole.loc[sorted(gone), "reason"]) == {"too_few_neighbors"}


def test_constant_embedding() -> None:
    _, labels, batches = uneven()
    rng = np.random.default_rng(0)
    whole = _table(make_inputs(np.ones((len(labels), 3)), labels, batches, pca=rng.standard_normal((len(labels), 3))))
    whole = whole.xs("all", level="group")
    assert whole.loc["pcr_comparison", "reason"] == "constant"
    assert whole.loc["kmeans_nmi", "reason"] == "constant"
    assert whole.loc["silhouette_label", "value"] == 0.5
    assert "failed" not in set(whole["status"])


def test_a_broken_metric_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from scfm.metrics import pcr

    data = make_inputs(*uneven())
    monkeypatch.setattr(pcr, "pcr_comparison", lambda _: 1 / 0)
    whole = _table(data, ["pcr_comparison", "bras"]).xs("all", level="group")
    assert whole.loc["pcr_comparison", "status"] == "failed"
    assert whole.loc["pcr_comparison", "reason"] == "Unexpected ZeroDivisionError: division by zero"
    assert np.isnan(whole.loc["pcr_comparison", "value"])
    assert whole.loc["bras", "status"] == "ok"


@pytest.mark.parametrize("error", [MemoryError("full"), ResourceError("full")])
def test_a_lack_of_memory_is_raised(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    from scfm.metrics import pcr

    def broken(_: MetricInputs) -> None:
        raise error

    monkeypatch.setattr(pcr, "pcr_comparison", broken)
    with pytest.raises(type(error)):
        run_metric(METRICS["pcr_comparison"], make_inputs(*uneven()))


# --- tables ----------------------------------------------------------------------------------------------------------


def test_score_table_has_the_columns_of_the_contract_and_a_label_called_all() -> None:
    values, labels, batches = uneven()
    labels = np.where(labels == "alpha", "all", labels)
    frame = score(make_inputs(values, labels, batches), [METRICS["bras"]], SIDECAR)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["group"]) == ["all", "all (label)", "beta", "gamma"]
    assert list(frame["n_cells"]) == [330, *np.unique(labels, return_counts=True)[1]]


def test_study_table_has_the_studys_shape() -> None:
    paper = metrics_of(METRICS, "paper")
    scores = score(make_inputs(*uneven()), paper, SIDECAR)
    table = study_table(scores, paper)
    assert list(table.index) == ["X_emb", "Metric Type"]
    assert list(table.columns) == [
        "Leiden NMI",
        "Leiden ARI",
        "Silhouette label",
        "BRAS",
        "Graph connectivity",
        "Batch correction",
        "Bio conservation",
        "Total",
    ]
    assert (
        list(table.loc["Metric Type"]) == ["Bio conservation"] * 3 + ["Batch correction"] * 2 + ["Aggregate score"] * 3
    )
    row = table.loc["X_emb"].astype(float)
    assert row["Bio conservation"] == pytest.approx(row.iloc[:3].mean())
    assert row["Batch correction"] == pytest.approx(row.iloc[3:5].mean())
    assert row["Total"] == pytest.approx((row["Bio conservation"] + row["Batch correction"]) / 2)
    missing = scores.assign(value=scores["value"].mask(scores["metric"] == "bras"))
    row = study_table(missing, paper).loc["X_emb"].astype(float)
    assert np.isnan(row[["BRAS", "Batch correction", "Total"]]).all()
    assert np.isfinite(row["Bio conservation"])
