"""Statistics of the comparison of conditions against known answers and independent implementations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.sparse import csr_matrix

from scfm.errors import NotApplicable, ScfmError
from scfm.expression.conservation import Consensus, _joined, conservation, within_batches
from scfm.expression.contrast import make_contrast
from scfm.expression.moderated import moderated_test, variance_prior
from scfm.expression.null import permutation_null, permuted_conditions
from scfm.expression.pseudobulk import Pseudobulk, blocks_of_replicates, log_cpm, size_factors, sum_counts, unit_table
from scfm.expression.ranking import auroc, rank_genes
from scfm.expression.scvi_de import SCVI, SCVI_ALL_BATCHES, decoded_batches

RNG = np.random.default_rng(7)


def units_of(donors: str, conditions: str, n_cells: int = 50, batches: str | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": list(conditions),
            "batch": list(batches or donors),
            "donor": list(donors),
            "replicate": list(donors),
            "n_cells": n_cells,
        }
    )


def test_units_and_sums_are_those_of_a_group_by() -> None:
    cells = pd.DataFrame({"label": list("aabba"), "replicate": ["x", "y", "x", None, "x"]})
    counts = RNG.poisson(3, (5, 4))
    units, codes = unit_table(cells, ["label", "replicate"])
    assert units.to_dict("list") == {"label": ["a", "a", "b"], "replicate": ["x", "y", "x"], "n_cells": [2, 1, 1]}
    assert codes.tolist() == [0, 1, 2, -1, 0]
    blocks = [(np.array([3, 0]), csr_matrix(counts[[3, 0]])), (np.array([4, 1, 2]), csr_matrix(counts[[4, 1, 2]]))]
    total = sum_counts(blocks, codes, 3, 4)
    assert (total.toarray() == [counts[0] + counts[4], counts[1], counts[2]]).all()
    joined = Pseudobulk(units, total, np.array(list("wxyz"))).joined(["label"])
    assert joined.units.to_dict("list") == {"label": ["a", "b"], "n_cells": [3, 1]}
    assert (joined.counts.toarray() == [counts[[0, 1, 4]].sum(axis=0), counts[2]]).all()


@pytest.mark.reference
@pytest.mark.parametrize("sparse", [False, True])
def test_size_factors_are_those_of_pydeseq2(sparse: bool) -> None:
    from pydeseq2.dds import DeseqDataSet

    means = np.exp(RNG.normal(2, 1, 300)) * np.array([0.4, 1, 1, 2.5])[:, None]
    counts = RNG.poisson(means)
    if sparse:
        counts[RNG.random(counts.shape) < 0.6] = 0
    names = [f"s{i}" for i in range(4)]
    data = DeseqDataSet(
        counts=pd.DataFrame(counts, index=names, columns=[f"g{j}" for j in range(300)]),
        metadata=pd.DataFrame({"c": list("aabb")}, index=names),
        design="~c",
        quiet=True,
    )
    data.fit_size_factors(fit_type="poscounts" if sparse else "ratio")
    assert np.allclose(size_factors(counts), data.obs["size_factors"].to_numpy())


def test_a_gene_that_only_follows_depth_has_no_difference_in_log_cpm() -> None:
    counts = np.outer([1, 2, 4], np.arange(1000, 1200))
    values = log_cpm(counts)
    assert np.allclose(values, values[0], atol=2e-3)
    assert np.allclose(size_factors(counts), [0.5, 1, 2])


def test_the_contrast_leaves_out_small_units_and_blocks_with_one_condition() -> None:
    units = units_of("112233", "ababaa")
    contrast = make_contrast(units, design="donor + condition", level="b", reference="a", min_cells=10, min_samples=2)
    assert contrast.rows.tolist() == [0, 1, 2, 3]
    assert contrast.is_level.tolist() == [False, True, False, True]
    assert contrast.matrix.tolist() == [[0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]]
    units.loc[3, "n_cells"] = 9
    with pytest.raises(NotApplicable, match="'b' has 1 replicate") as error:
        make_contrast(units, design="donor + condition", level="b", reference="a", min_cells=10, min_samples=2)
    assert error.value.code == "few_replicates"
    with pytest.raises(ScfmError, match="unknown"):
        make_contrast(units, design="~ donor", level="b", reference="a", min_cells=10, min_samples=2)


def test_lanes_of_one_donor_are_no_replicates() -> None:
    units = units_of("1122", "aabb", batches="xyxy")
    with pytest.raises(NotApplicable, match="1 replicate"):
        make_contrast(units, design="batch + condition", level="b", reference="a", min_cells=10, min_samples=2)


def test_replicates_are_compared_with_those_of_the_same_batches() -> None:
    """1 and 2 are in x, 3 is in x and y (three cells of it in z say nothing), 4 has few cells everywhere."""
    rows = [("a", "1", "x", 50), ("b", "2", "x", 50), ("a", "3", "x", 50), ("a", "3", "y", 50), ("a", "3", "z", 3)]
    rows += [("b", "4", "x", 6), ("b", "4", "y", 5)]
    units = pd.DataFrame(rows, columns=["condition", "replicate", "batch", "n_cells"])
    bulk = Pseudobulk(units, csr_matrix(np.arange(7)[:, None]), np.array(["g"]))
    found = bulk.by_replicate(blocks_of_replicates(units, min_cells=10))
    assert found.counts.toarray().ravel().tolist() == [0, 2 + 3 + 4, 1, 5 + 6]
    assert found.units["batch"].tolist() == ["x", "x\x1fy", "x", "x\x1fy"]
    assert found.units["n_cells"].tolist() == [50, 103, 50, 11]
    alone = units.assign(batch=list("xyzxyzx"), replicate=list("1234567"))
    assert blocks_of_replicates(alone, min_cells=10)["batch"].sort_values().tolist() == sorted("xyzxyzx")


def test_a_design_without_residuals_is_refused() -> None:
    units = units_of("1234", "abab", batches="1122")
    contrast = make_contrast(units, design="batch + condition", level="b", reference="a", min_cells=1, min_samples=2)
    assert contrast.matrix.shape == (4, 3)
    with pytest.raises(NotApplicable, match="nothing to estimate") as error:
        make_contrast(units[:2], design="condition", level="b", reference="a", min_cells=1, min_samples=1)
    assert error.value.code == "no_residual"


def test_the_moderated_test_without_prior_information_is_the_ordinary_one() -> None:
    """With variances that differ a lot the prior has few degrees of freedom; the coefficient is least squares."""
    statsmodels = pytest.importorskip("statsmodels.api")
    matrix = np.column_stack([np.tile([0.0, 1.0], 4), np.ones(8), np.repeat([0, 1], 4)])
    values = RNG.normal(size=(8, 60)) * np.exp(RNG.normal(size=60)) + 0.5 * matrix[:, [0]]
    found = moderated_test(values, matrix)
    for gene in range(0, 60, 7):
        fit = statsmodels.OLS(values[:, gene], matrix).fit()
        assert found.log_fold_change[gene] == pytest.approx(fit.params[0])
        total = found.prior_df + fit.df_resid
        variance = (found.prior_df * found.prior_variance + fit.df_resid * fit.mse_resid) / total
        error = fit.bse[0] * np.sqrt(variance / fit.mse_resid)
        assert found.statistic[gene] == pytest.approx(fit.params[0] / error)
        assert found.p_value[gene] == pytest.approx(2 * stats.t.sf(abs(fit.params[0] / error), total))


@pytest.mark.parametrize(("prior_df", "prior_variance", "df"), [(4.0, 0.3, 4), (10.0, 2.0, 2), (30.0, 0.05, 8)])
def test_the_prior_is_found_again_and_agrees_with_maximum_likelihood(
    prior_df: float, prior_variance: float, df: int
) -> None:
    """Variances drawn from the model; the independent fit maximises the likelihood of their F distribution."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    truth = prior_df * prior_variance / rng.chisquare(prior_df, 20_000)
    variance = truth * rng.chisquare(df, 20_000) / df
    found_df, found_variance = variance_prior(variance, df)
    fit = minimize(
        lambda x: -stats.f.logpdf(variance / np.exp(x[1]), df, np.exp(x[0])).sum() + len(variance) * x[1],
        [np.log(8.0), np.log(variance.mean())],
        method="Nelder-Mead",
    )
    assert found_df == pytest.approx(np.exp(fit.x[0]), rel=0.2)
    assert found_variance == pytest.approx(np.exp(fit.x[1]), rel=0.05)
    assert found_variance == pytest.approx(prior_variance, rel=0.05)


