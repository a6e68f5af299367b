"""The shared layer of the models: ragged tokens, keyed draws, packed attention, strict checkpoints, readers, the
runner.
"""

from __future__ import annotations

import itertools
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scfm import keyed
from scfm.errors import ResourceError, ScfmError
from scfm.models import available_models, load_model
from scfm.models.core import genes, tokens
from scfm.models.core.pickles import load_dict, load_pickle
from scfm.models.core.settings import ModelSettings, make_settings, split_pairs

REPO = Path(__file__).resolve().parents[2]


# ---- tokens ----------------------------------------------------------------------------------------------------------

_ragged = st.lists(st.lists(st.integers(0, 6).map(float), max_size=40), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(_ragged)
def test_ranks_equal_a_stable_sort_of_each_row(rows: list[list[float]]) -> None:
    values = np.array([x for r in rows for x in r])
    offsets = tokens.offsets_of(np.array([len(r) for r in rows]))
    order = tokens.rank_rows(values, offsets)
    for row, (start, stop) in zip(rows, itertools.pairwise(offsets), strict=True):
        slow = sorted(range(len(row)), key=lambda i, row=row: (-row[i], i))
        assert (order[start:stop] - start).tolist() == slow


@settings(max_examples=60, deadline=None)
@given(_ragged, st.integers(0, 30))
def test_ragged_helpers_equal_lists(rows: list[list[float]], cut: int) -> None:
    values = np.array([x for r in rows for x in r])
    offsets = tokens.offsets_of(np.array([len(r) for r in rows]))
    assert tokens.within(offsets).tolist() == [i for r in rows for i in range(len(r))]
    flat, new = tokens.take_rows(offsets, np.arange(len(rows))[::-1], np.full(len(rows), cut))
    assert values[flat].tolist() == [x for r in rows[::-1] for x in r[:cut]]
    assert np.diff(new).tolist() == [min(len(r), cut) for r in rows[::-1]]
    assert tokens.surround(values, offsets, before=-1, after=-2).tolist() == [x for r in rows for x in [-1, *r, -2]]
    assert tokens.surround(values, offsets, after=-2).tolist() == [x for r in rows for x in [*r, -2]]


def test_detected_drops_stored_zeros_and_sorts_columns() -> None:
    counts = sparse.csr_matrix(
        (np.array([5, 0, 3, 1], np.int32), np.array([2, 1, 0, 1]), np.array([0, 3, 3, 4])), shape=(3, 3)
    )
    counts.has_sorted_indices = False
    rows = tokens.detected(counts, np.array([True, True, True]))
    values = rows.values  # noqa: PD011 (not pandas)
    assert rows.columns.tolist() == [0, 2, 1] and values.tolist() == [3, 5, 1] and rows.offsets.tolist() == [0, 2, 2, 3]
    assert values.dtype == np.float32
    assert rows.cell.tolist() == [0, 0, 2]
    assert tokens.detected(counts, np.array([False, True, True])).columns.tolist() == [2, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_batches_hold_every_cell_once_within_the_budget(lengths: list[int], budget: int) -> None:
    lengths_ = np.array(lengths)
    batches = tokens.plan_batches(lengths_, np.arange(len(lengths)), budget)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(len(b) == 1 or lengths_[b].max() * len(b) <= budget for b in batches)


def test_joined_tokens_are_those_of_one_chunk() -> None:
    one = tokens.Tokens(
        np.array([0, 2, 2]), {"ids": np.array([5, 6])}, np.array([2, 0]), {"s": np.array([1, 2])}, {1: "why"}
    )
    two = tokens.Tokens(np.array([0, 1]), {"ids": np.array([7])}, np.array([1]), {"s": np.array([3])}, {0: "other"})
    joined = tokens.Tokens.join([one, two])
    assert (
        joined.offsets.tolist() == [0, 2, 2, 3]
        and joined.fields["ids"].tolist() == [5, 6, 7]
        and joined.cells["s"].tolist() == [1, 2, 3]
    )
    assert joined.skipped == {1: "why", 2: "other"} and joined.not_embedded() == {1: "why", 2: "other"}
    assert joined.take(np.array([2, 0])).fields["ids"].tolist() == [7, 5, 6]


# ---- keyed draws -----------------------------------------------------------------------------------------------------


def test_keyed_draws_are_the_same_everywhere_and_uniform() -> None:
    keys = keyed.cell_keys(7, ["cell_a", "cell_b"], stream="ties")
    assert keys.tolist() == keyed.cell_keys(7, ["cell_b", "cell_a"], stream="ties")[::-1].tolist()
    # frozen: a change of the generator would silently change every embedding that draws
    assert keys.tolist() == [16554069327972456938, 16050891046560369145]
    assert keyed.keyed_bits(keys, np.arange(2)).tolist() == [8702729729080335149, 12936747194281929158]
    bits = [keyed.keyed_bits(key, np.arange(200_000)) for key in keys]
    upper, lower, other = (x.astype(np.uint32) * 2.0**-32 for x in (bits[0] >> np.uint64(32), bits[0], bits[1]))
    for draws in (upper, lower):  # both halves serve as draws of their own
        counts = np.bincount((draws * 100).astype(int), minlength=100)
        assert ((counts - 2000) ** 2 / 2000).sum() < 160  # chi-square, 99 degrees of freedom
        assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(upper, lower)[0, 1]) < 0.01
    assert abs(np.corrcoef(lower, other)[0, 1]) < 0.01


def test_splitmix_is_the_published_generator() -> None:
    # first outputs of SplitMix64 seeded with 1234567
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert keyed.keyed_bits(np.uint64(1234567), np.arange(5)).tolist() == published


_draw = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**24 - 1, 2**24, 2**31, 2**32 - 1]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(_draw, max_size=40), min_size=1, max_size=5), st.integers(1, 30))
def test_the_smallest_draws_of_each_row_are_marked(rows: list[list[int]], n: int) -> None:
    draws = np.array([x for row in rows for x in row], dtype=np.uint32)
    mask = tokens.smallest(draws, tokens.offsets_of(np.array([len(row) for row in rows])), n)
    expected = [
        place in sorted(range(len(row)), key=lambda i: (row[i], i))[:n] for row in rows for place in range(len(row))
    ]
    assert mask.tolist() == expected


