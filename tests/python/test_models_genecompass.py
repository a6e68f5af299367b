"""GeneCompass: tokeniser and encoder against slow references, both species, tables from checkpoint or pickles, errors
of its files.
"""

from __future__ import annotations

import json
import pickle
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

from helpers_bert import bert_tensors, dump, save_model, slow_layers, slow_norm, tiny_config
from models_cases_genecompass import BASE, CASES
from models_contract import copy_fixture, edit_tensors, embed, read_expected, read_input, tokens_of
from scfm.errors import ScfmError
from scfm.models import load_model
from scfm.models.core.runner import to_batch
from scfm.models.genecompass.files import HOMOLOGUES, KNOWLEDGE, NAMES, SYMBOLS, read_homologues, species_of_id

HUMAN = [f"ENSG{i:011d}" for i in range(16)]
MOUSE = [f"ENSMUSG{i:011d}" for i in range(9)]
#: in the token dictionary, but not in the gene list that preprocessing keeps
UNLISTED = HUMAN[14:]
SYMBOL = {gene: f"HU{i}" for i, gene in enumerate(HUMAN)} | {gene: f"Mo{i}" for i, gene in enumerate(MOUSE)}
DICT = {f"HU{i}": gene for i, gene in enumerate(HUMAN)} | {"ALIAS": HUMAN[0], "GONE": "ENSG99999999999"}
TOKENS = {name: i for i, name in enumerate(["<pad>", *HUMAN, *MOUSE, "<mask>"])}
MEDIANS = {
    "human": {gene: 0.5 + i % 5 for i, gene in enumerate(HUMAN[1:])},
    "mouse": {gene: 2.0 + i for i, gene in enumerate(MOUSE[:-1])},
}
SIZES = {"promoter": 7, "co_exp": 5, "gene_family": 6, "peca_grn": 3}
#: mouse token <- human token; two keys for one value: the later one wins
PAIRS = {TOKENS[HUMAN[1]]: TOKENS[MOUSE[0]], TOKENS[HUMAN[2]]: TOKENS[MOUSE[1]], TOKENS[HUMAN[3]]: TOKENS[MOUSE[1]]}


def write_tiny(top: Path, *, name: str = "pytorch_model.bin", config: dict | None = None, seed: int = 0) -> dict:
    """Write a model folder, dictionaries and prior knowledge; return what they hold."""
    config = tiny_config(
        len(TOKENS), hidden_act="gelu", max_position_embeddings=12, type_vocab_size=3, **(config or {})
    )
    d, generator = config["hidden_size"], torch.Generator().manual_seed(seed)
    tensors = bert_tensors(config, {"token_type_embeddings": 3}, seed)
    index = np.arange(len(TOKENS))
    for key, value in PAIRS.items():
        index[value] = key
    tensors["bert.embeddings.homologous_index"] = torch.from_numpy(index)
    shapes = {"concat_embeddings.cat_fc.weight": (d, 5 * d + 1), "concat_embeddings.cat_proj.weight": (d, d)}
    shapes |= {f"concat_embeddings.{n}": (d,) for n in ("cat_fc.bias", "cat_proj.bias", "cat_ln.weight", "cat_ln.bias")}
    rng = np.random.default_rng(seed)
    for kind, size in SIZES.items():
        shapes |= {f"{kind}_embeddings.linear1.weight": (d, size), f"{kind}_embeddings.linear1.bias": (d,)}
        vectors = {gene: rng.normal(size=size) for gene in (*HUMAN, *MOUSE)}
        table = np.zeros((len(TOKENS), size), np.float32)
        for gene, vector in vectors.items():
            table[TOKENS[gene]] = vector
        tensors[f"bert.embeddings.{kind}_knowledge"] = torch.from_numpy(table)
        for species, genes in (("human", HUMAN), ("Mouse", MOUSE)):
            dump(
                top / "prior_knowledge" / KNOWLEDGE[kind] / f"{species}_any.pickle",
                {SYMBOL[g]: vectors[g] for g in genes} | {"MORE": np.ones(size)},
            )
    for key, shape in shapes.items():
        tensors[f"bert.embeddings.{key}"] = torch.randn(shape, generator=generator) * 0.4
    tensors["bert.cls_embedding.weight"] = torch.randn((2, d), generator=generator)
    save_model(top / "GeneCompass_Tiny", config, tensors, name=name)
    dump(top / "prior_knowledge/human_mouse_tokens.pickle", TOKENS)
    dump(top / "prior_knowledge" / HOMOLOGUES, PAIRS)
    dump(top / "prior_knowledge/gene_list" / NAMES, SYMBOL)
    dump(top / "dict" / SYMBOLS, DICT)
    dump(top / "dict/gene_id_hpromoter.pickle", [gene for gene in HUMAN if gene not in UNLISTED])
    for species, medians in MEDIANS.items():
        dump(top / f"dict/{species}_gene_median_after_filter.pickle", medians)
    return {"config": config, "tensors": tensors, "folder": top}


