"""Nicheformer: tokeniser and rows against slow references, context tokens, means, both layouts, and its own odd
cases.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from models_cases_nicheformer import CASES
from models_contract import DATA, copy_fixture, edit_tensors, embed, read_expected, read_input, tokens_of
from scfm.errors import ScfmError
from scfm.models import load_model

FIXTURE = DATA / "nicheformer"
N_GENES = 40
GENES = [f"ENSG{i:011d}" for i in range(N_GENES)]
MEANS = np.round(np.random.default_rng(8).gamma(1.5, 2, N_GENES), 2)
MEANS[[3, 17, 25, 39]], MEANS[[5, 30]], MEANS[[9, 10]] = np.nan, 0.0, -1.5


def write_tiny(folder: Path, *, means: np.ndarray = MEANS, layout: str = "ckpt", **changes: object) -> dict:
    """Write a tiny model; return its settings and tensors."""
    import torch

    hyper = {
        "dim_model": 12,
        "nheads": 3,
        "dim_feedforward": 20,
        "nlayers": 2,
        "context_length": 23,
        "n_tokens": N_GENES + 30,
        "learnable_pe": True,
        "specie": True,
        "assay": True,
        "modality": True,
        "dropout": 0.0,
        "batch_first": True,
        **changes,
    }
    rng = np.random.default_rng(5)
    d, f = hyper["dim_model"], hyper["dim_feedforward"]
    shapes = {"embeddings.weight": (hyper["n_tokens"] + 5, d)}
    if hyper["learnable_pe"]:
        shapes["positional_embedding.weight"] = (hyper["context_length"], d)
    for i in range(hyper["nlayers"]):
        p = f"encoder.layers.{i}."
        shapes |= {
            f"{p}self_attn.in_proj_weight": (3 * d, d),
            f"{p}self_attn.in_proj_bias": (3 * d,),
            f"{p}self_attn.out_proj.weight": (d, d),
        }
        shapes |= {f"{p}linear1.weight": (f, d), f"{p}linear1.bias": (f,), f"{p}linear2.weight": (d, f)}
        shapes |= {
            f"{p}{n}": (d,)
            for n in (
                "self_attn.out_proj.bias",
                "linear2.bias",
                "norm1.weight",
                "norm1.bias",
                "norm2.weight",
                "norm2.bias",
            )
        }
    state = {name: torch.from_numpy(rng.normal(0, 0.4, shape).astype(np.float32)) for name, shape in shapes.items()}
    state["embeddings.weight"][1] = 0
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "ckpt":
        torch.save(
            {
                "state_dict": state,
                "hyper_parameters": hyper,
                "epoch": 1,
                "lr_schedulers": [{"_last_lr": [np.float64(0.1)]}],
            },
            folder / "nicheformer.ckpt",
        )
    else:
        (folder / "config.json").write_text(json.dumps(hyper))
        torch.save({f"nicheformer.{k}": v for k, v in state.items()}, folder / "pytorch_model.bin")
    np.save(folder / "dissociated_mean_script.npy", means)
    anndata.AnnData(np.ones((1, N_GENES), np.float32), var=pd.DataFrame(index=GENES)).write_h5ad(folder / "model.h5ad")
    return {"hyper": hyper, "state": state}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    return folder


def load(folder: Path, **more: object):
    how = {k: more.pop(k) for k in ("random_init", "seed") if k in more}
    return load_model("nicheformer", folder, device="cpu", **how, **more)


def as_adata(counts: np.ndarray, names: list[str], **obs: object) -> anndata.AnnData:
    table = pd.DataFrame(obs, index=[f"c{i}" for i in range(counts.shape[0])])
    return anndata.AnnData(sparse.csr_matrix(counts), obs=table, var=pd.DataFrame(index=names))


@cache
def numba_argsort():
    import numba

    @numba.njit
    def argsort(values):
        return np.argsort(values)

    return argsort


def slow_tokens(
    counts: np.ndarray, names: list[str], means: np.ndarray, *, keep: int, without: str = "official"
) -> np.ndarray:
    """Tokenise dense rows as the specification words it, cell by cell."""
    aligned = np.zeros((len(counts), N_GENES))
    for j, name in enumerate(names):
        if name in GENES:
            aligned[:, GENES.index(name)] += counts[:, j]
    m = means.copy()
    if without == "pretraining":
        m = np.floor(np.nan_to_num(m) + 0.5)
    m[m == 0] = 1
    found = np.ones((len(counts), keep), dtype=np.int64)
    for i, cell in enumerate(aligned):
        v = (cell * (10000 / (cell.sum() or 1))) / m
        if without == "ignore":
            v[np.isnan(v)] = 0
        there = np.flatnonzero(v)
        ranked = there[numba_argsort()(-v[there])][:keep]
        found[i, : len(ranked)] = ranked + 30
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_tokens_equal_a_slow_reference(tiny, data) -> None:
    names = [
        GENES[0],
        *data.draw(
            st.lists(st.sampled_from([*GENES, f"{GENES[5]}.2", "ENSG00000888888", GENES[1].lower(), ""]), max_size=45)
        ),
    ]
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    counts = rng.poisson(data.draw(st.sampled_from([0.3, 2, 60])), (data.draw(st.integers(1, 6)), len(names))).astype(
        dtype
    )
    counts[0, 0] = 1
    length = data.draw(st.integers(1, 23))
    without = data.draw(st.sampled_from(["official", "ignore", "pretraining"]))
    model = load(tiny, max_length=length, strip_version="false", nan_means=without)
    found = tokens_of(model, as_adata(counts, names))
    keep = min(length, 20)
    wanted = slow_tokens(counts, names, MEANS, keep=keep, without=without)
    ids = found.fields["ids"].reshape(len(counts), 23)
    np.testing.assert_array_equal(ids[:, 3 : 3 + keep], wanted)
    assert (ids[:, :3] == [5, 10, 3]).all() and (ids[:, 3 + keep :] == 1).all()
    known = np.isin(names, GENES)
    np.testing.assert_array_equal(found.n_genes == 0, counts[:, known].sum(1) == 0)


def slow_rows(written: dict, ids: np.ndarray, *, layers: int, context: bool = False) -> np.ndarray:
    """Run PyTorch's own encoder over padded cells with a key mask."""
    import torch

    hyper, state = written["hyper"], written["state"]
    d = hyper["dim_model"]
    x = torch.from_numpy(ids)
    if hyper["learnable_pe"]:
        place = state["positional_embedding.weight"]
    else:
        place = torch.tensor(
            [
                [np.sin(i / 10000 ** (j / d)) if j % 2 == 0 else np.cos(i / 10000 ** ((j - 1) / d)) for j in range(d)]
                for i in range(ids.shape[1])
            ]
        )
    mask, h = x == 1, (state["embeddings.weight"][x] + place).float()
    for i in range(layers):
        layer = torch.nn.TransformerEncoderLayer(
            d, hyper["nheads"], hyper["dim_feedforward"], dropout=0.0, batch_first=True, layer_norm_eps=1e-12
        )
        layer.load_state_dict(
            {
                k.removeprefix(f"encoder.layers.{i}."): v
                for k, v in state.items()
                if k.startswith(f"encoder.layers.{i}.")
            }
        )
        h = layer.train()(h, src_key_padding_mask=mask)  # train: the fast path of eval would zero padding
    return (h if context else h[:, 3:]).mean(1).detach().numpy()


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"nlayers": 1, "nheads": 1},
        {"dim_model": 15, "nheads": 5, "dim_feedforward": 7},
        {"context_length": 90},
        {"learnable_pe": False},
        {"learnable_pe": False, "dim_model": 9},
        {"assay": False},
        {"specie": False, "assay": False, "modality": False},
        {"context_length": 4},
    ],
    ids=str,
)
def test_rows_of_any_size_equal_the_encoder_of_pytorch(sizes, tmp_path) -> None:
    written = write_tiny(tmp_path, **sizes)
    counts = np.random.default_rng(1).poisson(0.7, (9, N_GENES)).astype(np.float32)
    counts[4, 1:] = 0
    counts[4, 0] = 3
    adata = as_adata(counts, GENES)
    n_layers = written["hyper"]["nlayers"]
    for how, layers in (
        ({}, n_layers),
        ({"layer": -2}, n_layers - 1),
        ({"layer": n_layers, "with_context": True}, n_layers),
    ):
        model = load(tmp_path, **how)
        ids = tokens_of(model, adata).fields["ids"].reshape(9, -1)
        assert ids.shape[1] == written["hyper"]["context_length"]
        np.testing.assert_allclose(
            embed(model, adata, batch_tokens=40).to_numpy(),
            slow_rows(written, ids, layers=layers, context="with_context" in how),
            atol=2e-6,
        )


