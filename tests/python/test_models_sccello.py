"""scCello: tokeniser against a slow reference, all layers, how gene names are read, and its own odd cases."""

from __future__ import annotations

import json
import pickle
import shutil
from itertools import pairwise
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from helpers_bert import bert_tensors, dump, save_model, slow_hidden_states, tiny_config
from models_cases_sccello import CASES
from models_contract import DATA, edit_tensors, embed, read_expected, read_input, tokens_of
from scfm.errors import ScfmError
from scfm.models import load_model
from scfm.models.sccello.model import read_symbols

FIXTURE = DATA / "sccello"
GENES = [f"ENSG{i:011d}" for i in range(30)]
CONSTANTS = {"tf_class_embeddings": 1, "tf_superclass_embeddings": 1, "expbin_embeddings": 1}
#: rows of vocab_id2name.csv: symbols of most genes, one of them twice, one whose last row names a gene of nowhere
NAMES = [(g, f"SYM{i}") for i, g in enumerate(GENES[:26])] + [(GENES[27], "SYM3"), ("ENSG99999999999", "SYM4")]


class Tiny(dict):
    """A dict that hypothesis can print in one word."""

    def __repr__(self) -> str:
        return "Tiny"


def write_tiny(
    folder: Path, *, config: dict | None = None, where: str = "token_vocabulary", with_cls: bool = False
) -> Tiny:
    """Write a tiny model; return config, tensors, dictionary and medians."""
    tokens = {name: i for i, name in enumerate(["<pad>", "<mask>", *GENES])}
    config = tiny_config(len(tokens) + 1, type_vocab_size=1, tau=0.01, **(config or {}))
    tensors = bert_tensors(config, CONSTANTS, seed=4)
    save_model(folder, config, tensors, name="pytorch_model.bin")
    medians = {gene: 0.5 + i % 7 for i, gene in enumerate(GENES)}
    dump(
        folder / where / "token_dictionary.pkl",
        {k: v if k[0] == "<" else np.int16(v) for k, v in tokens.items()} | ({"<cls>": 32} if with_cls else {}),
    )
    dump(folder / where / "gene_median_dictionary.pkl", {k: np.float64(v) for k, v in medians.items()})
    (folder / where / "vocab_id2name.csv").write_text("id,name\n" + "".join(f"{gene},{name}\n" for gene, name in NAMES))
    return Tiny(folder=folder, config=config, tensors=tensors, tokens=tokens, medians=medians)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def load(folder: Path, **more: object):
    return load_model("sccello", folder, device="cpu", **more)


def as_adata(counts: np.ndarray, names: list[str], **var: object) -> anndata.AnnData:
    obs = pd.DataFrame(index=[f"c{i}" for i in range(counts.shape[0])])
    return anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(var, index=names))


def slow_tokens(counts: np.ndarray, names: list[str], tiny: Tiny, *, keep: int) -> list[list[int]]:
    """Tokenise cell by cell with dictionaries, each operation as the specification words it."""
    symbols = {name: gene for gene, name in NAMES}
    genes = names if names[0].startswith("ENSG") else [symbols.get(name) for name in names]
    known = [j for j, gene in enumerate(genes) if gene in tiny["medians"]]
    dtype = np.float64 if counts.dtype == np.float64 else np.float32
    found = []
    for cell in counts:
        total = dtype(sum(float(cell[j]) for j in known) or 1)
        values = []
        for j in known:
            if cell[j] != 0:
                scaled = dtype(cell[j]) * dtype(dtype(10_000) / total)
                values.append((float(scaled) * (1 / tiny["medians"][genes[j]]), tiny["tokens"][genes[j]]))
        values.sort(key=lambda pair: -pair[0])  # stable: ties stay in the order of the columns
        found.append([32, *(token for _, token in values)][:keep])
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_tokens_equal_a_slow_reference(tiny, data) -> None:
    kind = data.draw(st.sampled_from(["id", "symbol"]))
    pool = {
        "id": [*GENES[:20], f"{GENES[5]}.2", "ENSG00000888888", GENES[1].lower(), ""],
        "symbol": [*(f"SYM{i}" for i in range(20)), "sym2", "NOBODY", "<cls>", ""],
    }[kind]
    first = {"id": GENES[0], "symbol": "SYM0"}[kind]
    names = [first, *data.draw(st.lists(st.sampled_from(pool), max_size=25))]
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    counts = rng.poisson(data.draw(st.sampled_from([0.3, 2, 60])), (data.draw(st.integers(1, 6)), len(names))).astype(
        dtype
    )
    counts[0, 0] = 1
    length = data.draw(st.integers(2, 23))
    model = load(tiny["folder"], max_length=length, strip_version="false")
    found = tokens_of(model, as_adata(counts, names))
    assert [list(row) for row in np.split(found.fields["ids"], found.offsets[1:-1])] == slow_tokens(
        counts, names, tiny, keep=length
    )
    assert model.genes.report["gene_names_read_as"] == {"id": "ensembl", "symbol": "symbol"}[kind]