class Tiny(dict):
    """A dict that hypothesis can print in one word."""

    def __repr__(self) -> str:
        return "Tiny"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(write_tiny(tmp_path_factory.mktemp("genecompass")))


def load(folder: Path, **more: object):
    return load_model("genecompass", folder, device="cpu", **more)


def as_adata(counts: np.ndarray, names: list[str]) -> anndata.AnnData:
    var = pd.DataFrame({"name": names}, index=[f"v{j}" for j in range(len(names))])
    return anndata.AnnData(
        sparse.csr_matrix(counts), obs=pd.DataFrame(index=[f"c{i}" for i in range(len(counts))]), var=var
    )


def slow_cells(
    counts: np.ndarray, names: list[str], species: str, *, keep: int = 12, strip: bool = True
) -> list[list[tuple[int, float]]]:
    """Tokenise cell by cell, each step as the specification words it: (token, value) from the highest value on."""
    symbols = DICT | ({SYMBOL[g]: g for g in MOUSE} if species == "mouse" else {})
    medians = MEDIANS["human"] | MEDIANS["mouse"]
    mapped = []
    for name in names:
        gene = symbols.get(name, name)
        if strip and gene.startswith("ENS"):
            gene = gene.split(".")[0]
        allowed = (gene in HUMAN and gene not in UNLISTED) or (gene in MOUSE and species == "mouse")
        mapped.append(gene if allowed else None)
    found = []
    for cell in counts.astype(np.float64):
        pairs = [
            (TOKENS[g], float(np.log2(1 + x / medians.get(g, 1.0))))
            for g, x in zip(mapped, cell, strict=True)
            if g is not None and x != 0
        ]
        pairs.sort(key=lambda pair: -pair[1])  # stable: ties in the order of the columns
        found.append(pairs[:keep])
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_tokens_equal_a_slow_reference(tiny, data) -> None:
    species = data.draw(st.sampled_from(["human", "mouse"]))
    pool = [
        *HUMAN[:6],
        *UNLISTED,
        *MOUSE[:4],
        MOUSE[8],
        "HU0",
        "HU3",
        "HU15",
        "ALIAS",
        "GONE",
        "Mo2",
        "Mo8",
        "hu3",
        "",
        "<pad>",
        f"{HUMAN[4]}.3",
    ]
    names = [*data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=24)), HUMAN[5]]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    counts = rng.poisson(data.draw(st.sampled_from([0.2, 1, 50])), (data.draw(st.integers(1, 5)), len(names)))
    counts[0, -1] = 1
    counts = counts.astype(data.draw(st.sampled_from([np.float32, np.float64, np.int64, np.uint8])))
    keep, padded = data.draw(st.sampled_from([1, 5, 12])), data.draw(st.booleans())
    model = load(tiny["folder"], species=species, gene_column="name", max_length=keep, attend_padding=padded)
    found = tokens_of(model, as_adata(counts, names))
    for i, pairs in enumerate(slow_cells(counts, names, species, keep=keep)):
        here = slice(found.offsets[i], found.offsets[i + 1])
        pad = [0] * (keep - len(pairs) if padded else 0)
        assert found.fields["ids"][here].tolist() == [0, *(token for token, _ in pairs), *pad]
        np.testing.assert_allclose(found.fields["values"][here], [0, *(value for _, value in pairs), *pad], rtol=1e-6)
        assert (i in found.not_embedded()) == (not pairs)


