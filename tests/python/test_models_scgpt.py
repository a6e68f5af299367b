"""scGPT: the binning against NumPy's own quantiles, the draws, the subset of long cells, and its odd files."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_cases_scgpt import CASES
from models_contract import copy_fixture, edit_tensors, embed, read_input, tokens_of
from scfm.errors import ScfmError
from scfm.models.core.tokens import offsets_of
from scfm.models.scgpt.bins import bin_limits, digits


def slow_limits(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count edges below, and at or below, each value, one by one, with NumPy's quantiles."""
    edges = np.quantile(row, np.linspace(0, 1, 50))
    below = np.array([sum(e < x for e in edges) for x in row.astype(np.float64)], dtype=np.int64)
    up_to = np.array([sum(e <= x for e in edges) for x in row.astype(np.float64)], dtype=np.int64)
    return below, up_to


_positive = st.floats(min_value=2.0**-20, max_value=2.0**20, width=32, allow_subnormal=False)
_row = st.lists(st.one_of(st.integers(1, 6).map(float), st.integers(1, 4000).map(float), _positive), max_size=120)


@settings(max_examples=300, deadline=None)
@given(st.lists(_row, min_size=1, max_size=5))
def test_bins_equal_numpy_quantiles(rows: list[list[float]]) -> None:
    offsets = offsets_of(np.array([len(r) for r in rows]))
    values = np.array([x for r in rows for x in r], dtype=np.float32)
    below, up_to = bin_limits(values, offsets)
    for start, stop in itertools.pairwise(offsets):
        if stop > start:
            slow = slow_limits(values[start:stop])
            np.testing.assert_array_equal(below[start:stop], slow[0])
            np.testing.assert_array_equal(up_to[start:stop], slow[1])


def test_bins_of_real_sized_cells_equal_numpy() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.negative_binomial(1, 0.3, n).astype(np.float32) + 1 for n in (1, 2, 50, 51, 3000)]
    rows += [np.log1p(1e4 * r / r.sum()).astype(np.float32) for r in rows]
    below, up_to = bin_limits(np.concatenate(rows), offsets := offsets_of(np.array([len(r) for r in rows])))
    for start, stop, row in zip(offsets[:-1], offsets[1:], rows, strict=True):
        edges = np.quantile(row, np.linspace(0, 1, 50))
        np.testing.assert_array_equal(below[start:stop], np.digitize(row, edges, right=True))
        np.testing.assert_array_equal(up_to[start:stop], np.digitize(row, edges))


def test_tied_values_get_any_bin_that_their_edges_allow() -> None:
    below, up_to = bin_limits(np.ones(5000, np.float32), np.array([0, 5000]))
    assert (below == 0).all() and (up_to == 50).all()
    drawn = digits(below, up_to, np.random.default_rng(0).random(5000))
    assert set(drawn) == set(range(1, 51))
    assert np.bincount(drawn, minlength=51)[1:].std() < 3 * np.sqrt(100)
    assert (digits(below, up_to, None) == 50).all()


@settings(max_examples=50, deadline=None)
@given(_row.filter(lambda r: len(r) > 1), st.integers(0, 2**32))
def test_digits_lie_between_their_limits_and_follow_the_official_formula(row: list[float], seed: int) -> None:
    values = np.array(row, dtype=np.float32)
    below, up_to = bin_limits(values, np.array([0, len(values)]))
    u = np.random.default_rng(seed).random(len(values))
    drawn = digits(below, up_to, u)
    assert ((drawn > below) | (below == up_to)).all()
    assert ((drawn >= 1) & (drawn <= up_to)).all()
    np.testing.assert_array_equal(drawn, np.ceil(u * (below - up_to) + up_to))


def test_counts_and_log_normalised_counts_have_the_same_bins() -> None:
    rng = np.random.default_rng(1)
    counts = (rng.negative_binomial(1, 0.2, 2000) + 1).astype(np.float32)
    logged = np.log1p(counts / counts.sum() * 1e4).astype(np.float32)
    whole = np.array([0, 2000])
    for a, b in zip(bin_limits(counts, whole), bin_limits(logged, whole), strict=True):
        np.testing.assert_array_equal(a, b)


RANDOM = {"ties": "random", "sampling": "random", "max_length": 64}


@pytest.mark.parametrize("how", [{"chunk_cells": 5}, {"batch_tokens": 200}], ids=str)
def test_random_draws_belong_to_the_cell(how) -> None:
    adata = read_input("scgpt")
    whole = embed(CASES.load(**RANDOM), adata)
    shuffled = adata[np.random.default_rng(0).permutation(adata.n_obs)].copy()
    again = embed(CASES.load(**RANDOM), shuffled, **how)
    assert np.abs(again.loc[whole.index].to_numpy() - whole.to_numpy()).max() < 1e-6
    other = embed(CASES.load(**RANDOM, seed=1), adata)
    assert np.abs(other.loc[whole.index].to_numpy() - whole.to_numpy()).max() > 1e-2


def test_random_draws_do_not_depend_on_the_order_of_genes() -> None:
    adata = read_input("scgpt")
    whole = embed(CASES.load(**RANDOM), adata)
    # columns of one symbol are told apart by their order, so they keep it
    order = np.random.default_rng(5).permutation(adata.n_vars)
    for columns in adata.var.groupby("gene_symbol", observed=True).indices.values():
        if len(columns) > 1:
            places = np.flatnonzero(np.isin(order, columns))
            order[places] = np.sort(columns)
    again = embed(CASES.load(**RANDOM), adata[:, order].copy())
    assert np.abs(again.to_numpy() - whole.to_numpy()).max() < 1e-6


