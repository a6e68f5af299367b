"""UCE: the sampler against a slow one and against chance, stages of the official run, padding, token tables, odd
files.
"""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from models_cases_uce import BASE, CASES, CHECKPOINT, OFFICIAL
from models_contract import copy_fixture, edit_tensors, embed, read_expected, read_input, tokens_of
from scfm.errors import ScfmError
from scfm.keyed import cell_keys, keyed_bits
from scfm.models.core.reader import counts_of
from scfm.models.core.runner import to_batch
from scfm.models.core.tokens import detected
from scfm.models.uce.sentences import Genome, keyed_sentences, pad_batches, weigh

EXPECTED = read_expected("uce")


def official(**more):
    return CASES.load(**{**OFFICIAL, **more})


# ---- the sampler -----------------------------------------------------------------------------------------------------


def slow_sentence(
    counts: list[float], columns: list[tuple[int, int, int]], keys: tuple[int, int], size: int, offset: int
) -> list[int]:
    """One cell, one draw at a time: columns are (chromosome, start, token)."""
    genes = sorted((*place, column) for column, place in enumerate(columns))
    weights = [round(float(np.log1p(float(int(counts[g[3]])))) * 2**30) for g in genes]
    total = sum(weights)
    drawn: dict[int, list[int]] = {}
    for bits in sorted(int(keyed_bits(np.uint64(keys[0]), np.array(i))) for i in range(size)):
        left = min(int((bits >> 11) * 2.0**-53 * total), total - 1)
        at = 0
        while left >= weights[at]:
            left -= weights[at]
            at += 1
        drawn.setdefault(genes[at][0], []).append(genes[at][2])
    sentence = [3]
    for chromosome in sorted(drawn, key=lambda c: int(keyed_bits(np.uint64(keys[1]), np.array(c)))):
        sentence += [offset + chromosome, *drawn[chromosome], 2]
    return sentence


_counts = st.one_of(st.just(0.0), st.integers(1, 5).map(float), st.sampled_from([0.4, 1.9, 4095.0, 4096.0, 70000.0]))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_sentences_equal_a_slow_sampler(data) -> None:
    n_genes = data.draw(st.integers(1, 12))
    columns = data.draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(4, 9)), min_size=n_genes, max_size=n_genes)
    )
    cells = data.draw(st.lists(st.lists(_counts, min_size=n_genes, max_size=n_genes), min_size=1, max_size=4))
    size, seed = data.draw(st.integers(1, 20)), data.draw(st.integers(0, 5))
    place = np.array(columns)
    order = np.lexsort((np.arange(n_genes), place[:, 2], place[:, 1], place[:, 0]))
    genome = Genome(order, place[order, 2], place[order, 0], place[order, 1])
    weighted = weigh(sparse.csr_matrix(np.array(cells, dtype=np.float32)), genome)
    live = np.array([i for i, c in enumerate(cells) if any(int(x) for x in c)], dtype=np.int64)
    keys = cell_keys(seed, live, stream="a"), cell_keys(seed, live, stream="b")
    flat, lengths = keyed_sentences(weighted, genome, live, keys, sample_size=size, offset=100)
    wanted = [
        slow_sentence(cells[i], columns, (int(keys[0][k]), int(keys[1][k])), size, 100) for k, i in enumerate(live)
    ]
    assert lengths.tolist() == [len(w) for w in wanted]
    assert flat.tolist() == [token for w in wanted for token in w]