def slow_row(pairs: list[tuple[int, float]], tiny: dict, *, species: str, pooling: str, padding: int) -> np.ndarray:
    """Return the row of ONE cell in float64: the embedding from its definition, the encoder from
    :func:`slow_hidden_states`.
    """
    t = {name: tensor.double().numpy() for name, tensor in tiny["tensors"].items()}
    e = "bert.embeddings."

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    pairs = [*pairs, *[(0, 0.0)] * padding]
    ids, values = [token for token, _ in pairs], np.array([[value] for _, value in pairs])
    used = t[f"{e}homologous_index"].astype(int)[ids] if species == "mouse" else ids
    z = [
        t[f"{e}word_embeddings.weight"][ids],
        values,
        *(linear(t[f"{e}{kind}_knowledge"][used], f"{e}{kind}_embeddings.linear1") for kind in SIZES),
    ]
    y = slow_norm(linear(np.hstack(z), f"{e}concat_embeddings.cat_fc"), t, f"{e}concat_embeddings.cat_ln", 1e-5)
    y = linear(y / (1 + np.exp(-1.702 * y)), f"{e}concat_embeddings.cat_proj")
    y = slow_norm(
        y + t[f"{e}token_type_embeddings.weight"][0] + t[f"{e}position_embeddings.weight"][: len(ids)],
        t,
        f"{e}LayerNorm",
        1e-12,
    )
    x = np.vstack([t["bert.cls_embedding.weight"][int(species == "mouse")], y])
    last = slow_layers(x, tiny["config"], tiny["tensors"])[-1]
    return last[0] if pooling == "cls" else last[1:].mean(0)