def test_scaled_counts_equal_the_stored_ones() -> None:
    """``expression_log1p``: what the official dataset stores beside the tokens, and the model never reads."""
    from scfm.models.core import ranks, tokens
    from scfm.models.core.reader import counts_of

    model, expected, adata = load(FIXTURE, strip_version="false"), read_expected("sccello"), read_input("sccello")
    tokens_of(model, adata)
    rows = tokens.detected(next(counts_of(adata).chunks(adata.n_obs)).counts, model.genes.known)
    scaled = model.scale(rows)
    order, offsets = ranks.ranked(
        scaled * model.inverse_medians[model.genes.ids[rows.columns]], rows.offsets, model.max_length - 1
    )
    for i, (start, stop) in enumerate(pairwise(offsets)):
        np.testing.assert_allclose(
            np.log1p(scaled[order[start:stop]]), expected["expression_log1p"][i, 1 : 1 + stop - start], rtol=1e-6
        )
        assert not expected["expression_log1p"][i, 1 + stop - start :].any()


def test_the_state_of_cls_after_every_layer() -> None:
    """``cls_all_layers``: the embedding layer and each layer."""
    from dataclasses import replace

    expected, adata = read_expected("sccello"), read_input("sccello")
    for depth in range(3):
        model = load(FIXTURE, strip_version="false")
        model.encoder = replace(model.encoder, layers=model.encoder.layers[:depth])
        np.testing.assert_allclose(embed(model, adata).to_numpy(), expected["cls_all_layers"][:, depth], atol=1e-5)


@pytest.mark.parametrize(
    "sizes",
    [{}, {"num_hidden_layers": 1}, {"num_attention_heads": 1, "max_position_embeddings": 7, "layer_norm_eps": 1e-3}],
    ids=str,
)
def test_rows_of_any_size_equal_a_slow_reference(sizes, tmp_path) -> None:
    tiny = write_tiny(tmp_path, config=sizes)
    adata = as_adata(np.random.default_rng(1).poisson(0.7, (9, len(GENES))).astype(np.float32), GENES)
    found = embed(load(tmp_path), adata, batch_tokens=40)
    ids = tokens_of(load(tmp_path), adata)
    for i, row in enumerate(np.split(ids.fields["ids"], ids.offsets[1:-1])):
        right = slow_hidden_states(row, tiny["config"], tiny["tensors"], list(CONSTANTS))[-1][0]
        np.testing.assert_allclose(found.to_numpy()[i], right, atol=2e-5)


# ---- genes -----------------------------------------------------------------------------------------------------------


def test_which_column_names_the_genes(tiny) -> None:
    counts = np.ones((2, 5), np.float32)
    symbols = [f"SYM{i}" for i in range(5, 10)]
    plain = embed(load(tiny["folder"]), as_adata(counts, GENES[5:10]))
    for adata, column, reading in (
        (as_adata(counts, list("abcde"), ensembl_ids=GENES[5:10]), "ensembl_ids", "ensembl"),
        (as_adata(counts, symbols, ensembl_id=GENES[:5]), "index", "symbol"),
    ):
        found = embed(load(tiny["folder"]), adata)
        assert (found.attrs["report"]["gene_column"], found.attrs["report"]["gene_names_read_as"]) == (column, reading)
        np.testing.assert_allclose(found, plain, atol=1e-6)
    found = embed(load(tiny["folder"], gene_column="index"), as_adata(counts, symbols, ensembl_ids=GENES[:5]))
    np.testing.assert_allclose(found, plain, atol=1e-6)


def test_a_first_name_that_misleads_does_not_lose_the_others(tiny) -> None:
    counts = np.ones((2, 6), np.float32)
    model = load(tiny["folder"])
    assert embed(model, as_adata(counts, ["ERCC-00002", *GENES[:5]])).attrs["report"]["genes_matched"] == 5
    assert (
        embed(model, as_adata(counts, ["ENSG00000888888", *(f"SYM{i}" for i in range(5, 10))])).attrs["report"][
            "genes_matched"
        ]
        == 5
    )


def test_the_last_row_of_a_symbol_counts() -> None:
    path = FIXTURE / "token_vocabulary" / "vocab_id2name.csv"
    names = pd.read_csv(path)
    assert names["name"].duplicated().any()
    found = read_symbols(path, {gene: i for i, gene in enumerate(names["id"].drop_duplicates())})
    for name, rows in names.groupby("name"):
        assert list(names["id"].drop_duplicates())[found[name]] == rows["id"].iloc[-1]


def test_a_symbol_whose_last_row_is_unknown_is_unknown(tiny) -> None:
    found = load(tiny["folder"]).map_genes(np.array(["SYM3", "SYM4", "SYM5"], object), np.ones(3))
    np.testing.assert_array_equal(found.ids, [tiny["tokens"][GENES[27]], -1, tiny["tokens"][GENES[5]]])


def test_a_repeated_gene_keeps_both_columns(tiny) -> None:
    counts = np.array([[1, 5, 2]], np.float32)
    found = tokens_of(load(tiny["folder"]), as_adata(counts, [GENES[0], GENES[7], GENES[0]]))
    token = tiny["tokens"]
    assert list(found.fields["ids"]) == [32, token[GENES[7]], token[GENES[0]], token[GENES[0]]]


