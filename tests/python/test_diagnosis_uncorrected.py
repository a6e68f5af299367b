"""The uncorrected embedding that the diagnosis compares with, and its neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import helpers_diagnosis
from scfm.diagnosis import data
from scfm.diagnosis.data import Cells, uncorrected
from scfm.io.tables import write_embedding
from scfm.neighbors.search import find_neighbors


@pytest.fixture(name="cells", scope="module")
def _cells() -> Cells:
    return helpers_diagnosis.cells_of(*helpers_diagnosis.simulate(3))


@pytest.fixture(name="pca")
def _pca(cells: Cells, tmp_path: Path) -> Path:
    """Coordinates in another order than the cells."""
    order = np.random.default_rng(1).permutation(len(cells.ids))
    values = np.random.default_rng(2).standard_normal((len(order), 8)).astype(np.float32)
    write_embedding(tmp_path / "sim.pca.parquet", cells.ids[order], values)
    return tmp_path / "sim.pca.parquet"


def _no_search(*_args: object, **_more: object) -> None:
    raise AssertionError("the neighbours were searched")


def test_neighbours_of_the_method_pca_are_not_searched_again(
    cells: Cells, pca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(len(cells.ids))
    searched = uncorrected(pca, rows, cells)
    searched.near.write(tmp_path / "pca.knn.npz")
    monkeypatch.setattr(data, "find_neighbors", _no_search)
    given = uncorrected(pca, rows, cells, knn=tmp_path / "pca.knn.npz")
    np.testing.assert_array_equal(given.near.indices, searched.near.indices)
    np.testing.assert_array_equal(given.near.distances, searched.near.distances)
    np.testing.assert_array_equal(given.coordinates, searched.coordinates)


@pytest.mark.parametrize(("n_cells", "k"), [(None, 30), (400, 90)])
def test_neighbours_of_other_cells_or_fewer_are_not_used(
    cells: Cells, pca: Path, tmp_path: Path, n_cells: int | None, k: int
) -> None:
    rows = np.arange(len(cells.ids))
    searched = uncorrected(pca, rows, cells)
    find_neighbors(searched.coordinates[:n_cells], cells.ids[:n_cells], k=k).write(tmp_path / "pca.knn.npz")
    found = uncorrected(pca, rows, cells, knn=tmp_path / "pca.knn.npz")
    np.testing.assert_array_equal(found.near.indices, searched.near.indices)
