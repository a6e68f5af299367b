"""Files of other kinds that are given as h5ad: what they are, by their first bytes or groups, and what to do."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

#: first bytes of a file -> what it is and what to do
_FIRST_BYTES = {
    b"\x1f\x8b": "It is compressed with gzip: decompress it (gunzip).",
    b"BZh": "It is compressed with bzip2: decompress it (bunzip2).",
    b"\xfd7zXZ": "It is compressed with xz: decompress it (unxz).",
    b"PK": "It is a zip archive: unpack it; a zarr folder in it can be given as it is.",
    b"version https://git-lfs": "It is a pointer of Git LFS: get the file itself (git lfs pull).",
    b"<": "It looks like a web page, as a failed download leaves: download the file again.",
    b"RDX": "It is an R object: convert it to h5ad.",
}
#: names at the top of an HDF5 file, all of which must be there -> what it is and what to do
_GROUPS = {
    ("matrix", "row_attrs", "col_attrs"): "It is a loom file: read it with anndata.io.read_loom and write it as h5ad.",
    ("mod",): "It is a MuData file: write the modality with RNA counts as h5ad, mdata['rna'].write('rna.h5ad').",
    ("assays", "cell.names"): "It is an h5Seurat file: convert it to h5ad.",
    ("matrix",): "It looks like a matrix of Cell Ranger: read it with scanpy.read_10x_h5, put batch and label into obs,"
    " and write it as h5ad.",
}


def what_bytes_say(path: Path) -> str:
    """Return a sentence about a file that is no HDF5 file."""
    try:
        with path.open("rb") as handle:
            first = handle.read(32)
    except OSError:  # the reason that it can't be opened is in the sentence already
        return "It can't be opened."
    if not first:
        return "It is empty: it has no bytes."
    found = (text for mark, text in _FIRST_BYTES.items() if first.startswith(mark))
    return next(found, "It may be cut short or of another format.")


def what_groups_say(names: Collection[str]) -> str:
    """Return half a line about an HDF5 file that is no AnnData object, by the names at its top; empty if unknown."""
    return next((f" {text}" for wanted, text in _GROUPS.items() if set(wanted) <= set(names)), "")