def test_streams_and_seeds_differ() -> None:
    ids = [f"cell_{i}" for i in range(1000)]
    keys = [keyed.cell_keys(s, ids, stream=t) for s in (0, 1) for t in ("a", "b")]
    assert len(set(np.concatenate(keys).tolist())) == 4000


# ---- genes -----------------------------------------------------------------------------------------------------------


def test_look_up_strips_versions_only_where_the_name_is_unknown() -> None:
    table = {"ENSG00000000001": 4, "ENSG00000000002.3": 5, "ENSG00000000002": 6, "AC1.1": 7}
    names = np.array(
        ["ENSG00000000001.9", "ENSG00000000002.3", "ENSG00000000001", "AC1.1", "AC1", "ENSG00000000001.2_PAR_Y"], object
    )
    found = genes.look_up(names, table)
    assert found.ids.tolist() == [4, 5, 4, 7, -1, -1]
    assert found.report == {"genes_total": 6, "genes_matched": 4, "versions_stripped": 1, "genes_repeated": 1}
    assert genes.look_up(names, table, strip_version="false").ids.tolist() == [-1, 5, 4, 7, -1, -1]


@given(st.lists(st.integers(-1, 4), max_size=30))
def test_occurrence_counts_what_stood_before(ids: list[int]) -> None:
    assert genes.occurrence(np.array(ids, dtype=np.int64)).tolist() == [ids[:i].count(x) for i, x in enumerate(ids)]


def test_species_is_guessed_from_the_form_of_names() -> None:
    assert genes.species_of(["ENSMUSG00000000001"] * 3) == "mouse"
    assert genes.species_of(["ENSDARG00000000001"] * 3) == "zebrafish"
    assert genes.species_of(["Actb", "Gapdh", "Cd4"]) == "mouse"
    assert genes.species_of(["ACTB", "GAPDH", "C1orf112"]) is None
    assert genes.species_of(["ENSG00000000001"]) is None
    assert genes.looks_ensembl(["ENSG00000000001.4", "ACTB"]) == 0.5


