"""The contract that every model keeps; a new model passes it with a cases module (``models_contract.ModelCases``)."""

from __future__ import annotations

import json
import pickle
import re
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from models_contract import (
    DATA,
    TOLERANCE,
    all_cases,
    assert_close,
    copy_fixture,
    edit_tensors,
    embed,
    read_input,
    run_golden,
    tokens_of,
    write_bomb,
)
from scfm.errors import ScfmError
from scfm.models import available_models

CASES = all_cases()
MODELS = pytest.mark.parametrize("cases", CASES, ids=lambda c: c.model)
APART = pytest.mark.parametrize("cases", [c for c in CASES if c.load().cells_apart], ids=lambda c: c.model)
GOLDEN = [pytest.param(c, g, id=f"{c.model}-{g.fixture or c.fixture}-{g.release}") for c in CASES for g in c.golden]


@pytest.fixture(scope="module")
def plain() -> dict:
    """Rows of every fixture with the deterministic settings."""
    return {c.model: embed(c.load(), read_input(c.fixture)) for c in CASES}


def test_every_model_has_cases() -> None:
    assert [c.model for c in CASES] == available_models()
    for cases in CASES:
        assert cases.golden
        assert {p.name for p in (DATA / cases.fixture).iterdir()} >= {"input.h5ad", "expected.npz"}


@pytest.mark.parametrize(("cases", "golden"), GOLDEN)
def test_equals_the_official_code(cases, golden) -> None:
    outcome = run_golden(cases, golden)
    assert outcome.difference <= TOLERANCE
    assert not outcome.unequal


@APART
@pytest.mark.parametrize(
    "how", [{"chunk_cells": 5}, {"batch_tokens": 1}, {"chunk_cells": 7, "batch_tokens": 300}], ids=str
)
def test_rows_do_not_depend_on_chunks_or_batches(cases, how, plain) -> None:
    assert_close(embed(cases.load(), read_input(cases.fixture), **how), plain[cases.model], 1e-6)


@APART
def test_rows_do_not_depend_on_the_order_of_cells(cases, plain) -> None:
    adata = read_input(cases.fixture)
    shuffled = adata[np.random.default_rng(3).permutation(adata.n_obs)].copy()
    found = embed(cases.load(), shuffled, chunk_cells=9)
    assert_close(found, plain[cases.model], 1e-6)
    assert list(found.index) == [c for c in shuffled.obs_names if c in set(found.index)]


@APART
def test_a_shard_gives_the_rows_of_the_whole(cases, plain) -> None:
    from scfm.models.core.reader import open_counts
    from scfm.models.core.runner import embed_frame

    model = cases.load()
    source = open_counts(cases.folder / "input.h5ad", model.settings.input_layer)
    shard = list(source.cell_ids[3::4])
    found = embed_frame(model, source.only(shard), min_gene_overlap=0.0)
    wanted = plain[cases.model]
    assert_close(found, wanted.loc[[c for c in shard if c in wanted.index]], 1e-6)


@MODELS
def test_backed_file_equals_memory(cases, plain) -> None:
    assert_close(embed(cases.load(), cases.folder / "input.h5ad"), plain[cases.model], 0.0)


@MODELS
@pytest.mark.parametrize("layout", ["csc", "dense", "stored zeros", "repeated entries"])
def test_storage_of_the_matrix_does_not_matter(cases, layout, plain, tmp_path) -> None:
    adata = read_input(cases.fixture)
    counts = sparse.csr_matrix(adata.X)
    if layout == "stored zeros":
        zeros = sparse.csr_matrix(
            (np.zeros(counts.shape[0]), (np.arange(counts.shape[0]), np.arange(counts.shape[0]) % counts.shape[1])),
            counts.shape,
        )
        data = np.r_[counts.data, zeros.data].astype(np.float32)
        rows = np.r_[np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr)), np.arange(counts.shape[0])]
        columns = np.r_[counts.indices, zeros.indices]
        keep = np.ones(len(data), bool)
        keep[counts.nnz :] = np.asarray(counts[rows[counts.nnz :], columns[counts.nnz :]]).ravel() == 0
        adata.X = sparse.csr_matrix((data[keep], (rows[keep], columns[keep])), counts.shape)
        assert (adata.X.data == 0).any()
    elif layout == "repeated entries":  # a gene of a cell in two entries, which count with their sum
        ones = (counts.data > 1).astype(np.float32)
        indptr = np.r_[0, np.cumsum(2 * np.diff(counts.indptr))]
        data = np.stack([counts.data - ones, ones], axis=1).ravel()
        adata.X = sparse.csr_matrix((data, np.repeat(counts.indices, 2), indptr), counts.shape)
        before = adata.X.copy()
        assert_close(embed(cases.load(), adata), plain[cases.model], 1e-6)
        np.testing.assert_array_equal(adata.X.data, before.data)
        np.testing.assert_array_equal(adata.X.indices, before.indices)
    else:
        adata.X = counts.tocsc() if layout == "csc" else counts.toarray()
    adata.write_h5ad(tmp_path / "input.h5ad")
    assert_close(embed(cases.load(), tmp_path / "input.h5ad"), plain[cases.model], 1e-6)


