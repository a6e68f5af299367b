"""UMAPs: reproducible, keyed by cell id, and one bad embedding does not spoil the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors

from scfm.errors import NotApplicable, ScfmError
from scfm.io.tables import read_json, read_table, write_embedding, write_json, write_table
from scfm.neighbors.table import read_neighbors
from scfm.umap.draw import COLUMNS, umap_table

BIN = Path(__file__).resolve().parents[2] / "bin"
SETTINGS = {"min_dist": 0.5, "max_cells": 50000, "seed": 0}


def write_files(folder: Path, name: str, ids: np.ndarray, values: np.ndarray, *, k: int = 20) -> str:
    """Write table, sidecar and neighbours of one embedding; return its id."""
    stem = f"toy.{name}"
    write_embedding(folder / f"{stem}.parquet", ids, values)
    write_json(
        folder / f"{stem}.json",
        {
            "dataset": "toy",
            "embedding": name,
            "method": name.split(".", maxsplit=1)[0],
            "family": "linear",
            "output_type": "embedding",
        },
    )
    distances, indices = NearestNeighbors(n_neighbors=min(k, len(ids) - 1)).fit(values).kneighbors()
    own = np.arange(len(ids))[:, None]
    np.savez(
        folder / f"{stem}.knn.npz",
        cell_ids=ids.astype(str),
        indices=np.hstack([own, indices]).astype(np.int32),
        distances=np.hstack([0.0 * own, distances]).astype(np.float32),
    )
    return stem


@pytest.fixture(scope="module")
def toy():
    """Return ids, obs and an embedding of three far groups."""
    rng = np.random.default_rng(0)
    ids, label = rng.permutation([f"c{i:03d}" for i in range(120)]), np.arange(120) % 3
    values = (30 * np.eye(5)[label] + rng.normal(size=(120, 5))).astype(np.float32)
    obs = pd.DataFrame(
        {"cell_id": ids, "batch": np.where(np.arange(120) % 2, "b1", "b2"), "label": np.array(list("xyz"))[label]}
    )
    return ids, obs, values


def drawn(folder: Path, stem: str, **changes) -> pd.DataFrame:
    name = stem.removeprefix("toy.")
    return umap_table(folder / f"{stem}.parquet", folder / f"{stem}.knn.npz", name=name, **{**SETTINGS, **changes})


def test_groups_that_are_apart_stay_apart(toy, tmp_path):
    ids, obs, values = toy
    table = drawn(tmp_path, write_files(tmp_path, "pca.raw.0", ids, values))
    assert list(table.columns) == COLUMNS
    assert list(table["cell_id"]) == sorted(ids)
    points = table.merge(obs, on="cell_id").groupby("label")[["umap_1", "umap_2"]]
    middle = points.mean().to_numpy()
    between = min(np.linalg.norm(middle[i] - middle[j]) for i in range(3) for j in range(i))
    assert between > 2 * points.std().to_numpy().max()


def test_row_order_of_any_file_changes_nothing_but_the_seed_does(toy, tmp_path):
    ids, _, values = toy
    stem = write_files(tmp_path, "pca.raw.0", ids, values)
    first = drawn(tmp_path, stem)
    order = np.random.default_rng(3).permutation(len(ids))
    (tmp_path / "other").mkdir()
    write_files(tmp_path / "other", "pca.raw.0", ids[order], values[order])
    write_table(read_table(tmp_path / f"{stem}.parquet").iloc[order[::-1]], tmp_path / "other" / f"{stem}.parquet")
    pd.testing.assert_frame_equal(first, drawn(tmp_path / "other", stem), check_exact=True)
    assert not np.allclose(first["umap_1"], drawn(tmp_path, stem, seed=1)["umap_1"])


def test_epochs_are_500_unless_given(toy, tmp_path):
    ids, _, values = toy
    stem = write_files(tmp_path, "a.raw.0", ids, values)
    pd.testing.assert_frame_equal(drawn(tmp_path, stem), drawn(tmp_path, stem, n_epochs=500))
    few = drawn(tmp_path, stem, n_epochs=20)
    assert (few["umap_1"] != drawn(tmp_path, stem)["umap_1"]).all()


def test_identical_cells_are_no_error(toy, tmp_path):
    ids, _, values = toy
    table = drawn(tmp_path, write_files(tmp_path, "label_onehot.raw.0", ids, np.round(values / 30)))
    assert np.isfinite(table[["umap_1", "umap_2"]].to_numpy()).all()


def test_many_cells_are_sampled_alike_for_all_embeddings(toy, tmp_path):
    ids, _, values = toy
    one = drawn(tmp_path, write_files(tmp_path, "pca.raw.0", ids, values), max_cells=60)
    two = drawn(tmp_path, write_files(tmp_path, "scvi.raw.0", ids, values**2), max_cells=60)
    assert len(one) == 59
    assert one.attrs["n_cells"] == 120
    assert list(one["cell_id"]) == list(two["cell_id"]) == sorted(one["cell_id"])


def test_a_sample_follows_the_labels_and_has_all_of_them(toy, tmp_path):
    ids, _, values = toy
    labels = pd.Series(["rare"] * 2 + ["common"] * 88 + [None] * 30, index=ids)
    table = drawn(tmp_path, write_files(tmp_path, "pca.raw.0", ids, values), max_cells=30, labels=labels)
    counts = labels.reindex(table["cell_id"]).fillna("none").value_counts()
    assert counts["rare"] == 1
    assert counts["common"] == 20
    assert counts["none"] == 7
    assert len(table) <= 30


def test_too_few_cells_and_strange_files_are_reasons(toy, tmp_path):
    ids, _, values = toy
    stem = write_files(tmp_path, "pca.raw.0", ids[:9], values[:9])
    with pytest.raises(NotApplicable, match="A UMAP of 9 cells says nothing") as caught:
        drawn(tmp_path, stem)
    assert caught.value.code == "too_few_cells"
    stem = write_files(tmp_path, "pca.raw.0", ids, values)
    write_embedding(tmp_path / f"{stem}.parquet", ids[5:], values[5:])
    with pytest.raises(ScfmError, match=r"5 of the 120 cells .* have no row"):
        drawn(tmp_path, stem)
    np.savez(
        tmp_path / "a.npz",
        cell_ids=ids.astype(str),
        indices=np.roll(np.arange(120), 1)[:, None],
        distances=np.zeros((120, 1)),
    )
    with pytest.raises(ScfmError, match=r"a\.npz: the first neighbour of every cell must be the cell itself"):
        read_neighbors(tmp_path / "a.npz")


def test_one_bad_embedding_leaves_the_others(toy, tmp_path):
    """Through the executable, so that imports, arguments and the common process are tested too."""
    ids, obs, values = toy
    write_table(obs, tmp_path / "toy.obs.parquet")
    write_json(tmp_path / "params.json", {"umap_min_dist": 0.3, "umap_max_cells": 50000})
    good = [write_files(tmp_path, n, ids, values) for n in ("pca.raw.0", "pca.center_l2.0")]
    bad = write_files(tmp_path, "broken.raw.0", ids, values)
    (tmp_path / f"{bad}.knn.npz").unlink()
    small = write_files(tmp_path, "small.raw.0", ids[:5], values[:5])
    stems = [*good, bad, small]
    command = [
        sys.executable,
        BIN / "draw_umaps.py",
        "--obs",
        "toy.obs.parquet",
        "--params",
        "params.json",
        "--embedding",
        *[f"{s}.parquet" for s in stems],
        "--sidecar",
        *[f"{s}.json" for s in stems],
        "--knn",
        *[f"{s}.knn.npz" for s in stems if s != bad],
    ]
    result = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    for stem in stems:
        status = read_json(tmp_path / f"{stem}.umap.status.json")
        assert status["status"] == {bad: "failed", small: "not_applicable"}.get(stem, "ok")
        assert (tmp_path / f"{stem}.umap.parquet").stat().st_size == 0 or stem in good
        for key in ("batch", "label"):
            assert (tmp_path / f"{stem}.umap_{key}.png").exists() == (stem in good)
    for stem in good:
        table = read_table(tmp_path / f"{stem}.umap.parquet")
        assert list(table.columns) == COLUMNS
        assert table.groupby("embedding").size().to_dict() == {stem.removeprefix("toy."): 120}
    assert "no neighbours among the files" in read_json(tmp_path / f"{bad}.umap.status.json")["reason"]
    assert (tmp_path / "toy.pca.umap_gallery.png").stat().st_size > 20_000
    assert len(list(tmp_path.glob("*gallery.png"))) == 1