def test_symbols_need_the_file_of_names(tmp_path) -> None:
    write_tiny(tmp_path)
    (tmp_path / "token_vocabulary/vocab_id2name.csv").unlink()
    counts = np.ones((2, 3), np.float32)
    assert len(embed(load(tmp_path), as_adata(counts, GENES[:3]))) == 2
    with pytest.raises(ScfmError, match=r"vocab_id2name\.csv: the file is missing"):
        embed(load(tmp_path), as_adata(counts, ["SYM0", "SYM1", "SYM2"]))
    for content, sentence in (
        ("gene;symbol\na;b\n", "columns id and name"),
        ("", "columns id and name"),
        ("id,name\nENSG7,SYM0\n", "names no gene of the vocabulary"),
    ):
        (tmp_path / "token_vocabulary/vocab_id2name.csv").write_text(content)
        with pytest.raises(ScfmError, match=sentence):
            embed(load(tmp_path), as_adata(counts, ["SYM0", "SYM1", "SYM2"]))


# ---- files and settings ----------------------------------------------------------------------------------------------


def test_places_of_the_dictionaries_and_a_cls_that_is_there_already(tmp_path, tiny) -> None:
    write_tiny(tmp_path, where="data/token_vocabulary", with_cls=True)
    adata = as_adata(np.random.default_rng(0).poisson(1.0, (4, 30)).astype(np.float32), GENES)
    np.testing.assert_array_equal(embed(load(tmp_path), adata), embed(load(tiny["folder"]), adata))
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(ScfmError, match=r"token_dictionary\.pkl: the file is missing"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "gene", "sentence"),
    [
        ("token_dictionary", GENES[-1], r"largest token id is 31, but .* vocab_size 33"),
        ("gene_median_dictionary", GENES[3], f"no median for 1 gene of 30 .*{GENES[3]}"),
    ],
)
def test_a_gene_that_is_missing_in_a_dictionary(name, gene, sentence, tmp_path) -> None:
    write_tiny(tmp_path)
    path = tmp_path / f"token_vocabulary/{name}.pkl"
    content = pickle.loads(path.read_bytes())
    content.pop(gene)
    dump(path, content)
    with pytest.raises(ScfmError, match=sentence):
        load(tmp_path)


def test_the_head_is_needed_only_where_it_is_read(tmp_path) -> None:
    folder = tmp_path / "sccello"
    shutil.copytree(FIXTURE, folder)
    edit_tensors(CASES, folder, lambda tensors: tensors.pop("cell_cls.predictions.dense_2.weight"))
    assert load(folder).extras() == []
    with pytest.raises(ScfmError, match=r"cell_cls\.predictions\.dense_2\.weight"):
        load(folder, pooling="cell_cls")


def test_unknown_keys_of_the_configuration_are_left_alone_and_known_ones_checked(tmp_path) -> None:
    folder = tmp_path / "sccello"
    shutil.copytree(FIXTURE, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"nobody_knows": [1], "type_vocab_size": 7}))
    assert load(folder).n_dims == 32
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 30}))
    with pytest.raises(ScfmError, match="hidden_size 30 is not a multiple"):
        load(folder)


def test_the_limit_of_the_length(tiny) -> None:
    with pytest.raises(ScfmError, match="expected at least 2"):
        load(tiny["folder"], max_length=1)
    model = load(tiny["folder"], max_length=2048)
    assert model.max_length == 23
    assert [m["code"] for m in model.messages] == ["W-MOD-15"]


def test_counts_of_raw(tiny) -> None:
    counts = np.random.default_rng(0).poisson(1.0, (4, 30)).astype(np.float32)
    adata = as_adata(counts, GENES)
    plain = embed(load(tiny["folder"]), adata)
    adata.raw = adata
    adata.X = sparse.csr_matrix(np.log1p(counts * 3.3))
    with pytest.raises(ScfmError, match="fractional"):
        embed(load(tiny["folder"]), adata)
    np.testing.assert_array_equal(embed(load(tiny["folder"], input_layer="raw"), adata), plain)


def test_types_of_the_matrix_give_the_same_rows(tiny) -> None:
    # primes: with these medians nothing ties, and the rounding of the type decides nothing
    primes = [101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157]
    counts = np.zeros((5, len(GENES)), int)
    counts[:, :12] = np.stack([np.random.default_rng(i).permutation(primes) for i in range(5)])
    plain = embed(load(tiny["folder"]), as_adata(counts.astype(np.float32), GENES))
    for dtype in (np.float64, np.int64, np.int32, np.uint16):
        np.testing.assert_allclose(embed(load(tiny["folder"]), as_adata(counts.astype(dtype), GENES)), plain, atol=1e-6)
    np.testing.assert_allclose(
        embed(load(tiny["folder"]), as_adata(counts[:1].astype(np.float32), GENES)), plain.iloc[:1], atol=1e-6
    )
