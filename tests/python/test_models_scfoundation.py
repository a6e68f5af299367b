"""scFoundation: tokeniser and encoder against slow references, modes of the input, depth tokens that vanish, errors of
its files.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from models_cases_cellplm import log_normalised
from models_cases_scfoundation import BASE, CASES, LIST
from models_contract import copy_fixture, embed, read_expected, read_input, tokens_of
from scfm.errors import ScfmError
from scfm.models import load_model
from scfm.models.core.segments import Segments
from scfm.models.scfoundation.model import TOO_SHORT
from scfm.models.scfoundation.values import parse_resolution

#: not in alphabetical order, as the official list is not in that of any input
GENES = [f"G{(7 * i) % 25}" for i in range(25)]
WIDTH, HEADS, BINS, ALPHA = 18, 3, 7, 0.6


def tiny_entry(seed: int, *, depth: int = 2, n_genes: int = len(GENES)) -> dict:
    """Return one entry of a checkpoint, with sizes that nothing divides but the heads."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "token_emb.mlp.weight": (BINS, 1),
        "token_emb.mlp.bias": (BINS,),
        "token_emb.mlp2.weight": (BINS, BINS),
        "token_emb.mlp2.bias": (BINS,),
        "token_emb.emb.weight": (BINS, WIDTH),
        "pos_emb.weight": (n_genes + 3, WIDTH),
        "encoder.norm.weight": (WIDTH,),
        "encoder.norm.bias": (WIDTH,),
        "decoder_embed.weight": (5, WIDTH),
        "to_final.bias": (1,),
    }
    for i in range(depth):
        at = f"encoder.transformer_encoder.{i}."
        shapes |= {f"{at}self_attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{at}self_attn.in_proj_bias": (3 * WIDTH,)}
        for name, n_out, n_in in (
            ("self_attn.out_proj", WIDTH, WIDTH),
            ("linear1", 4 * WIDTH, WIDTH),
            ("linear2", WIDTH, 4 * WIDTH),
        ):
            shapes |= {f"{at}{name}.weight": (n_out, n_in), f"{at}{name}.bias": (n_out,)}
        for name in ("norm1", "norm2"):
            shapes |= {f"{at}{name}.weight": (WIDTH,), f"{at}{name}.bias": (WIDTH,)}
    state = {f"model.{name}": torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes.items()}
    inner = {
        "encoder": {
            "hidden_dim": WIDTH,
            "depth": depth,
            "heads": HEADS,
            "module_type": "transformer",
            "norm_first": True,
        },
        "bin_alpha": 1.0,
    }
    config = {
        "model": "mae_autobin",
        "model_config": {"mae_autobin": {**inner, "seq_len": n_genes + 2}},
        "dataset_config": {"rnaseq": {"bin_alpha": ALPHA}},
    }
    return {"config": config, "state_dict": state}