# ---- settings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Example(ModelSettings):
    """Settings of every type."""

    length: int | None = 5
    scale: float = 1.0
    on: bool = True
    layer: Literal[-1, 0] = -1


def test_settings_parse_texts_by_type() -> None:
    cls = Example
    made = make_settings(cls, split_pairs(["length=none", "scale=2", "on=false", "layer=0"]), model="example")
    assert (made.length, made.scale, made.on, made.layer) == (None, 2.0, False, 0)
    assert make_settings(cls, {"length": "7"}, model="example").length == 7
    for text, sentence in [
        ("length=x", "not a whole number"),
        ("on=falsch", "true or false"),
        ("layer=3", "not one of -1, 0"),
        ("scale=a", "not a number"),
    ]:
        with pytest.raises(ScfmError, match=sentence):
            make_settings(cls, split_pairs([text]), model="example")
    with pytest.raises(ScfmError, match="expected key=value"):
        split_pairs(["length"])
    with pytest.raises(ScfmError, match="given twice"):
        split_pairs(["length=1", "length=2"])


# ---- blocks ----------------------------------------------------------------------------------------------------------


def _slow_attention(qkv, lengths, heads, bias=None):
    """Attention of one cell and head at a time, in float64."""
    q, k, v = qkv
    out, qa, ka = np.zeros(q.shape), 0, 0
    d = q.shape[1] // heads
    for nq, nk in zip(*lengths, strict=True):
        for h in range(heads):
            c = slice(h * d, (h + 1) * d)
            logits = q[qa : qa + nq, c] @ k[ka : ka + nk, c].T / np.sqrt(d) + (
                0 if bias is None else bias[ka : ka + nk]
            )
            p = np.exp(logits - logits.max(1, keepdims=True))
            out[qa : qa + nq, c] = p / p.sum(1, keepdims=True) @ v[ka : ka + nk, c]
        qa, ka = qa + nq, ka + nk
    return out


@pytest.mark.parametrize(
    "lengths", [([5, 3, 3, 1], [5, 3, 3, 1]), ([1, 1, 1], [4, 4, 7]), ([6, 6], [6, 6]), ([6, 6, 2], [4, 1, 2])], ids=str
)
@pytest.mark.parametrize("biased", [False, True])
def test_packed_attention_equals_loops(lengths, biased) -> None:
    import torch

    from scfm.models.core.attention import attention, attention_padded
    from scfm.models.core.segments import Segments

    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(sum(n), 12)) for n in (lengths[0], lengths[1], lengths[1]))
    bias = rng.normal(size=sum(lengths[1])) if biased else None
    wanted = _slow_attention((q, k, v), lengths, 3, bias)
    arguments = [torch.tensor(x, dtype=torch.float32) for x in (q, k, v)] + [Segments(n, "cpu") for n in lengths]
    tensor_bias = None if bias is None else torch.tensor(bias, dtype=torch.float32)
    for function in (attention, attention_padded):
        np.testing.assert_allclose(function(*arguments, heads=3, key_bias=tensor_bias).numpy(), wanted, atol=2e-6)


def _torch_layer(width: int, heads: int, inner: int, activation: str):
    import torch

    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(width, heads, inner, 0.0, activation, batch_first=True).eval()
    for p in layer.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return layer


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_layer_equals_pytorch_with_all_its_shortcuts(activation) -> None:
    import torch

    from scfm.models.core.blocks import TORCH_NAMES, post_norm_layer, read_layer
    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.segments import Segments, Some, first_rows

    official = _torch_layer(16, 4, 24, activation)
    checkpoint = Checkpoint("layer.pt", {f"x.{k}": v for k, v in official.state_dict().items()})
    layer = read_layer(checkpoint, "x.", TORCH_NAMES, width=16, inner=24, eps=1e-5, place=lambda t, is_norm=False: t)
    assert not checkpoint.unused()
    lengths = [7, 4, 4, 1]
    x = torch.randn(sum(lengths), 16)
    segments = Segments(lengths, "cpu")
    how = {"heads": 4, "activation": activation}
    with torch.no_grad():
        wanted = torch.cat([official(part[None])[0] for part in x.split(lengths)])
        got = post_norm_layer(x.clone(), layer, segments, **how)
        torch.testing.assert_close(got, wanted, atol=2e-5, rtol=0)
        cls_only = post_norm_layer(x.clone(), layer, segments, read=first_rows(segments), **how)
        torch.testing.assert_close(cls_only, wanted[segments.first], atol=2e-5, rtol=0)
        # the last token of each longer cell is padding: it queries, but is no key
        real = [n - 1 if n > 1 else 1 for n in lengths]
        index = torch.cat([torch.arange(s, s + r) for s, r in zip(segments.starts, real, strict=False)])
        masked = post_norm_layer(x.clone(), layer, segments, keys=Some(index, Segments(real, "cpu")), **how)
        for part, out, r in zip(x.split(lengths), masked.split(lengths), real, strict=True):
            pad = torch.arange(len(part))[None] >= r
            slow = official.self_attn(part[None], part[None], part[None], key_padding_mask=pad, need_weights=False)[0]
            y = official.norm1(part[None] + slow)
            torch.testing.assert_close(out, official.norm2(y + official._ff_block(y))[0], atol=2e-5, rtol=0)