def test_context_tokens_follow_the_flags(tmp_path) -> None:
    write_tiny(tmp_path, assay=False)
    ids = (
        tokens_of(load(tmp_path), as_adata(np.ones((2, 2)), GENES[:2], organism=["mouse", "human"]))
        .fields["ids"]
        .reshape(2, -1)
    )
    assert ids[:, :2].tolist() == [[6, 3], [5, 3]]
    assert ids[0, 2] >= 30


def test_a_cell_without_genes_would_have_the_official_row() -> None:
    """The official code makes a row of ``cell4`` from genes without a mean alone; our policy gives it none."""
    model, adata = CASES.load(), read_input("nicheformer")
    assert "cell4" not in embed(model, adata).index
    tokenize = model.tokenize

    def lenient(chunk):
        found = tokenize(chunk)
        found.n_genes[:] = 1
        return found

    model.tokenize = lenient
    np.testing.assert_allclose(embed(model, adata).to_numpy(), read_expected("nicheformer")["embedding"], atol=1e-5)


def test_the_first_layer() -> None:
    """``layer0_input`` and ``layer0_output`` of two cells."""
    import torch

    from scfm.models.core.blocks import post_norm_layer
    from scfm.models.core.segments import Segments, Some

    model, expected = CASES.load(), read_expected("nicheformer")
    ids = torch.from_numpy(tokens_of(model, read_input("nicheformer")).fields["ids"].reshape(24, -1)[:2])
    x = model.embedding[ids] + model.positions
    np.testing.assert_allclose(x, expected["layer0_input"], atol=1e-6)
    keys = Some((ids.ravel() != 1).nonzero().squeeze(1), Segments((ids != 1).sum(1).tolist(), "cpu"))
    x = post_norm_layer(x.flatten(0, 1), model.layers[0], Segments([64, 64], "cpu"), heads=4, keys=keys)
    np.testing.assert_allclose(x.view(2, 64, -1), expected["layer0_output"], atol=1e-5)