def counts_of(seed: int, n_cells: int, n_genes: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(1.2, (n_cells, n_genes)).astype(np.float32)


@pytest.mark.parametrize("species", ["human", "mouse"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("how", [(True, 12, 2), (False, 12, 1), (True, 5, 1), (False, 9, 3)], ids=str)
def test_rows_equal_a_slow_reference(species, pooling, how, tmp_path) -> None:
    attend_padding, max_length, layers = how
    tiny = write_tiny(tmp_path, config={"num_hidden_layers": layers})
    names = [*HUMAN[:9], "ALIAS"] if species == "human" else [*MOUSE, "Mo1", HUMAN[3]]
    counts = counts_of(layers, 7, len(names))
    model = load(
        tmp_path,
        species=species,
        pooling=pooling,
        attend_padding=attend_padding,
        max_length=max_length,
        gene_column="name",
    )
    frame = embed(model, as_adata(counts, names), batch_tokens=30)
    cells = [pairs for pairs in slow_cells(counts, names, species, keep=max_length) if pairs]
    wanted = [
        slow_row(
            pairs, tiny, species=species, pooling=pooling, padding=max_length - len(pairs) if attend_padding else 0
        )
        for pairs in cells
    ]
    np.testing.assert_allclose(frame.to_numpy(), wanted, atol=3e-5)


def test_the_states_of_the_embedding_equal_the_official_ones() -> None:
    model = CASES.load()
    found = tokens_of(model, read_input("genecompass")).take(np.arange(2))
    ids, values = (torch.from_numpy(found.fields[name].reshape(2, -1)[:, 1:]) for name in ("ids", "values"))
    with torch.inference_mode():
        states = [model.embed_tokens(i.long(), v, torch.arange(64)).numpy() for i, v in zip(ids, values, strict=True)]
    assert np.abs(np.stack(states) - read_expected("genecompass")["embedding_layer_output_2cells"]).max() < 1e-5


@pytest.mark.parametrize(
    ("key", "how"),
    [("embedding_cls", {}), ("embedding_mean", {"pooling": "mean"}), ("embedding_cls_species1", {"species": "mouse"})],
)
def test_a_cell_without_a_gene_would_give_the_official_row(key, how) -> None:
    """It gets no row in a table, but the computation is the same: padding alone."""
    model = CASES.load(**how)
    adata = read_input("genecompass")
    at = list(adata.obs_names).index("cell7")
    found = tokens_of(model, adata).take(np.array([at]))
    assert found.n_genes.tolist() == [0]
    with torch.inference_mode():
        row = model.forward(to_batch(found, "cpu")).numpy()[0]
    assert np.abs(row - read_expected("genecompass")[key][at]).max() < 1e-5


# ---- files -----------------------------------------------------------------------------------------------------------

BUFFERS = [*(f"bert.embeddings.{kind}_knowledge" for kind in KNOWLEDGE), "bert.embeddings.homologous_index"]


@pytest.mark.parametrize("absent", [BUFFERS, BUFFERS[1:2], BUFFERS[4:]], ids=["all", "one table", "homologues"])
@pytest.mark.parametrize("species", ["human", "mouse"])
def test_tables_are_built_from_the_prior_knowledge_where_the_checkpoint_lacks_them(absent, species, tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    edit_tensors(CASES, folder, lambda tensors: [tensors.pop(name) for name in absent])
    model = load(folder, **BASE, species=species)
    expected = read_expected("genecompass")["embedding_cls" if species == "human" else "embedding_cls_species1"]
    frame = embed(model, read_input("genecompass"))
    keep = [i for i, c in enumerate(read_input("genecompass").obs_names) if c != "cell7"]
    assert np.abs(frame.to_numpy() - expected[keep]).max() < 1e-5
    assert frame.attrs["report"]["knowledge_from_pickles"] == [
        kind for kind in KNOWLEDGE if f"bert.embeddings.{kind}_knowledge" in absent
    ]


def test_a_mouse_model_from_pickles_alone(tmp_path) -> None:
    tiny = write_tiny(tmp_path)
    names = [*MOUSE, *HUMAN[:3]]
    adata = as_adata(counts_of(5, 6, len(names)), names)
    wanted = embed(load(tmp_path, species="mouse", gene_column="name"), adata)
    save_model(
        tmp_path / "GeneCompass_Tiny",
        tiny["config"],
        {k: v for k, v in tiny["tensors"].items() if k not in BUFFERS},
        name="pytorch_model.bin",
    )
    found = embed(load(tmp_path, species="mouse", gene_column="name"), adata)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def _without_tables(top: Path) -> None:
    tiny = write_tiny(top)
    save_model(
        top / "GeneCompass_Tiny",
        tiny["config"],
        {k: v for k, v in tiny["tensors"].items() if k not in BUFFERS},
        name="pytorch_model.bin",
    )


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda p: shutil.rmtree(p / "PECA2vec"),
            r"no table 'peca_grn_knowledge', and there is no file human\*\.pickle",
        ),
        (
            lambda p: shutil.copy(p / "PECA2vec/human_any.pickle", p / "PECA2vec/human_2.pickle"),
            "several files for human",
        ),
        (
            lambda p: dump(p / "gene_family/human_any.pickle", {"HU1": np.ones(6)}),
            f"no vector for gene '{HUMAN[0]}' .symbol 'HU0'",
        ),
        (
            lambda p: dump(
                p / "gene_family/human_any.pickle", {SYMBOL[g]: np.ones(6 + (g == HUMAN[4])) for g in HUMAN}
            ),
            r"'HU4' has shape \(7,\)",
        ),
        (
            lambda p: dump(p / "gene_family/human_any.pickle", {SYMBOL[g]: np.ones(8) for g in HUMAN}),
            r"gene_family_embeddings.* expected 18 x 8",
        ),
        (lambda p: (p / "gene_list" / NAMES).unlink(), f"{NAMES}: the file is missing"),
    ],
)
def test_errors_of_the_prior_knowledge(spoil, sentence, tmp_path) -> None:
    _without_tables(tmp_path)
    spoil(tmp_path / "prior_knowledge")
    with pytest.raises(ScfmError, match=sentence):
        load(tmp_path)


def test_the_homologues_are_those_of_the_later_pair(tmp_path) -> None:
    dump(tmp_path / "p", {3: 1, 4: 1, 5: 2})
    assert read_homologues(tmp_path / "p", 6).tolist() == [0, 4, 5, 3, 4, 5]
    dump(tmp_path / "p", {3: 6})
    with pytest.raises(ScfmError, match="outside the vocabulary of 6"):
        read_homologues(tmp_path / "p", 6)


def test_safetensors_and_a_folder_that_is_the_model(tiny, tmp_path) -> None:
    write_tiny(tmp_path, name="model.safetensors")
    adata = as_adata(counts_of(1, 4, 6), HUMAN[:6])
    wanted = embed(load(tiny["folder"], gene_column="name"), adata)
    np.testing.assert_array_equal(embed(load(tmp_path, gene_column="name"), adata), wanted)
    np.testing.assert_array_equal(embed(load(tmp_path / "GeneCompass_Tiny", gene_column="name"), adata), wanted)
    (tmp_path / "dict").rename(tmp_path / "public")
    np.testing.assert_array_equal(embed(load(tmp_path, gene_column="name"), adata), wanted)


def test_which_model_of_several(tiny, tmp_path) -> None:
    shutil.copytree(tiny["folder"], tmp_path / "all")
    folder = tmp_path / "all"
    shutil.copytree(folder / "GeneCompass_Tiny", folder / "GeneCompass_Small")
    with pytest.raises(ScfmError, match=r"several models .*--set release="):
        load(folder)
    with pytest.raises(ScfmError, match="Did you mean 'GeneCompass_Small'"):
        load(folder, release="GeneCompass_Smal")
    assert load(folder, release="GeneCompass_Small").facts()["model_release"] == "GeneCompass_Small"
    with pytest.raises(ScfmError, match="no GeneCompass model"):
        load(tmp_path / "all" / "dict")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"use_values": False}, "use_values is False"),
        ({"use_cls_token": False}, "use_cls_token is False"),
        ({"pad_token_id": 3}, "pad_token_id is 3"),
        ({"use_promoter": False}, r"cat_fc\.weight' has shape 18 x 91, expected 18 x 73"),
        ({"vocab_size": 28}, "vocab_size 28"),
        ({"num_hidden_layers": 3}, r"encoder\.layer\.2.*missing"),
        ({"max_position_embeddings": 64}, "position_embeddings.*shape"),
        ({"type_vocab_size": 2}, "token_type_embeddings.*shape"),
    ],
)
def test_errors_of_the_configuration(change, sentence, tmp_path) -> None:
    write_tiny(tmp_path)
    path = tmp_path / "GeneCompass_Tiny/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ScfmError, match=sentence):
        load(tmp_path)