def test_equal_variances_have_an_infinite_prior() -> None:
    rng = np.random.default_rng(1)
    df, variance = variance_prior(2.0 * rng.chisquare(3, 50) / 3 * 0 + 2.0, 3)
    assert np.isinf(df) and variance > 0


def test_moderated_p_values_are_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(6, 4000)) * np.sqrt(4 / rng.chisquare(4, 4000))
    matrix = np.column_stack([np.repeat([0, 1], 3), np.ones(6)])
    assert stats.kstest(moderated_test(values, matrix).p_value, "uniform").pvalue > 0.01


def test_permutations_are_distinct_keep_the_blocks_and_leave_out_the_truth_and_its_mirror() -> None:
    is_level, blocks = np.tile([False, True], 4), np.repeat(np.arange(4), 2)
    found = permuted_conditions(is_level, blocks, n=50, rng=np.random.default_rng(0))
    assert len(found) == 7  # 2^4 assignments in pairs of mirrors, less the truth
    for assignment in found:
        assert [int(assignment[blocks == b].sum()) for b in range(4)] == [1, 1, 1, 1]
        assert assignment.tolist() not in (is_level.tolist(), (~is_level).tolist())
    unbalanced = permuted_conditions(np.array([1, 0, 0, 0]), np.zeros(4), n=50, rng=np.random.default_rng(0))
    assert len(unbalanced) == 3
    many = permuted_conditions(np.repeat([0, 1], 12), np.zeros(24), n=20, rng=np.random.default_rng(0))
    assert len({a.tobytes() for a in many}) == 20


