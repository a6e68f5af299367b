"""The executable: files in, files out, and the failure policy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_probing import study
from scfm.inputs.keys import PAIR_COLUMNS
from scfm.io.tables import IDENTITY, read_embedding, read_json, read_table, write_embedding, write_json, write_table
from scfm.neighbors.search import find_neighbors
from scfm.probing.paper import paper_table
from scfm.probing.rows import COLUMNS
from scfm.probing.splits import split_pairs

BIN = Path(__file__).resolve().parents[2] / "bin"
SIDECAR = {
    "dataset": "toy",
    "embedding": "pca.raw.0",
    "method": "pca",
    "family": "none",
    "correction": "raw",
    "seed": 0,
    "output_type": "embedding",
}


@pytest.fixture
def folder(tmp_path):
    obs, values = study(150, label_signal=3.0, batch_signal=2.0)
    write_embedding(tmp_path / "toy.pca.raw.0.parquet", obs["cell_id"], values)
    write_json(tmp_path / "toy.pca.raw.0.json", SIDECAR)
    write_table(obs, tmp_path / "toy.obs.parquet")
    write_table(split_pairs(obs, n_folds=5, seed=123), tmp_path / "toy.splits.parquet")
    write_json(tmp_path / "params.json", {"probe_c": 1.0, "probe_k": 15, "outdir": "elsewhere"})
    return tmp_path


def call(folder, *more, check=True):
    command = [
        sys.executable,
        BIN / "probe_embedding.py",
        "--embedding",
        "toy.pca.raw.0.parquet",
        "--sidecar",
        "toy.pca.raw.0.json",
        "--obs",
        "toy.obs.parquet",
        "--splits",
        "toy.splits.parquet",
        "--params",
        "params.json",
        *more,
    ]
    return subprocess.run(command, cwd=folder, check=check, capture_output=True, text=True)


def test_writes_table_status_and_the_paper_csv(folder):
    call(folder, "--profile", "paper")
    table = read_table(folder / "toy.pca.raw.0.probing.tsv")
    assert list(table.columns) == [*IDENTITY, *PAIR_COLUMNS, *COLUMNS]
    assert set(table["embedding"]) == {"pca.raw.0"}
    assert set(table["status"]) == {"ok", "not_applicable"}
    assert table.loc[table["status"] == "ok", "value"].notna().mean() == 1.0
    status = read_json(folder / "toy.pca.raw.0.probe.status.json")
    assert (status["status"], status["step"], status["warnings"]) == ("ok", "probe", [])
    assert status["versions"]["scikit-learn"]
    for ending, classes in (
        ("probing_results", {"B", "NK", "T", "mono"}),
        ("probing_results_batch", {"b0", "b1", "b2"}),
    ):
        paper = pd.read_csv(folder / f"toy.pca.raw.0.{ending}.csv")
        assert list(paper.columns) == ["model_name", "fold", "dataset", "accuracy", "f1_score", "support"]
        assert set(paper["dataset"]) == {"overall", *classes}
        assert set(paper["fold"]) == {"0", "1", "2", "3", "4", "mean", "std"}
        whole = paper[paper["dataset"] == "overall"].set_index("fold")
        folds = whole.loc[[str(f) for f in range(5)], "f1_score"]
        assert whole.loc["mean", "f1_score"] == pytest.approx(folds.mean(), abs=1e-6)
        assert whole.loc["std", "f1_score"] == pytest.approx(folds.std(ddof=1), abs=1e-6)
        per_class = paper[(paper["fold"] == "0") & (paper["dataset"] != "overall")]
        assert per_class["support"].sum() == whole.loc["0", "support"]


def test_shuffled_rows_more_threads_and_known_neighbors_give_the_same_bytes(folder):
    ids, values = read_embedding(folder / "toy.pca.raw.0.parquet")
    find_neighbors(values, ids, k=90).write(folder / "toy.pca.raw.0.knn.npz")
    call(folder)
    before = (folder / "toy.pca.raw.0.probing.tsv").read_bytes()
    order = np.random.default_rng(0).permutation(150)
    for name in ("toy.pca.raw.0", "toy.obs"):
        table = read_table(folder / f"{name}.parquet")
        write_table(table.iloc[order], folder / f"{name}.parquet")
    call(folder, "--cpus", "2", "--knn", "toy.pca.raw.0.knn.npz")
    assert (folder / "toy.pca.raw.0.probing.tsv").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.assign(cell_id="x" + t["cell_id"]), "none of its 150 cells is among the 150 scored cells"),
        (lambda t: t.assign(dim_1=np.nan), "150 cells have coordinates that are not finite"),
        (lambda t: pd.concat([t, t.iloc[:3]]), "3 cell ids occur more than once"),
    ],
)
def test_a_bad_embedding_is_a_status_and_the_run_goes_on(folder, spoil, sentence):
    path = folder / "toy.pca.raw.0.parquet"
    write_table(spoil(read_table(path)), path)
    call(folder)
    status = read_json(folder / "toy.pca.raw.0.probe.status.json")
    assert status["status"] == "failed"
    assert sentence in status["reason"]
    assert (folder / "toy.pca.raw.0.probing.tsv").stat().st_size == 0
    stopped = call(folder, "--on_error", "stop", check=False)
    assert stopped.returncode == 2
    assert sentence in stopped.stderr
    assert "Traceback" not in stopped.stderr


def test_nothing_to_probe_is_not_applicable_with_its_table(folder):
    obs = read_table(folder / "toy.obs.parquet").assign(batch="only", label="T")
    write_table(obs, folder / "toy.obs.parquet")
    write_table(split_pairs(obs, n_folds=5, seed=123), folder / "toy.splits.parquet")
    call(folder, "--profile", "paper")
    status = json.loads((folder / "toy.pca.raw.0.probe.status.json").read_text())
    assert status["status"] == "not_applicable"
    assert status["reason_code"] == "one_label"
    assert "one_label, one_batch" in status["reason"]
    table = read_table(folder / "toy.pca.raw.0.probing.tsv")
    assert set(table["status"]) == {"not_applicable"}
    assert paper_table(table, model_name="m", target="label").empty
