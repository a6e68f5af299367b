"""Centroids are scored by one step and mapped by another; neither loses what the other makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_metrics import SIDECAR, main_of
from scfm.errors import ScfmError
from scfm.io.tables import read_json, read_table, write_json, write_table
from scfm.metrics import centroids
from scfm.metrics.centroids import PLACES
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed
from scfm.report.tables.maps import read_places, with_places
from test_umap_layout import write_files


@pytest.fixture(autouse=True)
def _embedding(tmp_path) -> None:
    """Write the files of one embedding of 60 cells: three labels in two batches."""
    rng = np.random.default_rng(0)
    ids, label, batch = np.array([f"c{i:02d}" for i in range(60)]), np.arange(60) % 3, (np.arange(60) // 3) % 2
    stem = write_files(
        tmp_path, "pca.raw.0", ids, (20 * np.eye(4)[label] + rng.normal(size=(60, 4))).astype(np.float32)
    )
    write_json(tmp_path / f"{stem}.json", SIDECAR | read_json(tmp_path / f"{stem}.json"))
    write_table(
        pd.DataFrame({"cell_id": ids, "batch": [f"b{i}" for i in batch], "label": [f"t{i}" for i in label]}).assign(
            scored=True
        ),
        tmp_path / "obs.parquet",
    )


def draw(folder: Path, maps: str) -> None:
    """Draw the UMAP and the maps of the embedding, with its neighbours where they are there."""
    stem = folder / "toy.pca.raw.0"
    write_json(folder / "params.json", {"centroid_maps": maps})
    knn = sorted(folder.glob("*.knn.npz"))
    main_of("draw_umaps")(
        [
            *("--embedding", f"{stem}.parquet", "--sidecar", f"{stem}.json", "--obs", str(folder / "obs.parquet")),
            *("--params", str(folder / "params.json"), "--outdir", str(folder)),
            *(["--knn", *map(str, knn)] if knn else []),
        ]
    )


def score(folder: Path) -> dict:
    """Score the embedding; return the status."""
    stem = folder / "toy.pca.raw.0"
    knn, sidecar, table = (stem.with_name(stem.name + ending) for ending in (".knn.npz", ".json", ".parquet"))
    main_of("score_embedding")(
        [
            *("--embedding", str(table), "--sidecar", str(sidecar), "--obs", str(folder / "obs.parquet")),
            *("--pca", str(table), "--knn", str(knn), "--profile", "paper", "--outdir", str(folder)),
        ]
    )
    return read_json(folder / "toy.pca.raw.0.score.status.json")


def centroids_in(folder: Path) -> pd.DataFrame:
    """Return the centroids, read as COLLECT_RESULTS does."""
    return read_typed(folder / "toy.pca.raw.0.centroids.tsv", "centroids", Schemas())


def test_scores_and_maps_make_the_published_table(tmp_path):
    assert score(tmp_path)["centroids"]["status"] == "ok"
    draw(tmp_path, "umap")
    places = read_places(tmp_path / "toy.pca.raw.0.centroid_maps.tsv", Schemas())
    bare = centroids_in(tmp_path)
    assert bare["umap_1"].isna().all()
    table = with_places(bare, [places, places], Schemas())
    Schemas().check(table, "centroids")
    assert (len(table), table["aligned"].all(), set(table["family"])) == (6, True, {"linear"})
    assert table["umap_1"].notna().all()
    assert table["tsne_1"].isna().all()
    pd.testing.assert_frame_equal(table.drop(columns=list(PLACES)), bare.drop(columns=list(PLACES)))
    with pytest.raises(ScfmError, match="6 centroids have two places in the maps"):
        with_places(bare, [places, places.assign(umap_1=0.0)], Schemas())


def test_without_maps_nothing_is_written(tmp_path):
    draw(tmp_path, "none")
    assert not list(tmp_path.glob("*.centroid_maps.tsv"))


def test_without_neighbours_the_umap_fails_and_the_map_stays(tmp_path):
    (tmp_path / "toy.pca.raw.0.knn.npz").unlink()
    draw(tmp_path, "umap")
    status = read_json(tmp_path / "toy.pca.raw.0.umap.status.json")
    assert (status["status"], status["warnings"]) == ("failed", [])
    assert "no neighbours" in status["reason"]
    assert read_places(tmp_path / "toy.pca.raw.0.centroid_maps.tsv", Schemas())["umap_1"].notna().all()


def test_centroids_that_fail_leave_the_scores_and_are_reported(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ScfmError("These centroids can't be.")

    monkeypatch.setattr(centroids, "compute_centroids", broken)
    status = score(tmp_path)
    assert status["status"] == "failed"
    assert status["reason"] == "The alignment of centroids failed: These centroids can't be."
    assert len(read_table(tmp_path / "toy.pca.raw.0.scores.tsv")) >= 5
    assert (tmp_path / "toy.pca.raw.0.centroids.tsv").stat().st_size == 0


def test_a_wrong_parameter_stops_before_anything_is_drawn(tmp_path):
    with pytest.raises(ScfmError, match="--centroid_maps is 'both'"):
        draw(tmp_path, "both")
    assert not list(tmp_path.glob("*.png"))


def test_a_single_batch_has_no_alignment(tmp_path):
    obs = read_table(tmp_path / "obs.parquet").assign(batch="only")
    write_table(obs, tmp_path / "obs.parquet")
    assert score(tmp_path)["status"] == "ok"
    table = centroids_in(tmp_path)
    assert (len(table), table["aligned"].isna().all(), set(table["nearest_batch"])) == (3, True, {""})
