"""Several batch keys and label keys: contract, preparation, scores, probes, centroids, totals and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from helpers_data import assert_says, check_one, make_adata
from helpers_metrics import SIDECAR, uneven
from helpers_report import ASSETS, collected, write_run
from scfm.inputs.keys import KeyPair, key_pairs, keys_of, primary_pair
from scfm.io.tables import read_json, read_table, write_embedding, write_json, write_table
from scfm.metrics.load import load_pairs
from scfm.metrics.ranking import add_ranks
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.run import score_files
from scfm.metrics.scoring import run_metric, score
from scfm.metrics.totals import TotalRules, compute_totals
from scfm.neighbors.search import find_neighbors
from scfm.preparation.counts import HeldCounts
from scfm.preparation.prepare import prepare
from scfm.probing.run import probe_files
from scfm.probing.splits import split_pairs
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed
from scfm.report.sections.keys import key_sections
from scfm.report.tables.load import read_metrics
from scfm.report.tables.maps import read_places, with_places
from scfm.umap.centroid_maps import centroid_maps

PAIR = ["batch_key", "label_key"]
PARAMS = {
    "round_counts": False,
    "missing_values": "unknown",
    "shared_genes": False,
    "min_genes_per_cell": 0,
    "min_cells_per_gene": 1,
    "min_cells_per_batch": 5,
    "n_hvg": 20,
    "hvg_flavor": "pearson_residuals",
    "n_pcs": 5,
    "probe_folds": 3,
    "probe_seed": 123,
    "held_out_share": 0.2,
}


# --- keys ------------------------------------------------------------------------------------------------------------


def test_lists_are_split_and_the_first_is_the_primary() -> None:
    row = {"batch_key": "donor+time; assay", "label_key": "fine"}
    assert keys_of(row, "batch_key") == ["donor+time", "assay"]
    assert primary_pair(row) == ("donor+time", "fine")
    assert primary_pair({}) == ("", "")


def test_pairs_are_all_combinations_and_the_primary_is_first() -> None:
    columns = ["cell_id", "batch", "label", "batch:a", "batch:b:c", "label:x", "label:y"]
    assert key_pairs(columns) == [
        KeyPair("a", "x", True),
        KeyPair("a", "y", False),
        KeyPair("b:c", "x", False),
        KeyPair("b:c", "y", False),
    ]
    assert key_pairs(["batch", "label"]) == [KeyPair("batch", "label", True)]


def test_a_cell_without_a_key_is_not_scored_with_it() -> None:
    obs = pd.DataFrame({"batch": ["a", "b", "a"], "label": ["x", "y", None], "scored": [True, True, False]})
    obs = obs.assign(**{"batch:k": obs["batch"], "batch:m": ["1", None, "2"], "label:l": obs["label"]})
    first, other = key_pairs(list(obs.columns))
    assert first.view(obs) is obs
    view = other.view(obs)
    assert view["scored"].tolist() == [True, False, False]
    assert view["batch"].tolist()[0] == "1" and view["label"].tolist()[:2] == ["x", "y"]


# --- contract --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"batch_key": "batch;donr"}, "obs has no column 'donr' (column batch_key of the samplesheet). Did you mean"),
        ({"label_key": "cell_type;celltype2"}, "obs has no column 'celltype2' (column label_key"),
        ({"batch_key": "batch;donor;batch"}, "batch_key lists 'batch' 2 times; list every key once."),
        ({"batch_key": "batch;one"}, "obs column 'one' (batch_key) has one batch only ('x')"),
        ({"label_key": "cell_type;none"}, "obs column 'none' (label_key) is empty for all 60 cells"),
        ({"batch_key": "batch;;donor"}, "column 'batch_key': 'batch;;donor' is not allowed; name the obs column"),
    ],
)
def test_every_key_is_checked_and_named(tmp_path: Path, row: dict, sentence: str) -> None:
    data = make_adata()
    data.obs["one"], data.obs["none"] = "x", np.nan
    assert_says(check_one(tmp_path, data, row=row).errors, sentence)


def test_gaps_and_small_batches_of_other_keys_are_warnings(tmp_path: Path) -> None:
    data = make_adata()
    data.obs["site"] = [None] * 4 + ["s1"] * 2 + ["s2"] * (data.n_obs - 6)
    outcome = check_one(tmp_path, data, row={"batch_key": "batch;site"})
    assert not outcome.errors
    texts = [w["text"] for w in outcome.warnings]
    assert any(
        "4 cells of 60 have no batch in 'site'. They are integrated, but not scored with this key" in t for t in texts
    )
    assert any("1 batch of 'site' has fewer than 10 labelled cells ('s1: 2')" in t for t in texts)
    assert outcome.datasets[0]["batches"].keys() == {"b0", "b1", "b2"}


# --- preparation -----------------------------------------------------------------------------------------------------


def _prepare(data, **row):
    data.obs["broad"] = data.obs["cell_type"].map({"t0": "T", "t1": "T", "t2": "B"})
    full = {"dataset": "d", "batch_key": "batch", "label_key": "cell_type", **row}
    return prepare(HeldCounts(sparse.csr_matrix(data.X)), data.obs, data.var, row=full, params=PARAMS)


def test_one_key_more_changes_nothing_of_the_primary() -> None:
    alone, more = (
        _prepare(make_adata()),
        _prepare(make_adata(), batch_key="batch;donor+time", label_key="cell_type;broad"),
    )
    np.testing.assert_array_equal(alone.pca.scores, more.pca.scores)
    pd.testing.assert_frame_equal(alone.obs, more.obs[alone.obs.columns])
    assert [c for c in more.obs.columns if ":" in c] == [
        "batch:batch",
        "batch:donor+time",
        "label:cell_type",
        "label:broad",
    ]
    assert more.obs["batch:donor+time"].str.contains("+", regex=False).all()
    pairs = more.facts["key_pairs"]
    assert [(p["batch_key"], p["label_key"], p["is_primary"]) for p in pairs] == [
        ("batch", "cell_type", True),
        ("batch", "broad", False),
        ("donor+time", "cell_type", False),
        ("donor+time", "broad", False),
    ]
    assert pairs[1]["labels"] == {"B": 18, "T": 42} and len(pairs[2]["batches"]) == 6
    assert more.facts["keys"]["batch"] == "batch" and more.facts["batches"] == alone.facts["batches"]


def test_splits_of_another_pair_are_those_of_a_run_where_it_is_the_primary() -> None:
    both = _prepare(make_adata(), batch_key="batch;donor", label_key="cell_type;broad").obs
    other = _prepare(make_adata(), batch_key="donor", label_key="broad").obs
    splits = split_pairs(both, n_folds=3, seed=1)
    part = splits[(splits["batch_key"] == "donor") & (splits["label_key"] == "broad")].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, split_pairs(other, n_folds=3, seed=1))
    assert splits.groupby(PAIR).ngroups == 4


# --- one embedding ---------------------------------------------------------------------------------------------------


def _world(folder: Path, *, batch: str = "batch;site", label: str = "fine;broad", gaps: int = 0) -> dict[str, Path]:
    """Write the files of one embedding with the keys in the order given; the first cells lack ``site`` (gaps)."""
    values, labels, batches = uneven()
    ids = np.array([f"cell_{i:03d}" for i in range(len(labels))], dtype=object)
    rng = np.random.default_rng(3)
    keys = {
        "batch": batches.astype(object),
        "site": rng.choice(["s1", "s2"], len(ids)).astype(object),
        "fine": labels.astype(object),
        "broad": np.where(labels == labels[0], "one", "rest").astype(object),
    }
    keys["site"][:gaps] = None
    obs = pd.DataFrame({"cell_id": ids})
    for name, listed in (("batch", batch.split(";")), ("label", label.split(";"))):
        obs[name] = keys[listed[0]]
        for key in listed:
            obs[f"{name}:{key}"] = keys[key]
    obs["scored"] = obs["batch"].notna() & obs["label"].notna()
    folder.mkdir(parents=True, exist_ok=True)
    write_table(obs, folder / "d.obs.parquet")
    write_embedding(folder / "d.pca.parquet", ids, values)
    write_embedding(folder / "d.m.raw.0.parquet", ids, values + rng.normal(0, 0.3, values.shape))
    write_json(folder / "d.m.raw.0.json", SIDECAR)
    known = obs["scored"].to_numpy()
    found = find_neighbors(read_values(folder)[known], ids[known])
    found.write(folder / "d.m.raw.0.knn.npz")
    write_table(split_pairs(obs, n_folds=3, seed=1), folder / "d.splits.parquet")
    return {name: folder / f"d.{end}" for name, end in FILES.items()}


FILES = {"embedding": "m.raw.0.parquet", "obs": "obs.parquet", "pca": "pca.parquet", "knn": "m.raw.0.knn.npz"}


def read_values(folder: Path) -> np.ndarray:
    """Return the coordinates of the embedding."""
    return read_table(folder / "d.m.raw.0.parquet").filter(like="dim_").to_numpy(dtype=np.float32)


def _scores(folder: Path, files: dict[str, Path], profile: str = "full") -> pd.DataFrame:
    facts = score_files(
        files["embedding"], SIDECAR, files["obs"], files["pca"], files["knn"], profile=profile, outdir=folder
    )
    assert facts.get("status", "ok") == "ok", facts
    return read_table(folder / "d.m.raw.0.scores.tsv")


def _of(frame: pd.DataFrame, batch: str, label: str) -> pd.DataFrame:
    rows = frame[(frame["batch_key"] == batch) & (frame["label_key"] == label)]
    assert len(rows)
    return rows.reset_index(drop=True)


@pytest.mark.parametrize("gaps", [0, 25])
def test_scores_of_another_pair_are_those_of_a_run_where_it_is_the_primary(tmp_path: Path, gaps: int) -> None:
    both = _scores(tmp_path / "a", _world(tmp_path / "a", gaps=gaps))
    Schemas().check(both, "scores")
    assert both.groupby(PAIR).ngroups == 4 and both["value"].notna().sum() > 100
    first = _scores(tmp_path / "b", _world(tmp_path / "b", batch="batch", label="fine", gaps=gaps))
    pd.testing.assert_frame_equal(_of(both, "batch", "fine"), first)
    other = _scores(tmp_path / "c", _world(tmp_path / "c", batch="site", label="broad", gaps=gaps))
    pd.testing.assert_frame_equal(_of(both, "site", "broad"), other)
    assert other["n_cells"].max() == first["n_cells"].max() - gaps


def test_what_reads_one_group_only_is_computed_once_per_key(tmp_path: Path, monkeypatch) -> None:
    files = _world(tmp_path)
    counts: dict[str, int] = {}

    def counted(metric, data):
        counts[metric.name] = counts.get(metric.name, 0) + 1
        return run_metric(metric, data)

    monkeypatch.setattr("scfm.metrics.scoring.run_metric", counted)
    monkeypatch.setattr("scfm.metrics.load.find_neighbors", lambda *_, **__: pytest.fail("a new search"))
    metrics = metrics_of(load_metrics(), "full")
    for pair, data in load_pairs(files["embedding"], SIDECAR, files["obs"], pca=files["pca"], knn=files["knn"]):
        score(data, metrics, SIDECAR, pair)
    for metric in metrics:
        assert counts[metric.name] == (4 if {"labels", "batches"} <= set(metric.needs) else 2), metric.name


def test_a_metric_reads_no_group_that_it_does_not_name(tmp_path: Path) -> None:
    """Other groups in place of those that a metric does not name change no digit."""
    files = _world(tmp_path, batch="batch;site", label="fine;broad")
    pairs = dict(load_pairs(files["embedding"], SIDECAR, files["obs"], pca=files["pca"], knn=files["knn"]))
    inputs = {(p.batch_key, p.label_key): data for p, data in pairs.items()}
    for metric in load_metrics().values():
        changed = (
            "site" if "batches" not in metric.needs else "batch",
            "broad" if "labels" not in metric.needs else "fine",
        )
        fresh = replace(inputs[changed], _kept={})
        assert run_metric(metric, fresh) == run_metric(metric, replace(inputs["batch", "fine"], _kept={})), metric.name


def test_a_pair_of_which_no_cell_has_both_keys_is_not_defined(tmp_path: Path) -> None:
    scores = _scores(tmp_path, _world(tmp_path, gaps=10**6))
    rows = _of(scores, "site", "fine")
    assert set(rows["status"]) == {"not_applicable"} and set(rows["reason"]) == {"too_few_cells"}
    assert (_of(scores, "batch", "fine")["status"] == "ok").any()


def test_the_study_csv_is_that_of_the_primary_pair(tmp_path: Path) -> None:
    _scores(tmp_path / "a", _world(tmp_path / "a"), "paper")
    _scores(tmp_path / "b", _world(tmp_path / "b", batch="batch", label="fine"), "paper")
    name = "d.m.raw.0.metrics_scib.csv"
    assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()


@pytest.mark.parametrize("gaps", [0, 25])
def test_probes_of_another_pair_are_those_of_a_run_where_it_is_the_primary(tmp_path: Path, gaps: int) -> None:
    tables = {}
    for folder, batch, label in (("a", "batch;site", "fine;broad"), ("b", "batch", "fine"), ("c", "site", "broad")):
        files = _world(tmp_path / folder, batch=batch, label=label, gaps=gaps)
        probe_files(
            files["embedding"],
            SIDECAR,
            files["obs"],
            tmp_path / folder / "d.splits.parquet",
            {},
            n_threads=1,
            outdir=tmp_path / folder,
            is_paper=True,
        )
        tables[folder] = read_table(tmp_path / folder / "d.m.raw.0.probing.tsv").astype({"fold": str})
    Schemas().check(tables["a"], "probing")
    key = Schemas().key("probing")
    for folder, pair in (("b", ("batch", "fine")), ("c", ("site", "broad"))):
        rows, expected = (t.sort_values(key, ignore_index=True) for t in (_of(tables["a"], *pair), tables[folder]))
        pd.testing.assert_frame_equal(rows, expected)
        assert expected["value"].notna().sum() > 20
    csv = "d.m.raw.0.probing_results_batch.csv"
    assert (tmp_path / "a" / csv).read_text() == (tmp_path / "b" / csv).read_text()


def test_centroids_of_every_pair_and_maps_of_the_primary_only(tmp_path: Path) -> None:
    files = _world(tmp_path)
    _scores(tmp_path, files, "paper")
    schemas = Schemas()
    centroids = read_typed(tmp_path / "d.m.raw.0.centroids.tsv", "centroids", schemas)
    assert centroids.groupby(PAIR).ngroups == 4 and set(_of(centroids, "site", "broad")["batch"]) == {"s1", "s2"}
    table, notes = centroid_maps(files["embedding"], SIDECAR, files["obs"], maps=("tsne",))
    write_table(table, tmp_path / "d.none.centroid_maps.tsv")
    whole = with_places(centroids, [read_places(tmp_path / "d.none.centroid_maps.tsv", schemas)], schemas)
    schemas.check(whole, "centroids")
    assert not notes and len(whole) == len(centroids)
    assert _of(whole, "batch", "fine")["tsne_1"].notna().all() and _of(whole, "site", "broad")["tsne_1"].isna().all()
    _scores(tmp_path / "c", _world(tmp_path / "c", batch="site", label="broad"), "paper")
    other = read_typed(tmp_path / "c" / "d.m.raw.0.centroids.tsv", "centroids", schemas)
    pd.testing.assert_frame_equal(_of(centroids, "site", "broad"), other)


# --- totals and the report -------------------------------------------------------------------------------------------


def _with_other_key(frame: pd.DataFrame, **changes) -> pd.DataFrame:
    return pd.concat([frame, frame.assign(batch_key="<donor>", **changes)], ignore_index=True)


def _report(root: Path, *, several: bool):
    """Collect a synthetic run of one data set, with the scores of a second batch key where ``several``."""
    run = write_run(root / "run", datasets=("pbmc",))
    if several:
        for kind in ("scores", "probing", "centroids"):
            for path in run.results.glob(f"*.{kind}.tsv"):
                write_table(_with_other_key(read_table(path)), path)
        for path in run.results.glob("*.scores.tsv"):
            table = read_table(path)
            table.loc[table["batch_key"] != "batch", "value"] /= 2
            write_table(table, path)
        row = read_json(run.datasets)
        write_json(run.datasets, [{**row[0], "batch_key": "batch; <donor>"}])
        facts = read_json(run.results / "pbmc.facts.json")
        facts["key_pairs"].append(facts["key_pairs"][0] | {"batch_key": "<donor>", "is_primary": False})
        write_json(run.results / "pbmc.facts.json", facts)
    return collected(run, root / "tables")


def test_the_report_is_based_on_the_primary_keys_and_shows_the_others_apart(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("helpers_report.write_plot", lambda path, *_: path.touch())  # pictures are not looked at
    alone, both = _report(tmp_path / "a", several=False), _report(tmp_path / "b", several=True)
    for name in ("scores", "totals", "probing", "centroids", "status"):
        pd.testing.assert_frame_equal(getattr(alone, name), getattr(both, name))
    assert alone.other_totals.empty and key_sections(alone, "pbmc") == []
    (section,) = key_sections(both, "pbmc")
    assert "&lt;donor&gt; with cell_type" in section.data and "<donor>" not in section.data
    assert {m["code"] for m in both.messages} == {m["code"] for m in alone.messages}
    named = [
        m["text"] for m in both.messages if m["code"] == "W-MET-02" and "with '<donor>' and 'cell_type'" in m["text"]
    ]
    assert named
    key = ["embedding", "bio_weight"]
    raw, other = (
        t[(t["scaling"] == "raw") & (t["status"] == "ok")].set_index(key)["total"].sort_index()
        for t in (both.totals, both.other_totals)
    )
    assert len(raw) > 10
    pd.testing.assert_series_equal(other * 2, raw)


def test_totals_of_other_keys_are_not_scaled_by_controls() -> None:
    metrics = read_metrics(ASSETS / "metrics.tsv")
    rows = [
        {
            "dataset": "d",
            "embedding": f"{method}.raw.0",
            "method": method,
            "family": family,
            "correction": "raw",
            "seed": 0,
            "batch_key": key,
            "label_key": "cell_type",
            "metric": m,
            "group": "all",
            "value": value,
            "n_cells": 9,
            "status": "ok",
            "reason": "",
            "higher_is_better": True,
        }
        for key in ("batch", "donor")
        for method, family, value in (
            ("pca", "none", 0.5),
            ("shuffled", "control", 0.1),
            ("label_onehot", "control", 0.9),
            ("shuffled_within_label", "control", 0.9),
        )
        for m in metrics.loc[metrics["in_total"] & metrics["profile"].str.contains("paper"), "name"]
    ]
    totals = compute_totals(
        pd.DataFrame(rows), metrics, (0.5,), "paper", TotalRules(primary={"d": ("batch", "cell_type")})
    )
    pca = totals[totals["method"] == "pca"].set_index(["batch_key", "scaling"])
    assert pca.loc[("batch", "controls"), "status"] == "ok" and pca.loc[("donor", "raw"), "total"] == 0.5
    scaled = pca.loc[("donor", "controls")]
    assert np.isnan(scaled["total"]) and scaled["status"] == "not_applicable"
    assert set(part.split(":")[1] for part in scaled["reason"].split(",")) == {"controls_use_primary_keys"}
    coverage = pd.Series([1.0], pd.MultiIndex.from_tuples([("d", "pca.raw.0")], names=["dataset", "embedding"]))
    ranked = add_ranks(totals, coverage.rename("coverage"), other_keys=totals["batch_key"] != "batch")
    assert set(ranked.loc[ranked["batch_key"] == "donor", "rank_reason"]) <= {"other_keys", "control"}
    Schemas().check(ranked, "totals")
