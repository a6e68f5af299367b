"""Import of users' embeddings: every format gives the same cells and values, invalid files give sentences."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from anndata import AnnData
from scipy import sparse

from scfm.embeddings.import_columns import column_notes
from scfm.embeddings.importing import read_source
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding

N, D = 12, 4


@pytest.fixture
def ids():
    return np.array([f"{i:03d}-é" for i in range(N)], dtype=object)  # leading zeros and non-ASCII must survive


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(N, D))


def write_source(kind, folder, ids, values):
    """Write the same embedding in one of the formats users have."""
    frame = pd.DataFrame(values, index=pd.Index(ids), columns=[f"PC_{j}" for j in range(D)])
    path = folder / f"e{kind[1:]}" if kind.startswith(".") else folder / kind
    if kind == "index.parquet":
        frame.to_parquet(path)
    elif kind == "column.parquet":
        frame.insert(2, "cell_id", ids)
        frame.to_parquet(path, index=False)
    elif kind in ("unnamed.csv", "unnamed.csv.gz"):
        frame.to_csv(path)
    elif kind == "column.tsv":
        frame.rename_axis("cell_id").to_csv(path, sep="\t")
    elif kind == "unicode.npz":
        np.savez(path, cell_ids=ids.astype(str), embedding=values)
    elif kind == "other_names.npz":
        np.savez_compressed(path, X=values, obs_names=ids.astype(str), more=np.zeros(3))
    else:
        adata = AnnData(sparse.csr_matrix((N, 2)), obs=pd.DataFrame(index=pd.Index(ids)), obsm={"X_mine": values})
        adata.write_h5ad(path) if kind.endswith("h5ad") else adata.write_zarr(path)
    return path


KINDS = [
    "index.parquet",
    "column.parquet",
    "unnamed.csv",
    "unnamed.csv.gz",
    "column.tsv",
    "unicode.npz",
    "other_names.npz",
    "a.h5ad",
    "a.zarr",
]


@pytest.mark.filterwarnings("ignore")  # zarr warns of formats
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_cells_and_values(kind, ids, values, tmp_path):
    path = write_source(kind, tmp_path, ids, values)
    got = read_source(path, "X_mine" if kind.startswith("a.") else None)
    np.testing.assert_array_equal(got.ids, ids)
    np.testing.assert_allclose(got.coordinates, values, atol=1e-12)
    assert got.not_embedded == [] and got.notes == []


def test_empty_rows_of_obsm_are_cells_that_were_not_embedded(ids, values, tmp_path):
    values[[2, 5]] = np.nan
    values[7, 1] = np.nan  # half a row is an error, and stays for the validation gate
    got = read_source(write_source("a.h5ad", tmp_path, ids, values), "X_mine")
    assert [e["cell_id"] for e in got.not_embedded] == [ids[2], ids[5]]
    assert len(got.ids) == N - 2
    assert np.isnan(got.coordinates).sum() == 1


def test_numeric_ids_of_a_parquet_become_text(values, tmp_path):
    pd.DataFrame(values).rename(columns=str).assign(cell_id=range(N)).to_parquet(tmp_path / "e.parquet")
    assert read_source(tmp_path / "e.parquet").ids.tolist() == [str(i) for i in range(N)]


def test_ids_stored_as_bytes_become_text(ids, values, tmp_path):
    columns = {f"d{j}": values[:, j] for j in range(D)}
    pq.write_table(pa.table({"cell_id": [i.encode() for i in ids], **columns}), tmp_path / "e.parquet")
    assert read_source(tmp_path / "e.parquet").ids.tolist() == ids.tolist()


def test_the_note_on_columns_counts_all_of_them():
    names = [f"g{chr(97 + i % 26)}{chr(97 + i // 26)}1" for i in range(130)]
    (note,) = column_notes([], names, Path("e.csv"))
    assert "and 110 more" in note["text"]
    assert len(note["values"]["columns"]) == 100


def invalid_files(folder, ids, values):
    """Give (path, obsm key, sentence) of files that can't be imported."""
    frame = pd.DataFrame(values, columns=[f"d{j}" for j in range(D)])

    def path(name):
        return folder / name

    frame.to_csv(path("no_ids.csv"), index=False)
    yield "no_ids.csv", None, "no column 'cell_id' and no unnamed index column; found 'd0'"
    frame.assign(cell_id=ids, batch="b1").to_csv(path("text.csv"), index=False)
    yield "text.csv", None, "columns that hold no numbers: 'batch'"
    frame.assign(cell_id=[None, *ids[1:]]).to_csv(path("null.csv"), index=False)
    yield "null.csv", None, "rows without a cell id: 1"
    np.savez(path("object.npz"), cell_ids=ids, embedding=values)
    yield "object.npz", None, "without running code from it"
    np.savez(path("names.npz"), a=values)
    yield "names.npz", None, "expected an array of ids .* found 'a'"
    np.savez(path("flat.npz"), cell_ids=ids.astype(str), embedding=values.ravel())
    yield "flat.npz", None, r"'embedding' has shape \(48,\)"
    np.savez(path("float_ids.npz"), cell_ids=np.arange(12.0), embedding=values)
    yield "float_ids.npz", None, "expected one id per cell, as text"
    with path("one.npz").open("wb") as handle:
        np.save(handle, values)
    yield "one.npz", None, "holds one array without names"
    path("zip.npz").write_bytes(b"nothing")
    yield "zip.npz", None, "zip.npz can't be read as npz"
    write_source("a.h5ad", folder, ids, values)
    yield "a.h5ad", "X_mime", r"no 'X_mime' in obsm. Did you mean 'X_mine'\? It has 'X_mine'"
    yield "a.h5ad", None, "the obsm key of the embedding is needed"
    path("b.h5ad").write_bytes(b"nothing")
    yield "b.h5ad", "X_mine", "not a readable h5ad file"
    path("e.parquet").write_bytes(b"nothing")
    yield "e.parquet", None, "is no parquet file that can be read"
    yield "no_ids.csv", "X_mine", "an obsm key .* was given, and the file is no h5ad"
    path("e.rds").write_bytes(b"")
    yield "e.rds", None, r"unknown kind of file. Embeddings are read from .parquet, .csv"
    yield "absent.csv", None, "does not exist"
    path("shifted.csv").write_text("cell_id,d0\na,1,2\nb,2,3\n")
    yield "shifted.csv", None, "more fields than the header has names"
    path("r.csv").write_text('"d0","d1"\n"a",1,2\n"b",2,3\n')
    yield "r.csv", None, r"more fields than the header has names \(3 and 2\)"
    path("rows.csv").write_text("cell_id,d0\n")
    yield "rows.csv", None, "has a header and no rows"
    frame.assign(cell_id=ids).to_csv(path("europe.csv"), sep=";", decimal=",", index=False)
    yield "europe.csv", None, "header has semicolons and no commas"
    frame.assign(cell_id=ids).to_csv(path("comma.tsv"), index=False)
    yield "comma.tsv", None, "header has commas and no tabs"
    columns = {f"d{j}": values[:, j] for j in range(D)}
    pq.write_table(pa.table({"cell_id": [b"\xff" + i.encode() for i in ids], **columns}), path("latin.parquet"))
    yield "latin.parquet", None, "bytes that are not UTF-8"
    path("empty.csv").write_text("")
    yield "empty.csv", None, "is no table that can be read"
    path("ragged.csv").write_text("cell_id,d0\na,1\nb,2,3,4\n")
    yield "ragged.csv", None, "is no table that can be read"


