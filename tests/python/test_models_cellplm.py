"""CellPLM: which cells attend to each other, flow attention and its formula, stages of the official run, odd files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from models_cases_cellplm import CASES, RUNS, SEED
from models_contract import assert_close, copy_fixture, embed, read_expected, read_input, run_golden, tokens_of
from scfm.errors import ScfmError
from scfm.models.cellplm import parts
from scfm.models.core.reader import Chunk, counts_of
from scfm.models.core.runner import embed_frame, to_batch

EXPECTED = read_expected("cellplm")


# ---- the official run, stage by stage --------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", ["tiny_vae", "tiny_gmvae"])
def test_stages_equal_the_official_ones(checkpoint) -> None:
    import torch

    model = CASES.load(checkpoint=checkpoint, **RUNS["batch_bs"], latent_draw="sample", seed=SEED)
    tokens = tokens_of(model, read_input("cellplm"))
    expected = {k.rsplit("/", 1)[1]: v for k, v in EXPECTED.items() if k.startswith(f"{checkpoint}/batch_bs/")}
    found = {
        k: np.full_like(v, np.nan, dtype=np.float32) for k, v in expected.items() if k not in ("chunk_id", "run_order")
    }

    def store(name: str, rows: np.ndarray, values: torch.Tensor) -> None:
        found[name][rows] = values.numpy()

    for number, rows in enumerate(model.plan):
        assert set(EXPECTED[f"{checkpoint}/batch_bs/chunk_id"][rows]) == {number}
        uniform = model.noise.uniform(len(rows), model.n_clusters, model.n_dims) if model.noise else None
        with torch.inference_mode():
            store("feat", rows, feat := model.features(to_batch(tokens.take(rows), "cpu")))
            states = parts.States(len(rows), model.width, model.device)
            states.write(0, model.embed_cells(feat))
            store("embed", rows, states.read(0, len(rows)))
            for i, layer in enumerate(model.layers):
                parts.run_layer(states, layer, model.heads)
                store(f"layer{i}", rows, states.read(0, len(rows)))
            last = states.read(0, len(rows))
            store("ln", rows, model.final_norm(last))
            store("emb", rows, model.read_latent(last, uniform))
            if uniform is not None:
                store("logits", rows, logits := model.cluster_logits(model.final_norm(last)))
                gumbel = -torch.log(-torch.log(uniform + 1e-20) + 1e-20)
                store(
                    "y_onehot", rows, torch.nn.functional.one_hot((logits + gumbel).argmax(1), model.n_clusters).float()
                )
    assert set(found) == set(expected) - {"chunk_id", "run_order"}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.parametrize("run", list(RUNS))
def test_chunks_and_their_order_are_the_official_ones(run) -> None:
    model = CASES.load(**RUNS[run])
    tokens_of(model, read_input("cellplm"))
    np.testing.assert_array_equal(np.concatenate(model.plan), EXPECTED[f"tiny_vae/{run}/run_order"])
    chunk_id = EXPECTED[f"tiny_vae/{run}/chunk_id"]
    assert [sorted(rows) for rows in model.plan] == [
        np.flatnonzero(chunk_id == c).tolist() for c in pd.unique(chunk_id[np.concatenate(model.plan)])
    ]


def test_argmax_takes_the_most_likely_cluster() -> None:
    import torch

    model = CASES.load(checkpoint="tiny_gmvae")
    tokens = tokens_of(model, read_input("cellplm"))
    with torch.inference_mode():
        states = parts.States(len(tokens), model.width, model.device)
        states.write(0, model.embed_cells(model.features(to_batch(tokens, "cpu"))))
        for layer in model.layers:
            parts.run_layer(states, layer, model.heads)
        logits = model.cluster_logits(model.final_norm(states.read(0, len(tokens))))
    np.testing.assert_allclose(logits.numpy(), EXPECTED["tiny_gmvae/argmax_nobatch_all/logits"], atol=1e-5)
    np.testing.assert_array_equal(
        logits.argmax(1).numpy(), EXPECTED["tiny_gmvae/argmax_nobatch_all/y_onehot"].argmax(1)
    )


# ---- flow attention --------------------------------------------------------------------------------------------------


def slow_flow(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    """The formula of the specification, cell by cell and head by head, in float64."""
    n, eps, out = len(q), 1e-6, np.zeros_like(q)
    for part in np.split(np.arange(q.shape[1]), heads):
        q1, k1, v1 = q[:, part], k[:, part], v[:, part]
        a = [1 / sum((q1[i] + eps) * (k1.sum(0) + eps)) for i in range(n)]
        b = [1 / sum((k1[j] + eps) * (q1.sum(0) + eps)) for j in range(n)]
        kb, qa = sum(k1[j] * b[j] for j in range(n)), sum(q1[i] * a[i] for i in range(n))
        g = np.array([np.clip(sum((k1[j] + eps) * (qa + eps)), -1, 1) for j in range(n)])
        r = n * np.exp(g) / np.exp(g).sum()
        mixed = sum(np.outer(k1[j], v1[j] * r[j]) for j in range(n))
        for i in range(n):
            c = sum((q1[i] + eps) * (kb + eps))
            out[i, part] = (q1[i] * a[i]) @ mixed / (1 + np.exp(-c))
    return out


def _layer(rng: np.random.Generator, width: int) -> tuple[parts.FlowLayer, dict[str, np.ndarray]]:
    """A random layer, and its parameters as arrays."""
    import torch

    from scfm.models.core.linear import Linear, Norm

    sizes = {"qkv": (3 * width, width), "out": (width, width), "up": (2 * width, width), "down": (width, 2 * width)}
    raw = {n: (rng.normal(0, 0.6, s), rng.normal(0, 0.3, s[0])) for n, s in sizes.items()}
    raw |= {n: (rng.normal(1, 0.2, width), rng.normal(0, 0.2, width)) for n in ("norm1", "norm2")}

    def tensors(name: str) -> list[torch.Tensor]:
        return [torch.from_numpy(a).float() for a in raw[name]]

    layer = parts.FlowLayer(
        Norm(*tensors("norm1"), 1e-5),
        Linear(*tensors("qkv")),
        Linear(*tensors("out")),
        Norm(*tensors("norm2"), 1e-5),
        Linear(*tensors("up")),
        Linear(*tensors("down")),
    )
    return layer, raw


def slow_layer(x: np.ndarray, raw: dict, heads: int) -> np.ndarray:
    from scipy.special import erf, expit

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * raw[name][0] + raw[name][1]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ raw[name][0].T + raw[name][1]

    q, k, v = np.split(linear(norm(x, "norm1"), "qkv"), 3, axis=1)
    x = x + linear(slow_flow(expit(q), expit(k), v, heads), "out")
    hidden = linear(norm(x, "norm2"), "up")
    return x + linear(0.5 * hidden * (1 + erf(hidden / np.sqrt(2))), "down")


def test_bf16_chooses_the_same_clusters() -> None:
    golden = next(g for g in CASES.golden if g.release == "tiny_gmvae, argmax_batch_bs")
    assert run_golden(CASES, golden, precision="bf16").cosine > 0.999


@pytest.mark.parametrize(
    "limits",
    [{}, {"BLOCK": 4}, {"BLOCK": 5, "CACHE_VALUES": 0}, {"BLOCK": 3, "CACHE_VALUES": 0, "MEMORY_VALUES": 0}],
    ids=str,
)
@pytest.mark.parametrize(("n", "width", "heads"), [(1, 6, 3), (2, 5, 1), (23, 15, 5)])
def test_a_layer_equals_the_formula_however_it_is_cut(limits, n, width, heads, monkeypatch) -> None:
    import torch

    for name, value in limits.items():
        monkeypatch.setattr(parts, name, value)
    rng = np.random.default_rng(n)
    layer, raw = _layer(rng, width)
    x = rng.normal(0, 2, (n, width))
    states = parts.States(n, width, torch.device("cpu"))
    for start, stop in reversed(states.blocks()):
        states.write(start, torch.from_numpy(x[start:stop]).float())
    with torch.inference_mode():
        parts.run_layer(states, layer, heads)
    found = np.concatenate([states.read(a, b).numpy() for a, b in states.blocks()])
    np.testing.assert_allclose(found, slow_layer(x, raw, heads), atol=2e-5)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_tokens_equal_a_slow_reading(data) -> None:
    model = CASES.load(strip_version=data.draw(st.sampled_from(["auto", "false"])))
    known = list(model.vocabulary)[:4]
    pool = [*known, known[0] + ".3", known[1] + ".1", "ENSG99999999999", "TP53", known[2].lower(), ""]
    names = np.array(data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=9)), dtype=object)
    value = st.sampled_from([0.0, 1.0, 2.0, 0.5, 3e4])
    counts = np.array(
        data.draw(st.lists(st.lists(value, min_size=len(names), max_size=len(names)), min_size=1, max_size=3)),
        dtype=np.float32,
    )
    model.genes = model.map_genes(names, np.ones(len(names)))
    found = model.tokenize(
        Chunk(
            sparse.csr_matrix(counts),
            np.arange(len(counts)).astype(object),
            np.arange(len(counts)),
            pd.DataFrame(index=range(len(counts))),
        )
    )
    column: dict[str, int] = {}
    for stripped in (False, True) if model.settings.strip_version == "auto" else (False,):
        for i, name in enumerate(names):
            gene = name.split(".")[0] if stripped else name
            if gene in model.vocabulary:
                column.setdefault(gene, i)
    assert found.n_genes.tolist() == [sum(row[i] > 0 for i in column.values()) for row in counts]
    for cell, row in enumerate(counts):
        slow = {model.vocabulary[g]: np.log1p(row[i]) for g, i in column.items() if row[i] > 0}
        at = slice(found.offsets[cell], found.offsets[cell + 1])
        assert dict(zip(found.fields["ids"][at].tolist(), found.fields["values"][at].tolist(), strict=True)) == slow


# ---- which cells attend to each other --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"group_column": "batch"}, {}], ids=str)
def test_the_order_of_cells_in_a_group_does_not_matter(how) -> None:
    adata = read_input("cellplm")
    shuffled = adata[np.random.default_rng(0).permutation(adata.n_obs)].copy()
    assert_close(embed(CASES.load(**how), shuffled), embed(CASES.load(**how), adata))


@pytest.mark.parametrize("options", [{"chunk_cells": 1}, {"chunk_cells": 5}, {"batch_tokens": 1}], ids=str)
@pytest.mark.parametrize("how", list(RUNS.values()), ids=str)
def test_reading_in_pieces_does_not_matter(how, options) -> None:
    adata = read_input("cellplm")
    assert_close(embed(CASES.load(**how), adata, **options), embed(CASES.load(**how), adata))


def test_blocks_and_spilling_do_not_matter(monkeypatch) -> None:
    adata = read_input("cellplm")
    plain = embed(CASES.load(), adata)
    for name, value in {"BLOCK": 5, "CACHE_VALUES": 0, "MEMORY_VALUES": 0}.items():
        monkeypatch.setattr(parts, name, value)
        assert_close(embed(CASES.load(), adata), plain, 2.5e-6)  # values reach 5: some last bits


@pytest.mark.parametrize("columns", [1, 7, 1000])
def test_a_table_of_genes_in_parts_gives_the_official_sum(columns, monkeypatch) -> None:
    import scfm.models.cellplm.network as module

    monkeypatch.setattr(module, "TABLE_COLUMNS", columns)
    model = CASES.load()
    assert len(model.gene_tables) == -(-model.width // columns)
    tokens = tokens_of(model, read_input("cellplm"))
    np.testing.assert_allclose(
        model.features(to_batch(tokens, "cpu")).numpy(), EXPECTED["tiny_vae/batch_bs/feat"], atol=1e-5
    )


def test_a_row_depends_on_its_group_and_on_nothing_else() -> None:
    adata = read_input("cellplm")
    batch = adata.obs["batch"].astype(str)
    grouped = embed(CASES.load(group_column="batch"), adata)
    for name in batch.unique():
        own = adata[(batch == name).to_numpy()].copy()
        assert_close(embed(CASES.load(), own), grouped.loc[own.obs_names])
    fewer = embed(CASES.load(), adata[:-1].copy())
    assert np.abs(fewer.to_numpy() - embed(CASES.load(), adata).loc[fewer.index].to_numpy()).max() > 1e-5


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"group_column": "batch", "cells_per_chunk": 7},
        {"checkpoint": "tiny_gmvae", "latent_draw": "sample", "cells_per_chunk": 5},
    ],
    ids=str,
)
def test_a_shard_gives_the_rows_of_the_whole(how) -> None:
    adata = read_input("cellplm")
    source = counts_of(adata)
    whole = embed(CASES.load(**how), adata)
    for shard in (list(source.cell_ids[3::4]), list(source.cell_ids[14:])):
        found = embed_frame(CASES.load(**how), source.only(shard), min_gene_overlap=0.0)
        assert_close(found, whole.loc[shard])
        assert any(w["code"] == "I-MOD-04" for w in found.attrs["report"]["warnings"])


def test_a_shard_along_groups_computes_each_cell_once() -> None:
    adata = read_input("cellplm")
    shard = list(adata.obs_names[(adata.obs["batch"] == adata.obs["batch"].iloc[0]).to_numpy()])
    found = embed_frame(CASES.load(group_column="batch"), counts_of(adata).only(shard), min_gene_overlap=0.0)
    assert not any(w["code"] == "I-MOD-04" for w in found.attrs["report"]["warnings"])


def test_a_cell_without_genes_gets_no_row_but_takes_part_as_officially() -> None:
    adata = read_input("cellplm")
    counts = adata.X.tolil()
    counts[4] = 0
    adata.X = counts.tocsr()
    found = embed(CASES.load(), adata)
    assert [r["cell_id"] for r in found.attrs["report"]["not_embedded"]] == ["cell_4"]
    assert len(found) == adata.n_obs - 1
    without = embed(CASES.load(), adata[[i for i in range(adata.n_obs) if i != 4]].copy())
    assert np.abs(found.to_numpy() - without.loc[found.index].to_numpy()).max() > 1e-6


def test_one_cell_is_a_group() -> None:
    found = embed(CASES.load(), read_input("cellplm")[:1].copy())
    assert found.shape == (1, 16)
    assert found.attrs["report"]["smallest_chunk"] == 1


def test_groups_come_in_sorted_order_of_their_values() -> None:
    adata = read_input("cellplm")
    adata.obs["number"] = [10, 9, 2] * 8
    adata.obs["category"] = pd.Categorical([f"g{i % 3}" for i in range(24)], categories=["g2", "g0", "g1"])
    for column, wanted in (("number", [2, 9, 10]), ("category", ["g0", "g1", "g2"])):
        model = CASES.load(group_column=column)
        tokens_of(model, adata)
        assert [set(adata.obs[column].iloc[rows]) for rows in model.plan] == [{w} for w in wanted]


def test_cells_without_a_group_are_an_error() -> None:
    adata = read_input("cellplm")
    adata.obs["batch"] = adata.obs["batch"].astype(object).where(np.arange(24) != 5, None)
    with pytest.raises(ScfmError, match="1 cell of 24 have no value in obs column 'batch'"):
        embed(CASES.load(group_column="batch"), adata)
    with pytest.raises(ScfmError, match=r"no column 'bach'.* Did you mean 'batch'"):
        embed(CASES.load(group_column="bach"), adata)


def test_draws_are_seeded() -> None:
    adata = read_input("cellplm")
    rows = [
        embed(CASES.load(checkpoint="tiny_gmvae", latent_draw="sample", seed=s), adata).to_numpy() for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[2]).max() > 1e-3
    again = CASES.load(checkpoint="tiny_gmvae", latent_draw="sample", seed=1)
    np.testing.assert_array_equal(
        embed(again, adata), embed(again, adata)
    )  # a model used twice starts its stream again


# ---- genes and files -------------------------------------------------------------------------------------------------


def test_of_repeated_genes_the_first_column_counts() -> None:
    model = CASES.load(strip_version="auto")
    a, b, c = list(model.vocabulary)[:3]
    found = model.map_genes(np.array([f"{b}.2", a, a, b, f"{a}.1", f"{c}.1", f"{c}.2"], dtype=object), np.ones(7))
    assert found.ids.tolist() == [-1, 0, -1, 1, -1, 2, -1]
    assert found.report["genes_matched"] == 3


def test_input_that_is_not_counts_is_recorded() -> None:
    adata = read_input("cellplm")
    assert embed(CASES.load(), adata).attrs["report"]["input_values"] == "counts"
    adata.layers["log"] = adata.X * np.float32(0.3)
    assert embed(CASES.load(input_layer="log"), adata).attrs["report"]["input_values"] == "not counts"


def _edit_config(folder, **changes) -> None:
    path = folder / "tiny_vae.config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"enc_mod": "performer"}, "enc_mod is 'performer'; supported is flowformer"),
        ({"latent_mod": "split"}, "latent_mod is 'split'; supported is vae or gmvae"),
        ({"norm": "batchnorm"}, "norm is 'batchnorm'"),
        ({"cat_pe": True}, "cat_pe is true"),
        ({"cat_pe": ...}, "cat_pe is true"),
        ({"input_covariate": True}, "input_covariate is true"),
        ({"dsbn": True}, "dsbn is true"),
        ({"enc_hid": "wide"}, r"whole numbers for enc_hid \(at least 1\); found 'wide'"),
        ({"gene_list": ...}, "needs gene_list"),
        ({"enc_head": 5}, "must be a multiple of enc_head 5"),
        ({"enc_hid": 64}, "tensor 'embedder.feat_enc.emb' has shape 180 x 32, expected 180 x 64"),
        ({"enc_layers": 3}, r"encoder\.layers\.2.* is missing"),
        ({"post_latent_dim": 8}, r"hid_2mu\.weight' has shape 16 x 32, expected 8 x 32"),
        ({"latent_mod": "gmvae", "num_clusters": 5}, r"inference_qyx.* is missing"),
        ({"gene_list": ["ENSG1"] * 180}, "holds 179 genes twice"),
    ],
)
def test_configurations_that_cannot_run(changes, sentence, tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    _edit_config(folder, **changes)
    with pytest.raises(ScfmError, match=sentence):
        CASES.load(folder)


def test_other_sizes_load(tmp_path) -> None:
    """One layer, layer norm, eight heads because none are named, another latent size: against the formula."""
    import torch

    rng = np.random.default_rng(0)
    h, z, genes = 24, 7, 180
    raw = _layer(rng, h)[1]
    state = {
        "embedder.feat_enc.emb": rng.normal(0, 0.3, (genes, h)),
        "pre_latent_norm.norm.weight": rng.normal(1, 0.2, h),
        "pre_latent_norm.norm.bias": rng.normal(0, 0.2, h),
    }
    at = "encoder.layers.0."
    places = {
        "norm1": "norm1",
        "norm2": "norm2",
        "out": "self_attn.out_projection",
        "up": "_ff_block.0",
        "down": "_ff_block.3",
    }
    for name, place in places.items():
        state[f"{at}{place}.weight"], state[f"{at}{place}.bias"] = raw[name]
    for i, what in enumerate(("query", "key", "value")):
        state[f"{at}self_attn.{what}_projection.weight"] = raw["qkv"][0][i * h : (i + 1) * h]
        state[f"{at}self_attn.{what}_projection.bias"] = raw["qkv"][1][i * h : (i + 1) * h]
    for name, shape in (("embedder.extra_linear.0", (h, h)), ("latent.layers.1.hid_2mu", (z, h))):
        state[f"{name}.weight"], state[f"{name}.bias"] = rng.normal(0, 0.5, shape), rng.normal(0, 0.1, shape[0])
    state["embedder.extra_linear.3.weight"], state["embedder.extra_linear.3.bias"] = (
        rng.normal(1, 0.2, h),
        rng.normal(0, 0.2, h),
    )
    folder = copy_fixture(CASES, tmp_path)
    _edit_config(folder, enc_hid=h, enc_layers=1, post_latent_dim=z, norm="layernorm", enc_head=...)
    torch.save(
        {"model_state_dict": {k: torch.from_numpy(v.copy()) for k, v in state.items()}, "epoch": 3},
        folder / "tiny_vae.best.ckpt",
    )

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    adata = read_input("cellplm")
    x = np.log1p(EXPECTED["counts_kept"]) @ state["embedder.feat_enc.emb"][EXPECTED["gene_idx"]]
    x = norm(
        np.maximum(x @ state["embedder.extra_linear.0.weight"].T + state["embedder.extra_linear.0.bias"], 0),
        "embedder.extra_linear.3",
    )
    x = norm(slow_layer(x, raw, 8), "pre_latent_norm.norm")
    wanted = x @ state["latent.layers.1.hid_2mu.weight"].T + state["latent.layers.1.hid_2mu.bias"]
    np.testing.assert_allclose(embed(CASES.load(folder), adata).to_numpy(), wanted, atol=2e-5)


def test_the_checkpoint_is_found(tmp_path) -> None:
    with pytest.raises(ScfmError, match=r"several checkpoints \('tiny_gmvae', 'tiny_vae'\); say which"):
        CASES.load(checkpoint="")
    adata = read_input("cellplm")
    plain = embed(CASES.load(), adata)
    for name in ("tiny_vae.best.ckpt", "tiny_vae.config.json"):
        np.testing.assert_array_equal(embed(CASES.load(checkpoint=name), adata), plain)
    folder = copy_fixture(CASES, tmp_path)
    (folder / "ckpt").mkdir()
    for ending in (".best.ckpt", ".config.json"):
        (folder / f"tiny_vae{ending}").rename(folder / "ckpt" / f"20231027_85M{ending}")
    for name in ("", "20231027_85M", "ckpt/20231027_85M"):
        np.testing.assert_array_equal(embed(CASES.load(folder, checkpoint=name), adata), plain)
    with pytest.raises(ScfmError, match=r"other\.config\.json: the file is missing"):
        CASES.load(folder, checkpoint="other")


def test_a_file_without_the_state_is_named(tmp_path) -> None:
    import torch

    folder = copy_fixture(CASES, tmp_path)
    torch.save({"state_dict": {}}, folder / "tiny_vae.best.ckpt")
    with pytest.raises(ScfmError, match=r"the entry 'model_state_dict' is missing; the file holds 'state_dict'"):
        CASES.load(folder)
    with pytest.raises(ScfmError, match="cells_per_chunk=-1 must be 0"):
        CASES.load(cells_per_chunk=-1)
