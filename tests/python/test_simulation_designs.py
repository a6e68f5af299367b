"""Simulated designs with a planted truth: nesting, replicates, types of one donor, programmes and ambient counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scfm.errors import ScfmError
from scfm.simulation.counts import draw_counts, gene_table
from scfm.simulation.design import Design, design_of
from scfm.simulation.programmes import Programme
from scfm.simulation.truth import draw_truth

BASE = {"n_cells": 1200, "n_genes": 80, "n_types": 3, "n_conditions": 2, "n_donors": 3}


def _levels(obs: pd.DataFrame, rows: str, columns: str) -> np.ndarray:
    """Number of levels of ``columns`` in every level of ``rows``."""
    return (pd.crosstab(obs[rows], obs[columns]) > 0).sum(axis=1).to_numpy()


@pytest.mark.parametrize(
    ("nesting", "paired", "n_batches", "conditions_per_batch", "batches_per_donor"),
    [
        ("none", False, 3, 2, 3),
        ("batch_in_condition", False, 4, 1, 2),
        ("donor_in_batch", True, 3, 2, 1),
        ("donor_in_batch", False, 6, 1, 1),
        ("batch_is_donor", True, 3, 2, 1),
        ("batch_is_donor", False, 6, 1, 1),
        ("batch_is_sample", True, 6, 1, 2),
        ("batch_is_sample", False, 6, 1, 1),
    ],
)
def test_nesting(nesting, paired, n_batches, conditions_per_batch, batches_per_donor):
    obs = draw_truth(Design(**BASE, nesting=nesting, paired=paired, n_batches=n_batches), 0).obs
    assert (_levels(obs, "batch", "condition") == conditions_per_batch).all()
    assert (_levels(obs, "donor", "batch") == batches_per_donor).all()
    assert (_levels(obs, "donor", "condition") == (2 if paired else 1)).all()
    assert obs["batch"].nunique() == n_batches
    assert obs["donor"].nunique() == (3 if paired else 6)


def test_a_replicate_stands_for_subjects_of_different_sex_unless_donors_are_paired():
    obs = draw_truth(Design(**BASE), 0).obs
    assert (_levels(obs, "replicate", "condition") == 2).all() and (_levels(obs, "replicate", "sex") == 2).all()
    assert (_levels(obs, "donor", "sex") == 1).all()
    paired = draw_truth(Design(**BASE, paired=True), 0).obs
    assert (_levels(paired, "replicate", "sex") == 1).all() and (_levels(paired, "replicate", "donor") == 1).all()


def test_rare_types_and_types_of_one_donor():
    design = Design(**{**BASE, "n_cells": 20_000}, type_shares=(0.6, 0.397, 0.003), donor_types=[(1, 4)])
    obs = draw_truth(design, 0).obs
    assert (obs["cell_type"] == "type_2").mean() == pytest.approx(0.003 * (1 + 5 / 6 * 0.397 / 0.603), rel=0.25)
    assert set(obs["donor"][obs["cell_type"] == "type_1"]) == {"donor_4"}
    assert (obs["cell_type"][obs["donor"] == "donor_4"] == "type_1").mean() == pytest.approx(0.397, abs=0.03)
    plain = draw_truth(Design(**{**BASE, "n_cells": 20_000}, type_shares=(0.6, 0.397, 0.003)), 0).obs
    pd.testing.assert_frame_equal(plain.drop(columns="cell_type"), obs.drop(columns="cell_type"))


def test_a_programme_is_the_log_fold_change_of_its_cells_alone():
    activation = Programme("activation", ["FOS", "JUN"], size=1.5, types=[1], donors=[0, 2])
    truth = draw_truth(Design(**BASE, paired=True, programmes=(activation,)), 1)
    plain = draw_truth(Design(**BASE, paired=True), 1)
    pd.testing.assert_frame_equal(truth.obs.drop(columns="programme_activation"), plain.obs)
    member = (truth.obs["cell_type"] == "type_1") & truth.obs["donor"].isin(["donor_0", "donor_2"])
    np.testing.assert_array_equal(truth.obs["programme_activation"], member)
    genes = gene_table(truth)
    assert genes.index[:3].tolist() == ["FOS", "JUN", "SIM03"]
    assert genes["programme_activation"].tolist() == [1.5, 1.5] + [0.0] * 78
    change = np.log(truth.own_shares(truth.obs)) - np.log(plain.own_shares(plain.obs))
    inside, outside = change[member], change[~member]
    np.testing.assert_allclose(inside[:, 0] - inside[:, 2] + plain.base[0] - truth.base[0], 1.5, atol=1e-9)
    np.testing.assert_allclose(outside[:, 2:] - outside[:, 2:3], 0, atol=1e-9)


def test_counted_programmes_have_different_expressed_genes_half_raised_and_half_lowered():
    programmes = (Programme("de", 20, size=0.7, conditions=[1]), Programme("other", 10, batches=[0]))
    truth = draw_truth(Design(**BASE, programmes=programmes), 2)
    genes = gene_table(truth)
    de, other = genes["programme_de"], genes["programme_other"]
    assert (de == 0.7).sum() == (de == -0.7).sum() == 10 and (other != 0).sum() == 10
    assert not ((de != 0) & (other != 0)).any()
    assert genes["log_expression"][de != 0].min() >= genes["log_expression"].median()
    with pytest.raises(ScfmError, match=r"programme .de. asks for 50 genes of the upper half .* and 40 are left"):
        draw_truth(Design(**BASE, programmes=(Programme("de", 50),)), 2)


def test_ambient_counts_are_the_mean_profile_of_the_batch():
    given = {**BASE, "n_cells": 600, "n_batches": 2, "depth": 4000.0, "dispersion": 0.0, "donor_effect": 0.0}
    clean = draw_truth(Design(**given), 3)
    mixed = draw_truth(Design(**given, ambient_shares=(0.0, 0.4)), 3)
    shares = clean.own_shares(clean.obs)
    second = (clean.obs["batch"] == "batch_1").to_numpy()
    depth = clean.obs["depth"].to_numpy()
    profile = np.average(shares[second], axis=0, weights=depth[second])
    np.testing.assert_allclose(mixed.ambient[1], profile, rtol=1e-9)
    np.testing.assert_allclose(mixed.shares(slice(None))[~second], shares[~second], rtol=1e-12)
    np.testing.assert_allclose(mixed.shares(slice(None))[second], 0.6 * shares[second] + 0.4 * profile, rtol=1e-9)
    counts = sparse.vstack(list(draw_counts(mixed))).toarray()
    expected = (mixed.shares(slice(None)) * depth[:, None])[second].sum(axis=0)
    np.testing.assert_allclose(counts[second].sum(axis=0), expected, rtol=0.1, atol=5 * np.sqrt(expected.max()))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"nesting": "nested"}, "nesting is 'nested', expected none, batch_in_condition"),
        ({"nesting": "batch_is_sample"}, "n_batches is 2, expected 6 where nesting is batch_is_sample"),
        ({"nesting": "batch_in_condition", "n_batches": 1}, "n_batches is 1, expected 2 or more"),
        ({"nesting": "donor_in_batch", "n_batches": 9}, "there are 6 donors for 9 batches"),
        ({"donor_types": [[0, 6]]}, r"pairs of a type \(0 to 2\) and a donor \(0 to 5\)"),
        ({"donor_types": [[0, 0], [1, 0], [2, 0]]}, "one type left for the other donors"),
        ({"donor_types": [[0, 0]], "type_shares": [1, 0, 0]}, "has no other type"),
        ({"type_shares": [0.5, 0.5]}, "type_shares is .* expected 3 shares"),
        ({"ambient_shares": [0.1, 1.0]}, "expected 2 shares from 0 to below 1"),
        ({"programmes": [{"name": "a", "genes": 0}]}, "genes is 0, expected 1 or more"),
        ({"programmes": [{"name": "a", "genes": "FOS"}]}, "genes is 'FOS', expected"),
        ({"programmes": [{"name": "a b", "genes": 1}]}, "expected a name of letters"),
        ({"programmes": [{"name": "a", "genes": 1, "donors": [6]}]}, r"donors names \[6\], expected 0 to 5"),
        ({"programmes": [{"name": "a", "genes": 1}] * 2}, "expected different names"),
        ({"programmes": [{"name": "a", "gene": 1}]}, "no field 'gene'.*Did you mean 'genes'"),
        ({"programmes": [{"name": "a"}]}, "lacks the field 'genes'"),
    ],
)
def test_an_impossible_design_is_a_sentence(given, sentence):
    with pytest.raises(ScfmError, match=sentence):
        design_of({**BASE, **given})
