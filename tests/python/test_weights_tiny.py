"""Randomly initialised weights: every model loads every release with default settings, the names are those of the
official files, seeds hold.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from models_contract import DATA
from scfm.errors import ScfmError
from scfm.io.checksums import sha256_of
from scfm.models import available_models, load_model
from scfm.models.core.runner import RunOptions
from scfm.models.core.tensors import read_tensors
from scfm.models.output import embed_file
from scfm.testing.tiny import make_tiny, recipes
from scfm.testing.tiny_common import gene_table, invented_id, read_genes
from scfm.weights.check import RANDOM_MARK

SYMBOLS = [f"GENE{i}" for i in range(90)] + ["HLA-A", "MT-ND3", "C1orf21", "na"]
#: what a data set with symbols as var_names and ids in a column needs said; the other models need nothing
SETTINGS = {"cellplm": {"gene_column": "ensembl_id"}, "nicheformer": {"gene_column": "ensembl_id"}}
RELEASES = [
    pytest.param(model, release, id=f"{model}-{release}")
    for model, recipe in recipes().items()
    for release in recipe.releases
]
#: file with the weights by model and release
FILES = {
    "scgpt": "best_model.pt",
    "scfoundation": "models.ckpt",
    "uce": "model_files/4layer_model.torch",
    "cellplm": "20231027_85M.best.ckpt",
    "nicheformer": "nicheformer.ckpt",
    "sccello": "pytorch_model.bin",
    "genecompass": "GeneCompass_Base/pytorch_model.bin",
    "geneformer": "Geneformer-V2-104M/model.safetensors",
}
FIXTURES = {
    "scgpt": "scgpt/best_model.pt",
    "scfoundation": "scfoundation/models.ckpt",
    "uce": "uce/model_files/tiny_2layer_model.torch",
    "cellplm": "cellplm/tiny_vae.best.ckpt",
    "nicheformer": "nicheformer/nicheformer.ckpt",
    "sccello": "sccello/pytorch_model.bin",
    "genecompass": "genecompass/GeneCompass_Base/pytorch_model.bin",
    "geneformer": "geneformer-v2/Geneformer-V2-104M/model.safetensors",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    top = tmp_path_factory.mktemp("weights")

    @cache
    def make(model: str, release: str = "") -> Path:
        return make_tiny(model, gene_table(SYMBOLS), top / f"{model}-{release}", release=release, seed=3)

    return make


@pytest.fixture(scope="module")
def adata() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(3.0, 1.0, len(SYMBOLS)), (14, len(SYMBOLS))).astype(np.float32))
    var = pd.DataFrame({"ensembl_id": [invented_id(s) for s in SYMBOLS]}, index=SYMBOLS)
    return anndata.AnnData(counts, obs=pd.DataFrame(index=[f"c{i}" for i in range(14)]), var=var)


def tensors(content: dict) -> dict:
    """Return the state dict in a file's content."""
    content = content.get("cell", content)
    return content.get("state_dict", content.get("model_state_dict", content))


def test_there_is_a_recipe_for_every_model() -> None:
    assert set(recipes()) >= set(available_models())


@pytest.mark.parametrize(("model", "release"), RELEASES)
def test_every_release_embeds_with_default_settings(model, release, folders, adata) -> None:
    loaded = load_model(model, folders(model, release), device="cpu", **SETTINGS.get(model, {}))
    found = loaded.embed(adata, min_gene_overlap=0.9)
    assert len(found) == 14 and np.isfinite(found.to_numpy()).all()
    assert found.attrs["report"]["genes_matched"] == len(SYMBOLS)
    assert found.to_numpy().std(0).mean() > 1e-3  # cells differ
    assert loaded.extras() == []


@pytest.mark.parametrize("model", FILES)
def test_tensors_are_named_as_in_official_files(model, folders) -> None:
    """Every name and number of axes is one of the fixture's, which the official code wrote."""
    ours, theirs = tensors(read_tensors(folders(model) / FILES[model])), tensors(read_tensors(DATA / FIXTURES[model]))
    assert not set(ours) - set(theirs)
    for name, tensor in ours.items():
        assert tensor.dim() == theirs[name].dim(), name
        assert tensor.dtype == theirs[name].dtype, name


