"""The step that draws UMAPs also writes centroids, and neither loses the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scfm.errors import ScfmError
from scfm.io.tables import read_json, read_table, write_table
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed
from scfm.umap import centroids
from scfm.umap.draw import draw_group
from test_umap_layout import write_files


@pytest.fixture
def group(tmp_path) -> dict:
    """Return the arguments for a group of one embedding of 60 cells: three labels in two batches."""
    rng = np.random.default_rng(0)
    ids, label, batch = np.array([f"c{i:02d}" for i in range(60)]), np.arange(60) % 3, (np.arange(60) // 3) % 2
    stem = write_files(
        tmp_path, "pca.raw.0", ids, (20 * np.eye(4)[label] + rng.normal(size=(60, 4))).astype(np.float32)
    )
    write_table(
        pd.DataFrame({"cell_id": ids, "batch": [f"b{i}" for i in batch], "label": [f"t{i}" for i in label]}),
        tmp_path / "obs.parquet",
    )
    return {
        "sidecars": [tmp_path / f"{stem}.json"],
        "embeddings": [tmp_path / f"{stem}.parquet"],
        "knn": [tmp_path / f"{stem}.knn.npz"],
        "obs_path": tmp_path / "obs.parquet",
        "params": {"centroid_maps": "umap"},
        "seed": 0,
        "n_threads": 1,
        "outdir": tmp_path,
        "on_error": "continue",
    }


def written(folder: Path) -> tuple[pd.DataFrame, dict]:
    """Return the centroids, read as COLLECT_RESULTS does, and the status."""
    return read_typed(folder / "toy.none.centroids.tsv", "centroids", Schemas()), read_json(
        folder / "toy.pca.raw.0.umap.status.json"
    )


def test_the_table_fits_its_schema(group, tmp_path):
    draw_group("none", **group)
    table, status = written(tmp_path)
    Schemas().check(table, "centroids")
    assert (len(table), table["aligned"].all(), status["status"], status["warnings"]) == (6, True, "ok", [])
    assert table["umap_1"].notna().all()
    assert table["tsne_1"].isna().all()
    assert set(table["family"]) == {"linear"}


def test_without_neighbours_the_umap_fails_and_the_rate_stays(group, tmp_path):
    draw_group("none", **{**group, "knn": []})
    table, status = written(tmp_path)
    assert len(table) == 6
    assert status["status"] == "failed"
    assert "no neighbours" in status["reason"]


def test_centroids_that_fail_leave_the_umap_and_are_told(group, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ScfmError("These centroids can't be.")

    monkeypatch.setattr(centroids, "compute_centroids", broken)
    draw_group("none", **group)
    table, status = written(tmp_path)
    assert table.empty
    assert (status["status"], status["reason"]) == ("failed", "These centroids can't be.")
    assert len(read_table(tmp_path / "none.umap.parquet")) == 60
    assert (tmp_path / "toy.pca.raw.0.umap_label.png").exists()


def test_a_wrong_parameter_stops_before_anything_is_drawn(group, tmp_path):
    with pytest.raises(ScfmError, match="--centroid_maps is 'both'"):
        draw_group("none", **{**group, "params": {"centroid_maps": "both"}})
    assert not list(tmp_path.glob("*.png"))


def test_a_single_batch_is_no_fault(group, tmp_path):
    obs = read_table(tmp_path / "obs.parquet").assign(batch="only")
    write_table(obs, tmp_path / "obs.parquet")
    draw_group("none", **group)
    table, status = written(tmp_path)
    assert status["status"] == "ok"
    assert (len(table), table["aligned"].isna().all(), set(table["nearest_batch"])) == (3, True, {""})
