"""The simulator: moments, seeds, chunks, composition, and a file that the pipeline's check accepts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bin"))

import simulate_cells
from scfm.errors import ScfmError
from scfm.simulation.counts import draw_counts, gamma_poisson, gene_table, write_h5ad
from scfm.simulation.design import Design, design_of
from scfm.simulation.truth import draw_truth

SMALL = Design(n_cells=700, n_genes=60, n_types=3, n_batches=2)


def _all(truth, chunk: int = 4096) -> np.ndarray:
    return sparse.vstack(list(draw_counts(truth, chunk))).toarray()


@pytest.mark.parametrize("dispersion", [0.0, 0.2, 1.5])
def test_counts_have_the_moments_of_a_negative_binomial(dispersion: float) -> None:
    means = np.tile([0.5, 3.0, 20.0], (60_000, 1))
    found = gamma_poisson(means, dispersion, np.random.default_rng(0))
    np.testing.assert_allclose(found.mean(axis=0), means[0], rtol=0.03)
    np.testing.assert_allclose(found.var(axis=0), means[0] + dispersion * means[0] ** 2, rtol=0.06)
    zero = (
        np.exp(-means[0]) if dispersion == 0 else stats.nbinom.pmf(0, 1 / dispersion, 1 / (1 + dispersion * means[0]))
    )
    np.testing.assert_allclose((found == 0).mean(axis=0), zero, atol=0.01)


def test_totals_follow_the_depth_and_genes_their_expected_shares() -> None:
    design = Design(
        n_cells=4000, n_genes=80, n_types=1, n_batches=2, n_donors=1, depth=3000, depth_spread=0.0,
        batch_depth=(1.0, 0.5), batch_effect=0.5, donor_effect=0.0, dispersion=0.05,
    )  # fmt: skip
    truth = draw_truth(design, 3)
    counts = _all(truth)
    for batch, depth in (("batch_0", 3000), ("batch_1", 1500)):
        rows = (truth.obs["batch"] == batch).to_numpy()
        assert counts[rows].sum(axis=1).mean() == pytest.approx(depth, rel=0.02)
        expected = truth.shares(slice(None))[rows][0]
        seen = counts[rows].sum(axis=0) / counts[rows].sum()
        strong = expected > 0.005
        np.testing.assert_allclose(seen[strong], expected[strong], rtol=0.06)


def test_an_effect_is_the_log_fold_change_of_the_rates() -> None:
    truth = draw_truth(Design(n_cells=300, n_conditions=2, condition_effect=1.0, responding_types=[0]), 1)
    obs, shares = truth.obs, truth.shares(slice(None))
    effect = gene_table(truth)["effect_condition_1"].to_numpy()
    assert (gene_table(truth)["effect_condition_0"] == 0).all()
    assert np.mean(effect != 0) == pytest.approx(0.1, abs=0.03)
    logs = (
        np.log(shares) - truth.effects["donor"][obs["donor"].cat.codes] - truth.effects["batch"][obs["batch"].cat.codes]
    )
    for kind, expected in (("type_0", effect), ("type_1", 0 * effect)):
        a, b = (np.flatnonzero((obs["cell_type"] == kind) & (obs["condition"] == f"condition_{i}"))[0] for i in (1, 0))
        change = logs[a] - logs[b]
        np.testing.assert_allclose(change - change[effect == 0][0], expected, atol=1e-9)


def test_composition_batch_sizes_and_donors_are_as_designed() -> None:
    design = Design(
        n_cells=20_000, n_genes=2, n_types=2, n_batches=2, n_conditions=2, n_donors=3, batch_shares=(0.9, 0.1),
        composition=((0.97, 0.03), (0.03, 0.97)),
    )  # fmt: skip
    obs = draw_truth(design, 0).obs
    table = pd.crosstab(obs["batch"], obs["cell_type"])
    assert table.sum(axis=1)["batch_1"] / len(obs) == pytest.approx(0.1, abs=0.01)
    shares = table.div(table.sum(axis=1), axis=0).to_numpy()
    np.testing.assert_allclose(shares, [[0.97, 0.03], [0.03, 0.97]], atol=0.015)
    assert (pd.crosstab(obs["donor"], obs["condition"]) > 0).sum(axis=1).eq(1).all() and obs["donor"].nunique() == 6
    paired = draw_truth(design_of({"paired": True, "n_conditions": 2}), 0).obs
    assert (pd.crosstab(paired["donor"], paired["condition"]) > 0).all(axis=None) and paired["donor"].nunique() == 3


def test_same_seed_same_counts_other_seed_others_whatever_the_chunks() -> None:
    truth = draw_truth(SMALL, 5)
    whole = _all(truth)
    for chunk in (1000, 256, 100, 37):
        np.testing.assert_array_equal(_all(draw_truth(SMALL, 5), chunk), whole)
    pd.testing.assert_frame_equal(draw_truth(SMALL, 5).obs, truth.obs)
    assert not np.array_equal(_all(draw_truth(SMALL, 6)), whole)


def test_a_stronger_effect_changes_nothing_but_itself() -> None:
    first, second = draw_truth(SMALL, 2), draw_truth(Design(**{**vars(SMALL), "batch_effect": 0.6}), 2)
    pd.testing.assert_frame_equal(first.obs, second.obs)
    np.testing.assert_array_equal(first.effects["cell_type"], second.effects["cell_type"])
    np.testing.assert_allclose(second.effects["batch"], 2 * first.effects["batch"])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"n_cells": 0}, "n_cells is 0, expected a whole number of 1 or more"),
        ({"dispersion": -1}, "dispersion is -1, expected 0 or more"),
        ({"composition": [[0.5, 0.6]]}, "composition has 1 rows, expected 2"),
        ({"batch_shares": [0.5, 0.6]}, "expected 2 shares that sum to 1"),
        ({"responding_types": [9]}, r"responding_types names \[9\], expected 0 to 3"),
        ({"batch_efect": 1}, "batch_efect.*Did you mean 'batch_effect'"),
        ({"n_cells": "many"}, "n_cells is many, expected a whole number of 1 or more"),
        ({"n_types": 2.5}, "n_types is 2.5, expected a whole number of 1 or more"),
        ({"depth": "deep"}, "of a wrong kind"),
        ([1], "an object of fields by name; found list"),
    ],
)
def test_an_impossible_design_is_a_sentence(given, sentence: str) -> None:
    with pytest.raises(ScfmError, match=sentence):
        design_of(given)


def test_a_negative_seed_is_a_sentence() -> None:
    with pytest.raises(ScfmError, match="seed is -1; expected a whole number of 0 or more"):
        draw_truth(SMALL, -1)


def test_the_executable_writes_the_same_file_in_any_chunks(tmp_path: Path) -> None:
    (tmp_path / "design.json").write_text(json.dumps({"n_types": 3, "n_genes": 60}))
    common = ["--quiet", "--design", str(tmp_path / "design.json"), "--n_cells", "700", "--seed", "5"]
    simulate_cells.main([*common, "--output", str(tmp_path / "new" / "a.h5ad"), "--chunk_cells", "150"])
    write_h5ad(draw_truth(SMALL, 5), tmp_path / "b.h5ad")
    first, second = ad.read_h5ad(tmp_path / "new" / "a.h5ad"), ad.read_h5ad(tmp_path / "b.h5ad")
    assert first.shape == (700, 60) and sparse.isspmatrix_csr(first.X) and first.X.dtype == np.float32
    assert (first.X != second.X).nnz == 0 and (first.X.data == np.rint(first.X.data)).all()
    pd.testing.assert_frame_equal(first.obs, second.obs)
    np.testing.assert_array_equal(first.X.toarray(), _all(draw_truth(SMALL, 5)))
    assert json.loads(first.uns["simulation"])["seed"] == 5
    assert list(tmp_path.rglob("*.part")) == []
