"""The metrics table, and the two executables on files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

from helpers_metrics import BIN, SIDECAR, main_of, uneven
from scfm.errors import ScfmError
from scfm.io.tables import read_json, read_table, write_embedding, write_json
from scfm.metrics.ranking import add_ranks, coverage_of
from scfm.metrics.registry import ASSETS, load_metrics, metrics_of
from scfm.metrics.totals import compute_totals
from scfm.report.tables.load import read_metrics

CONTRACT = {
    "leiden_nmi",
    "leiden_ari",
    "kmeans_nmi",
    "kmeans_ari",
    "silhouette_label",
    "clisi",
    "isolated_labels",
    "bras",
    "ilisi",
    "kbet",
    "graph_connectivity",
    "graph_connectivity_undirected",
    "pcr_comparison",
    "cilisi",
    "batch_entropy",
    "batch_kl",
    "batch_asw",
    "neighborhood_preservation",
}


def _world(folder: Path, *, n_unscored: int = 0, **changes) -> dict[str, Path]:
    """Write the files of one embedding; rows in random order, some cells without a label."""
    values, labels, batches = uneven()
    n = len(labels)
    ids = np.array([f"cell_{i:03d}" for i in range(n)], dtype=object)
    order = np.random.default_rng(0).permutation(n)
    obs = pd.DataFrame({"cell_id": ids, "batch": batches, "label": labels.astype(object), "scored": True})
    obs.loc[: n_unscored - 1, ["label", "scored"]] = [None, False]
    obs.to_parquet(folder / "d.obs.parquet")
    write_embedding(folder / "d.pca.parquet", ids, values)
    write_embedding(folder / "d.m.raw.0.parquet", ids[order], values[order] + 1)
    write_json(folder / "d.m.raw.0.json", SIDECAR | changes)
    return {
        "embedding": folder / "d.m.raw.0.parquet",
        "sidecar": folder / "d.m.raw.0.json",
        "obs": folder / "d.obs.parquet",
    }


def _arguments(files: dict[str, Path]) -> list[str]:
    return [text for name, path in files.items() for text in (f"--{name}", str(path))]


def _score(folder: Path, files: dict[str, Path], *extra: str) -> pd.DataFrame:
    main_of("find_neighbors")([*_arguments(files), "--outdir", str(folder), "--on_error", "stop"])
    more = {"pca": folder / "d.pca.parquet", "knn": folder / "d.m.raw.0.knn.npz"}
    main_of("score_embedding")([*_arguments(files | more), "--outdir", str(folder), *extra])
    return read_table(folder / "d.m.raw.0.scores.tsv")


def _check(frame: pd.DataFrame, name: str) -> None:
    """Check a table against its schema, row by row."""
    rows = [{c: None if pd.isna(v) else v for c, v in row.items()} for row in frame.to_dict("records")]
    jsonschema.validate(rows, read_json(ASSETS / f"schema_{name}.json"))


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_metric_has_its_function_and_the_profiles_nest() -> None:
    metrics = load_metrics()
    assert set(metrics) == CONTRACT
    assert all(callable(m.function()) for m in metrics.values())
    names = {p: {m.name for m in metrics_of(metrics, p)} for p in ("paper", "standard", "full")}
    assert names["paper"] == {"leiden_nmi", "leiden_ari", "silhouette_label", "bras", "graph_connectivity"}
    assert names["paper"] < names["standard"] < names["full"] == CONTRACT
    assert all(set(m.in_total) <= set(m.profile) for m in metrics.values())


def test_the_report_reads_the_same_table() -> None:
    frame = read_metrics(ASSETS / "metrics.tsv")
    assert set(frame["name"]) == CONTRACT
    assert frame["higher_is_better"].sum() == len(CONTRACT) - 1


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("\tbio\t", "\tbiology\t", r"row 2, column 'group': 'biology' is not one of"),
        ("\ttrue\t", "\tyes\t", r"row 2, column 'higher_is_better': 'yes' is not of type 'boolean'"),
        ("leiden.leiden_nmi", "os.system(1)", r"row 2, column 'code'"),
        ("definition", "meaning", r"the header lacks \['definition'\] and has unknown \['meaning'\]"),
        ("\nleiden_ari\t", "\nleiden_nmi\t", r"'leiden_nmi' is a duplicate"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "metrics.tsv"
    path.write_text((ASSETS / "metrics.tsv").read_text().replace(old, new, 1))
    with pytest.raises(ScfmError, match=sentence):
        load_metrics(path)


def test_unknown_profile() -> None:
    with pytest.raises(ScfmError, match="Unknown metrics profile 'paperr'"):
        metrics_of(load_metrics(), "paperr")


# --- the executables -------------------------------------------------------------------------------------------------


def test_files_fit_the_contract(tmp_path: Path) -> None:
    scores = _score(tmp_path, _world(tmp_path, n_unscored=30), "--profile", "full")
    _check(scores, "scores")
    assert set(scores["metric"]) == CONTRACT
    assert set(scores.loc[scores["group"] == "all", "status"]) == {"ok"}
    assert set(scores.loc[scores["status"] != "ok", "reason"]) <= {"too_few_cells"}
    assert (scores.loc[scores["group"] == "all", "n_cells"] == 300).all()
    for step, keys in (
        ("neighbors", {"k": 90, "n_cells": 300, "exact": True}),
        ("score", {"n_cells": 300, "n_metrics": 18}),
    ):
        status = read_json(tmp_path / f"d.m.raw.0.{step}.status.json")
        assert (status["status"], status["reason"], status["step"]) == ("ok", "", step)
        assert keys.items() <= status.items()
    assert not (tmp_path / "d.m.raw.0.metrics_scib.csv").exists()


def test_row_order_of_the_files_changes_no_byte(tmp_path: Path) -> None:
    files = _world(tmp_path, n_unscored=5)
    _score(tmp_path, files, "--profile", "full")
    before = (tmp_path / "d.m.raw.0.scores.tsv").read_bytes()
    for i, name in enumerate(("d.obs.parquet", "d.pca.parquet", "d.m.raw.0.parquet")):
        table = pd.read_parquet(tmp_path / name)
        table.sample(frac=1, random_state=i).to_parquet(tmp_path / name, index=False)
    _score(tmp_path, files, "--profile", "full")
    assert (tmp_path / "d.m.raw.0.scores.tsv").read_bytes() == before


def test_paper_profile_writes_the_studys_csv(tmp_path: Path) -> None:
    scores = _score(tmp_path, _world(tmp_path), "--profile", "paper")
    study = pd.read_csv(tmp_path / "d.m.raw.0.metrics_scib.csv", index_col=0)
    assert list(study.index) == ["X_emb", "Metric Type"]
    nmi = scores.loc[(scores["metric"] == "leiden_nmi") & (scores["group"] == "all"), "value"].iloc[0]
    assert float(study.loc["X_emb", "Leiden NMI"]) == pytest.approx(nmi, abs=1e-9)
    assert study.loc["Metric Type", "Total"] == "Aggregate score"


def test_fewer_cells_than_neighbours_is_noted(tmp_path: Path) -> None:
    files = _world(tmp_path, n_unscored=280)
    _score(tmp_path, files)
    status = read_json(tmp_path / "d.m.raw.0.neighbors.status.json")
    assert status["k"] == 50
    assert status["note"].startswith("Only 50 cells are scored")


def test_neighbours_of_other_cells_are_refused(tmp_path: Path) -> None:
    files = _world(tmp_path)
    _score(tmp_path, files)
    files = _world(tmp_path, n_unscored=10)
    more = {"pca": tmp_path / "d.pca.parquet", "knn": tmp_path / "d.m.raw.0.knn.npz"}
    arguments = [*_arguments(files | more), "--outdir", str(tmp_path)]
    with pytest.raises(ScfmError, match=r"its cells are not the scored cells of .* \(10 differ\)"):
        main_of("score_embedding")([*arguments, "--on_error", "stop"])
    main_of("score_embedding")(arguments)
    status = read_json(tmp_path / "d.m.raw.0.score.status.json")
    assert status["status"] == "failed"
    assert "Search the neighbours again" in status["reason"]


def test_one_broken_metric_marks_the_step_and_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scfm.metrics import bras

    monkeypatch.setattr(bras, "bras", lambda data: data.labels.names[99])
    files = _world(tmp_path)
    scores = _score(tmp_path, files, "--profile", "paper")
    status = read_json(tmp_path / "d.m.raw.0.score.status.json")
    assert (status["status"], status["reason_code"]) == ("failed", "metric_failed")
    assert status["reason"].startswith(
        "1 of 5 metrics failed; the others are in the table. bras: Unexpected IndexError"
    )
    _check(scores, "scores")
    assert set(scores.loc[scores["status"] == "failed", "metric"]) == {"bras"}
    with pytest.raises(ScfmError, match="1 of 5 metrics failed"):
        _score(tmp_path, files, "--profile", "paper", "--on_error", "stop")


def test_executables_start_without_what_they_do_not_need(tmp_path: Path) -> None:
    """Neither JAX nor scib_metrics nor UMAP is imported at run time, and the help needs no NumPy."""
    files = _world(tmp_path)
    _score(tmp_path, files)
    more = {"pca": tmp_path / "d.pca.parquet", "knn": tmp_path / "d.m.raw.0.knn.npz"}

    def imported(*arguments: str) -> set[str]:
        command = [sys.executable, "-X", "importtime", str(BIN / "score_embedding.py"), *arguments]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return {
            line.rsplit("|", 1)[1].strip().split(".")[0]
            for line in told.splitlines()
            if line.startswith("import time:")
        }

    assert "numpy" not in imported("--help")
    used = imported(*_arguments(files | more), "--profile", "full", "--outdir", str(tmp_path))
    assert not used & {"jax", "scib_metrics", "umap", "numba", "scanpy", "anndata", "torch"}
    assert "igraph" in used


def test_totals_fit_their_schema(tmp_path: Path) -> None:
    scores = _score(tmp_path, _world(tmp_path), "--profile", "standard")
    totals = compute_totals(scores, read_metrics(ASSETS / "metrics.tsv"), (0.6, 0.5), "standard")
    totals = add_ranks(totals, coverage_of(scores, {"d": 400}))
    assert set(totals["coverage"]) == {0.825} and set(totals["rank_reason"]) == {"incomplete"}
    assert len(totals) == 4
    assert list(totals.columns) == list(read_json(ASSETS / "schema_totals.json")["items"]["properties"])
    _check(totals, "totals")
