"""How obs columns lie to the batches, on tables small enough to read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from scfm.preparation.design import confounding, crossing

BATCH = pd.Series(["a"] * 4 + ["b"] * 4 + ["c"] * 4)


def bergsma(table):
    """Cramer's V with bias correction, written out as in the paper (r, c: levels; tildes: corrected ones)."""
    n, (r, c) = table.sum(), table.shape
    phi_tilde = max(0, chi2_contingency(table, correction=False).statistic / n - (r - 1) * (c - 1) / (n - 1))
    r_tilde, c_tilde = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    return np.sqrt(phi_tilde / min(r_tilde - 1, c_tilde - 1))


def test_independent_columns_of_many_levels_are_not_associated():
    """12 batches and 20 donors drawn apart from each other, 150 cells: plain V is 0.36, corrected near 0."""
    rng = np.random.default_rng(0)
    batch, donor = (pd.Series(rng.integers(0, k, 150).astype(str)) for k in (12, 20))
    assert association(pd.crosstab(batch, donor).to_numpy(), method="cramer") > 0.3
    assert crossing(batch, donor)["cramers_v"] < 0.1
    assert crossing(batch, batch + "x")["cramers_v"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("column", "relation"),
    [
        (list("xxxxyyyyzzzz"), "one_to_one"),
        (list("xxxxxxxxyyyy"), "batch_in_column"),
        (list("ppqqrrrrssss"), "column_in_batch"),
        (list("xyxyxyxyxyxy"), "crossed"),
        (list("xxxxxyyyzzzz"), "partial"),
    ],
)
def test_relations_and_cramers_v(column, relation):
    other = pd.Series(column)
    found = crossing(BATCH, other)
    assert found["relation"] == relation
    assert found["cramers_v"] == pytest.approx(bergsma(pd.crosstab(BATCH, other).to_numpy()))
    assert (found["levels"], found["n_cells"]) == (len(set(column)), 12)
    assert found["cramers_v"] == pytest.approx({"crossed": 0.0, "one_to_one": 1.0}.get(relation, found["cramers_v"]))


def test_missing_values_are_left_out_and_one_level_says_nothing():
    other = pd.Series([None, *list("xyxyxyx"), None, *list("xyx")])
    assert crossing(BATCH, other)["n_cells"] == 10
    assert crossing(BATCH, pd.Series(["x"] * 12)) is None
    assert crossing(pd.Series(["a"] * 12), pd.Series(list("xy") * 6)) is None
    assert crossing(BATCH, pd.Series([None] * 12, dtype=object)) is None


def test_columns_are_chosen_and_copies_are_reported():
    obs = pd.DataFrame(
        {
            "batch": BATCH,
            "label": list("TBTBTBTBTBTB"),
            "donor": list("ppqqrrrrssss"),
            "condition": None,
            "tissue": None,
        }
    )
    user = pd.DataFrame(
        {
            "sample": BATCH,
            "cell_type": obs["label"],
            "person": obs["donor"],
            "person_id": obs["donor"].map({"p": "1", "q": "2", "r": "3", "s": "4"}),
            "study": pd.Categorical(list("xxxxxxxxyyyy")),
            "barcode": [f"c{i}" for i in range(12)],
            "n_genes": np.arange(12),
            "constant": "z",
            "smoker": [True, True, False, False] * 3,
            "study_name": list("UUUUUUUUVVVV"),
        }
    )
    user = pd.concat([user] * 5, ignore_index=True).assign(barcode=[f"c{i}" for i in range(60)])
    obs = pd.concat([obs] * 5, ignore_index=True)
    found = confounding(obs, user, keys={"batch": "sample", "label": "cell_type", "donor": "person"}, skip=["sample"])
    assert [(e["column"], e["key"], e["relation"], e["same_as"]) for e in found] == [
        ("person", "donor", "column_in_batch", ["person_id"]),
        ("study", "", "batch_in_column", ["study_name"]),
        ("cell_type", "label", "crossed", []),
        ("smoker", "", "crossed", []),
    ]


def test_a_flag_that_splits_as_the_labels_do_is_their_copy_and_row_order_changes_nothing():
    obs = pd.DataFrame({"batch": BATCH, "label": list("TBTBTBTBTBTT")})
    user = pd.DataFrame({"flag": obs["label"] == "T", "other": list("xyyxxyxyyxyx")})
    first = confounding(obs, user, keys={})
    order = np.random.default_rng(0).permutation(12)
    again = confounding(obs.iloc[order].reset_index(drop=True), user.iloc[order].reset_index(drop=True), keys={})
    assert first == again
    assert [e["same_as"] for e in first if e["key"] == "label"] == [["flag"]]