def write_tiny(folder: Path, *, depth: int = 2) -> dict:
    """Write a model folder; return the content of its checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LIST).write_text("gene_name\tindex\n" + "".join(f"{gene}\t{i}\n" for i, gene in enumerate(GENES)))
    content = {"gene": {}, "cell": tiny_entry(0, depth=depth), "rde": tiny_entry(1, depth=depth)}
    torch.save(content, folder / "models.ckpt")
    return content


class Tiny(dict):
    """A dict that hypothesis can print in one word."""

    def __repr__(self) -> str:
        return "Tiny"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("scfoundation")
    return Tiny(folder=folder, content=write_tiny(folder))


def load(folder: Path, **more: object):
    return load_model("scfoundation", folder, device="cpu", **more)


def as_adata(counts: np.ndarray, names: list[str]) -> anndata.AnnData:
    var = pd.DataFrame({"gene_name": names}, index=[f"v{j}" for j in range(len(names))])
    return anndata.AnnData(
        sparse.csr_matrix(counts), obs=pd.DataFrame(index=[f"c{i}" for i in range(len(counts))]), var=var
    )


def slow_tokens(
    counts: np.ndarray, names: list[str], mode: str, resolution: str
) -> list[tuple[list[int], list[float]]]:
    """Tokenise cell by cell with dictionaries, each step as the specification words it."""
    found = []
    for row in counts.astype(np.float64):
        cell, total = (row[:-1], row[-1]) if mode == "A" else (row, None)
        by_gene: dict[str, float] = {}
        for gene, value in zip(names, cell, strict=False):
            if gene in GENES and value != 0:
                if mode != "F" and gene in by_gene:
                    by_gene[gene] = math.log(math.exp(by_gene[gene]) + math.exp(value) - 1)
                else:
                    by_gene[gene] = by_gene.get(gene, 0.0) + value
        if not by_gene:
            found.append(([], []))
            continue
        total = sum(by_gene.values()) if total is None else total
        number = float(resolution[1:])
        target = {
            "f": lambda n=number, t=total: math.log10(t * n),
            "a": lambda n=number, t=total: math.log10(t) + n,
            "t": lambda n=number: n,
        }[resolution[0]]()
        pairs = [
            (GENES.index(gene), math.log(1 + 1e4 * value / total) if mode == "F" else value)
            for gene, value in by_gene.items()
        ]
        pairs = [*sorted(pairs), (len(GENES), target), (len(GENES) + 1, math.log10(total))]
        kept = [(i, value) for i, value in pairs if np.float32(value) > 0]
        found.append(([i for i, _ in kept], [value for _, value in kept]))
    return found


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_tokens_equal_a_slow_reference(tiny, data) -> None:
    pool = [*GENES[:14], "UNHEARD", "g1", "G1.2", "", "gene_name"]
    names = [*data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=22)), GENES[5]]
    mode = data.draw(st.sampled_from(["F", "T", "A"]))
    resolution = data.draw(st.sampled_from(["f1", "f0.05", "f20", "a1.5", "a-3", "t4", "t4.5", "t0"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    counts = rng.poisson(data.draw(st.sampled_from([0.1, 1, 60])), (data.draw(st.integers(1, 6)), len(names)))
    counts[0, -1] = 1
    counts = (
        counts.astype(data.draw(st.sampled_from([np.float32, np.float64, np.int32, np.uint8])))
        if mode == "F"
        else np.log1p(counts).astype(np.float64)
    )
    if mode == "A":
        counts, names = np.hstack([counts, rng.integers(1, 5000, (len(counts), 1))]), [*names, "total"]
    model = load(tiny["folder"], pre_normalized=mode, resolution=resolution)
    found = tokens_of(model, as_adata(counts, names))
    for i, (ids, values) in enumerate(slow_tokens(counts, names, mode, resolution)):
        here = slice(found.offsets[i], found.offsets[i + 1])
        assert found.fields["ids"][here].tolist() == ids
        np.testing.assert_allclose(found.fields["values"][here], values, rtol=1e-6, atol=1e-7)
        assert (i in found.not_embedded()) == (len(ids) < 3)


def slow_row(ids: list[int], values: list[float], entry: dict, pooling: str) -> np.ndarray:
    """Return the row of ONE cell in float64, straight from the definition."""
    t = {name.removeprefix("model."): tensor.double().numpy() for name, tensor in entry["state_dict"].items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * t[f"{name}.weight"] + t[
            f"{name}.bias"
        ]

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    a = np.array(values)[:, None] * t["token_emb.mlp.weight"][:, 0] + t["token_emb.mlp.bias"]
    a = np.where(a > 0, a, 0.1 * a)
    x = (
        softmax(a @ t["token_emb.mlp2.weight"].T + t["token_emb.mlp2.bias"] + ALPHA * a) @ t["token_emb.emb.weight"]
        + t["pos_emb.weight"][ids]
    )
    for i in range(sum(name.endswith("norm1.bias") for name in t)):
        at = f"encoder.transformer_encoder.{i}."
        q, k, v = np.split(x @ t[f"{at}self_attn.in_proj_weight"].T + t[f"{at}self_attn.in_proj_bias"], 3, axis=1)
        heads = [softmax(q[:, h] @ k[:, h].T / math.sqrt(len(h))) @ v[:, h] for h in np.split(np.arange(WIDTH), HEADS)]
        x = norm(
            x + np.hstack(heads) @ t[f"{at}self_attn.out_proj.weight"].T + t[f"{at}self_attn.out_proj.bias"],
            f"{at}norm1",
        )
        inner = np.maximum(x @ t[f"{at}linear1.weight"].T + t[f"{at}linear1.bias"], 0)
        x = norm(x + inner @ t[f"{at}linear2.weight"].T + t[f"{at}linear2.bias"], f"{at}norm2")
    x = norm(x, "encoder.norm")
    return x.max(0) if pooling == "max" else np.concatenate([x[-1], x[-2], x[:-2].max(0), x[:-2].mean(0)])


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("version", "pooling"), [("ce", "all"), ("rde", "max")])
def test_rows_equal_a_slow_reference(version, pooling, depth, tmp_path) -> None:
    content = write_tiny(tmp_path, depth=depth)
    counts = np.random.default_rng(depth).poisson(1.0, (9, len(GENES) + 2)).astype(np.float32)
    counts[4, 2:], counts[4, :2] = 0, (3, 2)
    names = [*reversed(GENES), "UNHEARD", "OTHER"]
    model = load(tmp_path, version=version, pooling=pooling, resolution="t4")
    frame = embed(model, as_adata(counts, names), batch_tokens=40)
    assert model.n_dims == (4 * WIDTH if pooling == "all" else WIDTH)
    entry = content[{"ce": "cell", "rde": "rde"}[version]]
    wanted = [slow_row(ids, values, entry, pooling) for ids, values in slow_tokens(counts, names, "F", "t4") if ids]
    np.testing.assert_allclose(frame.to_numpy(), wanted, atol=2e-5)


def test_states_of_the_official_encoder() -> None:
    """What goes into the encoder for cell0 of the fixture."""
    expected = read_expected("scfoundation")
    model = CASES.load(resolution="f1")
    found = tokens_of(model, read_input("scfoundation")).take(np.array([0]))
    with torch.inference_mode():
        states = (
            model.embed_values(torch.from_numpy(found.fields["values"]))
            + model.positions[torch.from_numpy(found.fields["ids"]).long()]
        )
    assert np.abs(states.numpy() - expected["cell0_encoder_input"]).max() < 1e-6


def test_the_row_joins_s_t_maximum_and_mean() -> None:
    output = read_expected("scfoundation")["cell0_encoder_output"]
    row = embed(CASES.load(), read_input("scfoundation")).loc["cell0"].to_numpy()
    np.testing.assert_allclose(
        row, np.concatenate([output[-1], output[-2], output[:-2].max(0), output[:-2].mean(0)]), atol=1e-5
    )


# ---- cells -----------------------------------------------------------------------------------------------------------


def test_cells_without_room_for_both_depth_tokens(tiny) -> None:
    counts = np.zeros((5, len(GENES)), np.float32)
    counts[0, 3] = 1  # total 1: T and S are log10(1) = 0 and vanish
    counts[1, 3] = 2  # one gene and both tokens
    counts[2, :3] = 1
    counts[4, :2] = 3
    frame = embed(load(tiny["folder"], resolution="f1"), as_adata(counts, GENES))
    assert list(frame.index) == ["c1", "c2", "c4"]
    reasons = {entry["cell_id"]: entry["reason"] for entry in frame.attrs["report"]["not_embedded"]}
    assert reasons["c0"] == TOO_SHORT
    assert "no gene of the model's vocabulary" in reasons["c3"]
    shifted = load(
        tiny["folder"], resolution="f0.1"
    )  # T = log10(total / 10) < 0 vanishes, and another token is taken for it
    assert list(embed(shifted, as_adata(counts, GENES)).index) == ["c2", "c4"]
    assert list(embed(load(tiny["folder"], resolution="f1", pooling="max"), as_adata(counts, GENES)).index) == [
        "c0",
        "c1",
        "c2",
        "c4",
    ]


def test_genes_off_the_list_are_left_out_before_the_total_is_taken(tiny) -> None:
    counts = np.random.default_rng(0).poisson(2.0, (4, len(GENES))).astype(np.float32)
    many = [f"OFF{j}" for j in range(60)]  # more columns than the list has genes
    wide = np.hstack([np.full((4, 60), 500, np.float32), counts])
    model = load(tiny["folder"])
    np.testing.assert_array_equal(embed(model, as_adata(wide, [*many, *GENES])), embed(model, as_adata(counts, GENES)))


def test_the_order_of_the_columns_does_not_matter(tiny) -> None:
    counts = np.random.default_rng(1).poisson(1.0, (6, len(GENES))).astype(np.float32)
    order = np.random.default_rng(2).permutation(
        len(GENES)
    )  # as many columns as the list: officially taken as they are
    first, second = (
        tokens_of(load(tiny["folder"]), as_adata(counts[:, o], [GENES[j] for j in o]))
        for o in (np.arange(len(GENES)), order)
    )
    for name in first.fields:
        np.testing.assert_array_equal(first.fields[name], second.fields[name])


@pytest.mark.parametrize("mode", ["F", "T"])
def test_columns_of_one_symbol_are_added_and_reported(mode, tiny) -> None:
    rng = np.random.default_rng(3)
    parts = rng.poisson(3.0, (5, 4)).astype(np.float64)
    rest = rng.poisson(1.0, (5, len(GENES) - 4)).astype(np.float64)
    other = rng.poisson(3.0, (5, 4)).astype(np.float64)
    whole, split = np.hstack([parts + other, rest]), np.hstack([parts, rest, other])
    if mode == "T":
        whole, split = np.log1p(whole), np.log1p(split)
    model = load(tiny["folder"], pre_normalized=mode, resolution="t4")
    wanted, found = (embed(model, as_adata(x, names)) for x, names in ((whole, GENES), (split, [*GENES, *GENES[:4]])))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert [w["values"] for w in found.attrs["report"]["warnings"] if w["code"] == "W-MOD-20"] == [{"n": 4}]


def test_types_of_the_matrix_and_a_single_cell(tiny) -> None:
    counts = np.random.default_rng(3).poisson(1.5, (5, len(GENES)))
    model = load(tiny["folder"])
    plain = embed(model, as_adata(counts.astype(np.float32), GENES))
    for dtype in (np.float64, np.int64, np.int32, np.uint16):
        np.testing.assert_array_equal(embed(model, as_adata(counts.astype(dtype), GENES)), plain)
    np.testing.assert_allclose(embed(model, as_adata(counts[:1].astype(np.float32), GENES)), plain.iloc[:1], atol=1e-6)


# ---- modes of the input ----------------------------------------------------------------------------------------------


def test_a_total_in_the_last_column(tiny) -> None:
    """With the sum of the values as total, A is the same as T; the last column is never a gene, whatever its name."""
    values = np.log1p(np.random.default_rng(4).poisson(2.0, (4, len(GENES)))).astype(np.float64)
    wanted = embed(load(tiny["folder"], pre_normalized="T"), as_adata(values, GENES))
    with_total = np.hstack([values, values.sum(1, keepdims=True)])
    for name in ("total", GENES[0]):
        found = embed(load(tiny["folder"], pre_normalized="A"), as_adata(with_total, [*GENES, name]))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    with_total[2, -1] = 0
    with pytest.raises(ScfmError, match=r"last column \('v25'\) as the total .* 0 in 1 cell of 4 \(such as 'c2'\)"):
        embed(load(tiny["folder"], pre_normalized="A"), as_adata(with_total, [*GENES, "total"]))


def test_warnings_about_the_kind_of_input() -> None:
    def codes(adata: anndata.AnnData, mode: str) -> list[str]:
        return [
            w["code"]
            for w in embed(CASES.load(pre_normalized=mode), adata).attrs["report"]["warnings"]
            if w["code"] in ("W-MOD-02", "W-MOD-21")
        ]

    counts, logs = read_input("scfoundation"), log_normalised(read_input("scfoundation"))
    assert codes(counts, "F") == []
    assert codes(logs, "F") == ["W-MOD-02"]  # log-normalised twice: the use of a published benchmark, said every time
    assert codes(logs, "T") == []
    assert codes(counts, "T") == ["W-MOD-21"]


def test_which_column_names_the_genes(tiny) -> None:
    counts = np.ones((2, 5), np.float32)
    adata = as_adata(counts, GENES[:5])
    assert embed(load(tiny["folder"]), adata).attrs["report"]["gene_column"] == "gene_name"
    adata.var = pd.DataFrame({"mine": list("abcde")}, index=GENES[:5])
    assert embed(load(tiny["folder"]), adata).attrs["report"]["gene_column"] == "index"
    with pytest.raises(ScfmError, match="use --set gene_column=index"):
        embed(load(tiny["folder"], gene_column="mine"), adata)


@pytest.mark.parametrize("text", ["", "4", "x4", "f", "f0", "f-1", "t4,5", "tnan", "tinf", "F1", "f 1"])
def test_resolutions_that_mean_nothing(text) -> None:
    with pytest.raises(ScfmError, match=r"resolution=.* expected fN"):
        parse_resolution(text)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_folders_of_the_official_clone(tiny, tmp_path) -> None:
    adata = as_adata(np.ones((2, 6), np.float32), GENES[:6])
    wanted = embed(load(tiny["folder"]), adata)
    for ckpt, table in (("model/models", "model"), ("models", "")):
        top = tmp_path / ckpt.replace("/", "_")
        for folder in (ckpt, table):
            (top / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny["folder"] / "models.ckpt", top / ckpt)
        shutil.copy(tiny["folder"] / LIST, top / table)
        np.testing.assert_array_equal(embed(load(top), adata), wanted)


def test_only_the_wanted_entry_is_needed(tmp_path) -> None:
    content = write_tiny(tmp_path)
    torch.save({"cell": content["cell"]}, tmp_path / "models.ckpt")
    assert load(tmp_path).facts()["checkpoint_entry"] == "cell"
    with pytest.raises(ScfmError, match=r"the entry 'rde' is missing; the file holds 'cell'"):
        load(tmp_path, version="rde")


def test_a_slim_checkpoint_without_decoder(tmp_path) -> None:
    content = write_tiny(tmp_path)
    state = content["cell"]["state_dict"]
    for name in [n for n in state if "decoder" in n or "to_final" in n]:
        del state[name]
    torch.save(content, tmp_path / "models.ckpt")
    assert load(tmp_path).extras() == []


def _edit(folder: Path, edit) -> None:
    content = write_tiny(folder)
    edit(content["cell"]["config"])
    torch.save(content, folder / "models.ckpt")


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda c: c.update(model="mae"), "lacks 'mae'"),
        (lambda c: c.pop("dataset_config"), "lacks 'dataset_config'"),
        (
            lambda c: (c.update(model="mae"), c["model_config"].update(mae=c["model_config"]["mae_autobin"])),
            "the model is 'mae'",
        ),
        (lambda c: c["model_config"]["mae_autobin"].pop("encoder"), r"encoder\.heads, encoder\.depth"),
        (
            lambda c: c["model_config"]["mae_autobin"]["encoder"].update(heads=5),
            r"18 of .* not a multiple of encoder\.heads 5",
        ),
        (lambda c: c["model_config"]["mae_autobin"]["encoder"].update(depth=3), r"transformer_encoder\.2\..*missing"),
        (
            lambda c: c["model_config"]["mae_autobin"]["encoder"].update(module_type="performer"),
            "module_type is 'performer'",
        ),
        (lambda c: c["dataset_config"]["rnaseq"].update(bin_alpha="x"), "number bin_alpha"),
        (lambda c: c["dataset_config"]["rnaseq"].update(seq_len=30), r"lists 25 genes, .* seq_len 30"),
    ],
)
def test_errors_of_the_configuration(edit, sentence, tmp_path) -> None:
    _edit(tmp_path, edit)
    with pytest.raises(ScfmError, match=sentence):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace("gene_name", "symbol"), "columns gene_name and index"),
        (lambda text: text.replace("G7\t1\n", "G7\t2\n"), "in order"),
        (lambda text: text.replace("G7\t", "G0\t"), "every symbol once"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "lists 24 genes"),
        (lambda text: text.replace("\t", ","), "columns gene_name and index"),
        (lambda text: "", "not readable as a table"),
    ],
)
def test_errors_of_the_gene_list(change, sentence, tmp_path) -> None:
    write_tiny(tmp_path)
    (tmp_path / LIST).write_text(change((tmp_path / LIST).read_text()))
    with pytest.raises(ScfmError, match=sentence):
        load(tmp_path)


def test_a_missing_gene_list_is_named(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    (folder / LIST).unlink()
    with pytest.raises(ScfmError, match=rf"{LIST}: the file is missing"):
        load(folder, **BASE)


def test_pooled_bodies_of_unequal_cells() -> None:
    from scfm.models.scfoundation.values import without_last_two

    body = without_last_two(Segments([3, 6, 4], "cpu"))
    assert body.index.tolist() == [0, 3, 4, 5, 6, 9, 10]
    assert body.segments.lengths == [1, 4, 2]