def test_a_model_without_one_kind_of_knowledge(tmp_path) -> None:
    """The layer that joins the parts is narrower then; its other columns keep their order."""
    tiny = write_tiny(tmp_path)
    d, name = 18, "bert.embeddings.concat_embeddings.cat_fc.weight"
    adata = as_adata(counts_of(2, 5, 8), HUMAN[:8])
    with_zeros = dict(tiny["tensors"])
    with_zeros[name] = tiny["tensors"][name].clone()
    with_zeros[name][:, 2 * d + 1 : 3 * d + 1] = 0  # co_exp is the second kind
    save_model(tmp_path / "GeneCompass_Tiny", tiny["config"], with_zeros, name="pytorch_model.bin")
    wanted = embed(load(tmp_path, gene_column="name"), adata)
    slim = {k: v for k, v in with_zeros.items() if "co_exp" not in k}
    slim[name] = torch.cat([with_zeros[name][:, : 2 * d + 1], with_zeros[name][:, 3 * d + 1 :]], dim=1)
    save_model(tmp_path / "GeneCompass_Tiny", tiny["config"] | {"use_co_exp": False}, slim, name="pytorch_model.bin")
    np.testing.assert_allclose(embed(load(tmp_path, gene_column="name"), adata), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "prior_knowledge/human_mouse_tokens.pickle",
            TOKENS | {"<pad>": 26, "<mask>": 0},
            "token of <pad> is 26, expected 0",
        ),
        ("dict/gene_id_hpromoter.pickle", ["ACTB"], "is an Ensembl id"),
        ("dict/gene_id_hpromoter.pickle", 3, "holds a int"),
        ("dict/human_gene_median_after_filter.pickle", {HUMAN[0]: 0.0}, "positive median"),
        ("dict/human_gene_median_after_filter.pickle", {"X": 1.0}, "none is there"),
        ("dict/human_gene_median_after_filter.pickle", {HUMAN[0]: "x"}, "Ensembl id -> number"),
    ],
)
def test_errors_of_the_dictionaries(name, content, sentence, tmp_path) -> None:
    write_tiny(tmp_path)
    dump(tmp_path / name, content)
    with pytest.raises(ScfmError, match=sentence):
        load(tmp_path)