def test_a_cut_cell_keeps_a_random_subset_or_the_first_genes() -> None:
    adata = read_input("scgpt")
    full = tokens_of(CASES.load(max_length=None), adata)
    long = np.flatnonzero(full.lengths > 64)
    assert len(long) > 5
    chosen = {}
    for sampling in ("random", "first"):
        cut = tokens_of(CASES.load(max_length=64, sampling=sampling), adata)
        assert (cut.lengths == np.minimum(full.lengths, 64)).all()
        assert (cut.n_genes == full.lengths - 1).all()
        chosen[sampling] = [cut.take(np.array([i])) for i in long]
        for i, tokens in zip(long, chosen[sampling], strict=True):
            whole = full.take(np.array([i]))
            pairs = set(zip(whole.fields["ids"], whole.fields["bins"], strict=True))
            assert set(zip(tokens.fields["ids"], tokens.fields["bins"], strict=True)) <= pairs
            if sampling == "first":
                np.testing.assert_array_equal(tokens.fields["ids"], whole.fields["ids"][:64])
    assert any(
        (a.fields["ids"] != b.fields["ids"]).any() for a, b in zip(chosen["random"], chosen["first"], strict=True)
    )


def test_subsets_are_uniform_over_genes() -> None:
    import anndata
    from scipy import sparse

    names = [g for g in CASES.load().vocabulary if g.startswith("GSYN")][:100]
    adata = anndata.AnnData(sparse.csr_matrix(np.ones((400, len(names)), np.float32)))
    adata.var_names = names
    tokens = tokens_of(CASES.load(gene_column="index", max_length=51, sampling="random"), adata)
    kept = np.bincount(tokens.fields["ids"], minlength=200)[[CASES.load().vocabulary[n] for n in names]]
    assert kept.sum() == 400 * 50
    assert abs(kept.mean() - 200) < 1e-9 and kept.std() < 1.6 * np.sqrt(400 * 0.25)


def test_equal_draws_at_the_limit_keep_the_right_number(monkeypatch) -> None:
    import scfm.models.scgpt.model as module

    monkeypatch.setattr(module, "bits_at", lambda keys, states: (states % np.uint64(3)) << np.uint64(40))
    adata = read_input("scgpt")
    full = tokens_of(CASES.load(max_length=None), adata)
    cut = tokens_of(CASES.load(max_length=64, sampling="random"), adata)
    assert (cut.lengths == np.minimum(full.lengths, 64)).all()


def test_special_tokens_are_not_genes() -> None:
    adata = read_input("scgpt")
    adata.var["gene_symbol"] = ["<cls>", "<pad>", "<eoc>", *adata.var["gene_symbol"].astype(str)[3:]]
    model = CASES.load()
    tokens_of(model, adata)
    assert not model.genes.known[:3].any()


@pytest.mark.parametrize("spelling", ["in_proj_", "_impl.Wqkv.", "module.Wqkv."])
def test_all_spellings_of_the_attention_weights_load(spelling, tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)

    def rename(tensors: dict) -> None:
        for name in list(tensors):
            if "self_attn" in name:
                new = name.replace("out_proj", "_impl.out_proj") if "_impl" in spelling else name
                tensors[new.replace("Wqkv.", spelling.removeprefix("module."))] = tensors.pop(name)
        if spelling.startswith("module."):
            for name in list(tensors):
                tensors[f"module.{name}"] = tensors.pop(name)

    edit_tensors(CASES, folder, rename)
    adata = read_input("scgpt")
    np.testing.assert_array_equal(embed(CASES.load(folder), adata).to_numpy(), embed(CASES.load(), adata).to_numpy())


def _edit_json(path, **changes) -> None:
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content.pop(key) if value is None else content.__setitem__(key, value)
    path.write_text(json.dumps(content))


def test_odd_settings_of_the_checkpoint(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    _edit_json(folder / "args.json", n_bins=21)
    assert any(w["code"] == "W-MOD-11" for w in CASES.load(folder).messages)
    _edit_json(folder / "args.json", input_emb_style="category")
    with pytest.raises(ScfmError, match="input_emb_style is 'category'"):
        CASES.load(folder)
    _edit_json(folder / "args.json", input_emb_style="continuous", nheads=5)
    with pytest.raises(ScfmError, match="not a multiple of nheads 5"):
        CASES.load(folder)
    _edit_json(folder / "args.json", nheads=None)
    with pytest.raises(ScfmError, match="nheads"):
        CASES.load(folder)
    (folder / "args.json").write_text("{")
    with pytest.raises(ScfmError, match="not valid JSON"):
        CASES.load(folder)


def test_odd_vocabularies(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    _edit_json(folder / "vocab.json", **{"<cls>": None})
    with pytest.raises(ScfmError, match="each once"):
        CASES.load(folder)
    vocabulary = json.loads((CASES.folder / "vocab.json").read_text())
    vocabulary["cls"] = vocabulary.pop("<cls>")
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(ScfmError, match="no token '<cls>'"):
        CASES.load(folder)
    (folder / "vocab.json").write_text("[1, 2]")
    with pytest.raises(ScfmError, match="not a scGPT vocabulary"):
        CASES.load(folder)


def test_max_length_needs_room_for_a_gene() -> None:
    with pytest.raises(ScfmError, match="at least 2"):
        CASES.load(max_length=1)


def test_three_lines_in_a_notebook() -> None:
    from scfm.models import load_model

    model = load_model("scgpt", CASES.folder, gene_column="gene_symbol")
    embedding = model.embed(adata := read_input("scgpt"))
    adata.obsm["X_scgpt"] = embedding.reindex(adata.obs_names).to_numpy()
    assert adata.obsm["X_scgpt"].shape == (24, 32)
    np.testing.assert_allclose(np.linalg.norm(adata.obsm["X_scgpt"], axis=1), 1, atol=1e-6)
