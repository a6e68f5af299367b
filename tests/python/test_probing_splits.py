"""The splits: every scored cell once, stratified, independent of row order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm.errors import ScfmError
from scfm.probing.splits import COLUMNS, make_splits, scored_cells, small_classes, why_undefined


def obs_table(batch: list, label: list, scored: list | None = None) -> pd.DataFrame:
    """Return an obs table with ids c000, c001 ..."""
    n = len(batch)
    scored = (
        [b is not None and lab is not None for b, lab in zip(batch, label, strict=True)] if scored is None else scored
    )
    return pd.DataFrame({"cell_id": [f"c{i:03d}" for i in range(n)], "batch": batch, "label": label, "scored": scored})


keys = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "x", "y", "z", "w"])), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(cells=keys, n_folds=st.integers(2, 6), seed=st.integers(0, 5))
def test_each_scored_cell_is_tested_exactly_once(cells, n_folds, seed):
    obs = obs_table([b for b, _ in cells], [lab for _, lab in cells])
    splits = make_splits(obs, n_folds=n_folds, seed=seed)
    scored = scored_cells(obs)
    assert list(splits.columns) == COLUMNS
    for target in ("label", "batch"):
        for scheme in ("kfold", "leave_one_batch_out"):
            part = splits[(splits["target"] == target) & (splits["scheme"] == scheme)]
            if why_undefined(scored, target, scheme, n_folds=n_folds):
                assert part.empty
                continue
            assert sorted(part["cell_id"]) == list(scored["cell_id"])
            if scheme == "kfold":
                assert set(part["fold"]) <= {str(f) for f in range(n_folds)}
            else:
                assert (part.set_index("cell_id")["fold"] == scored.set_index("cell_id")["batch"]).all()


@settings(max_examples=30, deadline=None)
@given(cells=keys, order=st.randoms(use_true_random=False))
def test_folds_are_stratified_and_do_not_depend_on_row_order(cells, order):
    obs = obs_table([b for b, _ in cells], [lab for _, lab in cells])
    rows = list(range(len(obs)))
    order.shuffle(rows)
    splits = make_splits(obs, n_folds=3, seed=1)
    pd.testing.assert_frame_equal(splits, make_splits(obs.iloc[rows], n_folds=3, seed=1))
    merged = splits[splits["scheme"] == "kfold"].merge(obs, on="cell_id")
    for target, part in merged.groupby("target"):
        table = pd.crosstab(part[target], part["fold"])
        assert (table.max(axis=1) - table.min(axis=1) <= 1).all()  # each class spread evenly


def test_equals_scikit_learn_on_sorted_cells():
    from sklearn.model_selection import StratifiedKFold

    label = list("xxyyzxyzxyzxyzxyzzzxxy")
    obs = obs_table(["a", "b"] * 11, label)
    splits = make_splits(obs.sample(frac=1, random_state=3), n_folds=4, seed=123)
    part = splits[(splits["target"] == "label") & (splits["scheme"] == "kfold")].set_index("cell_id")["fold"]
    for number, (_, test) in enumerate(StratifiedKFold(4, shuffle=True, random_state=123).split(np.zeros(22), label)):
        assert (part[obs["cell_id"].iloc[test]] == str(number)).all()


def test_small_classes_keep_folds_and_are_named():
    obs = obs_table(["a", "b"] * 10, ["x"] * 9 + ["y"] * 9 + ["rare", "rare"])
    splits = make_splits(obs, n_folds=5, seed=0)
    assert set(splits.loc[splits["target"] == "label", "cell_id"]) == set(obs["cell_id"])
    (entry,) = small_classes(obs, n_folds=5)
    assert "rare: 2" in entry["text"]
    assert entry["values"] == {"rare": 2}
    assert entry["threshold"] == 5


@pytest.mark.parametrize(
    ("batch", "label", "target", "scheme", "code"),
    [
        (["a"] * 6, list("xxxyyy"), "batch", "kfold", "one_batch"),
        (["a"] * 6, list("xxxyyy"), "label", "leave_one_batch_out", "one_batch"),
        (list("aaabbb"), ["x"] * 6, "label", "kfold", "one_label"),
        (list("aaabbb"), ["x"] * 6, "label", "leave_one_batch_out", "one_label"),
        (list("aaabbb"), list("xxyyzz"), "label", "kfold", "too_few_cells"),
        (list("aaabbb"), list("xyxyxy"), "batch", "leave_one_batch_out", "not_defined_for_batch"),
        ([None] * 3, ["x"] * 3, "label", "kfold", "no_scored_cells"),
    ],
)
def test_undefined_combinations_have_a_reason_and_no_rows(batch, label, target, scheme, code):
    obs = obs_table(batch, label)
    assert why_undefined(scored_cells(obs), target, scheme, n_folds=3) == code
    splits = make_splits(obs, n_folds=3, seed=0)
    assert splits[(splits["target"] == target) & (splits["scheme"] == scheme)].empty


def test_broken_obs_tables_are_refused():
    obs = obs_table(list("aabb"), list("xyxy"))
    with pytest.raises(ScfmError, match="no column scored"):
        make_splits(obs.drop(columns="scored"), n_folds=2, seed=0)
    with pytest.raises(ScfmError, match="1 repeated cell ids"):
        make_splits(pd.concat([obs, obs.iloc[:1]]), n_folds=2, seed=0)
    with pytest.raises(ScfmError, match="1 cells are marked as scored but have no label"):
        make_splits(obs_table(list("aabb"), ["x", "y", "x", None], scored=[True] * 4), n_folds=2, seed=0)
    with pytest.raises(ScfmError, match="at least 2 folds; n_folds is 1"):
        make_splits(obs, n_folds=1, seed=0)
