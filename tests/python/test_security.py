"""Hostile files, each made here: nothing in them runs, nothing outside is read or written, each is one sentence."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import re
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from fuzz.targets import SIDECAR
from hypothesis import given, settings
from hypothesis import strategies as st

import helpers_report
from helpers_data import INPUT_SCHEMA, make_adata, write
from scfm.embeddings.importing import read_source
from scfm.embeddings.sidecar import read_sidecar
from scfm.errors import ScfmError
from scfm.inputs.samplesheet import check_rows
from scfm.io.formulas import as_text, as_written
from scfm.io.store import open_file, open_store
from scfm.io.yaml_files import read_yaml
from scfm.models.core.pickles import load_pickle
from scfm.models.core.tensors import read_tensors
from scfm.report.build import build_modules
from scfm.weights.fetch import unpack


class Payload:
    """Creates a file where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


@pytest.fixture
def target(tmp_path: Path):
    """A folder that a payload would make; asserted to be absent after the test."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


def test_a_pickle_that_would_run_code(tmp_path: Path, target: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(Payload(target)))
    with pytest.raises(ScfmError, match=r"refers to posix\.mkdir, which is code and not data\. Nothing in it was"):
        load_pickle(tmp_path / "a.pickle")


def test_a_checkpoint_that_would_run_code(tmp_path: Path, target: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(2), "extra": Payload(target)}, tmp_path / "a.pt")
    with pytest.raises(ScfmError, match="refers to code or to types that are not data"):
        read_tensors(tmp_path / "a.pt")


def test_an_npz_that_would_run_code(tmp_path: Path, target: Path) -> None:
    ids = np.array([Payload(target)], dtype=object)
    np.savez(tmp_path / "e.npz", cell_ids=ids, X=np.ones((1, 2)))
    with pytest.raises(ScfmError, match="can't be read as npz without running code from it"):
        read_source(tmp_path / "e.npz")


@pytest.mark.parametrize("tag", ["object/apply:os.mkdir", "object/new:os.mkdir", "name:os.mkdir", "module:os"])
def test_yaml_that_would_run_code(tag: str, tmp_path: Path, target: Path) -> None:
    (tmp_path / "r.yml").write_text(f"name: !!python/{tag} ['{target}']\n")
    with pytest.raises(ScfmError, match=r"r\.yml: line 1: not valid YAML: could not determine a constructor"):
        read_yaml(tmp_path / "r.yml", "r.yml")


def test_an_archive_whose_names_lead_out_of_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../../../outside.pt")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    assert unpack(tmp_path / "a.tar.gz", tmp_path / "in", "*.pt") == [tmp_path / "in" / "outside.pt"]
    assert not (tmp_path.parent / "outside.pt").exists()


def test_links_of_an_archive_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo("link.pt")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    with pytest.raises(ScfmError, match=r"holds no file '\*\.pt'"):
        unpack(tmp_path / "a.tar", tmp_path / "in", "*.pt")
    assert not list((tmp_path / "in").iterdir())


def _with(path: Path, change) -> Path:
    make_adata().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def _external_link(file: h5py.File) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink("/etc/passwd", "/X")


def _external_storage(file: h5py.File) -> None:
    size = Path("/etc/hostname").stat().st_size
    file["obsm"].create_dataset("X_a", (size,), np.uint8, external=[("/etc/hostname", 0, size)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (3,))
    file["obsm"].create_virtual_dataset("X_a", layout)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_external_link, r"'X' lies in another file \('/etc/passwd'\)"),
        (_external_storage, r"'obsm/X_a' lies in another file \('/etc/hostname'\)"),
        (_virtual, r"'obsm/X_a' lies in another file \('/tmp/other.h5'\)"),
    ],
)
def test_parts_of_an_h5ad_that_lie_in_other_files(change, words: str, tmp_path: Path) -> None:
    with pytest.raises(ScfmError, match=words), open_store(_with(tmp_path / "a.h5ad", change), "a.h5ad"):
        raise AssertionError("it was opened")


def test_a_group_that_holds_itself_does_not_hang(tmp_path: Path) -> None:
    def circle(file: h5py.File) -> None:
        file["uns/again"] = file["uns"]

    with open_store(_with(tmp_path / "a.h5ad", circle), "a.h5ad") as store:
        assert store.columns("obs")


def test_a_link_that_leads_out_of_a_zarr_folder(tmp_path: Path) -> None:
    write(make_adata(), tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "obs" / "secret").symlink_to("/etc")
    with pytest.raises(ScfmError, match=r"'obs/secret' lies in another file \('/etc'\)"):
        open_file(tmp_path / "a.zarr", "a.zarr")


# ---------------------------------------------------------------- declared sizes


def test_an_h5ad_that_declares_more_than_it_holds(tmp_path: Path) -> None:
    def declare(file: h5py.File) -> None:
        file["obsm"].create_dataset("X_a", shape=(10**9, 10**4), dtype="f4", chunks=(1000, 100))

    path = _with(tmp_path / "a.h5ad", declare)
    assert path.stat().st_size < 10**6
    with pytest.raises(ScfmError, match=r"'obsm/X_a' declares 40,000,000,000,000 bytes, and the file holds 0 for it"):
        open_file(path, "a.h5ad")


def test_a_zarr_that_declares_more_than_it_holds(tmp_path: Path) -> None:
    import zarr

    write(make_adata(), tmp_path / "a.zarr")
    root = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    root["obsm"].create_array("X_a", shape=(10**9, 10**4), chunks=(1000, 1000), dtype="f4")
    zarr.consolidate_metadata(tmp_path / "a.zarr")
    with pytest.raises(ScfmError, match=r"'obsm/X_a' declares 40,000,000,000,000 bytes"):
        open_file(tmp_path / "a.zarr", "a.zarr")


def test_an_npz_that_declares_more_than_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", cell_ids=np.array(["a"]))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**4)})
    with zipfile.ZipFile(tmp_path / "e.npz", "a") as archive:
        archive.writestr("X.npy", header.getvalue() + bytes(80))
    with pytest.raises(
        ScfmError, match=r"array 'X\.npy' declares 80,000,000,000,000 bytes, and the file holds \d+ for"
    ):
        read_source(tmp_path / "e.npz")


def test_a_parquet_that_declares_more_than_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    many = pa.table({"cell_id": ["a"] * 2_000_000, "d0": np.zeros(2_000_000)})
    pq.write_table(many, tmp_path / "e.parquet", compression="zstd")
    monkeypatch.setattr("scfm.io.declared.ALWAYS", 10**6)
    with pytest.raises(ScfmError, match=r"e\.parquet declares 32,000,000 bytes"):
        read_source(tmp_path / "e.parquet")


def test_an_embedding_with_the_rows_of_another_data_set_is_not_read(tmp_path: Path) -> None:
    def add(file: h5py.File) -> None:
        file["obsm/X_a"] = np.ones((7, 2))

    path = _with(tmp_path / "a.h5ad", add)
    with pytest.raises(ScfmError, match=r"obsm\['X_a'\] has 7 rows and obs 60"):
        read_source(path, "X_a")


def test_a_checkpoint_whose_tensor_repeats_one_value(tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(1).expand(10**12)}, tmp_path / "a.pt")
    with pytest.raises(ScfmError, match=r"a\.pt: a tensor declares 4,000,000,000,000 bytes"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "content",
    [b"\x80\x04\x8e" + (2**50).to_bytes(8, "little") + b".", b"cnumpy\nndarray\n((L1000000000000000L\nttR."],
    ids=["bytes", "array"],
)
def test_a_pickle_that_asks_for_memory(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(content)
    with pytest.raises(ScfmError, match="declares more than fits into memory, in a file of"):
        load_pickle(tmp_path / "a.pickle")


# ---------------------------------------------------------------- what people open

EVIL = {"batch": "=cmd|' /C calc'!A0", "label": "<img src=x onerror=alert(1)>", "other": "@SUM(1+1)*cmd|' /C calc'!A0"}


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory):
    """Folder of tables, and the sections, of a run whose batches and labels are formulas and HTML."""
    with pytest.MonkeyPatch.context() as patch:
        facts = copy.deepcopy(helpers_report.DATASETS["ifnb"])
        facts["batches"] = {EVIL["batch"]: 300, EVIL["other"]: 310}
        facts["labels"] = {EVIL["label"]: 210, EVIL["batch"]: 400}
        patch.setitem(helpers_report.DATASETS, "ifnb", facts)
        root = tmp_path_factory.mktemp("hostile")
        data = helpers_report.report_data(root, datasets=("ifnb",), methods=("pca", "harmony", "mymodel"))
    return root / "tables", build_modules(data), data


def test_no_table_holds_a_formula(hostile_report) -> None:
    tables, _, data = hostile_report
    cells = [
        cell for path in tables.glob("*.tsv") for line in path.read_text().splitlines() for cell in line.split("\t")
    ]
    assert "'" + EVIL["batch"] in [cell.strip('"') for cell in cells]
    assert not [cell for cell in cells if cell.lstrip('" ').startswith(("=", "@"))]
    assert EVIL["batch"] in set(data.scores["group"])  # read back as it is in the data


def test_no_section_holds_a_tag_of_the_data(hostile_report) -> None:
    _, modules, _ = hostile_report
    text = "".join(str(section.data) for module in modules for section in module.sections)
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img src=x" not in text


@given(st.lists(st.text("=+-@'(|!1aA \n", max_size=6) | st.none(), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_texts_come_back_as_they_were_written(texts: list) -> None:
    frame = pd.DataFrame({"n": range(len(texts)), "label": pd.Series(texts, dtype=object)})
    written = as_text(frame)
    assert not written["label"].dropna().str.match(r"\s*(=|[+@-].*[(|!])", flags=re.DOTALL).any()
    pd.testing.assert_frame_equal(as_written(written), frame)


@pytest.mark.parametrize("name", ["-rf", "--help", "a b", "a/../b", "$(touch x)", "a;b", ".hidden", "a\\nb"])
def test_a_name_that_a_shell_or_a_path_would_read_is_refused(name: str) -> None:
    rows = [{"dataset": name, "h5ad": "d.h5ad", "batch_key": "batch", "label_key": "label"}]
    said = check_rows(rows, INPUT_SCHEMA, "sheet.csv")
    assert len(said) == 1 and f"'{name}' is not allowed" in said[0], said


@pytest.mark.parametrize(
    ("field", "value"), [("dataset", "../../x"), ("method", "a/b"), ("seed", "0/../1"), ("seed", True)]
)
def test_a_sidecar_whose_names_lead_out_of_its_folder(field: str, value: object, tmp_path: Path) -> None:
    content = SIDECAR | {field: value}
    content["embedding"] = f"{content['method']}.{content['correction']}.{content['seed']}"
    (tmp_path / "e.json").write_text(json.dumps(content))
    with pytest.raises(ScfmError, match=rf"{field} is .*, expected a "):
        read_sidecar(tmp_path / "e.json")
