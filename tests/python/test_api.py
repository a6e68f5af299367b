"""The public functions on an AnnData, against the executables on the same cells; the examples of the API page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scfm
from helpers_modules import INPUTS, MODEL_STEM, PROJECT, STEM, call, of_embedding
from scfm.embeddings.gate import EmbeddingValidationError
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding, read_table

WEIGHTS = INPUTS / "weights" / "sccello"


@pytest.fixture
def adata():
    """The prepared cells with Harmony's embedding, rows in an order of their own."""
    import anndata as ad

    data = ad.read_h5ad(INPUTS / "tiny.prepared.h5ad")
    ids, values = read_embedding(INPUTS / f"{STEM}.parquet")
    data.obsm["X_harmony"] = pd.DataFrame(values, ids).loc[data.obs_names].to_numpy()
    return data[np.random.default_rng(3).permutation(data.n_obs)].copy()


def test_score_equals_the_executable(adata, tmp_path: Path) -> None:
    call("find_neighbors", **of_embedding(INPUTS), outdir=tmp_path)
    given = of_embedding(INPUTS) | {"knn": tmp_path / f"{STEM}.knn.npz"}
    call("score_embedding", **given, pca=INPUTS / "tiny.pca.parquet", outdir=tmp_path)
    expected = read_table(tmp_path / f"{STEM}.scores.tsv").set_index(["metric", "group"])
    found = scfm.score(adata, embedding="X_harmony", batch_key="batch", label_key="label")
    assert set(found["embedding"]) == {"X_harmony"}
    assert found.attrs["not_scored"] == []
    found = found.set_index(["metric", "group"])
    assert list(found.index) == list(expected.index)
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-6)
    assert (found["reason"] == expected["reason"]).all()


def test_correct_equals_the_executable_and_is_kept_by_cell(adata, tmp_path: Path) -> None:
    call(
        "correct_embedding",
        **of_embedding(INPUTS),
        correction="center_l2",
        params=INPUTS / "params.json",
        outdir=tmp_path,
    )
    ids, values = read_embedding(tmp_path / "tiny.harmony.center_l2.0.unchecked.parquet")
    frame = scfm.correct(adata, embedding="X_harmony", method="center_l2", batch_key="batch")
    assert list(frame.index) == list(adata.obs_names)
    np.testing.assert_allclose(frame.loc[ids], values, atol=1e-6)
    np.testing.assert_array_equal(adata.obsm["X_harmony_center_l2"], frame)


def test_embed_equals_the_executable_and_is_kept_by_cell(adata) -> None:
    frame = scfm.embed(
        adata, model="sccello", weights=WEIGHTS, input_layer="counts", gene_column="gene_id", device="cpu"
    )
    ids, values = read_embedding(INPUTS / f"{MODEL_STEM}.parquet")
    assert list(frame.index) == list(adata.obs_names)
    np.testing.assert_allclose(frame.loc[ids], values, atol=1e-4)
    np.testing.assert_array_equal(adata.obsm["X_sccello"], frame)
    assert frame.attrs["report"]["genes_matched"] == 200


def test_cells_without_batch_label_or_row_are_listed_and_not_scored(adata) -> None:
    cells = list(adata.obs_names[:3])
    adata.obs["batch"] = adata.obs["batch"].astype(object)
    adata.obs.loc[cells[0], "batch"] = None
    adata.obs["label"] = adata.obs["label"].astype(object)
    adata.obs.loc[cells[1], "label"] = np.nan
    adata.obsm["X_harmony"][2] = np.nan
    found = scfm.score(adata, embedding="X_harmony", batch_key="batch", label_key="label", profile="paper")
    assert found.attrs["not_scored"] == sorted(cells)
    whole = found[found["group"] == "all"].set_index("metric")
    assert set(whole["n_cells"]) == {177}
    rest = adata[~adata.obs_names.isin(cells)].copy()
    expected = scfm.score(rest, embedding="X_harmony", batch_key="batch", label_key="label", profile="paper")
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, pd.DataFrame])
def test_a_sparse_embedding_and_a_frame_score_as_the_array(adata, kind) -> None:
    whole = np.nan_to_num(np.asarray(adata.obsm["X_pca"]))
    other = adata.copy()
    other.obsm["X_pca"] = kind(whole) if kind is not pd.DataFrame else kind(whole, index=adata.obs_names)
    adata.obsm["X_pca"] = whole
    wanted, found = (scfm.score(a, batch_key="batch", label_key="label") for a in (adata, other))
    pd.testing.assert_frame_equal(found, wanted)
    frames = [scfm.correct(a, "X_pca", method="center", batch_key="batch") for a in (adata, other)]
    pd.testing.assert_frame_equal(*frames)