def test_draws_follow_the_probabilities_and_chromosomes_are_uniform() -> None:
    model = official(rng="keyed")
    adata = read_input("uce")
    tokens_of(model, adata)
    cell = "cell_3"
    source = counts_of(adata[[cell]].copy())
    chunk = next(source.chunks(1))
    row = list(EXPECTED["obs_names"]).index(cell)
    n, size = 4000, 64
    weighted = weigh(sparse.vstack([chunk.counts] * n, format="csr"), model.genome)
    ids = [f"{cell}/{i}" for i in range(n)]
    keys = cell_keys(0, ids, stream="uce.genes"), cell_keys(0, ids, stream="uce.chromosomes")
    flat, lengths = keyed_sentences(weighted, model.genome, np.arange(n), keys, sample_size=size, offset=216)
    p = EXPECTED["sample_probs"][row].astype(np.float64)
    by_token = np.zeros(216)
    np.add.at(by_token, EXPECTED["pe_row_idxs"], p)
    found = np.bincount(flat[flat < 216], minlength=216)[4:] / (n * size)
    spread = np.sqrt(by_token * (1 - by_token) / (n * size))[4:]
    assert (np.abs(found - by_token[4:]) <= 5 * spread + 1e-12).all()
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    first, counts = np.unique(flat[starts + 1], return_counts=True)  # the chromosome that comes first
    present = [np.isin(c, flat).item() for c in first]
    assert all(present) and len(first) > 10
    # every chromosome is drawn in most sentences (64 draws); the first place goes to each about equally often
    drawn_in = np.array([np.add.reduceat(flat == c, starts).astype(bool).mean() for c in first])
    share = counts / n / drawn_in
    assert share.max() / share.min() < 1.6


def test_probabilities_are_the_official_ones() -> None:
    model = official()
    adata = read_input("uce")
    tokens_of(model, adata)
    stream = model.stream_of_draws
    assert [adata.var_names[c] for c in stream.columns] == list(EXPECTED["kept_genes"])
    weighted = weigh(sparse.csr_matrix(adata.X), model.genome)
    for row, cell in enumerate(EXPECTED["obs_names"]):
        i = adata.obs_names.get_loc(cell)
        rows = detected(adata.X[[i]].tocsr(), np.isin(np.arange(adata.n_vars), stream.columns))
        places = np.searchsorted(stream.columns, rows.columns)
        dense = np.zeros(len(stream.columns))
        dense[places] = stream.probabilities(places, rows.values)
        np.testing.assert_allclose(dense, EXPECTED["sample_probs"][row], atol=1e-6)
        part = slice(weighted.offsets[i], weighted.offsets[i + 1])
        keyed = np.zeros(adata.n_vars)
        keyed[model.genome.columns[weighted.ranks[part]]] = np.diff(weighted.running)[part]
        np.testing.assert_allclose(keyed[stream.columns] / keyed.sum(), EXPECTED["sample_probs"][row], atol=1e-6)


def test_the_legacy_stream_draws_the_official_columns_and_chromosomes() -> None:
    model = official()
    adata = read_input("uce")
    tokens_of(model, adata)
    model.prepare(counts_of(adata))  # restarts the stream
    stream = model.stream_of_draws
    for row, cell in enumerate(EXPECTED["obs_names"]):
        rows = detected(
            adata.X[[adata.obs_names.get_loc(cell)]].tocsr(), np.isin(np.arange(adata.n_vars), stream.columns)
        )
        drawn, chromosomes = stream.draw(np.searchsorted(stream.columns, rows.columns), rows.values, 64)
        np.testing.assert_array_equal(drawn, EXPECTED["sampled_idx"][row])
        wanted = EXPECTED["chrom_order"][row]
        np.testing.assert_array_equal(chromosomes, wanted[wanted >= 0])


def test_stages_of_the_network_equal_the_official_ones() -> None:
    import torch

    model = official(pad_mode="official")
    found = tokens_of(model, read_input("uce"))
    padded = pad_batches(found.take(np.flatnonzero(found.lengths)), 5)
    np.testing.assert_array_equal(padded.lengths, EXPECTED["batch_max_len"][EXPECTED["batch_id"]])
    batch = to_batch(padded, "cpu")
    with torch.inference_mode():
        x = model.embed_tokens(batch)
        states = model.cls_states(x, batch)
        raw = model.decode(states)
    first = EXPECTED["transformer_input_first_batch"]
    np.testing.assert_allclose(x[: first.shape[0] * first.shape[1]].view(first.shape).numpy(), first, atol=1e-5)
    np.testing.assert_allclose(states.numpy(), EXPECTED["transformer_cls"], atol=1e-5)
    np.testing.assert_allclose(raw.numpy(), EXPECTED["cls_raw"], atol=1e-5)