@MODELS
def test_input_is_not_changed(cases) -> None:
    adata = read_input(cases.fixture)
    before = adata.copy()
    embed(cases.load(), adata)
    assert (adata.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)


@APART
def test_an_empty_cell_gets_no_row_and_a_reason(cases, plain) -> None:
    adata = read_input(cases.fixture)
    counts = adata.X.tolil()
    empty = next(i for i, c in enumerate(adata.obs_names) if c in plain[cases.model].index and i > 2)
    counts[empty] = 0
    adata.X = counts.tocsr()
    found = embed(cases.load(), adata)
    assert adata.obs_names[empty] not in found.index
    reasons = {r["cell_id"]: r["reason"] for r in found.attrs["report"]["not_embedded"]}
    assert adata.obs_names[empty] in reasons
    assert set(found.index) | set(reasons) == set(adata.obs_names)
    assert any(w["code"] == "W-MOD-03" for w in found.attrs["report"]["warnings"])
    assert_close(found, plain[cases.model].drop(adata.obs_names[empty]), 1e-6)


@MODELS
def test_a_file_of_empty_cells_is_an_error(cases) -> None:
    adata = read_input(cases.fixture)
    adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
    with pytest.raises(ScfmError, match="empty"):
        embed(cases.load(), adata)


@MODELS
def test_unknown_genes_are_left_out_and_counted(cases, plain) -> None:
    import anndata

    adata = read_input(cases.fixture)
    rng = np.random.default_rng(0)
    extra = sparse.csr_matrix(rng.poisson(0.5, (adata.n_obs, 30)).astype(np.float32))
    var = pd.DataFrame(index=[f"NOT_A_GENE_{i}" for i in range(30)], columns=adata.var.columns, dtype=object)
    for column in var.columns:
        var[column] = var.index
    more = anndata.AnnData(
        sparse.hstack([adata.X, extra]).tocsr(), obs=adata.obs.copy(), var=pd.concat([adata.var.astype(object), var])
    )
    found = embed(cases.load(), more)
    assert_close(found, plain[cases.model], 1e-5)
    report, before = found.attrs["report"], plain[cases.model].attrs["report"]
    assert report["genes_total"] == before["genes_total"] + 30
    assert report["genes_matched"] == before["genes_matched"]
    assert report["gene_overlap"] < before["gene_overlap"]


def _renamed(cases, name) -> object:
    """Return the input with all gene names, in the index and in every column, replaced by ``name(i)``."""
    adata = read_input(cases.fixture)
    names = [name(i) for i in range(adata.n_vars)]
    adata.var = pd.DataFrame({c: names for c in adata.var.columns}, index=names)
    return adata


@MODELS
def test_genes_all_unknown_is_an_error_that_says_so(cases) -> None:
    kind = {"symbol": "UNHEARD{}", "ensembl": "ENSG00009{:06d}"}[cases.load().gene_ids]
    with pytest.raises(ScfmError, match=r"Only 0 of .*vocabulary of") as error:
        embed(cases.load(), _renamed(cases, kind.format))
    assert "gene_column" in str(error.value)


@MODELS
def test_wrong_kind_of_gene_id_is_named(cases) -> None:
    model = cases.load()
    other, sentence = {
        "symbol": ("ENSG00009{:06d}", "look like Ensembl ids"),
        "ensembl": ("UNHEARD{}", "look like gene symbols"),
    }[model.gene_ids]
    with pytest.raises(ScfmError, match=sentence):
        embed(model, _renamed(cases, other.format))