def test_invalid_files_are_sentences(ids, values, tmp_path):
    for name, key, sentence in invalid_files(tmp_path, ids, values):
        with pytest.raises(ScfmError, match=sentence) as caught:
            read_source(tmp_path / name, key)
        assert name in str(caught.value)


def test_the_executable_writes_an_embedding_or_a_reason(ids, values, tmp_path):
    spec = importlib.util.spec_from_file_location(
        "import_embedding", Path(__file__).resolve().parents[2] / "bin" / "import_embedding.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pd.DataFrame({"cell_id": ids, "batch": "b", "label": "l"}).to_parquet(tmp_path / "d.obs.parquet")
    source = write_source("unnamed.csv", tmp_path, ids, values)
    base = ["--dataset", "d", "--obs", str(tmp_path / "d.obs.parquet"), "--outdir", str(tmp_path)]
    assert module.main([*base, "--name", "mine", "--source", str(source)]) == 0
    got_ids, got = read_embedding(tmp_path / "d.mine.raw.0.unchecked.parquet")
    np.testing.assert_array_equal(got_ids, ids)
    np.testing.assert_allclose(got, values, atol=1e-6)
    sidecar = json.loads((tmp_path / "d.mine.raw.0.unchecked.json").read_text())
    assert (sidecar["family"], sidecar["cells_in"], sidecar["settings"]["source"]) == ("imported", N, "unnamed.csv")
    assert len(sidecar["settings"]["source_sha256"]) == 64
    assert module.main([*base, "--name", "lost", "--source", str(tmp_path / "absent.csv")]) == 0
    status = json.loads((tmp_path / "d.lost.raw.0.embed.status.json").read_text())
    assert status["status"] == "failed"
    assert "does not exist" in status["reason"]