def test_absent_dictionaries(tmp_path) -> None:
    write_tiny(tmp_path)
    adata = as_adata(counts_of(3, 4, 8), [f"HU{i}" for i in (*range(7), 15)])
    wanted = embed(load(tmp_path, gene_column="name"), adata)
    assert wanted.attrs["report"]["genes_matched"] == 7
    (tmp_path / "dict" / SYMBOLS).unlink()  # symbols by the names of the prior knowledge
    found = embed(load(tmp_path, gene_column="name"), adata)
    np.testing.assert_array_equal(found, wanted)
    (tmp_path / "dict/gene_id_hpromoter.pickle").unlink()  # no list of genes: all of the vocabulary
    found = embed(load(tmp_path, gene_column="name"), adata)
    assert found.attrs["report"]["genes_matched"] == 8
    assert sorted(
        w["values"]["file"].split()[0] for w in found.attrs["report"]["warnings"] if w["code"] == "W-MOD-22"
    ) == [SYMBOLS, "gene_id_hpromoter.pickle"]
    (tmp_path / "prior_knowledge/gene_list" / NAMES).unlink()
    with pytest.raises(ScfmError, match="look like gene symbols"):
        embed(load(tmp_path, gene_column="name"), adata)
    (tmp_path / "dict/human_gene_median_after_filter.pickle").unlink()
    with pytest.raises(ScfmError, match=r"human_gene_median_after_filter\.pickle: the file is missing"):
        load(tmp_path)


def test_the_gene_list_may_be_a_dictionary_or_a_set(tiny, tmp_path) -> None:
    write_tiny(tmp_path)
    listed = [gene for gene in HUMAN if gene not in UNLISTED]
    for content in (dict.fromkeys(listed, 1), set(listed), np.array(listed)):
        dump(tmp_path / "dict/gene_id_hpromoter.pickle", content)
        assert load(tmp_path).dictionaries.table == load(tiny["folder"]).dictionaries.table
    (tmp_path / "dict/gene_id_hpromoter.pickle").write_bytes(pickle.dumps(set(listed), protocol=2))
    assert load(tmp_path).dictionaries.table == load(tiny["folder"]).dictionaries.table


# ---- species and genes -----------------------------------------------------------------------------------------------


def test_mouse_genes_need_the_setting_and_the_medians(tiny, tmp_path) -> None:
    adata = as_adata(counts_of(4, 5, len(MOUSE)), MOUSE)
    with pytest.raises(ScfmError, match=r"look like genes of mouse; does this model .or its species"):
        embed(load(tiny["folder"], gene_column="name"), adata)
    assert len(embed(load(tiny["folder"], gene_column="name", species="mouse"), adata)) == 5
    write_tiny(tmp_path)
    (tmp_path / "dict/mouse_gene_median_after_filter.pickle").unlink()
    with pytest.raises(
        ScfmError,
        match=r"mouse_gene_median_after_filter\.pickle: the file is missing, and 9 genes of the data are mouse genes",
    ):
        embed(load(tmp_path, gene_column="name", species="mouse"), adata)


def test_mouse_cells_with_human_ids_are_possible_but_reported(tiny) -> None:
    adata = as_adata(counts_of(4, 5, 8), HUMAN[:8])
    found = embed(load(tiny["folder"], gene_column="name", species="mouse"), adata)
    assert [w["values"] for w in found.attrs["report"]["warnings"] if w["code"] == "W-MOD-23"] == [{"n_human": 8}]


def test_species_of_an_id() -> None:
    assert [species_of_id(g) for g in (HUMAN[0], MOUSE[0], "<pad>", "ACTB", "ENSRNOG00000000001")] == [
        "human",
        "mouse",
        None,
        None,
        None,
    ]


def test_ensembl_ids_give_the_tokens_of_the_symbols() -> None:
    adata = read_input("genecompass")
    adata = adata[:, adata.var["gene_symbol"] != "ALIAS0"].copy()  # the alias' own id is no gene of the model
    first, second = (tokens_of(CASES.load(gene_column=column), adata) for column in ("gene_symbol", "index"))
    for name in first.fields:
        np.testing.assert_array_equal(first.fields[name], second.fields[name])


