"""Hostile files, each made here: nothing in them runs, nothing outside is read or written, each is one sentence."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers_data import make_adata
from scfm.errors import ScfmError
from scfm.io.store import open_store
from scfm.models.core.pickles import load_pickle
from scfm.models.core.tensors import read_tensors
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


def test_an_archive_whose_names_lead_out_of_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../../../outside.pt")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    assert unpack(tmp_path / "a.tar.gz", tmp_path / "in", "*.pt") == [tmp_path / "in" / "outside.pt"]
    assert not (tmp_path.parent / "outside.pt").exists()


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