def test_texts_that_mean_no_value_are_missing_as_in_the_pipeline(adata) -> None:
    labels = adata.obs["label"].astype(object).where(adata.obs["label"].notna(), "NA")
    labels.iloc[:3], labels.iloc[3] = "nan", f"{labels.iloc[3]} "
    adata.obs["label"] = labels
    table = scfm.score(adata, batch_key="batch", label_key="label")
    assert set(adata.obs_names[:3]) <= set(table.attrs["not_scored"])
    assert adata.obs_names[3] not in table.attrs["not_scored"]
    assert {"nan", "NA", labels.iloc[3]}.isdisjoint(table["group"])


def test_a_metric_without_its_pca_is_na_with_a_reason(adata) -> None:
    del adata.obsm["X_pca"]
    found = scfm.score(adata, embedding="X_harmony", batch_key="batch", label_key="label").set_index("metric")
    row = found.loc["pcr_comparison"]
    assert (np.isnan(row["value"]), row["status"], row["reason"]) == (True, "not_applicable", "no_pca")


def test_what_is_wrong_is_a_sentence_with_the_nearest_name(adata) -> None:
    with pytest.raises(ScfmError, match=r"no 'X_harmny'\. Did you mean 'X_harmony'"):
        scfm.score(adata, embedding="X_harmny", batch_key="batch", label_key="label")
    with pytest.raises(ScfmError, match=r"batch_key: adata\.obs has no column 'bach'\. Did you mean 'batch'"):
        scfm.correct(adata, embedding="X_harmony", batch_key="bach")
    with pytest.raises(ScfmError, match="center_label_balanced needs labels"):
        scfm.correct(adata, embedding="X_harmony", method="center_label_balanced", batch_key="batch")
    adata.obsm["X_harmony"][4, 0] = np.inf
    with pytest.raises(EmbeddingValidationError, match="NaN or infinite: 1, in 1 cell"):
        scfm.score(adata, embedding="X_harmony", batch_key="batch", label_key="label")
    adata.obs["batch"] = adata.obs["batch"].astype(object)
    adata.obs.iloc[0, adata.obs.columns.get_loc("batch")] = None
    with pytest.raises(ScfmError, match=r"adata.obs\['batch'\] is missing in 1 embedded cell"):
        scfm.correct(adata, embedding="X_pca", batch_key="batch")


def test_importing_scfm_loads_nothing_heavy() -> None:
    code = "import sys, scfm; print(*sorted({'numpy', 'pandas', 'torch', 'anndata', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT / "bin", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PROJECT / "docs" / "reference" / "api.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 3
    monkeypatch.chdir(PROJECT)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/reference/api.md", "exec"), names)
    for name in ("embed", "correct", "score"):
        assert any(f"scfm.{name}(" in block for block in blocks)
        assert f"scfm.{name}(" in page


def test_an_installed_package_holds_the_registries(tmp_path: Path) -> None:
    """Built as ``pip install`` builds it, and read from a folder that is no checkout."""
    import shutil

    source = tmp_path / "source"
    shutil.copytree(PROJECT / "bin" / "scfm", source / "bin" / "scfm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / "assets", source / "assets")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy2(PROJECT / name, source / name)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", str(tmp_path / "lib")],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    )
    code = (
        "from scfm.metrics.registry import load_metrics; from scfm.registries.reader import ASSETS;"
        "from scfm.registries.datasets import load_catalogue; print(ASSETS, len(load_metrics()), len(load_catalogue()))"
    )
    environment = {"PYTHONPATH": str(tmp_path / "lib"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    folder, n_metrics, n_scenarios = done.stdout.split()
    assert Path(folder) == tmp_path / "lib" / "scfm" / "assets"
    assert int(n_metrics) > 10
    assert int(n_scenarios) == 6
    assert sorted(p.name for p in Path(folder).rglob("*.tsv")) == sorted(
        p.name for p in (PROJECT / "assets").rglob("*.tsv")
    )