def test_version_suffixes(tiny) -> None:
    counts = counts_of(6, 4, 8)
    wanted = embed(load(tiny["folder"], gene_column="name"), as_adata(counts, HUMAN[:8]))
    versioned = as_adata(counts, [f"{gene}.{i}" for i, gene in enumerate(HUMAN[:8])])
    found = embed(load(tiny["folder"], gene_column="name"), versioned)
    np.testing.assert_array_equal(found, wanted)
    assert found.attrs["report"]["versions_stripped"] == 8
    with pytest.raises(ScfmError, match="vocabulary"):
        load(tiny["folder"], gene_column="name", strip_version="false").embed(versioned)


def test_columns_of_one_gene_both_stay(tiny) -> None:
    """As officially: the token occurs twice."""
    counts = np.array([[5, 0, 3, 0], [1, 2, 0, 0]], np.float32)
    found = tokens_of(
        load(tiny["folder"], gene_column="name", attend_padding=False),
        as_adata(counts, ["HU0", "HU1", "ALIAS", HUMAN[1]]),
    )
    assert found.take(np.array([0])).fields["ids"].tolist() == [0, TOKENS[HUMAN[0]], TOKENS[HUMAN[0]]]
    assert found.n_genes.tolist() == [2, 2]


# ---- settings and odd input ------------------------------------------------------------------------------------------


def test_the_limit_of_the_length(tiny) -> None:
    with pytest.raises(ScfmError, match="max_length=0 leaves no room"):
        load(tiny["folder"], max_length=0)
    model = load(tiny["folder"], max_length=2048)
    assert model.max_length == 12
    assert [m["code"] for m in model.messages] == ["W-MOD-15"]


@pytest.mark.parametrize("attend_padding", [True, False])
def test_types_of_the_matrix_and_a_single_cell(tiny, attend_padding) -> None:
    counts = np.random.default_rng(3).poisson(1.5, (5, 9)) + 1
    model = load(tiny["folder"], gene_column="name", attend_padding=attend_padding)
    plain = embed(model, as_adata(counts.astype(np.float32), HUMAN[:9]))
    for dtype in (np.float64, np.int64, np.int32, np.uint16):
        np.testing.assert_array_equal(embed(model, as_adata(counts.astype(dtype), HUMAN[:9])), plain)
    np.testing.assert_allclose(
        embed(model, as_adata(counts[:1].astype(np.float32), HUMAN[:9])), plain.iloc[:1], atol=1e-6
    )


def test_without_padding_rows_do_not_depend_on_chunks_or_order() -> None:
    model, adata = CASES.load(attend_padding=False, pooling="mean"), read_input("genecompass")
    plain = embed(model, adata)
    order = np.random.default_rng(0).permutation(adata.n_obs)
    for how in ({"chunk_cells": 5}, {"batch_tokens": 1}, {"chunk_cells": 7, "batch_tokens": 300}):
        np.testing.assert_allclose(embed(model, adata[order].copy(), **how).loc[plain.index], plain, atol=1e-6)


def test_the_warm_up_factor_of_the_checkpoint_has_no_effect(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    edit_tensors(CASES, folder, lambda tensors: tensors.update({"emb_warmup.alpha": torch.tensor(0.1)}))
    np.testing.assert_array_equal(
        embed(load(folder, **BASE), read_input("genecompass")),
        embed(load(CASES.folder, **BASE), read_input("genecompass")),
    )


def test_homologues_outside_the_vocabulary(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    edit_tensors(CASES, folder, lambda tensors: tensors["bert.embeddings.homologous_index"].fill_(212))
    with pytest.raises(ScfmError, match="outside the vocabulary of 212"):
        load(folder, species="mouse")
    assert load(folder).extras() == []  # not read for human cells


def test_code_in_the_prior_knowledge_is_not_run(tmp_path) -> None:
    from models_contract import write_bomb

    _without_tables(tmp_path)
    write_bomb(tmp_path / "prior_knowledge/promoter_emb/human_any.pickle", tmp_path / "exploded", as_checkpoint=False)
    with pytest.raises(ScfmError, match="Nothing in it was executed"):
        load(tmp_path)
    assert not (tmp_path / "exploded").exists()