def test_columns_of_one_gene_are_added(tiny) -> None:
    counts = np.random.default_rng(2).poisson(1.0, (5, 12)).astype(np.float32)
    halves = np.floor(counts / 2)
    whole = as_adata(counts, GENES[:12])
    split = as_adata(np.hstack([halves, counts - halves]), [*GENES[:12], *(f"{g}.3" for g in GENES[:12])])
    a, b = embed(load(tiny), whole), embed(load(tiny), split)
    np.testing.assert_array_equal(a.to_numpy(), b.loc[a.index].to_numpy())
    assert b.attrs["report"]["genes_repeated"] == 12


def test_genes_outside_the_model_do_not_matter(tiny) -> None:
    """They are dropped before the size factor."""
    counts = np.random.default_rng(2).poisson(1.0, (5, 12)).astype(np.float32)
    more = np.hstack([counts, np.full((5, 3), 1000.0)])
    a = embed(load(tiny), as_adata(counts, GENES[:12]))
    b = embed(load(tiny), as_adata(more, [*GENES[:12], "X1", "X2", "X3"]))
    np.testing.assert_array_equal(a.to_numpy(), b.to_numpy())


# ---- context ---------------------------------------------------------------------------------------------------------


def first_tokens(folder: Path, obs: dict, **more: object) -> tuple[list, list[str]]:
    n = len(next(iter(obs.values()))) if obs else 2
    model = load(folder, **more)
    ids = tokens_of(model, as_adata(np.ones((n, 3)), GENES[:3], **obs)).fields["ids"].reshape(n, -1)
    return ids[:, :3].tolist(), [m["code"] for m in model.messages]


def test_organism_and_assay_of_the_cells(tiny) -> None:
    obs = {
        "organism": ["Homo sapiens", "Mus musculus", "human", "mouse"],
        "assay": ["10x 3' v3", "Smart-seq v4", "Xenium", "visium"],
    }
    assert first_tokens(tiny, obs) == ([[5, 11, 3], [6, 18, 3], [5, 9, 3], [6, 9, 3]], [])
    categories = {key: pd.Categorical(values) for key, values in obs.items()}
    assert first_tokens(tiny, categories)[0] == [[5, 11, 3], [6, 18, 3], [5, 9, 3], [6, 9, 3]]
    assert first_tokens(tiny, {"specie": [6, 5], "organism": ["human", "human"], "assay": ["7", "12.0"]})[0] == [
        [6, 7, 3],
        [5, 12, 3],
    ]