def test_bert_names_are_fused_in_the_same_order() -> None:
    import torch

    from scfm.models.core.blocks import BERT_NAMES, TORCH_NAMES, read_layer
    from scfm.models.core.checkpoint import Checkpoint

    state = _torch_layer(8, 2, 12, "relu").state_dict()
    bert = {}
    for kind in ("weight", "bias"):
        for name, part in zip(("query", "key", "value"), state[f"self_attn.in_proj_{kind}"].chunk(3), strict=True):
            bert[f"attention.self.{name}.{kind}"] = part
        for ours, theirs in zip(
            ("out", "norm1", "up", "down", "norm2"),
            ("self_attn.out_proj", "norm1", "linear1", "linear2", "norm2"),
            strict=True,
        ):
            bert[f"{getattr(BERT_NAMES, ours)}.{kind}"] = state[f"{theirs}.{kind}"]
    how = {"width": 8, "inner": 12, "eps": 1e-12, "place": lambda t, is_norm=False: t}
    one, two = (
        read_layer(Checkpoint("a", bert), "", BERT_NAMES, **how),
        read_layer(Checkpoint("b", state), "", TORCH_NAMES, **how),
    )
    assert (
        torch.equal(one.qkv.weight, two.qkv.weight)
        and torch.equal(one.qkv.bias, two.qkv.bias)
        and torch.equal(one.down.weight, two.down.weight)
    )


def test_pooling_over_segments() -> None:
    import torch

    from scfm.models.core.segments import Segments

    segments = Segments([2, 3, 1], "cpu")
    x = torch.randn(6, 5)
    parts = x.split([2, 3, 1])
    torch.testing.assert_close(segments.mean(x), torch.stack([p.mean(0) for p in parts]))
    torch.testing.assert_close(segments.max(x), torch.stack([p.amax(0) for p in parts]))
    assert segments.positions.tolist() == [0, 1, 0, 1, 2, 0] and segments.cell.tolist() == [0, 0, 1, 1, 1, 2]
    assert segments.slots.tolist() == [0, 1, 3, 4, 5, 6]
    for reduced in (segments.mean, segments.max):
        with pytest.raises(ValueError, match="7 rows for cells of 6 tokens"):
            reduced(torch.randn(7, 5))


# ---- checkpoints and pickles -----------------------------------------------------------------------------------------


def test_numpy_scalars_beside_tensors_are_data_under_both_names(tmp_path) -> None:
    import torch

    from scfm.models.core.tensors import read_tensors

    for old in (False, True):
        path = tmp_path / f"scalars{old}.ckpt"
        torch.save({"lr": np.float64(0.5), "step": np.int16(3), "w": torch.ones(2)}, path)
        if old:
            _rename_in_zip(path, b"numpy._core.multiarray", b"numpy.core.multiarray")
        content = read_tensors(path)
        assert content["lr"] == 0.5 and content["step"] == 3 and content["w"].tolist() == [1, 1]