def test_the_null_finds_nothing_and_the_truth_does() -> None:
    rng = np.random.default_rng(2)
    units = units_of("112233445566", "ab" * 6)
    contrast = make_contrast(units, design="donor + condition", level="b", reference="a", min_cells=1, min_samples=2)
    values = rng.normal(size=(12, 1000))
    values[:, :100] += 3 * contrast.is_level[:, None]
    null = permutation_null(values, contrast, n=20, fdr=0.05, rng=rng)
    assert null.observed > 90
    assert np.median(null.permuted) <= 1 and len(null.permuted) == 20
    few = make_contrast(units[:4], design="donor + condition", level="b", reference="a", min_cells=1, min_samples=2)
    with pytest.raises(NotApplicable, match="1 distinct permutation"):
        permutation_null(values[:4], few, n=20, fdr=0.05, rng=rng)


def test_auroc_is_mann_whitney_and_ranks_the_changed_gene_first() -> None:
    rng = np.random.default_rng(4)
    counts, is_level = rng.poisson(2, (60, 30)), np.arange(60) < 25
    counts[is_level, 3] += 4
    found = auroc(csr_matrix(counts).tocsc(), is_level)
    for gene in range(30):
        u = stats.mannwhitneyu(counts[is_level, gene], counts[~is_level, gene]).statistic
        assert found[gene] == pytest.approx(u / (25 * 35))
    sums = np.array([counts[is_level].sum(axis=0), counts[~is_level].sum(axis=0)])
    table = rank_genes(csr_matrix(counts).tocsc(), sums, is_level, np.arange(30))
    assert table["statistic"].idxmax() == 3 == table["log_fold_change"].idxmax()
    assert table["log_fold_change"].drop(index=3).abs().max() < 1