def test_unknown_assays_get_the_default_and_a_warning(tiny) -> None:
    obs = {"organism": ["human", None], "assay": ["Drop-seq", "CITE-seq"]}
    assert first_tokens(tiny, obs) == ([[5, 10, 3], [5, 17, 3]], ["W-MOD-12", "W-MOD-12"])
    assert first_tokens(tiny, obs, default_assay="10x 3' v3", default_organism="6")[0] == [[5, 11, 3], [6, 17, 3]]
    with pytest.raises(ScfmError, match=r"default_assay=10x 3 v3 is no token.*Did you mean '10x 3' v3'"):
        load(tiny, default_assay="10x 3 v3")


def test_no_columns_one_context(tiny) -> None:
    assert first_tokens(tiny, {}) == ([[5, 10, 3]] * 2, ["W-MOD-13", "W-MOD-13"])
    assert first_tokens(tiny, {"assay": ["10x 3' v3"] * 2}, assay_column="", organism_column="") == (
        [[5, 10, 3]] * 2,
        [],
    )
    assert (
        first_tokens(tiny, {"a": ["CosMx"] * 2, "o": ["mouse"] * 2}, assay_column="a", organism_column="o")[0]
        == [[6, 8, 3]] * 2
    )
    with pytest.raises(ScfmError, match=r"no column 'assy'.*Did you mean 'assay'"):
        first_tokens(tiny, {"assay": ["CosMx"] * 2}, assay_column="assy")


# ---- files -----------------------------------------------------------------------------------------------------------


def test_the_hub_layout_is_found_and_equal(tmp_path) -> None:
    write_tiny(tmp_path / "a")
    write_tiny(tmp_path / "b", layout="hub")
    adata = as_adata(np.random.default_rng(1).poisson(0.7, (9, N_GENES)).astype(np.float32), GENES)
    np.testing.assert_array_equal(
        embed(load(tmp_path / "a"), adata).to_numpy(), embed(load(tmp_path / "b"), adata).to_numpy()
    )
    (tmp_path / "c" / "hf").mkdir(parents=True)
    for file in ("config.json", "pytorch_model.bin", "model.h5ad"):  # the order of genes beside the checkpoint
        (tmp_path / "b" / file).rename(tmp_path / "c" / "hf" / file)
    (tmp_path / "b" / "dissociated_mean_script.npy").rename(tmp_path / "c" / "dissociated_mean_script.npy")
    np.testing.assert_array_equal(
        embed(load(tmp_path / "a"), adata).to_numpy(), embed(load(tmp_path / "c", checkpoint="hf"), adata).to_numpy()
    )


def test_a_new_lightning_file_without_relics(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    relics = ("encoder_layer.", "pooler_head.", "cls_head.", "pos")
    edit_tensors(
        CASES, folder, lambda t: [t.pop(n) for n in list(t) if n.startswith(relics) and not n.startswith("positional")]
    )
    np.testing.assert_array_equal(
        embed(CASES.load(folder), read_input("nicheformer")), embed(CASES.load(), read_input("nicheformer"))
    )
    assert CASES.load(layer=-2).extras() == []


def test_settings_that_shapes_tell_are_not_needed(tmp_path) -> None:
    import torch

    write_tiny(tmp_path)
    adata = as_adata(np.random.default_rng(1).poisson(0.7, (4, N_GENES)).astype(np.float32), GENES)
    before = embed(load(tmp_path), adata)
    content = torch.load(tmp_path / "nicheformer.ckpt", weights_only=False)
    for key in ("dim_feedforward", "dropout", "batch_first"):
        del content["hyper_parameters"][key]
    torch.save(content, tmp_path / "nicheformer.ckpt")
    np.testing.assert_array_equal(embed(load(tmp_path), adata), before)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda h: h.pop("nheads"),
        lambda h: h.update(specie=None),
        lambda h: h.update(dim_model="12"),
        lambda h: h.update(nheads=5),
    ],
)
def test_architecture_is_checked(spoil, tmp_path) -> None:
    import torch

    write_tiny(tmp_path)
    content = torch.load(tmp_path / "nicheformer.ckpt", weights_only=False)
    spoil(content["hyper_parameters"])
    torch.save(content, tmp_path / "nicheformer.ckpt")
    with pytest.raises(ScfmError, match=r"hyper_parameters.*(nheads|specie|dim_model)"):
        load(tmp_path)


