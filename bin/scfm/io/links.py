"""Parts of an HDF5 file that lie in other files; such a file is refused."""

from __future__ import annotations

from typing import Any

from scfm.errors import ScfmError


def refuse_outside(root: Any, name: str) -> None:
    """Raise where a part of an HDF5 file lies in another file: an external link, external storage or a virtual dataset.

    Such a part would put any file that this user may read into the results. Only the structure is looked at.

    Parameters
    ----------
    root
        The opened ``h5py.File``.
    name
        How messages call the file.

    Raises
    ------
    ScfmError
        The first such part, with the file that it names.
    """
    import h5py

    pending = [("", root)]
    seen = set()
    while pending:
        place, group = pending.pop()
        for key in group:
            path = f"{place}/{key}" if place else key
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise ScfmError(_sentence(name, path, link.filename))
            if isinstance(link, h5py.SoftLink):
                continue  # inside the file: its target is visited under its own name
            part = group[key]
            if isinstance(part, h5py.Dataset):
                outside = [file for file, *_ in part.external or []]
                if part.is_virtual:
                    outside += [source.file_name for source in part.virtual_sources() if source.file_name != "."]
                if outside:
                    raise ScfmError(_sentence(name, path, outside[0]))
            elif isinstance(part, h5py.Group) and (address := h5py.h5o.get_info(part.id).addr) not in seen:
                seen.add(address)  # a hard link may lead back to a group above
                pending.append((path, part))


def _sentence(name: str, path: str, target: str) -> str:
    return (
        f"{name}: '{path}' lies in another file ('{target}'). Only what is inside the file itself is read; write one"
        " whole file, with anndata.read_h5ad and write_h5ad."
    )