@MODELS
def test_wrong_species_is_named(cases) -> None:
    model = cases.load()
    other = {
        "symbol": lambda i: f"Abc{'defghijklm'[i % 10]}{'nopqrstuvw'[i // 10 % 10]}{i}",
        "ensembl": lambda i: f"ENSMUSG00009{i:06d}",
    }
    with pytest.raises(ScfmError, match="mouse"):
        embed(model, _renamed(cases, other[model.gene_ids]))


@MODELS
def test_the_floor_of_the_overlap_holds(cases) -> None:
    with pytest.raises(ScfmError, match="min_gene_overlap"):
        cases.load().embed(read_input(cases.fixture), min_gene_overlap=1.0)


@MODELS
def test_a_missing_column_is_named(cases) -> None:
    with pytest.raises(ScfmError, match="no column 'gene_symbool'"):
        embed(cases.load(gene_column="gene_symbool"), read_input(cases.fixture))


@MODELS
def test_version_suffixes_are_stripped_where_that_matches_more(cases, plain) -> None:
    adata = read_input(cases.fixture)
    column = cases.load().settings.gene_column
    names = pd.Series(adata.var_names if column == "index" else adata.var[column].astype(str).to_numpy())
    is_ensembl = names.str.match(r"^ENS[A-Z]*G\d{6,}$")
    if not is_ensembl.any():
        assert cases.load().gene_ids == "symbol" or cases.needs_both_ids
        return
    names[is_ensembl] += ".7"
    if column == "index":
        adata.var_names = names.to_numpy()
    else:
        adata.var[column] = names.to_numpy()
    found = embed(cases.load(strip_version="auto"), adata)
    assert_close(found, plain[cases.model], 1e-6)
    assert found.attrs["report"]["versions_stripped"] > 0
    with pytest.raises(ScfmError, match="vocabulary"):
        cases.load(strip_version="false").embed(adata, min_gene_overlap=0.2)


@MODELS
def test_fractional_counts(cases) -> None:
    adata = read_input(cases.fixture)
    adata.X = adata.X * np.float32(0.37)
    model = cases.load()
    if model.fractional == "error":
        with pytest.raises(ScfmError, match=r"fractional .* needs raw counts"):
            embed(model, adata)
        model = cases.load(fractional="warn")
    found = embed(model, adata)
    assert any(w["code"] == "W-MOD-02" for w in found.attrs["report"]["warnings"])
    with pytest.raises(ScfmError, match="fractional"):
        embed(cases.load(fractional="error"), adata)


@MODELS
@pytest.mark.parametrize(
    ("value", "sentence"), [(-1.0, "negative"), (np.nan, "NaN or infinite"), (np.inf, "NaN or infinite")]
)
def test_impossible_counts(cases, value, sentence) -> None:
    adata = read_input(cases.fixture)
    adata.X.data[5] = value
    with pytest.raises(ScfmError, match=sentence):
        embed(cases.load(), adata)


@MODELS
def test_repeated_cell_ids_are_refused(cases) -> None:
    adata = read_input(cases.fixture)
    adata.obs_names = ["same", "same", *adata.obs_names[2:]]
    with pytest.raises(ScfmError, match="occur more than once"):
        embed(cases.load(), adata)