def test_means_are_checked(tmp_path) -> None:
    write_tiny(tmp_path)
    path = tmp_path / "dissociated_mean_script.npy"
    with pytest.raises(
        ScfmError, match=r"modality=spatial needs .*technology_mean=FILE.*'dissociated_mean_script.npy'"
    ):
        load(tmp_path, modality="spatial")
    np.save(tmp_path / "xenium_mean_script.npy", np.ones(N_GENES, np.float32))
    assert load(tmp_path, modality="spatial", technology_mean="xenium_mean_script.npy").means.sum() == N_GENES
    with pytest.raises(ScfmError, match=r"merfish.npy: the file is missing; the folder holds .*xenium_mean"):
        load(tmp_path, technology_mean="merfish.npy")
    for content, sentence in (
        (np.ones(N_GENES - 1), "expected 40 numbers"),
        (np.array(["a"] * N_GENES), "expected 40 numbers"),
        (np.full(N_GENES, np.inf), "40 means are infinite"),
    ):
        np.save(path, content)
        with pytest.raises(ScfmError, match=sentence):
            load(tmp_path)
    np.save(path, np.array([{}] * N_GENES), allow_pickle=True)
    with pytest.raises(ScfmError, match="not readable as an array of numbers"):
        load(tmp_path)
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(ScfmError, match="not readable as an array of numbers"):
        load(tmp_path)


def test_gene_order_is_checked(tmp_path) -> None:
    write_tiny(tmp_path)
    path = tmp_path / "model.h5ad"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ScfmError, match=r"model.h5ad: not readable as .h5ad"):
        load(tmp_path)
    with pytest.warns(UserWarning, match="not unique"):
        anndata.AnnData(np.ones((1, 3), np.float32), var=pd.DataFrame(index=["a", "a", "b"])).write_h5ad(path)
    with pytest.raises(ScfmError, match="3 names, 2 different ones"):
        load(tmp_path)


def test_lengths_and_layers_are_checked(tiny) -> None:
    with pytest.raises(ScfmError, match="max_length=0 leaves no room"):
        load(tiny, max_length=0)
    assert load(tiny, max_length=1000).messages[0]["code"] == "W-MOD-15"
    with pytest.raises(ScfmError, match="layer=3 is outside the model, which has 2 layers"):
        load(tiny, layer=3)
    with pytest.raises(ScfmError, match="layer=-4"):
        load(tiny, layer=-4)


def test_facts_tell_what_is_averaged(tiny) -> None:
    counts = np.zeros((2, N_GENES), np.float32)
    counts[0, 0], counts[1, 3] = 2, 1
    facts = embed(load(tiny), as_adata(counts, GENES)).attrs["report"]
    # of 20 positions: the cell with gene 0 has it and 4 genes without a mean; the cell with gene 3 has these 4
    assert (facts["share_padding"], facts["share_genes_without_mean"], facts["genes_without_mean"]) == (
        31 / 40,
        8 / 40,
        4,
    )


def test_mouse_ids_are_an_error_with_the_cause() -> None:
    adata = read_input("nicheformer")
    adata.var_names = [f"ENSMUSG{i:011d}" for i in range(adata.n_vars)]
    with pytest.raises(ScfmError, match="look like genes of mouse"):
        CASES.load().embed(adata)


@pytest.mark.parametrize("n_different", [3, 40, 100_000])
def test_long_cells_are_ranked_as_by_the_official_sort(n_different: int) -> None:
    """Cells that fill their row take NumPy's sort where no two values are equal; the result is that of the compiled
    sort.
    """
    from scfm.models.nicheformer import parts

    rng = np.random.default_rng(n_different)
    lengths = rng.integers(0, 120, 60)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    always = np.array([3, 77, 500])
    free = np.setdiff1d(np.arange(600), always)
    genes = np.concatenate([np.sort(rng.choice(free, n, replace=False)) for n in lengths])
    values = (1 + rng.integers(0, n_different, offsets[-1])) / 7.0
    found, expected = (np.full((60, 50), -29, dtype=np.int64) for _ in range(2))
    parts.rank_cells(genes, values, offsets, always, found)
    parts.rank_kernel()(genes, values, offsets, always, 50, expected)
    assert np.array_equal(found, expected)
    assert (lengths >= 50).any() and (lengths < 50).any()