# ---- what a row depends on -------------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_the_order_of_genes() -> None:
    adata = read_input("uce")
    turned = adata[:, np.random.default_rng(0).permutation(adata.n_vars)].copy()
    first, second = embed(CASES.load(), adata), embed(CASES.load(), turned)
    assert np.abs(first.loc[second.index] - second).to_numpy().max() < 1e-6


@pytest.mark.parametrize("how", [{"chunk_cells": 3}, {"chunk_cells": 7, "batch_tokens": 1}], ids=str)
def test_official_batches_do_not_depend_on_chunks(how) -> None:
    found = embed(official(pad_mode="official"), read_input("uce"), **how)
    assert np.abs(found.loc[EXPECTED["obs_names"]].to_numpy() - EXPECTED["emb"]).max() <= 1e-5


def test_padding_attended_makes_rows_depend_on_the_batch() -> None:
    found = embed(official(pad_mode="official", batch_size=7), read_input("uce")).loc[EXPECTED["obs_names"]].to_numpy()
    assert np.abs(found - EXPECTED["emb"]).max() > 1e-3
    assert not official(pad_mode="official").cells_apart
    assert not official().cells_apart  # legacy stream
    assert official(rng="keyed").cells_apart


def test_seed_changes_keyed_draws_only() -> None:
    adata = read_input("uce")
    rows = [embed(CASES.load(seed=s), adata).to_numpy() for s in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[2]).max() > 1e-4
    assert np.abs(embed(official(), adata).to_numpy() - embed(official(seed=7), adata).to_numpy()).max() == 0


def test_filter_drops_and_lists_cells_as_officially() -> None:
    adata = read_input("uce")
    found = embed(official(rng="keyed"), adata)
    assert list(found.index) == list(EXPECTED["obs_names"])
    dropped = [c for c in adata.obs_names if c not in found.index]
    listed = found.attrs["report"]["not_embedded"]
    assert [r["cell_id"] for r in listed] == dropped and "fewer than 25 detected genes" in listed[0]["reason"]
    assert len(embed(CASES.load(), adata)) == adata.n_obs


def test_a_file_too_small_for_the_filter_says_how_to_go_on() -> None:
    few = read_input("uce")[:4].copy()
    with pytest.raises(ScfmError, match=r"none of 4 cells.*filter=false"):
        embed(official(rng="keyed"), few)
    assert len(embed(CASES.load(), few[:1].copy())) == 1


def test_case_releases_and_repeats_stay_as_columns() -> None:
    adata = read_input("uce")
    model = CASES.load()
    name = next(n for n in adata.var_names if n.upper() in model.gene_tokens)
    found = model.map_genes(np.array([name, name.lower(), name.upper(), "NOPE"], dtype=object), np.full(4, 20))
    assert len(set(found.ids[:3])) == 1 and found.ids[3] == -1
    assert found.report["genes_matched"] == 3 and found.report["genes_repeated"] == 2


def test_fractional_counts_are_cut_when_asked_for() -> None:
    adata = read_input("uce")
    more = adata.copy()
    more.X = (
        more.X + sparse.csr_matrix((np.full(more.X.nnz, 0.4, np.float32), more.X.indices, more.X.indptr), more.X.shape)
    ).tocsr()
    found = embed(CASES.load(fractional="warn"), more)
    assert np.abs(found.to_numpy() - embed(CASES.load(), adata).to_numpy()).max() < 1e-6
    assert any(w["code"] == "W-MOD-18" for w in found.attrs["report"]["warnings"])


def test_a_shard_with_shared_draws_is_warned_about() -> None:
    from scfm.models.core.runner import embed_frame

    source = counts_of(read_input("uce"))
    found = embed_frame(official(), source.only(list(source.cell_ids[5:15])), min_gene_overlap=0.0)
    assert any(w["code"] == "W-MOD-17" for w in found.attrs["report"]["warnings"])


# ---- other sizes and files -------------------------------------------------------------------------------------------