@pytest.mark.parametrize("model", FILES)
def test_a_tensor_is_a_function_of_seed_and_name(model, folders, tmp_path) -> None:
    first = tensors(read_tensors(folders(model) / FILES[model]))
    again = tensors(read_tensors(make_tiny(model, gene_table(SYMBOLS), tmp_path / "a", seed=3) / FILES[model]))
    other = tensors(read_tensors(make_tiny(model, gene_table(SYMBOLS), tmp_path / "b", seed=4) / FILES[model]))
    deeper = tensors(
        read_tensors(make_tiny(model, gene_table(SYMBOLS), tmp_path / "c", seed=3, layers=3) / FILES[model])
    )
    assert set(first) == set(again) and set(first) < set(deeper)
    for name, tensor in first.items():
        assert again[name].numpy().tobytes() == tensor.numpy().tobytes() == deeper[name].numpy().tobytes()
    trained = [name for name, tensor in first.items() if tensor.dim() == 2 and name.split(".")[-1] != "pe"]
    assert all(not np.array_equal(first[name].numpy(), other[name].numpy()) for name in trained)


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("scgpt", {"width": 30, "heads": 5, "inner": 7, "layers": 1}),
        ("geneformer", {"width": 36, "heads": 3, "layers": 3, "inner": 11, "max_length": 9}),
        ("sccello", {"heads": 1, "layers": 1, "max_length": 5}),
        ("genecompass", {"width": 12, "heads": 2, "inner": 5, "max_length": 6}),
        ("scfoundation", {"width": 20, "heads": 2, "layers": 1}),
        ("cellplm", {"width": 24, "heads": 2, "layers": 1}),
        ("nicheformer", {"width": 18, "heads": 3, "inner": 5, "max_length": 11}),
    ],
)
def test_odd_sizes(model, sizes, adata, tmp_path) -> None:
    folder = make_tiny(model, gene_table(SYMBOLS), tmp_path / model, **sizes)
    found = load_model(model, folder, device="cpu", **SETTINGS.get(model, {})).embed(adata, min_gene_overlap=0.0)
    assert np.isfinite(found.to_numpy()).all() and len(found)


def test_the_sidecar_says_that_weights_are_random(folders, adata, tmp_path) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    sidecar = embed_file(
        "scgpt",
        folders("scgpt"),
        tmp_path / "a.h5ad",
        tmp_path / "a.parquet",
        settings={},
        options=RunOptions(),
        device="cpu",
    )
    assert sidecar["weights_random"] is True and sidecar["is_control"] is False
    assert "random" in (folders("scgpt") / RANDOM_MARK).read_text()


def test_weights_that_changed_since_they_were_recorded_are_reported(adata, tmp_path) -> None:
    from scfm.registries.weights import load_weights_table
    from scfm.weights.check import verify

    folder = make_tiny("scgpt", gene_table(SYMBOLS), tmp_path / "scgpt")
    adata.write_h5ad(tmp_path / "a.h5ad")

    def codes() -> list[str]:
        sidecar = embed_file(
            "scgpt",
            folder,
            tmp_path / "a.h5ad",
            tmp_path / "a.parquet",
            settings={},
            options=RunOptions(),
            device="cpu",
        )
        return [w["code"] for w in sidecar["warnings"]]

    verify(load_weights_table(), "scgpt", folder)
    assert codes() == []
    other = make_tiny("scgpt", gene_table(SYMBOLS), tmp_path / "other", seed=9)
    (other / "best_model.pt").replace(folder / "best_model.pt")
    assert codes() == ["W-MOD-14"]


@pytest.mark.parametrize("model", available_models())
def test_every_file_that_a_model_reads_is_recorded_and_compared(model, adata, tmp_path) -> None:
    from scfm.weights.check import RECORD, names_in, write_record

    folder = make_tiny(model, gene_table(SYMBOLS), tmp_path / model)
    adata.write_h5ad(tmp_path / "a.h5ad")
    names = set(names_in(folder)) - {"RANDOM_WEIGHTS.txt"}
    write_record(folder, dict.fromkeys(names, "0" * 64))
    sidecar = embed_file(
        model,
        folder,
        tmp_path / "a.h5ad",
        tmp_path / "a.parquet",
        settings=SETTINGS.get(model, {}),
        options=RunOptions(),
        device="cpu",
    )
    read = sidecar["weights_sha256"] | sidecar["dictionaries_sha256"]
    assert {name: sha256_of(folder / name) for name in read} == read
    # of the other species, of genes without a checkpoint's table, and names that are not needed where there are ids
    not_read = sorted(names - set(read))
    assert all(re.search(r"prior_knowledge/|mouse_|gene_name_id", name) for name in not_read), not_read
    assert not set(sidecar["weights_sha256"]) & set(sidecar["dictionaries_sha256"])
    (warning,) = [w for w in sidecar["warnings"] if w["code"] == "W-MOD-14"]
    assert set(warning["values"]["files"]) == set(read) and RECORD in warning["text"]