def test_conservation_of_the_consensus_itself_is_perfect_and_of_noise_is_chance() -> None:
    rng = np.random.default_rng(6)
    genes = np.array([f"g{i}" for i in range(1000)])
    change = np.where(np.arange(1000) < 50, 3.0, 0.0) + 0.1 * rng.normal(size=1000)
    q = np.where(np.arange(1000) < 50, 1e-6, 0.8)
    consensus = Consensus(genes, change, q, ("x", "y"))
    same = conservation(
        pd.DataFrame({"gene": genes, "log_fold_change": change, "statistic": change}), consensus, fdr=0.05
    )
    assert same["lfc_spearman"] == pytest.approx(1) and same["auprc"] == 1 and same["n_consensus"] == 50
    noise = pd.DataFrame({"gene": genes, "log_fold_change": rng.normal(size=1000), "statistic": rng.normal(size=1000)})
    random = conservation(noise, consensus, fdr=0.05)
    assert abs(random["lfc_spearman"]) < 0.1 and random["auprc"] < 0.15 and random["auprc_chance"] == 0.05


@pytest.mark.parametrize("replicates", [1, 3])
def test_batches_are_joined_with_and_without_replicates_in_them(replicates: int) -> None:
    rng = np.random.default_rng(8)
    batch = np.repeat(np.arange(4), 2 * replicates).astype(str)
    is_level = np.tile(np.repeat([False, True], replicates), 4)
    values = rng.normal(size=(len(batch), 500)) + 5 * (batch == "0")[:, None]
    values[:, :50] += 5 * is_level[:, None]
    found = within_batches(values, batch, is_level, np.arange(500))
    assert found.batches == ("0", "1", "2", "3")
    assert (found.q_value[:50] < 0.05).mean() > 0.9 and (found.q_value[50:] < 0.05).mean() < 0.03
    assert found.log_fold_change[:50].mean() == pytest.approx(5, abs=0.5)
    with pytest.raises(NotApplicable, match="1 batch has both conditions"):
        within_batches(values, batch, is_level & (batch == "0"), np.arange(500))


def test_joined_batches_of_three_units_keep_the_level_of_their_test() -> None:
    rng = np.random.default_rng(11)
    levels = [np.array([1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0])]
    scale = np.sqrt(4 / rng.chisquare(4, size=20_000))  # variances differ between genes
    tests = [
        moderated_test(rng.normal(size=(3, 20_000)) * scale, np.column_stack([level, np.ones(3)])) for level in levels
    ]
    p_value = _joined(tests, levels)
    assert (p_value < 0.05).mean() == pytest.approx(0.05, abs=0.01)
    assert (p_value < 0.001).mean() < 0.004
    for gene in range(20):
        halves = [(test.p_value[gene] / 2, test.statistic[gene] > 0) for test in tests]
        upper = [half if is_up else 1 - half for half, is_up in halves]
        library = stats.combine_pvalues(upper, "stouffer").pvalue  # both batches have the same information
        assert p_value[gene] == pytest.approx(2 * min(library, 1 - library))


def test_the_batches_that_scvi_decodes_follow_from_the_design() -> None:
    batch, is_level = np.array(list("xyzxyw")), np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    assert decoded_batches("nested", batch, is_level) == {SCVI: (False, None), SCVI_ALL_BATCHES: (True, None)}
    assert decoded_batches("crossed", batch, is_level) == {SCVI: (True, (["x", "y"], ["x", "y"]))}
    for relation, rows in (("partial", slice(None)), ("crossed", [2, 5])):
        with pytest.raises(NotApplicable, match="overlapping") as error:
            decoded_batches(relation, batch[rows], is_level[rows])
        assert error.value.code == "partial_overlap"