@MODELS
@pytest.mark.parametrize("damage", ["cut", "no content", "other bytes", "pointer", "missing"])
def test_damaged_weights(cases, damage, tmp_path) -> None:
    folder = copy_fixture(cases, tmp_path)
    path = folder / cases.tensors
    content = path.read_bytes()
    new = {
        "cut": content[: len(content) // 2],
        "no content": b"",
        "other bytes": b"\x93weights" * 400,
        "pointer": b"version https://git-lfs.example/spec\nsize 1\n",
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(new[damage])
    with pytest.raises(ScfmError) as error:
        cases.load(folder)
    assert path.name in str(error.value)


@MODELS
def test_code_in_a_checkpoint_is_not_run(cases, tmp_path) -> None:
    folder = copy_fixture(cases, tmp_path)
    write_bomb(folder / cases.tensors, tmp_path / "exploded", as_checkpoint=True)
    with pytest.raises(ScfmError):
        cases.load(folder)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(("cases", "name"), [pytest.param(c, p, id=f"{c.model}-{p}") for c in CASES for p in c.pickles])
@pytest.mark.parametrize("damage", ["code", "cut"])
def test_odd_dictionaries(cases, name, damage, tmp_path) -> None:
    folder = copy_fixture(cases, tmp_path)
    path = folder / name
    if damage == "code":
        write_bomb(path, tmp_path / "exploded", as_checkpoint=False)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ScfmError, match=r"nothing|Nothing|cut short"):
        cases.load(folder)
    assert not (tmp_path / "exploded").exists()


@MODELS
@pytest.mark.parametrize("error", ["missing", "misshapen", "not finite"])
def test_a_tensor_that_is_needed(cases, error, tmp_path) -> None:
    folder = copy_fixture(cases, tmp_path)

    def edit(tensors: dict) -> None:
        tensor = tensors.pop(cases.needed)
        if error == "misshapen":
            tensors[cases.needed] = tensor[:-1].clone()
        elif error == "not finite":
            tensors[cases.needed] = tensor * float("nan")

    edit_tensors(cases, folder, edit)
    with pytest.raises(ScfmError, match=error.replace("misshapen", "shape")) as raised:
        cases.load(folder)
    assert cases.needed.split(".")[-1].split("_")[-1] in str(raised.value)


@MODELS
def test_checkpoints_of_odd_content_are_sentences(cases, tmp_path) -> None:
    import torch

    folder = copy_fixture(cases, tmp_path)
    path = folder / cases.tensors
    whole = path.read_bytes()
    for content in ([1], 5, torch.zeros(3), {}, {1: torch.zeros(2)}, {"a": torch.zeros(2)}, {"state_dict": None}):
        torch.save(content, path)
        with pytest.raises(ScfmError):
            cases.load(folder)
    names = []
    path.write_bytes(whole)
    edit_tensors(cases, folder, names.extend)
    for name in names[:: max(1, len(names) // 12)]:
        path.write_bytes(whole)
        edit_tensors(cases, folder, lambda tensors, name=name: tensors.update({name: torch.zeros(())}))
        with suppress(ScfmError):  # a tensor that is not read changes nothing
            cases.load(folder)


@MODELS
@pytest.mark.parametrize("kind", ["int8", "uint8", "complex64", "float8_e4m3fn"])
def test_numbers_that_are_no_weights_are_refused(cases, kind, tmp_path) -> None:
    import torch

    if cases.tensors.endswith(".safetensors") and kind == "complex64":
        pytest.skip("safetensors can't hold complex numbers")
    folder = copy_fixture(cases, tmp_path)

    def edit(tensors: dict) -> None:
        tensors[cases.needed] = tensors[cases.needed].to(getattr(torch, kind))

    edit_tensors(cases, folder, edit)
    with pytest.raises(ScfmError, match=f"holds {kind} values; weights are floating-point numbers of 16 bits") as error:
        cases.load(folder)
    assert folder.joinpath(cases.tensors).name in str(error.value)


@MODELS
def test_extra_tensors_are_listed(cases, tmp_path) -> None:
    import torch

    folder = copy_fixture(cases, tmp_path)
    edit_tensors(cases, folder, lambda tensors: tensors.update({"nobody.knows.me": torch.zeros(3)}))
    assert any("nobody.knows.me" in name for name in cases.load(folder).extras())


@pytest.mark.parametrize("cases", [c for c in CASES if c.model != "uce"], ids=lambda c: c.model)
def test_more_layers_than_the_configuration_says(cases, tmp_path) -> None:
    """UCE has no configuration: its layers are counted."""
    folder = copy_fixture(cases, tmp_path)
    first = re.compile(r"((?:.*\.)?(?:encoder\.layers?|transformer_encoder(?:\.layers)?)\.)0\.")

    def edit(tensors: dict) -> None:
        copies = {first.sub(r"\g<1>7.", n): t.clone() for n, t in tensors.items() if first.match(n)}
        assert copies
        tensors.update(copies)

    edit_tensors(cases, folder, edit)
    with pytest.raises(ScfmError, match=r"holds 8 layers .* would be left out"):
        cases.load(folder)


def refusal(cases, folder) -> str:
    """Return the sentence with which a model refuses its files; empty where it loads. Any other exception fails."""
    try:
        cases.load(folder)
    except ScfmError as error:
        return str(error)
    return ""


def assert_sentences(found: list[str]) -> None:
    """Check that something was refused, in whole sentences about a file or setting."""
    said = [text for text in found if text]
    assert said and all(text.rstrip()[-1] in ".?" and ": " in text for text in said), said


@pytest.mark.parametrize(
    "cases", [c for c in CASES if c.model not in {"nicheformer", "scfoundation", "uce"}], ids=lambda c: c.model
)
def test_odd_values_in_a_configuration_are_sentences(cases, tmp_path) -> None:
    """The others read no JSON."""
    folder, found = copy_fixture(cases, tmp_path), []
    for path in sorted(set(folder.rglob("*.json")) - set(folder.glob("settings.json"))):
        text = path.read_text()
        content = json.loads(text)
        odd = [5, None, [], {}]
        keys = [key for key in content if not isinstance(content[key], (bool, str))]
        for key in keys if len(keys) < 50 else keys[:1]:  # one of a vocabulary
            odd += [content | {key: value} for value in (None, "x", 0, -1, [])]
        for value in odd:
            path.write_text(json.dumps(value))
            found.append(refusal(cases, folder))  # a key that is not read changes nothing
        path.write_text(text)
    cases.load(folder)
    assert_sentences(found)


@pytest.mark.parametrize(("cases", "name"), [pytest.param(c, p, id=f"{c.model}-{p}") for c in CASES for p in c.pickles])
def test_odd_values_in_a_dictionary_are_sentences(cases, name, tmp_path) -> None:
    folder = copy_fixture(cases, tmp_path)
    path = folder / name
    content = pickle.loads(path.read_bytes())
    odd = [5, None, [], {1: 2}, np.array(5), {("a",): 1}]
    if isinstance(content, dict):
        key = next(iter(content))
        odd += [content | {key: value} for value in (None, "x", -1, 1.5, [], {}, float("nan"), np.zeros(3))]
    found = []
    for value in odd:
        path.write_bytes(pickle.dumps(value))
        found.append(refusal(cases, folder))
    assert_sentences(found)


@pytest.mark.parametrize("cases", [c for c in CASES if c.break_vocabulary], ids=lambda c: c.model)
def test_wrong_size_of_the_vocabulary(cases, tmp_path) -> None:
    folder = copy_fixture(cases, tmp_path)
    cases.break_vocabulary(folder)
    with pytest.raises(ScfmError, match=r"vocab|shape|token"):
        cases.load(folder)


@MODELS
def test_settings_are_checked(cases) -> None:
    with pytest.raises(ScfmError, match=r"no setting 'gene_colum'.*Did you mean 'gene_column'"):
        cases.load(gene_colum="index")
    with pytest.raises(ScfmError, match="strip_version=maybe is not one of"):
        cases.load(strip_version="maybe")


@MODELS
def test_random_weights_are_a_seeded_control(cases, plain) -> None:
    adata = read_input(cases.fixture)
    first = embed(cases.load(random_init=True, seed=1), adata)
    assert_close(embed(cases.load(random_init=True, seed=1), adata), first, 0.0)
    other = embed(cases.load(random_init=True, seed=2), adata)
    assert first.shape == plain[cases.model].shape
    assert np.abs(first.to_numpy() - other.loc[first.index].to_numpy()).max() > 1e-3
    assert np.abs(first.to_numpy() - plain[cases.model].loc[first.index].to_numpy()).max() > 1e-3


@MODELS
def test_bf16_stays_close(cases, plain) -> None:
    found = embed(cases.load(precision="bf16"), read_input(cases.fixture))
    wanted = plain[cases.model].loc[found.index].to_numpy()
    cosine = (found.to_numpy() * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.98
    assert np.abs(found.to_numpy() - wanted).max() > 1e-6  # it did compute in bf16


@APART
def test_tokens_of_a_cell_do_not_depend_on_the_others(cases) -> None:
    adata = read_input(cases.fixture)
    model = cases.load()
    whole = tokens_of(model, adata)
    from scfm.models.core.reader import counts_of

    counts = counts_of(adata, model.settings.input_layer)
    for i in (0, 7, 23):
        alone = model.tokenize(next(counts.chunks(1, rows=np.array([i]))))
        assert alone.lengths[0] == whole.lengths[i]
        for name in whole.fields:
            np.testing.assert_array_equal(alone.fields[name], whole.take(np.array([i])).fields[name])


def test_fixtures_are_those_of_the_specifications() -> None:
    shared = DATA.parents[3] / "shared" / "models" / "fixtures"
    if not shared.is_dir():
        pytest.skip("the specifications are not beside this checkout")
    for cases in CASES:
        for fixture in {cases.fixture, *(g.fixture for g in cases.golden if g.fixture)}:
            for path in (p for p in (shared / fixture).rglob("*") if p.is_file()):
                copy = DATA / fixture / path.relative_to(shared / fixture)
                assert copy.read_bytes() == path.read_bytes(), f"{copy} is not the fixture that the official code made"