def test_other_files_are_never_replaced(tmp_path) -> None:
    genes = gene_table(["A", "B"])
    real = tmp_path / "scgpt"
    real.mkdir()
    (real / "best_model.pt").write_bytes(b"trained")
    with pytest.raises(ScfmError, match=r"holds 'best_model.pt' and no RANDOM_WEIGHTS.txt"):
        make_tiny("scgpt", genes, real)
    assert (real / "best_model.pt").read_bytes() == b"trained"
    made = make_tiny("cellplm", genes, tmp_path / "made", release="gmvae")
    assert make_tiny("cellplm", genes, made, release="vae") == made
    assert sorted(p.name for p in made.iterdir()) == ["20231027_85M.best.ckpt", "20231027_85M.config.json", RANDOM_MARK]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "scgpt"]


def test_errors_are_sentences(tmp_path) -> None:
    genes = gene_table(["A", "B"])
    with pytest.raises(ScfmError, match=r"Unknown model 'scgp'. Did you mean 'scgpt'"):
        make_tiny("scgp", genes, tmp_path / "x")
    with pytest.raises(ScfmError, match=r"geneformer has no release 'v3'.*It has V2, V1, V1-bin"):
        make_tiny("geneformer", genes, tmp_path / "x", release="v3")
    with pytest.raises(ScfmError, match="width 32 is not a multiple of heads 5"):
        make_tiny("scgpt", genes, tmp_path / "x", heads=5)
    with pytest.raises(ScfmError, match="layers must be at least 1"):
        make_tiny("scgpt", genes, tmp_path / "x", layers=0)
    assert not (tmp_path / "x").exists()


def test_lists_of_genes(tmp_path) -> None:
    path = tmp_path / "genes.txt"
    path.write_text("# comment\nACTB\n\nACTB\nENSG00000000003.14\nCD3E\n")
    table = read_genes(path)
    assert table.symbols == ("ACTB", "ENSG00000000003.14", "CD3E")
    assert table.ensembl == (invented_id("ACTB"), "ENSG00000000003", invented_id("CD3E"))
    path.write_text("symbol\tensembl_id\nACTB\tENSG00000075624.17\nCD3E\t\n")
    table = read_genes(path)
    assert (table.symbols, table.ensembl) == (("ACTB", "CD3E"), ("ENSG00000075624", invented_id("CD3E")))
    for content, sentence in (("", "empty"), ("a\tb\tc\n", "more than two columns")):
        path.write_text(content)
        with pytest.raises(ScfmError, match=sentence):
            read_genes(path)
    with pytest.raises(ScfmError, match="does not exist"):
        read_genes(tmp_path / "none")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScfmError, match="not a text file"):
        read_genes(path)


def test_old_dictionaries_name_numpy_as_of_their_year(folders) -> None:
    """The V1 files of Geneformer hold NumPy scalars under the module name of NumPy 1."""
    raw = (
        folders("geneformer", "V1") / "geneformer" / "gene_dictionaries_30m" / "token_dictionary_gc30M.pkl"
    ).read_bytes()
    assert b"numpy.core.multiarray" in raw and b"numpy._core" not in raw
    assert isinstance(pickle.loads(raw)[invented_id("GENE1")], np.integer)


def test_the_executable_makes_all_models(tmp_path) -> None:
    script = Path(__file__).resolve().parents[2] / "bin" / "make_tiny_weights.py"
    spec = importlib.util.spec_from_file_location("make_tiny_weights", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "genes.txt").write_text("\n".join(SYMBOLS))
    module.main(
        ["--model", "all", "--genes", str(tmp_path / "genes.txt"), "--dest", str(tmp_path / "w"), "--layers", "1"]
    )
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == sorted(available_models())
    assert json.loads((tmp_path / "w" / "scgpt" / "args.json").read_text())["nlayers"] == 1
    with pytest.raises(ScfmError, match="one --model at a time"):
        module.main(
            [
                "--model",
                "scgpt,uce",
                "--genes",
                str(tmp_path / "genes.txt"),
                "--dest",
                str(tmp_path / "w"),
                "--release",
                "V1",
            ]
        )