def _rename_in_zip(path: Path, old: bytes, new: bytes) -> None:
    """Rewrite the pickle inside a PyTorch zip; lengths of short texts in it are adapted."""
    import zipfile

    with zipfile.ZipFile(path) as source:
        members = {i.filename: source.read(i) for i in source.infolist()}
    for name, content in members.items():
        if name.endswith("data.pkl"):
            swapped = content.replace(b"c" + old + b"\n", b"c" + new + b"\n")
            swapped = swapped.replace(b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new)
            swapped = swapped.replace(
                b"X" + len(old).to_bytes(4, "little") + old, b"X" + len(new).to_bytes(4, "little") + new
            )
            assert swapped != content
            members[name] = swapped
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name, content in members.items():
            target.writestr(name, content)


def test_pickles_of_data_load_and_anything_else_does_not(tmp_path) -> None:
    path = tmp_path / "d.pkl"
    content = {"a": 1, "b": np.int16(4), "c": np.float64(0.5), "d": np.arange(3.0), "e": np.array(["x"])}
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        loaded = load_dict(path)
        assert loaded["b"] == 4 and loaded["d"].tolist() == [0, 1, 2] and loaded["e"].tolist() == ["x"]
        path.write_bytes(
            pickle.dumps(content, protocol=protocol).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            if protocol == 2
            else path.read_bytes()
        )
        assert load_dict(path)["c"] == 0.5
    for evil in (subprocess.Popen, eval, np.load, Path("x"), np.array([print], dtype=object), getattr):
        path.write_bytes(pickle.dumps({"x": evil}))
        with pytest.raises(ScfmError, match="code and not data"):
            load_pickle(path)
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ScfmError, match=r"refers to os.system"):
        load_pickle(path)
    for odd in (b"", b"\x80\x04", b"hello", pickle.dumps(content)[:-20]):
        path.write_bytes(odd)
        with pytest.raises(ScfmError, match=r"cut short|not loaded"):
            load_pickle(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ScfmError, match="holds a list, expected"):
        load_dict(path)
    with pytest.raises(ScfmError, match=r"the folder holds d.pkl"):
        load_dict(tmp_path / "other.pkl")


