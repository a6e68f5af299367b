"""The parts of a file before anything is read: none lies in another file, none declares more than there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.declared import ALWAYS, check_declared

if TYPE_CHECKING:
    import h5py


def check_parts(root: Any, name: str) -> None:
    """Raise where a part of an HDF5 file lies in another file, or declares a size that the file can't hold.

    A part in another file (an external link, external storage or a virtual dataset) would put any file that this user
    may read into the results. Only the structure is looked at.

    Parameters
    ----------
    root
        The opened ``h5py.File``.
    name
        How messages call the file.

    Raises
    ------
    ScfmError
        The first such part, with the file that it names or the sizes.
    """
    for path, part in _datasets(root, name):
        outside = [file for file, *_ in part.external or []]
        if part.is_virtual:
            outside += [source.file_name for source in part.virtual_sources() if source.file_name != "."]
        if outside:
            raise ScfmError(_outside(name, path, outside[0]))
        declared = int(part.nbytes or 0)
        if declared > ALWAYS:  # what is stored is counted chunk by chunk
            check_declared(declared, part.id.get_storage_size(), f"{name}: '{path}'")


def check_folder(folder: Path, name: str) -> None:
    """Raise where a file of a zarr folder is a link that leads out of the folder.

    Raises
    ------
    ScfmError
        The first such link, with its target.
    """
    whole = folder.resolve()
    for place, folders, files in os.walk(folder):
        for part in (Path(place, entry) for entry in (*folders, *files)):
            if part.is_symlink() and not part.resolve().is_relative_to(whole):
                raise ScfmError(_outside(name, str(part.relative_to(folder)), str(part.resolve())))


def _datasets(root: Any, name: str) -> "Iterator[tuple[str, h5py.Dataset]]":
    """Yield every dataset with its path; an external link raises."""
    import h5py

    pending = [("", root)]
    seen = set()
    while pending:
        place, group = pending.pop()
        for key in group:
            path = f"{place}/{key}" if place else key
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise ScfmError(_outside(name, path, link.filename))
            if isinstance(link, h5py.SoftLink):
                continue  # inside the file: its target is visited under its own name
            part = group[key]
            if isinstance(part, h5py.Dataset):
                yield path, part
            elif isinstance(part, h5py.Group) and (address := h5py.h5o.get_info(part.id).addr) not in seen:
                seen.add(address)  # a hard link may lead back to a group above
                pending.append((path, part))


def _outside(name: str, path: str, target: str) -> str:
    return (
        f"{name}: '{path}' lies in another file ('{target}'). Only what is inside the file itself is read; write it"
        " whole again with anndata."
    )
