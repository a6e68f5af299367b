"""Residual batch effect by label and pair: planted truth is found first, chance is not, and every part by itself."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score

from helpers_diagnosis import EARLY, cells_of, embed, plant, simulate
from scfm.diagnosis.causes import DOUBLET, KINDS, MEASURED, Explainer
from scfm.diagnosis.contrasts import contrast, differing_genes, moments
from scfm.diagnosis.explanations import PairExplanations
from scfm.diagnosis.graph_test import permuted_splits, split_test, vote_auroc
from scfm.diagnosis.pairs import PairFinder
from scfm.diagnosis.programmes import MIN_FOUND, PROGRAMMES, load_programmes, programme_scores
from scfm.diagnosis.residual import ALL, COLUMNS, _judged, residual_rows
from scfm.diagnosis.residual_messages import TITLES, residual_messages
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.io.tables import IDENTITY, read_json
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas
from scfm.simulation.programmes import Programme

SETTINGS = DiagnosisSettings()
PROGRAMMES_TABLE = load_programmes()
ABOUT = {"dataset": "sim", "method": "pca", "embedding": "pca.raw.0", "seed": 0}


def diagnosed(cells, near=None, settings: DiagnosisSettings = SETTINGS) -> pd.DataFrame:
    explainer = Explainer(cells, PROGRAMMES_TABLE, settings)
    return residual_rows(near or embed(cells), PairExplanations(explainer, PairFinder(cells, 20)), settings)


def pairs_of(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["batch_a"] != ALL].sort_values(["q_value", "auroc"], ascending=[True, False])


def planted(seed: int) -> pd.DataFrame:
    """Early response raised in label type_2 of the donors batch_1 and batch_2."""
    counts, obs = simulate(seed)
    rows = (obs["label"] == sorted(obs["label"].unique())[1]) & obs["batch"].isin(sorted(obs["batch"].unique())[:2])
    plant(counts, rows.to_numpy(), range(len(EARLY)), mean=4, seed=seed)
    return diagnosed(cells_of(counts, obs.drop(columns="donor")))


def is_first(table: pd.DataFrame) -> bool:
    """Whether the first pair is of the planted label and of one donor with and one without the programme."""
    labels = sorted(table["label"].unique())
    batches = sorted(set(table["batch_a"]) - {ALL} | set(table["batch_b"]) - {ALL})
    first = pairs_of(table).iloc[0]
    return first["label"] == labels[1] and len({first["batch_a"], first["batch_b"]} & set(batches[:2])) == 1


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return planted(0)


def test_a_planted_programme_is_named_with_its_label_and_pair(found: pd.DataFrame) -> None:
    assert is_first(found)
    first = pairs_of(found).iloc[0]
    assert first["significant"] and first["cause"] == "early_response" and abs(first["early_response"]) > 1
    assert {g.lstrip("+-") for g in first["top_genes"].split(",")[:8]} <= set(EARLY)
    told = residual_messages(found, SETTINGS, ABOUT)
    assert [(m["code"], m["values"]["label"]) for m in told] == [("W-RES-01", first["label"])]
    assert "early response or dissociation" in told[0]["text"] and "limit 0.8" in told[0]["text"]
    assert "these donors only" in told[0]["text"] and "state of the cells" in told[0]["advice"]


@pytest.mark.parametrize("seed", range(1, 10))
def test_the_planted_pair_is_first_and_other_labels_are_silent(seed: int) -> None:
    table = planted(seed)
    assert is_first(table)
    others = pairs_of(table).query("label != @label", local_dict={"label": sorted(table["label"].unique())[1]})
    assert others["significant"].mean() <= 0.1


@pytest.mark.slow
def test_the_planted_pair_is_first_in_95_of_100_and_findings_in_other_labels_are_few() -> None:
    """By simulation, the share of the significant pairs that are of another label is a false discovery proportion."""
    first, false = 0, []
    for seed in range(100):
        table = planted(seed)
        found = pairs_of(table).query("significant")
        first += is_first(table)
        false.append((found["label"] != sorted(table["label"].unique())[1]).mean() if len(found) else 0)
    assert first >= 95, first
    assert np.mean(false) <= 0.05 + 0.02, np.mean(false)


def runs_with_a_finding(n: int, settings: DiagnosisSettings) -> int:
    """In how many of n deals of random batches any pair is significant: all of these findings are false."""
    counts, obs = simulate(3, n_cells=300, n_genes=60, n_types=2, n_batches=3)
    cells = cells_of(counts, obs.drop(columns="donor"))
    near, explainer, false = embed(cells), Explainer(cells, PROGRAMMES_TABLE, settings), 0
    for seed in range(n):
        batch = np.random.default_rng(seed).permutation(cells.obs["batch"].to_numpy())
        explainer.cells = replace(cells, obs=cells.obs.assign(batch=batch))
        explained = PairExplanations(explainer, PairFinder(explainer.cells, 20))
        false += bool(pairs_of(residual_rows(near, explained, settings))["significant"].any())
    return false


def test_random_batches_are_rarely_significant() -> None:
    assert runs_with_a_finding(20, DiagnosisSettings(permutations=200)) <= stats.binom.ppf(0.99, 20, 0.05)


@pytest.mark.slow
def test_the_false_discovery_rate_on_random_batches() -> None:
    assert runs_with_a_finding(200, SETTINGS) / 200 <= 0.05 + 0.02


def test_an_effect_of_depth_is_called_technical() -> None:
    counts, obs = simulate(5, n_batches=2, batch_depth=[1.0, 3.0], n_cells=300)
    table = diagnosed(cells_of(counts, obs))
    rows = pairs_of(table)
    assert (rows["depth"].abs() > 2).all() and KINDS["depth"] == "technical"
    assert all(c.split(",")[0] == "depth" for c in rows["causes"])


def test_ambient_rna_is_recognised() -> None:
    """A fifth of the counts of batch 2 is the mean profile of the batch."""
    counts, obs = simulate(6, n_batches=2, n_cells=600, type_effect=1.5)
    rng = np.random.default_rng(0)
    second = (obs["batch"] == sorted(obs["batch"].unique())[1]).to_numpy()
    profile = counts[second].sum(axis=0) / counts[second].sum()
    counts[second] = rng.binomial(counts[second].astype(int), 0.8) + rng.poisson(
        profile * counts[second].sum(axis=1, keepdims=True) * 0.2
    )
    contaminated = pairs_of(diagnosed(cells_of(counts, obs)))
    clean, obs = simulate(6, n_batches=2, n_cells=600, type_effect=1.5)
    assert contaminated["ambient"].min() > 0.5 > pairs_of(diagnosed(cells_of(clean, obs)))["ambient"].max()


def test_the_columns_are_those_of_the_schema_and_every_cause_has_a_title(found: pd.DataFrame) -> None:
    schemas = Schemas(ASSETS)
    assert [*IDENTITY, *COLUMNS] == schemas.columns("residual")
    table = found.assign(dataset="d", embedding="pca.raw.0", method="pca", family="none", correction="raw", seed=0)
    schemas.check(table[schemas.columns("residual")].astype({"n_a": int}), "residual")
    assert {*MEASURED, DOUBLET} == set(TITLES) <= set(KINDS)


@pytest.mark.parametrize(("of_batch", "n_told"), [(EARLY[:8], 1), (EARLY[8:], 0)])
def test_genes_of_the_condition_that_also_differ_between_batches_are_said(of_batch: list[str], n_told: int) -> None:
    """A batch that changes the genes of the condition makes them no evidence; one that changes others does not."""
    planted_in = [
        Programme("response", EARLY[:8], 1.5, conditions=(1,)),
        Programme("effect", of_batch, 1.5, batches=(1,)),
    ]
    counts, obs = simulate(0, n_types=1, n_batches=2, n_conditions=2, programmes=planted_in)
    table = diagnosed(cells_of(counts, obs.drop(columns="donor")))
    told = [m for m in residual_messages(table, SETTINGS, ABOUT) if m["code"] == "W-RES-02"]
    assert len(told) == n_told
    assert all("also differ between batches (limit 20%)" in m["text"] and m["values"]["share"] > 0.4 for m in told)


def test_labels_that_can_not_be_compared_stay_in_the_table() -> None:
    counts, obs = simulate(0, n_cells=120, n_batches=2)
    labels = sorted(obs["label"].unique())
    obs.loc[obs["label"] == labels[0], "batch"] = "only"
    table = diagnosed(cells_of(counts, obs)).set_index("label")
    assert table.loc[labels[0], ["status", "reason"]].tolist() == ["not_applicable", "label_in_one_batch"]


def test_one_stratum_is_welchs_test_and_sizes_are_scipys() -> None:
    rng = np.random.default_rng(0)
    values = sparse.csr_matrix(rng.poisson(1.0, (60, 5)).astype(np.float32))
    codes = np.repeat([0, 1, -1], [20, 30, 10])
    got = contrast(moments(values, codes, 2), [0], [1])
    dense = values.toarray().astype(float)
    expected = stats.ttest_ind(dense[20:50], dense[:20], equal_var=False)
    np.testing.assert_allclose(got.p, expected.pvalue, rtol=1e-9)
    np.testing.assert_allclose(got.change, dense[20:50].mean(axis=0) - dense[:20].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(got.detected, np.maximum((dense[:20] > 0).mean(axis=0), (dense[20:50] > 0).mean(axis=0)))
    dense_moments = moments(dense, codes, 2)
    np.testing.assert_allclose(dense_moments.var, moments(values, codes, 2).var, atol=1e-9)


def test_strata_take_out_what_differs_between_them() -> None:
    """A gene that follows the condition, and conditions that are unequal in the batches: no difference inside one."""
    rng = np.random.default_rng(1)
    groups = np.repeat([0, 1, 2, 3], [90, 10, 10, 90])  # batch x condition
    values = rng.normal(0, 1, (200, 1)) + (groups % 2)[:, None] * 5
    found = moments(values, groups, 4)
    pooled = contrast(moments(values, groups // 2, 2), [0], [1])
    inside = contrast(found, [0, 1], [2, 3])
    assert abs(pooled.change[0]) > 3 and abs(inside.change[0]) < 1 and inside.p[0] > 0.01 > pooled.p[0]
    assert list(differing_genes(pooled, fdr=0.05, min_change=0.25)) == [0]


def test_the_auroc_of_votes_is_sklearns() -> None:
    rng = np.random.default_rng(2)
    votes, split = rng.integers(0, 6, (50, 3)), rng.random((50, 3)) < 0.4
    expected = [roc_auc_score(split[:, i], votes[:, i]) for i in range(3)]
    np.testing.assert_allclose(vote_auroc(votes, split, 5), expected, atol=1e-12)
    assert np.isnan(vote_auroc(votes[:, :1], np.ones((50, 1), dtype=bool), 5)[0])


def test_permutations_keep_strata_and_units() -> None:
    split = np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=bool)
    units = np.repeat(np.arange(4), 2)
    strata = np.zeros(8, dtype=int)
    drawn = np.concatenate(list(permuted_splits(split, units, strata, 50, np.random.default_rng(0))), axis=1)
    assert (drawn[::2] == drawn[1::2]).all() and (drawn.sum(axis=0) == 4).all() and len(np.unique(drawn, axis=1).T) == 6
    drawn = np.concatenate(list(permuted_splits(split, units, strata, 6000, np.random.default_rng(1))), axis=1)
    _, times = np.unique(drawn, axis=1, return_counts=True)
    assert len(times) == 6 and stats.chisquare(times).pvalue > 0.01
    strata = np.repeat([0, 1], 4)
    drawn = np.concatenate(list(permuted_splits(split, np.arange(8), strata, 50, np.random.default_rng(0))), axis=1)
    assert (drawn[:4].sum(axis=0) == 2).all()


def test_the_smallest_p_value_gets_more_permutations() -> None:
    near = np.array([[(i + step) % 40 for step in range(1, 6)] for i in range(40)])
    near = np.r_[near, near + 40]  # two rings
    split = np.repeat([False, True], 40)
    every = {"units": np.arange(80), "strata": np.zeros(80, dtype=int), "rng": np.random.default_rng(0)}
    test = split_test(near, split, n_draws=100, n_more=900, **every)
    assert test.auroc == 1 and test.n_permutations == 1000 and test.p_value == pytest.approx(1 / 1001)
    mixed = split_test(near, np.tile([False, True], 40), n_draws=100, n_more=900, **every)
    assert mixed.n_permutations == 100 and mixed.p_value > 0.2


def test_donors_are_exchanged_where_there_are_enough() -> None:
    counts, obs = simulate(0, n_cells=600, n_batches=2, n_types=1)
    number = obs.groupby("batch").cumcount()
    nested = obs.assign(donor=obs["batch"] + "_" + (number % 4).astype(str))
    levels = {}
    for name, table in {
        "nested": nested,
        "few": obs.assign(donor=obs["batch"] + "_" + (number % 3).astype(str)),
        "crossed": obs.assign(donor=(number % 3).astype(str)),
        "none": obs.drop(columns="donor"),
    }.items():
        pair = next(iter(PairFinder(cells_of(counts, table), 20).of_label(0)))
        levels[name] = (pair.level, len(np.unique(pair.units)), len(np.unique(pair.strata)))
    assert levels == {
        "nested": ("donors", 8, 1),
        "few": ("cells", 600, 1),
        "crossed": ("within_donors", 600, 3),
        "none": ("cells", 600, 1),
    }


def test_a_donor_whose_conditions_are_each_in_one_batch_is_not_exchanged_with_itself() -> None:
    """Donors and conditions in both batches, each donor in one condition of a batch: two batches apart had p = 1."""
    counts, obs = simulate(0, n_cells=400, n_batches=2, n_types=1, batch_effect=0.4)
    number = obs.groupby("batch").cumcount() % 2
    is_first = (obs["batch"] == obs["batch"].min()).to_numpy()
    crossover = obs.assign(
        donor=np.where(number == 0, "d0", "d1"), condition=np.where((number == 0) == is_first, "a", "b")
    )
    (found,) = pairs_of(diagnosed(cells_of(counts, crossover))).to_dict("records")
    assert (found["level"], found["within_condition"], found["significant"]) == ("cells", True, True)
    assert found["auroc"] > 0.9 and found["null_mean"] == pytest.approx(0.5, abs=0.05)
    # half of the cells in both: these are exchanged, and those of the other conditions are left out
    partly = crossover.assign(condition=np.where(obs.groupby("batch").cumcount() < 100, "a", crossover["condition"]))
    pair = next(iter(PairFinder(cells_of(counts, partly), 20).of_label(0)))
    assert pair.level == "within_donors"
    assert all(set(pair.split[pair.strata == stratum]) == {False, True} for stratum in np.unique(pair.strata))


def test_causes_are_of_the_cells_that_are_compared() -> None:
    """A donor of one batch only, who is not in the test, gave its sex as the cause of what differs in another donor."""
    counts, obs = simulate(0, n_cells=360, n_batches=2, n_types=1)
    y_genes, early = list(range(20, 25)), list(range(len(EARLY)))
    obs = obs.assign(batch=np.repeat(["b1", "b2"], [80, 280]), donor=np.repeat(["d1", "d2"], [160, 200]))
    obs = obs.drop(columns="condition")
    plant(counts, ((obs["donor"] == "d1") & (obs["batch"] == "b2")).to_numpy(), early, mean=2.0, seed=1)
    counts[:, y_genes] = 0
    plant(counts, (obs["donor"] == "d1").to_numpy(), y_genes, mean=8.0, seed=2)
    names = [*EARLY, *(f"Gene{i}" for i in range(counts.shape[1] - len(EARLY)))]
    for place, gene in zip(y_genes, ("RPS4Y1", "DDX3Y", "UTY", "KDM5D", "EIF1AY"), strict=True):
        names[place] = gene
    (found,) = pairs_of(diagnosed(cells_of(counts, obs, genes=names))).to_dict("records")
    assert (found["level"], found["n_b"], found["cause"]) == ("within_donors", 80, "early_response")
    assert abs(found["sex"]) < 0.5 and "RPS4Y1" not in found["top_genes"]


def test_batches_are_compared_inside_shared_conditions() -> None:
    counts, obs = simulate(0, n_cells=300, n_batches=2, n_types=1)
    number = obs.groupby("batch").cumcount() % 3
    crossed = cells_of(counts, obs.assign(condition=number.map({0: "a", 1: "b", 2: "b"})).drop(columns="donor"))
    pair = next(iter(PairFinder(crossed, 20).of_label(0)))
    assert pair.within_condition is True and set(pair.strata) == {0, 1}
    nested = cells_of(counts, obs.assign(condition=obs["batch"]).drop(columns="donor"))
    pair = next(iter(PairFinder(nested, 20).of_label(0)))
    assert pair.within_condition is False and len(pair.rows) == 300


def test_a_condition_of_two_cells_leaves_the_vote_of_all_others() -> None:
    """Two cells of another condition left every cell one neighbour to vote: AUROC 0.75 in place of 0.90."""
    counts, obs = simulate(0, n_cells=400, n_batches=2, n_types=1, batch_effect=0.1)
    obs = obs.drop(columns="donor").assign(condition="a")
    stray = obs.assign(condition=np.where(obs.groupby("batch").cumcount() == 0, "b", "a"))
    (whole,) = pairs_of(diagnosed(cells_of(counts, obs))).to_dict("records")
    (found,) = pairs_of(diagnosed(cells_of(counts, stray))).to_dict("records")
    assert (found["n_a"], found["n_b"]) == (whole["n_a"] - 1, whole["n_b"] - 1)
    assert found["auroc"] == pytest.approx(whole["auroc"], abs=0.01)


def test_causes_do_not_depend_on_the_embedding_that_is_diagnosed_first() -> None:
    counts, obs = simulate(0, n_cells=300, n_batches=2, n_types=1, batch_effect=0.2)
    cells = cells_of(counts, obs.assign(condition=obs["batch"]).drop(columns="donor"))
    finder = PairFinder(cells, 20)
    all_cells, some = next(iter(finder.of_label(0))), next(iter(finder.of_label(0, np.arange(0, 300, 2))))
    whole, half = (
        PairExplanations(Explainer(cells, PROGRAMMES_TABLE, SETTINGS), finder).of(p) for p in (all_cells, some)
    )
    assert (
        len(some.rows) < len(all_cells.rows)
        and whole.genes == half.genes
        and whole.measured == pytest.approx(half.measured, nan_ok=True)
    )


def test_programmes_are_complete_and_scored_by_scanpy() -> None:
    assert tuple(PROGRAMMES_TABLE) == PROGRAMMES and set(MIN_FOUND) == set(PROGRAMMES)
    for name, programme in PROGRAMMES_TABLE.items():
        assert len(programme.up | programme.down) >= 15, name
    counts, obs = simulate(0, n_cells=100)
    cells = cells_of(counts, obs)
    scores = programme_scores(cells.logged, cells.genes, PROGRAMMES_TABLE)
    known = np.isfinite(scores).all(axis=0)
    assert [n for n, k in zip(PROGRAMMES, known, strict=True) if k] == ["early_response"]


def test_the_parameters_are_those_of_the_settings() -> None:
    schema = read_json(ASSETS.parent / "nextflow_schema.json")["$defs"]["diagnosis_options"]["properties"]
    given = {name: rule["default"] for name, rule in schema.items() if name.startswith("diagnose_")}
    assert {name.removeprefix("diagnose_"): value for name, value in given.items()} == asdict(SETTINGS)
    assert DiagnosisSettings.of({"diagnose_auroc": 0.9, "other": 1}).auroc == 0.9


def test_a_label_of_too_few_cells_has_no_flag() -> None:
    rows = [
        {"label": x, "cilisi": c, "auroc": 0.6, "null_q99": 0.7, "status": "ok"}
        for x, c in zip("abcd", (0.8, 0.82, 0.84, 0.86), strict=True)
    ]
    rows.append({"label": "few", "cilisi": 0.1, "status": "not_applicable", "reason": "too_few_cells"})
    table = pd.DataFrame([row | {"batch_a": ALL, "batch_b": ALL, "flags": ""} for row in rows], columns=list(COLUMNS))
    assert _judged(table, SETTINGS)["flags"].tolist() == [""] * 5
    enough = table.assign(status="ok", auroc=0.6, null_q99=0.7)
    assert _judged(enough, SETTINGS)["flags"].tolist()[-1] == "cilisi,below_other_labels"
