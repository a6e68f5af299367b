"""What holds for any rows, any filters and any table of pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scfm.io.matrix import matrix_in_memory, pieces
from scfm.recipes.genes import map_genes
from scfm.recipes.recipe import Filter, GeneMap
from scfm.recipes.rows import holds, levels

VALUES = st.lists(st.sampled_from(["a", "b", "B", "", "NA", None, "1"]), min_size=1, max_size=12)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.data(), st.integers(0, 30))
def test_pieces_are_the_rows_in_order_and_no_gap_inside_is_large(
    lengths: list[int], data: st.DataObject, skip: int
) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.asarray(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1)))), dtype=int)
    runs = list(pieces(rows, offsets, skip=skip))
    assert [int(r) for run in runs for r in run] == rows.tolist()
    for run in runs:
        assert len(run) > 0
        assert all(offsets[b] - offsets[a + 1] <= skip for a, b in itertools.pairwise(run))


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from(["csr", "csc", "dense"]))
def test_chosen_rows_and_columns_are_those_of_plain_indexing(seed: int, piece: int, storage: str) -> None:
    from unittest.mock import patch

    rng = np.random.default_rng(seed)
    counts = (rng.poisson(1.0, (20, 9)) * rng.integers(0, 2, (20, 9))).astype(np.float32)
    rows = np.flatnonzero(rng.random(20) < rng.random())
    columns = np.where(rng.random(9) < 0.6, rng.permutation(9), -1)
    matrix = matrix_in_memory(
        {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[storage](counts), "m"
    )
    with patch("scfm.io.matrix.PIECE_VALUES", piece), patch("scfm.io.matrix.SKIP_VALUES", 3):
        parts = [p.toarray() for p in matrix.take(rows, columns, 9)]
    expected = np.zeros((len(rows), 9))
    expected[:, columns[columns >= 0]] = counts[rows][:, columns >= 0]
    np.testing.assert_array_equal(np.vstack(parts) if parts else np.empty((0, 9)), expected)


@given(
    VALUES,
    st.sampled_from(["equals", "not_equals", "in", "not_in"]),
    st.sets(st.sampled_from(["a", "B", "1", "q"]), min_size=1),
    st.booleans(),
)
def test_filters_are_pandas_isin_with_missing_values_apart(
    values: list, operator: str, wanted: set[str], as_category: bool
) -> None:
    series = pd.Series(values, dtype=object)
    known = series.isin(wanted).to_numpy()
    expected = known if operator in {"equals", "in"} else ~known
    condition = Filter("x", operator, tuple(sorted(wanted)))
    codes, names = levels(series.astype("category") if as_category else series)
    np.testing.assert_array_equal(holds(condition, codes, names), expected)
    missing = series.isin([None, "", "NA"]).to_numpy()
    np.testing.assert_array_equal(holds(Filter("x", "missing", wants_missing=True), codes, names), missing)
    np.testing.assert_array_equal(holds(Filter("x", "missing", wants_missing=False), codes, names), ~missing)
    assert set(names) == set(series[~missing])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=15))
def test_the_last_row_of_the_table_decides_and_ids_are_unique(rows: list[tuple[int, int]]) -> None:
    pairs = pd.DataFrame([(f"m{m}", f"h{h}") for m, h in rows], columns=["mouse", "human"])
    ids = np.asarray([f"m{i}" for i in range(6)], dtype=object)
    present = {f"m{m}" for m, _ in rows}
    genes = map_genes(ids, ids, pairs, GeneMap("t", "mouse", "human"), name="test")
    last = {f"m{m}": f"h{h}" for m, h in rows}
    assert [i is not None for i in genes.ids] == [i in present for i in ids]
    kept = [i for i in genes.ids if i is not None]
    assert len(set(kept)) == len(kept)
    assert [i.split("-")[0] for i in kept] == [last[m] for m in ids if m in present]
    assert genes.n_renamed_twins == len(kept) - len({last[m] for m in present})