def _random_state(n_layers: int, width: int, inner: int, *, vector: int, out: int, n_rows: int) -> dict:
    """A checkpoint of another size, made by PyTorch's own modules."""
    import torch
    from torch import nn

    torch.manual_seed(n_layers)
    net = nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(vector, width), nn.GELU(), nn.LayerNorm(width)),
            "transformer_encoder": nn.TransformerEncoder(
                nn.TransformerEncoderLayer(width, 1, inner), n_layers, enable_nested_tensor=False
            ),
            "decoder": nn.Sequential(
                *(nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b)) for a, b in ((width, 96), (96, out), (out, out))),
                nn.Linear(out, out),
            ),
        }
    )
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    position = torch.randn(200, 1, width)
    return net.state_dict() | {"pos_encoder.pe": position, "pe_embedding.weight": torch.randn(n_rows, vector)}


def _reference(state: dict, sentences: list[np.ndarray], heads: int, n_layers: int, *, masked: bool) -> np.ndarray:
    """The forward pass by PyTorch's encoder, one batch, sequence first."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    width, inner = state["encoder.0.weight"].shape[0], state["transformer_encoder.layers.0.linear1.weight"].shape[0]
    longest = max(map(len, sentences))
    ids = torch.zeros(len(sentences), longest, dtype=torch.int64)
    for row, sentence in enumerate(sentences):
        ids[row, : len(sentence)] = torch.from_numpy(sentence.astype(np.int64))
    is_pad = torch.arange(longest)[None] >= torch.tensor([len(s) for s in sentences])[:, None]

    def part(name: str, module: nn.Module) -> nn.Module:
        module.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
        return module.eval()

    encoder = part(
        "encoder", nn.Sequential(nn.Linear(state["encoder.0.weight"].shape[1], width), nn.GELU(), nn.LayerNorm(width))
    )
    stack = part(
        "transformer_encoder",
        nn.TransformerEncoder(nn.TransformerEncoderLayer(width, heads, inner), n_layers, enable_nested_tensor=False),
    )
    with torch.no_grad():
        x = (
            encoder(F.normalize(state["pe_embedding.weight"][ids.T], dim=2)) * width**0.5
            + state["pos_encoder.pe"][:longest]
        )
        x = stack(x, src_key_padding_mask=is_pad if masked else is_pad.float())[0]
        for i in range(3):
            x = F.linear(x, state[f"decoder.{i}.0.weight"], state[f"decoder.{i}.0.bias"])
            x = F.gelu(F.layer_norm(x, x.shape[-1:], state[f"decoder.{i}.1.weight"], state[f"decoder.{i}.1.bias"]))
        return F.normalize(F.linear(x, state["decoder.3.weight"], state["decoder.3.bias"]), dim=1).numpy()


@pytest.mark.parametrize("size", [(1, 30, 5, 44), (4, 24, 3, 50), (33, 16, 2, 20)], ids=str)
@pytest.mark.parametrize("masked", [True, False])
def test_other_sizes_equal_pytorch_modules(size, masked, tmp_path) -> None:
    import torch

    n_layers, width, heads, inner = size
    folder = copy_fixture(CASES, tmp_path)
    state = _random_state(n_layers, width, inner, vector=37, out=21, n_rows=250)
    torch.save(state, folder / "model_files" / "4layer_model.torch")
    adata = read_input("uce")[:6].copy()
    model = CASES.load(
        folder,
        checkpoint="",
        heads=heads,
        sample_size=30,
        pad_mode="masked" if masked else "official",
        batch_size=6,
        token_table="checkpoint",
    )
    found = embed(model, adata)
    tokens = tokens_of(model, adata)
    sentences = [tokens.fields["ids"][a:b] for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]
    assert len({len(s) for s in sentences}) > 1
    assert np.abs(found.to_numpy() - _reference(state, sentences, heads, n_layers, masked=masked)).max() < 1e-5
    assert found.attrs["report"]["n_layers"] == n_layers


@pytest.mark.parametrize("lengths", [[1], [5, 5, 3, 9], [2] * 20], ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
def test_attention_of_one_equals_attention_over_keys_and_values(lengths, with_bias) -> None:
    import torch

    from scfm.models.core.attention import attention, attention_of_one
    from scfm.models.core.linear import Linear
    from scfm.models.core.segments import Segments, first_rows

    torch.manual_seed(0)
    segments, width, heads = Segments(lengths, "cpu"), 30, 5
    x, qkv = torch.randn(segments.total, width), Linear(torch.randn(3 * width, width) / 3, torch.randn(3 * width))
    bias = torch.randn(segments.total) if with_bias else None
    read = first_rows(segments)
    q, k, v = qkv(x).split(width, dim=1)
    wanted = attention(q[read.index], k, v, read.segments, segments, heads=heads, key_bias=bias)
    found = attention_of_one(x, qkv, read, segments, heads=heads, key_bias=bias)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-5)


def test_token_table_follows_the_official_rule(tmp_path) -> None:
    """Another number of rows replaces the checkpoint's table; the usual number, or one without chromosome rows, does
    not.
    """
    import torch

    folder = copy_fixture(CASES, tmp_path)
    path = folder / "model_files" / "all_tokens.torch"
    table = torch.load(path, weights_only=True)
    adata = read_input("uce")
    plain = embed(CASES.load(), adata)
    other = torch.from_numpy(np.random.default_rng(0).normal(size=(261, table.shape[1])).astype(np.float32))
    for same in (other[:250], other[:216]):
        torch.save(same.clone(), path)
        np.testing.assert_array_equal(embed(CASES.load(folder), adata), plain)
    torch.save(other, path)
    replaced = embed(CASES.load(folder), adata)
    assert replaced.attrs["report"]["token_table"] == "all_tokens.torch:tokens"
    np.testing.assert_array_equal(
        embed(CASES.load(folder, token_table="model_files/all_tokens.torch"), adata), replaced
    )
    np.testing.assert_array_equal(embed(CASES.load(folder, token_table="checkpoint"), adata), plain)
    edit_tensors(CASES, folder, lambda t: t.update({"pe_embedding.weight": other[:250].clone()}))
    path.unlink()
    assert np.abs(embed(CASES.load(folder), adata) - replaced).to_numpy().max() < 1e-6
    assert np.abs(replaced - plain).to_numpy().max() > 1e-3


def test_other_species_have_their_own_block_of_tokens() -> None:
    adata = read_input("uce")
    model = CASES.load(species="mouse")
    offsets = pickle.loads((CASES.folder / "model_files" / "species_offsets.pkl").read_bytes())
    assert min(model.gene_tokens.values()) == offsets["mouse"]
    symbols = list(model.gene_tokens)
    mouse = adata[:, : len(symbols)].copy()
    mouse.var_names = [s.capitalize() for s in symbols]
    assert len(embed(model, mouse)) == int((np.asarray(mouse.X.sum(1)).ravel() > 0).sum())
    with pytest.raises(ScfmError, match=r"species 'mose' is not in .* Did you mean 'mouse'"):
        CASES.load(species="mose")


def test_a_new_species_is_found_through_the_table_of_paths(tmp_path) -> None:
    import torch

    folder = copy_fixture(CASES, tmp_path)
    files = folder / "model_files"
    offsets = pickle.loads((files / "species_offsets.pkl").read_bytes())
    (files / "species_offsets.pkl").write_bytes(pickle.dumps({**offsets, "newt": 100}))
    with pytest.raises(ScfmError, match="no protein file is known for species 'newt'"):
        CASES.load(folder, species="newt")
    torch.save({"aA": torch.zeros(48), "Aa": torch.zeros(48), "b": torch.zeros(48)}, files / "newt.pt")
    (files / "new_species_protein_embeddings.csv").write_text("species,path\nnewt,./model_files/newt.pt\n")
    with pytest.raises(ScfmError, match="has no gene of species 'newt'"):
        CASES.load(folder, species="newt")
    with (files / "species_chrom.csv").open("a") as handle:
        handle.write("AA,1,5,newt\nB,1,3,newt\n")
    model = CASES.load(folder, species="newt", chrom_token_offset=200)
    assert model.gene_tokens == {"AA": 100, "B": 101}  # keys that differ by case count once


def _edit_positions(folder, edit) -> None:
    path = folder / "model_files" / "species_chrom.csv"
    edit(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda t: t[t["gene_symbol"] != "SYN36ORF1"], "'SYN36ORF1', which is not in it"),
        (lambda t: pd.concat([t, t[t["gene_symbol"] == "SYN36ORF1"]]), "'SYN36ORF1', which is listed more than once"),
        (
            lambda t: t.assign(start=t["start"].where(t["gene_symbol"] != "SYN36ORF1", "far")),
            "'SYN36ORF1', which has no chromosome",
        ),
    ],
)
def test_gaps_of_the_position_table_are_errors(edit, sentence, tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    _edit_positions(folder, edit)
    with pytest.raises(ScfmError, match=sentence):
        embed(CASES.load(folder), read_input("uce"))


@pytest.mark.parametrize("name", ["species_chrom.csv", "new_species_protein_embeddings.csv"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'"never closed\na,b\n', b"a,b\n1,2\n"])
def test_odd_tables_are_sentences(name, content, tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    (folder / "model_files" / name).write_bytes(content)
    with pytest.raises(ScfmError, match=name):
        CASES.load(folder)


@pytest.mark.parametrize(
    ("offsets", "chromosomes", "sentence"),
    [
        ({"human": "far"}, 216, "first token of species 'human' is 'far'"),
        ({"human": 0}, 216, "tokens 0 to 3 are the special ones"),
        (None, -1, "would have the tokens|are the special ones"),
        (None, 20, "would have the tokens .* of its chromosomes"),
    ],
)
def test_tokens_of_genes_and_chromosomes_are_kept_apart(offsets, chromosomes, sentence, tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    if offsets:
        (folder / "model_files" / "species_offsets.pkl").write_bytes(pickle.dumps(offsets))
    with pytest.raises(ScfmError, match=sentence):
        CASES.load(folder, chrom_token_offset=chromosomes)


def test_chromosome_codes_are_ranks_of_texts_over_the_whole_file(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    before = CASES.load(folder).positions
    table = pd.read_csv(folder / "model_files" / "species_chrom.csv", dtype=str)
    labels = sorted({f"{s}_{c}" for s, c in zip(table["species"], table["chromosome"], strict=True)})
    assert before.names == labels and labels.index("human_10") < labels.index("human_2")
    _edit_positions(folder, lambda t: pd.concat([t, pd.DataFrame([["NA", "1", "5", "axolotl"]], columns=t.columns)]))
    after = CASES.load(folder, chrom_token_offset=215).positions
    assert after.names == ["axolotl_1", *labels]
    assert all(after.place[g] == (code + 1, start) for g, (code, start) in before.place.items())


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"heads": 5}, "32 is not a multiple of heads=5"),
        ({"heads": 0}, "heads=0 must be at least 1"),
        ({"pad_length": 60}, "pad_length=60 cannot hold"),
        ({"chrom_token_offset": 143574}, "the chromosomes reach token"),
        ({"checkpoint": "model_files/nothing.torch"}, "nothing.torch: the file is missing"),
        ({"token_table": "model_files/nothing.torch"}, "nothing.torch: the file is missing"),
        ({"pad_mode": "none"}, "pad_mode=none is not one of masked, official"),
    ],
)
def test_impossible_settings(more, sentence) -> None:
    with pytest.raises(ScfmError, match=sentence):
        CASES.load(**more)


def test_a_sentence_longer_than_the_limit_is_an_error() -> None:
    with pytest.raises(ScfmError, match=r"sentence of cell 'cell_\d+' has \d+ tokens, more than 70"):
        embed(CASES.load(pad_length=70), read_input("uce"))


def test_a_checkpoint_without_token_table_is_an_error(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    edit_tensors(CASES, folder, lambda tensors: tensors.pop("pe_embedding.weight"))
    with pytest.raises(ScfmError, match=r"pe_embedding\.weight' is missing"):
        CASES.load(folder)


def test_mouse_genes_under_human_are_warned_about() -> None:
    adata = read_input("uce")
    adata.var_names = [f"{n[:1].upper()}{n[1:].lower()}" for n in adata.var_names]
    found = embed(CASES.load(), adata)
    assert any(w["code"] == "W-MOD-16" for w in found.attrs["report"]["warnings"])


def test_weights_may_name_the_inner_folder() -> None:
    model = CASES.load(CASES.folder / "model_files", checkpoint="tiny_2layer_model.torch")
    assert BASE["checkpoint"] == CHECKPOINT
    np.testing.assert_array_equal(embed(model, read_input("uce")), embed(CASES.load(), read_input("uce")))