def test_a_refused_checkpoint_names_what_it_refers_to(tmp_path) -> None:
    import torch

    from scfm.models.core.checkpoint import open_checkpoint

    torch.save({"a": shutil.rmtree}, tmp_path / "a.pt")
    with pytest.raises(ScfmError, match=r"shutil\.rmtree.*Nothing in it was executed"):
        open_checkpoint(tmp_path / "a.pt")
    torch.save({"other": {}}, tmp_path / "b.pt")
    with pytest.raises(ScfmError, match="the entry 'state_dict' is missing; the file holds 'other'"):
        open_checkpoint(tmp_path / "b.pt", select=lambda c: c["state_dict"])
    torch.save({"a.w": torch.ones(1), "b.w": torch.ones(1)}, tmp_path / "c.pt")
    with pytest.raises(ScfmError, match="two tensors would both be 'w'"):
        open_checkpoint(tmp_path / "c.pt", rename=lambda n: n[2:])
    old = tmp_path / "legacy.bin"
    torch.save({"w": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    assert open_checkpoint(old).take("w", 2).tolist() == [1, 1]


def test_random_tensors_depend_on_seed_and_name_only(tmp_path) -> None:
    from scfm.models.core.checkpoint import ANY, random_checkpoint

    one, two = random_checkpoint(tmp_path / "none.pt", 3), random_checkpoint(tmp_path / "none.pt", 3)
    two.take("b.weight", 50, 64)
    a = one.take("a.weight", 50, 64)
    assert (a == two.take("a.weight", 50, 64)).all() and not (a == two.take("b.weight", 50, 64)).all()
    assert a.abs().max() <= 1 / 8 and abs(float(a.std()) - 1 / 8 / 3**0.5) < 0.003
    assert (one.take("a.bias", 4) == 0).all() and (one.take("norm.weight", 4) == 1).all()
    assert abs(float(one.take("e.weight", 200, 100, init=0.02).std()) - 0.02) < 0.001
    with pytest.raises(ScfmError, match=r"needed for the size of 'e.weight'"):
        random_checkpoint(tmp_path / "none.pt", 3).take("e.weight", ANY, 4)


# ---- reader ----------------------------------------------------------------------------------------------------------


def _adata(n: int = 30, g: int = 12) -> object:
    import anndata

    counts = sparse.random(n, g, 0.4, format="csr", random_state=np.random.default_rng(0), dtype=np.float32)
    counts.data = np.ceil(counts.data * 5)
    return anndata.AnnData(
        counts,
        obs=pd.DataFrame({"donor": ["a", "b"] * (n // 2)}, index=[f"c{i}" for i in range(n)]),
        layers={"counts": counts * 2},
    )


def test_chunks_give_the_rows_of_the_matrix(tmp_path) -> None:
    from scfm.models.core.reader import open_counts

    adata = _adata()
    adata.raw = adata[:, :5].copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    for layer, wanted in (("", adata.X), ("counts", adata.layers["counts"]), ("raw", adata.raw.X)):
        counts = open_counts(tmp_path / "a.h5ad", layer)
        assert counts.n_genes == wanted.shape[1]
        parts = list(counts.chunks(7))
        assert [len(p.cell_ids) for p in parts] == [7, 7, 7, 7, 2]
        assert (sparse.vstack([p.counts for p in parts]) != wanted).nnz == 0
        rows = np.array([20, 3, 4, 29, 0])
        part = next(counts.chunks(10, rows=rows))
        assert (part.counts != wanted[rows]).nnz == 0
        assert list(part.cell_ids) == [f"c{i}" for i in rows] and list(part.obs["donor"]) == list(
            adata.obs["donor"].iloc[rows]
        )
        scan = counts.scan()
        np.testing.assert_array_equal(scan.cells_per_gene, (wanted > 0).sum(0).A1)
        np.testing.assert_array_equal(scan.genes_per_cell, (wanted > 0).sum(1).A1)
        assert scan.facts.n_stored == wanted.nnz and scan.facts.n_fractional == scan.facts.n_negative == 0
    with pytest.raises(ScfmError, match=r"no layers/count .*Did you mean 'counts'"):
        open_counts(tmp_path / "a.h5ad", "count")
    (tmp_path / "b.h5ad").write_bytes(b"nothing")
    with pytest.raises(ScfmError, match="not a readable"):
        open_counts(tmp_path / "b.h5ad")


def test_a_shard_keeps_the_facts_of_the_whole(tmp_path) -> None:
    from scfm.models.core.reader import counts_of

    counts = counts_of(_adata())
    shard = counts.only(["c7", "c2"])
    assert shard.n_cells == 2 and list(next(shard.chunks(9)).cell_ids) == ["c2", "c7"]
    np.testing.assert_array_equal(shard.scan().cells_per_gene, counts.scan().cells_per_gene)
    with pytest.raises(ScfmError, match="lacks 1 cell of the ids asked for"):
        counts.only(["c1", "nobody"])


# ---- runner ----------------------------------------------------------------------------------------------------------


def _tiny(**more):
    from models_contract import cases_of, read_input

    cases = cases_of("scgpt")
    return cases.load(**more), read_input("scgpt")


def test_out_of_gpu_memory_halves_the_budget_and_goes_on(monkeypatch, caplog) -> None:
    import torch

    model, adata = _tiny()
    wanted = model.embed(adata)
    forward, sizes = model.forward, []

    def small_gpu(batch):
        sizes.append(len(batch.segments))
        if len(batch.segments) > 3:
            raise torch.cuda.OutOfMemoryError("no memory")
        return forward(batch)

    monkeypatch.setattr(model, "forward", small_gpu)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    found = model.embed(adata)
    assert max(sizes) > 3 and "out of GPU memory" in caplog.text
    assert found.attrs["report"]["batch_tokens"] < 8192 / 4
    assert np.abs(found.to_numpy() - wanted.to_numpy()).max() < 1e-6

    def no_gpu(batch):
        raise torch.cuda.OutOfMemoryError("no memory")

    monkeypatch.setattr(model, "forward", no_gpu)
    with pytest.raises(ResourceError, match="too little memory for a single cell"):
        model.embed(adata)


def test_a_batch_is_begun_before_the_rows_of_the_one_before_are_fetched(monkeypatch) -> None:
    from scfm.models.core.runner import Runner

    events, begin, fetch = [], Runner.begin_batch, Runner.fetch

    def begun(self, found, rows):
        events.append(("begin", tuple(rows)))
        return begin(self, found, rows)

    def fetched(self, rows, out):
        events.append(("fetch", tuple(rows)))
        return fetch(self, rows, out)

    model, adata = _tiny()
    wanted = model.embed(adata)
    monkeypatch.setattr(Runner, "begin_batch", begun)
    monkeypatch.setattr(Runner, "fetch", fetched)
    found = model.embed(adata, batch_tokens=300)
    assert np.abs(found.to_numpy() - wanted.to_numpy()).max() < 1e-6
    batches = [rows for what, rows in events if what == "begin"]
    assert len(batches) > 2 and [rows for what, rows in events if what == "fetch"] == batches
    assert events[:4] == [("begin", batches[0]), ("begin", batches[1]), ("fetch", batches[0]), ("begin", batches[2])]


def test_float32_is_not_dropped_to_a_shorter_type() -> None:
    import torch

    torch.set_float32_matmul_precision("high")  # as some images and notebooks do
    _tiny()
    assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32


def test_chunks_tokenised_ahead_are_those_tokenised_in_turn(monkeypatch) -> None:
    from types import SimpleNamespace

    from scfm.models.core.reader import counts_of
    from scfm.models.core.runner import Runner, RunOptions, prepare

    model, adata = _tiny()
    counts, options = counts_of(adata), RunOptions(chunk_cells=5, batch_tokens=100)
    prepare(model, counts, options)
    in_turn = list(Runner(model, options).chunks(counts))
    model.device = SimpleNamespace(type="cuda")  # tokenising only: the next chunk is prepared in a thread
    ahead = list(Runner(model, options).chunks(counts))
    assert [list(c.cell_ids) for c, _ in ahead] == [list(c.cell_ids) for c, _ in in_turn]
    for (_, one), (_, two) in zip(ahead, in_turn, strict=True):
        np.testing.assert_array_equal(one.fields["ids"], two.fields["ids"])

    def broken(chunk):
        raise ScfmError("an error of the tokeniser")

    monkeypatch.setattr(model, "tokenize", broken)
    with pytest.raises(ScfmError, match="an error of the tokeniser"):
        list(Runner(model, options).chunks(counts))


def test_rows_that_are_not_finite_are_an_error(monkeypatch) -> None:
    model, adata = _tiny()
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda batch: forward(batch) * float("nan"))
    with pytest.raises(ScfmError, match="not finite"):
        model.embed(adata)


def test_device_and_precision_are_checked(monkeypatch) -> None:
    import torch

    from models_contract import cases_of

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = cases_of("scgpt").folder
    with pytest.raises(ScfmError, match="finds no GPU"):
        load_model("scgpt", folder, device="cuda")
    with pytest.raises(ScfmError, match="not one of auto"):
        load_model("scgpt", folder, device="tpu")
    with pytest.raises(ScfmError, match="precision 'fp8'"):
        load_model("scgpt", folder, precision="fp8")
    with pytest.raises(ScfmError, match=r"Unknown model 'scgtp'. Did you mean 'scgpt'"):
        load_model("scgtp", folder)
    with pytest.raises(ScfmError, match="not a folder"):
        load_model("scgpt", folder / "nowhere")


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys; sys.path.insert(0, 'bin'); import scfm.models, scfm.models.core.settings, scfm.registries.models;"
        " print(sorted({'torch', 'numpy', 'anndata', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_table_has_every_model() -> None:
    from scfm.models import model_class
    from scfm.registries.models import load_model_table

    table = load_model_table()
    assert sorted(table) == available_models()
    for name in available_models():
        cls = model_class(name)
        assert (cls.name, cls.cells_apart) == (name, table[name].cells_apart)
        assert cls.gene_ids == table[name].gene_ids


def test_an_error_of_the_table_names_row_and_column(tmp_path) -> None:
    from scfm.registries.models import load_model_table

    text = (REPO / "assets" / "models.tsv").read_text()
    path = tmp_path / "models.tsv"
    path.write_text(text.replace("\tsymbol\t", "\tsymbols\t", 1))
    with pytest.raises(ScfmError, match=r"row 2, column 'gene_ids'"):
        load_model_table(path)
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(ScfmError, match="is a duplicate"):
        load_model_table(path)
