"""A folder behind CELLxGENE Discover's public interface: for institutes with a copy of the data, and for tests
without a connection.

The folder holds h5ad files and ``mirror.json``::

    {"collections": [
        {"collection_id": "ff69f0ee-fef6-4895-9f48-6c64a68c8289",
         "name": "Paediatric liver",
         "doi": "10.1000/xyz",
         "datasets": [
            {"dataset_id": "0c0de000-0000-4000-8000-000000000001",
             "dataset_version_id": "0c0de000-0000-4000-8000-0000000000a1",
             "title": "Healthy liver",
             "file": "liver.h5ad",
             "organism": ["Homo sapiens"], "disease": ["normal"], "tissue": ["liver"], "assay": ["10x 3' v3"],
             "suspension_type": ["cell"], "citation": "...", "schema_version": "5.2.0",
             "cell_count": 1200,
             "tombstone": false,
             "previous": [{"dataset_version_id": "0c0de000-0000-4000-8000-0000000000a0", "file": "liver_old.h5ad"}]}]}],
     "files": ["orthologs.csv"]}

==================== ========= =========================================================================================
key                  needed    meaning
==================== ========= =========================================================================================
collection_id        yes       a UUID, once in the file
name, doi            no        of the collection; empty where not given
datasets             yes       list, may be empty
dataset_id           yes       a UUID, once in the file
dataset_version_id   yes       a UUID, once in the file; another one for every change of the data
title                yes       any text
file                 yes [1]_  path relative to the folder, inside it
organism, disease,   no        lists of labels (not of ontology terms), empty where not given
tissue, assay
suspension_type      no        list of texts
citation,            no        texts
schema_version
cell_count           no        counted in the h5ad file where not given
tombstone            no        true: withdrawn; answered with 410, and the collection does not list it
previous             no        older versions, newest first: ``dataset_version_id``, ``file`` and what else differed
files                no        further files to serve (tables of orthologs ...)
==================== ========= =========================================================================================

.. [1] not for a withdrawn data set

The size of a file is always that of the file. Addresses of the files are ``/files/<path>``; they have an ETag, and
ranges are served, so that a download is resumed as it would be from Discover.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from scfm.errors import ScfmError
from scfm.fetch.spec import is_uuid
from scfm.text import listing

INDEX = "mirror.json"
LABELS = ("organism", "disease", "tissue", "assay")
_TEXTS = ("title", "citation", "schema_version")
_VERSION_KEYS = {"dataset_version_id", "file", "cell_count", "suspension_type", *LABELS, *_TEXTS}
_DATASET_KEYS = _VERSION_KEYS | {"dataset_id", "tombstone", "previous"}
_COLLECTION_KEYS = {"collection_id", "name", "doi", "datasets"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorVersion:
    """One version of a data set.

    Attributes
    ----------
    entry
        What ``mirror.json`` says about it; an older version takes over what it does not say itself.
    path
        Its file; None: withdrawn.
    """

    collection_id: str
    dataset_id: str
    version_id: str
    path: Path | None
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorDataset:
    """A data set: its versions, the current one first."""

    dataset_id: str
    versions: tuple[MirrorVersion, ...]
    is_withdrawn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorCollection:
    """A collection of data sets."""

    collection_id: str
    name: str
    doi: str
    datasets: tuple[MirrorDataset, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """The contents of a folder with ``mirror.json``.

    Attributes
    ----------
    files
        What may be served: path as in the address -> file.
    """

    folder: Path
    collections: tuple[MirrorCollection, ...]
    files: Mapping[str, Path]

    def find_collection(self, identifier: str) -> MirrorCollection | None:
        """Return a collection by its id."""
        return next((c for c in self.collections if c.collection_id == identifier), None)

    def find_dataset(self, identifier: str) -> MirrorDataset | None:
        """Return a data set by its id."""
        return next((d for c in self.collections for d in c.datasets if d.dataset_id == identifier), None)

    def find_version(self, identifier: str) -> tuple[MirrorDataset, MirrorVersion] | None:
        """Return a version by its id, and the data set it belongs to."""
        return next(
            ((d, v) for c in self.collections for d in c.datasets for v in d.versions if v.version_id == identifier),
            None,
        )


def load_mirror(folder: Path | str) -> Mirror:
    """Read and check ``mirror.json`` of a folder.

    Raises
    ------
    ScfmError
        Sentences about everything that is wrong: keys missing or unknown, ids that are no UUIDs or are duplicates,
        files that are not there.
    """
    folder = Path(folder)
    index = folder / INDEX
    if not index.is_file():
        raise ScfmError(f"{folder}: has no {INDEX}, which lists the collections that a mirror serves.")
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScfmError(f"{index}: is not valid JSON ({error}).") from error
    reader = _Reader(folder)
    collections = tuple(reader.collection(entry, f"collections[{n}]") for n, entry in enumerate(reader.top(content)))
    for name in content.get("files", []) if isinstance(content, dict) else []:
        reader.file(name, "files")
    if reader.errors:
        raise ScfmError("\n".join(f"{index}: {error}" for error in reader.errors))
    return Mirror(folder=folder, collections=collections, files=reader.files)


class _Reader:
    """Reads ``mirror.json`` and collects everything that is wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors: list[str] = []
        self.files: dict[str, Path] = {}
        self.seen: set[tuple[str, str]] = set()

    def top(self, content: Any) -> list[Any]:
        """Return the list of collections."""
        if not isinstance(content, dict) or not isinstance(content.get("collections"), list):
            self.errors.append("expected an object with the key 'collections', a list.")
            return []
        self.known(content, {"collections", "files"}, "the file")
        return content["collections"]

    def collection(self, entry: Any, where: str) -> MirrorCollection:
        """Return a collection."""
        entry = self.known(entry, _COLLECTION_KEYS, where)
        identifier = self.uuid(entry, "collection_id", where)
        datasets = entry.get("datasets")
        if not isinstance(datasets, list):
            self.errors.append(f"{where}: 'datasets' must be a list; found {datasets!r}.")
            datasets = []
        return MirrorCollection(
            collection_id=identifier,
            name=str(entry.get("name", "")),
            doi=str(entry.get("doi", "")),
            datasets=tuple(self.dataset(d, identifier, f"{where}.datasets[{n}]") for n, d in enumerate(datasets)),
        )

    def dataset(self, entry: Any, collection: str, where: str) -> MirrorDataset:
        """Return a data set with its versions."""
        entry = self.known(entry, _DATASET_KEYS, where)
        identifier, withdrawn = self.uuid(entry, "dataset_id", where), entry.get("tombstone", False)
        if not isinstance(withdrawn, bool):
            self.errors.append(f"{where}: 'tombstone' must be true or false; found {withdrawn!r}.")
        if not entry.get("title"):
            self.errors.append(f"{where}: 'title' is missing.")
        current = {key: value for key, value in entry.items() if key in _VERSION_KEYS}
        versions = [self.version(current, collection, identifier, where, withdrawn=bool(withdrawn))]
        for n, older in enumerate(entry.get("previous", [])):
            place = f"{where}.previous[{n}]"
            own = self.known(older, _VERSION_KEYS, place)
            inherited = {
                key: value for key, value in current.items() if key not in ("dataset_version_id", "file", "cell_count")
            }
            versions.append(self.version(inherited | own, collection, identifier, place, withdrawn=bool(withdrawn)))
        return MirrorDataset(dataset_id=identifier, versions=tuple(versions), is_withdrawn=bool(withdrawn))

    def version(
        self, entry: Mapping[str, Any], collection: str, dataset: str, where: str, *, withdrawn: bool
    ) -> MirrorVersion:
        """Return one version."""
        for key in (*LABELS, "suspension_type"):
            value = entry.get(key, [])
            if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
                self.errors.append(f"{where}: '{key}' must be a list of labels; found {value!r}.")
        count = entry.get("cell_count", 0)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            self.errors.append(f"{where}: 'cell_count' must be a number of cells; found {count!r}.")
        identifier = self.uuid(entry, "dataset_version_id", where)
        path = None if withdrawn else self.file(entry.get("file"), where)
        return MirrorVersion(
            collection_id=collection, dataset_id=dataset, version_id=identifier, path=path, entry=entry
        )

    def known(self, entry: Any, keys: set[str], where: str) -> dict[str, Any]:
        """Return an object; complain about unknown keys."""
        if not isinstance(entry, dict):
            self.errors.append(f"{where}: must be an object; found {entry!r}.")
            return {}
        unknown = sorted(set(entry) - keys)
        if unknown:
            self.errors.append(f"{where}: unknown keys {listing(unknown)}; known are {listing(sorted(keys))}.")
        return entry

    def uuid(self, entry: Mapping[str, Any], key: str, where: str) -> str:
        """Return an id, once in the file."""
        value = entry.get(key)
        if not is_uuid(value):
            self.errors.append(f"{where}: '{key}' must be a UUID in small letters; found {value!r}.")
        elif (key, str(value)) in self.seen:
            self.errors.append(f"{where}: '{key}' {value} is a duplicate.")
        self.seen.add((key, str(value)))
        return str(value)

    def file(self, name: Any, where: str) -> Path | None:
        """Return a file of the folder."""
        if not isinstance(name, str) or not name:
            self.errors.append(f"{where}: 'file' is missing: the path of the data set's file, relative to the folder.")
            return None
        path, parts = self.folder / name, PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            self.errors.append(
                f"{where}: the file '{name}' must be named by a path inside the folder (a link there may lead"
                " elsewhere)."
            )
        elif not path.is_file():
            self.errors.append(f"{where}: the file '{name}' does not exist.")
        else:
            self.files[name] = path
        return path
