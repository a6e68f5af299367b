"""Geneformer: tokeniser against a slow reference, sizes and files of every generation, and its own odd cases."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from helpers_bert import bert_tensors, dump, save_model, slow_hidden_states, tiny_config
from models_cases_geneformer import CASES, V1, V2
from models_contract import DATA, edit_tensors, embed, read_expected, read_input, tokens_of
from scfm.errors import ScfmError
from scfm.models import load_model
from scfm.models.core.tensors import read_tensors
from scfm.models.geneformer.model import TOO_SHORT, summing_slots

GENES = [f"ENSG{i:011d}" for i in range(30)]
RETIRED = {f"ENSG{900 + i:011d}": GENES[i] for i in range(4)}


def write_tiny(
    folder: Path, *, version: str = "V2", config: dict | None = None, medians: dict | None = None, seed: int = 0
) -> dict:
    """Write a tiny clone; return config, tensors and dictionary."""
    specials = ["<pad>", "<mask>"] + (["<cls>", "<eos>"] if version == "V2" else [])
    tokens = {name: i for i, name in enumerate([*specials, *GENES])}
    config = tiny_config(len(tokens), **(config or {}))
    tensors = bert_tensors(config, {"token_type_embeddings": 2}, seed)
    save_model(folder / f"Geneformer-{version}-10M", config, tensors)
    base, ending = (
        (folder / "geneformer", "_gc104M")
        if version == "V2"
        else (folder / "geneformer/gene_dictionaries_30m", "_gc30M")
    )
    dump(base / f"token_dictionary{ending}.pkl", tokens)
    medians = medians or {gene: 0.5 + i % 7 for i, gene in enumerate(GENES)}
    dump(base / f"gene_median_dictionary{ending}.pkl", medians | {"ENSG00000777777": 1.0})
    dump(
        base / f"ensembl_mapping_dict{ending}.pkl",
        {g: g for g in GENES} | RETIRED | {"ENSG00000888888": "ENSG00000777777"},
    )
    return {"config": config, "tensors": tensors, "tokens": tokens, "medians": medians}


class Tiny(dict):
    """A dict that hypothesis can print in one word."""

    def __repr__(self) -> str:
        return "Tiny"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """One tiny clone per generation."""
    found = Tiny()
    for version in ("V1", "V2"):
        folder = tmp_path_factory.mktemp(version)
        found[version] = {"folder": folder, **write_tiny(folder, version=version)}
    return found


def load(folder: Path, **more: object):
    return load_model("geneformer", folder, device="cpu", **more)


def as_adata(counts: np.ndarray, names: list[str], **obs: object) -> anndata.AnnData:
    n = counts.shape[0]
    index = [f"c{i}" for i in range(n)]
    return anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(obs, index=index),
        var=pd.DataFrame({"ensembl_id": names}, index=[f"g{j}" for j in range(len(names))]),
    )


def slow_tokens(
    counts: np.ndarray, names: list[str], totals: np.ndarray, tiny: dict, *, keep: int, strip: bool
) -> list[list[int]]:
    """Tokenise cell by cell with dictionaries, each operation as the specification words it."""
    current = {g: g for g in GENES} | RETIRED
    found = []
    mapped = []
    for name in names:
        upper = name.upper()
        if strip and upper not in current and upper.startswith("ENSG"):
            upper = upper.split(".")[0]
        mapped.append(current.get(upper))
    repeated = [g for g in dict.fromkeys(mapped) if g is not None and mapped.count(g) > 1]
    columns = [g for g in mapped if g is not None and g not in repeated] + repeated
    dtype = np.result_type(counts.dtype, totals.dtype if totals.dtype.kind == "f" else np.float64, np.float32)
    for cell, total in zip(counts, totals, strict=True):
        by_gene: dict[str, float] = {}
        for gene, count in zip(mapped, cell, strict=True):
            if gene is not None:
                by_gene[gene] = by_gene.get(gene, 0.0) + float(count)
        values = []
        for gene in columns:
            if by_gene[gene] != 0:
                per_count = dtype.type(totals.dtype.type(1) / total if totals.dtype.kind == "f" else 1.0 / total)
                scaled = dtype.type(dtype.type(dtype.type(by_gene[gene]) * per_count) * dtype.type(10_000))
                values.append((float(scaled) * (1.0 / tiny["medians"][gene]), gene))
        values.sort(key=lambda pair: -pair[0])  # stable: ties stay in the order of the columns
        found.append([tiny["tokens"][gene] for _, gene in values][:keep])
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_tokens_equal_a_slow_reference(tiny, data) -> None:
    version = data.draw(st.sampled_from(["V1", "V2"]))
    pool = [
        *GENES[:12],
        *RETIRED,
        GENES[3].lower(),
        f"{GENES[5]}.2",
        f"{GENES[20]}.11",
        "ENSG00000888888",
        "ACTB",
        "",
        "<pad>",
        "<cls>",
    ]
    names = [*data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=25)), GENES[0]]
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    counts = rng.poisson(data.draw(st.sampled_from([0.3, 2, 60])), (data.draw(st.integers(1, 6)), len(names))).astype(
        dtype
    )
    counts[0, -1] = 1
    total_type = data.draw(st.sampled_from([np.float32, np.float64, np.int64]))
    totals = np.maximum(counts.sum(1, dtype=np.float64), 1).astype(total_type)
    strip = data.draw(st.booleans())
    length = data.draw(st.integers(3, 23))
    model = load(tiny[version]["folder"], max_length=length, strip_version="auto" if strip else "false")
    found = tokens_of(model, as_adata(counts, names, n_counts=totals))
    keep = length - 2 if version == "V2" else length
    wanted = slow_tokens(counts, names, totals, tiny[version], keep=keep, strip=strip)
    if version == "V2":
        wanted = [[2, *ids, 3] for ids in wanted]
    assert [list(row) for row in np.split(found.fields["ids"], found.offsets[1:-1])] == wanted


@pytest.mark.parametrize(("fixture", "limit"), [(V1, 2048), (V2, 4096)])
def test_tokens_at_the_official_limit(fixture, limit) -> None:
    model, expected = load(DATA / fixture, strip_version="false"), read_expected(fixture)
    model.max_length = limit  # the tiny model has 64 positions; the official tokenizer does not know
    found = tokens_of(model, read_input(fixture))
    np.testing.assert_array_equal(
        found.padded("ids", expected["full_input_ids"].shape[1], 0), expected["full_input_ids"]
    )
    np.testing.assert_array_equal(found.lengths, expected["full_lengths"])


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("layer", [-1, 0])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"num_hidden_layers": 1},
        {"hidden_act": "gelu", "num_attention_heads": 1, "max_position_embeddings": 7, "layer_norm_eps": 1e-3},
    ],
    ids=str,
)
def test_rows_of_any_size_equal_a_slow_reference(version, layer, sizes, tmp_path) -> None:
    tiny = write_tiny(tmp_path, version=version, config=sizes, seed=5)
    rng = np.random.default_rng(1)
    adata = as_adata(rng.poisson(0.7, (9, len(GENES))).astype(np.float32), GENES)
    for pooling in ("cls", "cell"):
        model = load(tmp_path, layer=layer, pooling=pooling)
        found = embed(model, adata, batch_tokens=40)
        ids = tokens_of(load(tmp_path), adata)
        assert len(found) == 9
        for i, row in enumerate(np.split(ids.fields["ids"], ids.offsets[1:-1])):
            state = slow_hidden_states(row, tiny["config"], tiny["tensors"], ["token_type_embeddings"])[
                tiny["config"]["num_hidden_layers"] + layer
            ]
            right = (
                state[0]
                if (pooling, version) == ("cls", "V2")
                else state[1:-1].mean(0)
                if version == "V2"
                else state.mean(0)
            )
            np.testing.assert_allclose(found.to_numpy()[i], right, atol=2e-5)


# ---- files of every generation ---------------------------------------------------------------------------------------


def _as_bin(folder: Path) -> None:
    import torch

    state = read_tensors(folder / "model.safetensors")
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
    state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"]
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _rename_dictionaries(base: Path, old: str, new: str) -> None:
    for path in base.glob(f"*{old}.pkl"):
        path.rename(path.with_name(path.name.replace(old, new)))


def _clone(tmp_path: Path, fixture: str, model: str) -> Path:
    """Copy a fixture with its model folder renamed."""
    shutil.copytree(DATA / fixture, tmp_path / "clone")
    (tmp_path / "clone" / {V1: "Geneformer-V1-10M", V2: "Geneformer-V2-104M"}[fixture]).rename(
        tmp_path / "clone" / model
    )
    return tmp_path / "clone"


@pytest.mark.parametrize(
    ("fixture", "model", "ending", "as_bin"),
    [
        (V1, "gf-6L-30M-i2048", "_gc30M", False),
        (V1, "gf-12L-30M-i2048", "_gc30M", True),
        (V1, "fine_tuned", "_gc30M", True),
        (V2, "gf-12L-95M-i4096", "_gc95M", False),
        (V2, "gf-20L-95M-i4096", "_gc95M", True),
        (V2, "gf-12L-95M-i4096_CLcancer", "_gc95M", False),
        (V2, "Geneformer-V2-316M", "_gc104M", False),
        (V2, "Geneformer-V2-104M_CLcancer", "_gc104M", True),
        (V2, "fine_tuned", "_gc95M", False),
    ],
)
def test_folder_and_file_names_of_all_generations(fixture, model, ending, as_bin, tmp_path) -> None:
    clone = _clone(tmp_path, fixture, model)
    if fixture == V2:
        _rename_dictionaries(clone / "geneformer", "_gc104M", ending)
    if as_bin:
        _as_bin(clone / model)
    expected = read_expected(fixture)["emb_cls_layer-1" if fixture == V2 else "emb_cell_layer-1"]
    for weights in (clone, clone / model):  # the clone, or the model's folder in it
        found = load(weights, strip_version="false")
        assert np.abs(embed(found, read_input(fixture)).to_numpy() - expected).max() < 1e-5
        assert found.facts()["model_release"] == model
        assert not found.extras()


def test_the_root_of_a_clone_and_the_code_of_2023(tmp_path) -> None:
    clone = _clone(tmp_path, V1, "old")
    for path in (clone / "old").iterdir():
        path.rename(clone / path.name)
    shutil.move(
        clone / "geneformer/gene_dictionaries_30m/token_dictionary_gc30M.pkl", clone / "geneformer/token_dictionary.pkl"
    )
    shutil.move(
        clone / "geneformer/gene_dictionaries_30m/gene_median_dictionary_gc30M.pkl",
        clone / "geneformer/gene_median_dictionary.pkl",
    )
    shutil.rmtree(clone / "geneformer/gene_dictionaries_30m")
    model = load(clone, strip_version="false")
    assert np.abs(embed(model, read_input(V1)).to_numpy() - read_expected(V1)["emb_cell_layer-1"]).max() < 1e-5
    assert model.facts()["gene_mapping"] == "identity"


def test_a_clone_with_both_generations(tmp_path) -> None:
    clone = _clone(tmp_path, V2, "Geneformer-V2-104M")
    shutil.copytree(DATA / V1, clone, dirs_exist_ok=True)
    with pytest.raises(ScfmError, match=r"several models.*--set release=Geneformer-V1-10M"):
        load(clone)
    with pytest.raises(ScfmError, match=r"no model .*Did you mean 'Geneformer-V1-10M'"):
        load(clone, release="Geneformer-V1-10")
    for fixture, release, key in (
        (V1, "Geneformer-V1-10M", "emb_cell_layer-1"),
        (V2, "Geneformer-V2-104M", "emb_cls_layer-1"),
    ):
        model = load(clone, release=release, strip_version="false")
        assert np.abs(embed(model, read_input(fixture)).to_numpy() - read_expected(fixture)[key]).max() < 1e-5
    (clone / "Geneformer-V2-104M").rename(
        clone / "unnamed"
    )  # no word about the generation: the size of the vocabulary decides
    assert load(clone, release="unnamed").facts()["token_dictionary"] == "token_dictionary_gc104M.pkl"


def test_dictionaries_of_the_other_generation_are_refused(tmp_path) -> None:
    clone = _clone(tmp_path, V2, "Geneformer-V2-104M")
    shutil.rmtree(clone / "geneformer")
    with pytest.raises(ScfmError, match="no token dictionary is there"):
        load(clone)
    shutil.copytree(DATA / V1 / "geneformer", clone / "geneformer")
    with pytest.raises(ScfmError, match="V2 model by its name, but only dictionaries of the other generation"):
        load(clone)
    (clone / "Geneformer-V2-104M").rename(clone / "unnamed")
    with pytest.raises(ScfmError, match="vocab_size 145"):
        load(clone)
    # the right size is not enough: a file with the name of one generation and the special tokens of the other
    config = json.loads((clone / "unnamed/config.json").read_text())
    (clone / "unnamed/config.json").write_text(json.dumps(config | {"vocab_size": 152}))
    base = clone / "geneformer/gene_dictionaries_30m"
    _rename_dictionaries(base, "_gc30M", "_gc104M")
    for path in base.iterdir():
        path.rename(clone / "geneformer" / path.name)
    with pytest.raises(ScfmError, match=r"neither <cls> nor <eos>.*generations mixed"):
        load(clone)


def test_no_model_below_the_folder(tmp_path) -> None:
    with pytest.raises(ScfmError, match="no Geneformer model"):
        load(tmp_path)


def test_a_fine_tuned_classifier_and_an_adapter(tmp_path) -> None:
    import torch

    folder = tmp_path / V2
    shutil.copytree(DATA / V2, folder)

    def edit(tensors: dict) -> None:
        for name in [n for n in tensors if n.startswith("cls.")]:
            del tensors[name]
        tensors |= {
            "classifier.weight": torch.zeros(3, 32),
            "classifier.bias": torch.zeros(3),
            "bert.pooler.dense.weight": torch.zeros(32, 32),
        }

    edit_tensors(CASES, folder, edit)
    model = load(folder, strip_version="false")
    assert model.extras() == []
    assert np.abs(embed(model, read_input(V2)).to_numpy() - read_expected(V2)["emb_cls_layer-1"]).max() < 1e-5
    (folder / "Geneformer-V2-104M/adapter_config.json").write_text("{}")
    with pytest.raises(ScfmError, match="LoRA adapter"):
        load(folder)


def test_the_last_layer_is_needed_only_where_it_is_read(tmp_path) -> None:
    folder = tmp_path / V2
    shutil.copytree(DATA / V2, folder)
    edit_tensors(CASES, folder, lambda tensors: tensors.pop("bert.encoder.layer.2.output.dense.weight"))
    assert not load(folder, layer=-1).extras()
    with pytest.raises(ScfmError, match=r"bert\.encoder\.layer\.2\.output\.dense\.weight"):
        load(folder, layer=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_size": "32"}, r"whole numbers for hidden_size \(at least 1\); found '32'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"vocab_size": None}, "vocab_size"),
        ({"num_attention_heads": 5}, "not a multiple"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps"),
        ({"vocab_size": 144}, "vocab_size 144"),
        ({"hidden_size": 64}, "shape"),
        ({"num_hidden_layers": 2}, "holds 3 layers .* says 2: the last 1 would be left out"),
        ({"num_hidden_layers": 5}, r"encoder\.layer\.3.*missing"),
        ({"max_position_embeddings": 128}, "position_embeddings.*shape"),
    ],
)
def test_errors_of_the_configuration(change, sentence, tmp_path) -> None:
    folder = tmp_path / V2
    shutil.copytree(DATA / V2, folder)
    path = folder / "Geneformer-V2-104M/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ScfmError, match=sentence):
        load(folder)


@pytest.mark.parametrize(
    ("name", "edit", "sentence"),
    [
        ("gene_median_dictionary", lambda d: d.pop(GENES[2]), rf"no median for 1 gene of 30 .*{GENES[2]}"),
        ("gene_median_dictionary", lambda d: d.update({GENES[2]: 0.0}), "not positive numbers"),
        ("gene_median_dictionary", lambda d: d.update({GENES[2]: "many"}), "expected gene -> number"),
        ("token_dictionary", lambda d: d.update({GENES[2]: d[GENES[3]]}), "more than once"),
        ("token_dictionary", lambda d: d.update({GENES[2]: 1.5}), "whole number"),
        ("token_dictionary", lambda d: d.pop("<pad>"), "<pad>"),
        ("token_dictionary", lambda d: d.update({7: 99}), "not texts"),
    ],
)
def test_errors_of_the_dictionaries(name, edit, sentence, tmp_path) -> None:
    write_tiny(tmp_path)
    path = tmp_path / f"geneformer/{name}_gc104M.pkl"
    content = pickle.loads(path.read_bytes())
    edit(content)
    dump(path, content)
    with pytest.raises(ScfmError, match=sentence):
        load(tmp_path)


def test_a_missing_mapping_of_v2_is_named(tmp_path) -> None:
    write_tiny(tmp_path)
    (tmp_path / "geneformer/ensembl_mapping_dict_gc104M.pkl").unlink()
    with pytest.raises(ScfmError, match=r"ensembl_mapping_dict_gc104M\.pkl: the file is missing"):
        load(tmp_path)


# ---- settings --------------------------------------------------------------------------------------------------------


def test_without_special_tokens_the_official_mean_still_leaves_out_two_places(tiny) -> None:
    counts = np.zeros((3, len(GENES)), np.float32)
    counts[0, :8], counts[1, :2], counts[2, :3] = np.arange(8) + 1, 1, 2
    model = load(tiny["V2"]["folder"], special_tokens="false", pooling="cell", layer=0)
    found = embed(model, as_adata(counts, GENES))
    assert found.attrs["report"]["not_embedded"] == [{"cell_id": "c1", "reason": TOO_SHORT}]
    ids = (
        tokens_of(load(tiny["V2"]["folder"], special_tokens="false", pooling="cell"), as_adata(counts, GENES))
        .take(np.array([0]))
        .fields["ids"]
    )
    assert len(ids) == 8
    state = slow_hidden_states(ids, tiny["V2"]["config"], tiny["V2"]["tensors"], ["token_type_embeddings"])[-1]
    np.testing.assert_allclose(found.loc["c0"], state[1:-1].mean(0), atol=2e-5)
    with pytest.raises(ScfmError, match="pooling=cls reads the state of <cls>"):
        load(tiny["V2"]["folder"], special_tokens=False)
    with pytest.raises(ScfmError, match="special_tokens=true is not possible"):
        load(tiny["V1"]["folder"], special_tokens=True)


def test_v1_has_no_cls_and_takes_the_mean(tiny) -> None:
    model = load(tiny["V1"]["folder"])
    assert model.settings.pooling == "cls"
    assert (model.facts()["pooling"], model.facts()["special_tokens"]) == ("cell", False)


def test_the_limit_of_the_length(tiny) -> None:
    for version, shortest in (("V1", 1), ("V2", 3)):
        with pytest.raises(ScfmError, match=f"expected at least {shortest}"):
            load(tiny[version]["folder"], max_length=shortest - 1)
        assert load(tiny[version]["folder"], max_length=shortest).max_length == shortest
        model = load(tiny[version]["folder"], max_length=4096)
        assert model.max_length == 23
        assert [m["code"] for m in model.messages] == ["W-MOD-15"]
    with pytest.raises(ScfmError, match="layer=1 is not one of -1, 0"):
        load(tiny["V2"]["folder"], layer=1)


def test_total_counts_come_from_the_column_or_the_counts(tiny) -> None:
    counts = np.random.default_rng(0).poisson(1.0, (5, len(GENES))).astype(np.float32)
    totals = counts.sum(1)
    folder = tiny["V2"]["folder"]
    plain = embed(load(folder), as_adata(counts, GENES))
    for column in ("n_counts", "total_counts"):
        how = {} if column == "n_counts" else {"n_counts_column": column}
        found = embed(load(folder, **how), as_adata(counts, GENES, **{column: totals.astype(np.float64)}))
        np.testing.assert_array_equal(found.to_numpy(), plain.to_numpy())
    nullable = pd.array(totals.astype(int), dtype="Int64")
    np.testing.assert_array_equal(
        embed(load(folder), as_adata(counts, GENES, n_counts=nullable)).to_numpy(), plain.to_numpy()
    )
    nullable[3] = pd.NA
    for gaps in (
        nullable,
        np.where(np.arange(5) == 2, np.nan, totals.astype(np.float64)),
    ):  # where there is no total, counts are summed
        found = embed(load(folder), as_adata(counts, GENES, n_counts=gaps))
        np.testing.assert_array_equal(found.to_numpy(), plain.to_numpy())
        said = [w["text"] for w in found.attrs["report"]["warnings"] if w["code"] == "W-MOD-24"]
        assert len(said) == 1 and "no value in 1 cell" in said[0]
    with pytest.raises(ScfmError, match="no column 'totals'"):
        embed(load(folder, n_counts_column="totals"), as_adata(counts, GENES))
    with pytest.raises(ScfmError, match="expected the total count"):
        embed(load(folder), as_adata(counts, GENES, n_counts=["many"] * 5))
    for bad in (0, -3, np.inf):
        with pytest.raises(ScfmError, match=r"in cell 'c2' and not a positive number in 1 cell of 5"):
            embed(load(folder), as_adata(counts, GENES, n_counts=[*totals[:2], bad, *totals[3:]]))


def test_an_empty_cell_may_have_a_total_of_zero(tiny) -> None:
    counts = np.random.default_rng(0).poisson(1.0, (3, len(GENES))).astype(np.float32)
    counts[1] = 0
    with np.errstate(all="raise"):
        found = embed(load(tiny["V2"]["folder"]), as_adata(counts, GENES, n_counts=counts.sum(1)))
    assert list(found.index) == ["c0", "c2"]


def test_rounding_follows_the_types_of_counts_and_totals(tmp_path) -> None:
    """Two genes whose order differs between float32 and float64 products, as the official code would put them."""
    rng = np.random.default_rng(0)
    names, counts = GENES[:2], np.array([[3.0, 7.0]])
    swapped = None
    for total in rng.integers(1000, 60000, 4000):
        first, second = (
            np.float32(np.float32(c) * np.float32(np.float32(1) / np.float32(total))) * np.float32(10_000)
            for c in (3, 7)
        )
        exact = 3 / total * 1e4, 7 / total * 1e4
        # medians that make the two values equal in float32 arithmetic up to one unit: the float64 order then differs
        medians = {g: 1.0 for g in GENES} | {GENES[0]: float(exact[0]), GENES[1]: float(exact[1]) * (1 + 2e-9)}
        if np.float64(first) / medians[GENES[0]] < np.float64(second) / medians[GENES[1]]:
            swapped = int(total), medians
            break
    assert swapped
    total, medians = swapped
    tiny = write_tiny(tmp_path, medians=medians)
    orders = {}
    for dtype in (np.float32, np.float64):
        adata = as_adata(counts.astype(np.float32), names, n_counts=np.array([total], dtype=dtype))
        orders[dtype] = list(tokens_of(load(tmp_path), adata).fields["ids"][1:-1])
    assert orders[np.float64] == [tiny["tokens"][g] for g in names]
    assert orders[np.float32] == orders[np.float64][::-1]


def test_the_official_cell_filter_is_not_applied_but_reported(tiny) -> None:
    counts = np.ones((4, len(GENES)), np.float32)
    found = embed(load(tiny["V2"]["folder"]), as_adata(counts, GENES, filter_pass=[1, 0, 1, 1]))
    assert len(found) == 4
    assert [w["values"] for w in found.attrs["report"]["warnings"] if w["code"] == "W-MOD-19"] == [{"n": 1}]


# ---- genes -----------------------------------------------------------------------------------------------------------


def test_columns_of_one_gene_are_summed(tiny) -> None:
    rng = np.random.default_rng(2)
    primes = np.array(
        [101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157], np.float32
    )  # no ties, whatever the medians
    counts = np.stack([rng.permutation(primes) for _ in range(6)])
    parts = rng.integers(1, 100, (6, 4)).astype(np.float32)
    split = np.hstack([counts[:, :4] - parts, counts[:, 4:], parts])
    folder = tiny["V2"]["folder"]
    wanted = embed(load(folder), as_adata(counts, GENES[:12]))
    for names in (list(RETIRED), GENES[:4], [g.lower() for g in GENES[:4]], [f"{g}.3" for g in GENES[:4]]):
        found = embed(load(folder), as_adata(split, [*GENES[:12], *names]))
        np.testing.assert_allclose(found.to_numpy(), wanted.to_numpy(), atol=1e-6)
        assert found.attrs["report"]["genes_repeated"] == 4


def test_a_sum_does_not_overflow_a_small_integer_type(tiny) -> None:
    counts = np.array([[200, 200, 150, 1]], np.uint8)
    found = tokens_of(load(tiny["V2"]["folder"]), as_adata(counts, [GENES[0], GENES[0], GENES[7], GENES[1]]))
    assert list(found.fields["ids"][1:-1]) == [tiny["V2"]["tokens"][GENES[i]] for i in (0, 7, 1)]


def test_slots_put_summed_genes_last() -> None:
    np.testing.assert_array_equal(summing_slots(np.array([9, 4, -1, 7, 4, 9, 5])), [2, 3, -1, 0, 3, 2, 1])
    np.testing.assert_array_equal(summing_slots(np.array([-1, -1])), [-1, -1])
    np.testing.assert_array_equal(summing_slots(np.array([8, 3, 5])), [0, 1, 2])


def test_which_column_names_the_genes(tiny) -> None:
    counts = np.ones((2, 5), np.float32)
    adata = as_adata(counts, GENES[:5])
    assert embed(load(tiny["V2"]["folder"]), adata).attrs["report"]["gene_column"] == "ensembl_id"
    adata.var = pd.DataFrame({"other": ["x"] * 5}, index=GENES[:5])
    assert embed(load(tiny["V2"]["folder"]), adata).attrs["report"]["gene_column"] == "index"
    adata.var = pd.DataFrame({"ensembl_id": ["x"] * 5, "mine": GENES[:5]}, index=list("abcde"))
    with pytest.raises(ScfmError, match="use --set gene_column=mine"):
        embed(load(tiny["V2"]["folder"]), adata)
    assert len(embed(load(tiny["V2"]["folder"], gene_column="mine"), adata)) == 2


def test_types_of_the_matrix_give_the_same_rows(tiny) -> None:
    counts = np.random.default_rng(3).poisson(1.5, (5, len(GENES)))
    folder = tiny["V2"]["folder"]
    plain = embed(load(folder), as_adata(counts.astype(np.float32), GENES))
    for dtype in (np.float64, np.int64, np.int32, np.uint16):
        np.testing.assert_allclose(embed(load(folder), as_adata(counts.astype(dtype), GENES)), plain, atol=1e-6)
    one = embed(load(folder), as_adata(counts[:1].astype(np.float32), GENES))
    np.testing.assert_allclose(one, plain.iloc[:1], atol=1e-6)


@pytest.mark.parametrize("total_type", [np.float32, np.float64, np.int64])
def test_ranks_equal_the_arithmetic_of_scipy(total_type, tmp_path) -> None:
    """The official expression on sparse counts, ``X / n_counts * 10000 / medians``, evaluated by SciPy."""
    rng = np.random.default_rng(8)
    # counts in proportion to the medians: all values of a cell are equal but for 3e-8, and rounding to float32 decides
    # the order
    medians = {
        g: float((j + 1) * m) for j, (g, m) in enumerate(zip(GENES, rng.lognormal(0, 3e-8, len(GENES)), strict=True))
    }
    tiny = write_tiny(tmp_path, medians=medians, config={"max_position_embeddings": 64})
    counts = np.outer(rng.integers(1, 4, 200), np.arange(len(GENES)) + 1).astype(np.float32)
    totals = rng.integers(1000, 60000, 200).astype(total_type)
    official = sparse.csr_matrix(
        sparse.csr_matrix(counts) / totals[:, None] * 10_000 / np.array(list(medians.values()))
    ).toarray()
    wanted = np.array([tiny["tokens"][g] for g in GENES])[np.argsort(-official, axis=1, kind="stable")]
    found = tokens_of(load(tmp_path), as_adata(counts, GENES, n_counts=totals))
    np.testing.assert_array_equal(found.fields["ids"].reshape(200, -1)[:, 1:-1], wanted)
