"""The validation gate: good embeddings pass unchanged, adversarial ones are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm.embeddings.gate import EmbeddingValidationError, check_embedding, missing_cells_warning

N, D = 40, 5


@pytest.fixture
def ids():
    return np.array([f"c{i:02d}" for i in range(N)], dtype=object)


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(N, D))


def refused(code, *args):
    with pytest.raises(EmbeddingValidationError) as caught:
        check_embedding(*args, dataset="d", method="m", embedding="m.raw.0")
    assert caught.value.reason_code == code, str(caught.value)
    return str(caught.value)


def test_a_good_embedding_passes_unchanged(ids, values):
    checked = check_embedding(ids, values, ids)
    np.testing.assert_array_equal(checked.cell_ids, ids)
    np.testing.assert_array_equal(checked.values, values.astype(np.float32))
    assert (checked.missing, checked.extra, checked.warnings) == ([], [], [])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_permuted_embedding_gives_the_same_result(seed):
    ids = np.array([f"c{i:02d}" for i in range(N)], dtype=object)
    values = np.random.default_rng(0).normal(size=(N, D))
    order = np.random.default_rng(seed).permutation(N)
    checked = check_embedding(ids[order], values[order], ids)
    np.testing.assert_array_equal(checked.cell_ids, ids)
    np.testing.assert_array_equal(checked.values, values.astype(np.float32))


def test_missing_cells_are_allowed_and_named(ids, values):
    checked = check_embedding(ids[3:], values[3:], ids)
    assert checked.missing == ["c00", "c01", "c02"]
    np.testing.assert_array_equal(checked.values, values[3:].astype(np.float32))


def test_missing_cells_are_accounted_for_with_and_without_a_reason():
    entries, (warning,) = missing_cells_warning(
        ["c00", "c01"], {"c01": "fewer than 25 genes"}, N, dataset="d", method="uce", embedding="uce.raw.0"
    )
    assert entries == [
        {"cell_id": "c00", "reason": "no row, and no reason given"},
        {"cell_id": "c01", "reason": "fewer than 25 genes"},
    ]
    assert (warning["code"], warning["dataset"], warning["method"]) == ("E-ID-01", "d", "uce")
    assert warning["values"]["missing"] == 2
    assert warning["values"]["unexplained"] == 1
    assert "38 of 40 cells; 2 are missing ('c00', 'c01')" in warning["text"]
    assert "explains 1 of them: fewer than 25 genes" in warning["text"]
    assert missing_cells_warning([], {}, N, dataset="d", method="m", embedding="m.raw.0") == ([], [])


def test_extra_cells_are_left_out_and_named(ids, values):
    checked = check_embedding(
        np.append(ids, ["other"]), np.vstack([values, values[:1] * np.nan]), ids, embedding="m.raw.0"
    )
    assert checked.extra == ["other"]
    np.testing.assert_array_equal(checked.values, values.astype(np.float32))
    assert [w["code"] for w in checked.warnings] == ["W-ID-02"]
    assert "left out: 1 ('other')" in checked.warnings[0]["text"]


def test_the_sentence_counts_all_cells_and_dimensions_that_it_does_not_show(ids, values):
    other = np.array([f"x{i}" for i in range(15)], dtype=object)
    rows = np.vstack([values[:20], np.zeros((15, D))])
    checked = check_embedding(np.append(ids[:20], other), rows, ids)
    assert "left out: 15 ('x0', 'x1', 'x2' and 12 more)" in checked.warnings[0]["text"]
    _, (warning,) = missing_cells_warning(checked.missing, {}, N, dataset="d", method="m", embedding="m.raw.0")
    assert "20 are missing ('c20', 'c21', 'c22' and 17 more)" in warning["text"]
    assert len(warning["values"]["first"]) == len(checked.warnings[0]["values"]["first"]) == 10
    wide = np.hstack([values, np.zeros((N, 70))])
    (constant,) = check_embedding(ids, wide, ids).warnings
    assert "and 65 more" in constant["text"]
    assert len(constant["values"]["constant"]) == 50


def test_other_ids_are_shown_beside_those_of_the_data_set(ids, values):
    text = refused("no_common_cells", np.array([f"x{i}" for i in range(N)], dtype=object), values, ids)
    assert "None of the 40 ids" in text
    assert "'x0', 'x1', 'x2'" in text
    assert "'c00', 'c01', 'c02'" in text


def test_duplicate_ids_are_refused_even_where_their_rows_are_equal(ids, values):
    text = refused("duplicate_ids", np.append(ids, ["c07", "c03"]), np.vstack([values, values[[7, 3]]]), ids)
    assert "Cell ids that occur more than once: 2" in text
    assert "'c07', 'c03'" in text


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_counted_and_named(ids, values, bad):
    values[4, 1] = values[4, 2] = values[9, 2] = bad
    text = refused("non_finite", ids, values, ids)
    assert "NaN or infinite: 3, in 2 cells and 2 dimensions" in text
    assert "'c04', 'c09'" in text


def test_a_constant_dimension_is_a_warning_and_all_constant_is_refused(ids, values):
    values[:, 2] = 7
    (warning,) = check_embedding(ids, values, ids, embedding="m.raw.0").warnings
    assert warning["code"] == "W-EMB-01"
    assert warning["values"] == {"constant": [2], "n_dims": D}
    values[:] = values[0]
    assert "All 40 cells have the same coordinates" in refused("constant", ids, values, ids)


def test_a_transposed_table_is_recognised(ids, values):
    text = refused("wrong_shape", ids[:D], values.T, ids)
    assert "5 rows and 40 columns and the data set has 40 cells: it looks transposed" in text


@pytest.mark.parametrize(
    ("rows", "dims", "words"),
    [(0, D, "no rows"), (N, 1, "1 dimension; the metrics need two"), (N, 0, "0 dimensions")],
)
def test_empty_and_one_dimensional_tables_are_refused(ids, values, rows, dims, words):
    assert words in refused("wrong_shape", ids[:rows], values[:rows, :dims], ids)


def test_ids_and_rows_must_be_as_many(ids, values):
    assert "39 rows and 40 cell ids" in refused("wrong_shape", ids, values[1:], ids)
    assert "shape (40,)" in refused("wrong_shape", ids, values[:, 0], ids)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), dropped=st.integers(0, N - 1), added=st.integers(0, 10))
def test_every_row_that_passes_is_at_its_own_cell(seed, dropped, added):
    """Whatever is permuted, dropped and added: a row that comes out is the row that went in under that id."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"c{i:02d}" for i in range(N)], dtype=object)
    values = np.arange(N * 2, dtype=float).reshape(N, 2)
    given_ids = np.concatenate([ids[dropped:], [f"e{i}" for i in range(added)]]).astype(object)
    given_values = np.vstack([values[dropped:], rng.normal(size=(added, 2))])
    order = rng.permutation(len(given_ids))
    if dropped == N - 1:  # one cell left: nothing varies, and that is refused
        refused("constant", given_ids[order], given_values[order], ids)
        return
    checked = check_embedding(given_ids[order], given_values[order], ids)
    np.testing.assert_array_equal(checked.cell_ids, ids[dropped:])
    np.testing.assert_array_equal(checked.values, values[dropped:])
    assert len(checked.missing) == dropped
    assert len(checked.extra) == added
