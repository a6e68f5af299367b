"""What to fetch, as one object: the hand-over from a samplesheet, a recipe or the command line to the download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256 as sha256_hash
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.text import listing

KINDS = ("cellxgene", "url", "file")
ENDINGS = (".h5ad", ".csv")
#: by which a data set of a collection may be chosen: sets of labels, and the title
LABELS = ("organism", "disease", "tissue", "assay")
SELECT_KEYS = (*LABELS, "title_contains")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_uuid(value: Any) -> bool:
    """Whether a value is a UUID as CELLxGENE Discover writes its ids: in small letters, with hyphens."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One file to fetch.

    Attributes
    ----------
    key
        Stem of the file and of its record.
    kind
        ``cellxgene``, ``url`` or ``file``.
    collection_id, dataset_id
        Of CELLxGENE Discover; with the collection alone, ``select`` chooses the data set.
    version
        ``dataset_version_id`` that is wanted; empty: the current one.
    select
        ``organism``, ``disease``, ``tissue``, ``assay``: a list is the exact set of labels, a text one label among
        others; ``title_contains``: part of the title, upper and lower case alike.
    url
        Address; a path for the kind ``file``.
    size, sha256
        What is expected; None and empty where not known.
    ending
        ``.h5ad`` or ``.csv``.
    """

    key: str
    kind: str
    collection_id: str = ""
    dataset_id: str = ""
    version: str = ""
    select: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    size: int | None = None
    sha256: str = ""
    ending: str = ".h5ad"

    def __post_init__(self) -> None:
        errors = list(_errors(self))
        if errors:
            raise ScfmError("\n".join(f"download '{self.key}': {error}" for error in errors))

    @classmethod
    def of(cls, content: "Mapping[str, Any] | Spec") -> "Spec":
        """Return a spec from its JSON object.

        Raises
        ------
        ScfmError
            Keys are missing or unknown, or a value does not fit.
        """
        if isinstance(content, Spec):
            return content
        if not isinstance(content, Mapping):
            raise ScfmError(f"a download must be an object with the keys 'key' and 'kind'; found {content!r}.")
        known = [f.name for f in fields(cls)]
        unknown, missing = [k for k in content if k not in known], [k for k in ("key", "kind") if not content.get(k)]
        if unknown or missing:
            said = ([f"unknown keys {listing(unknown)}"] if unknown else []) + (
                [f"missing keys {listing(missing)}"] if missing else []
            )
            raise ScfmError(
                f"download '{content.get('key', '')}': {' and '.join(said)}. Known are {listing(known, limit=99)}."
            )
        return cls(**content)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return asdict(self)


def _errors(spec: Spec) -> "list[str]":
    """Return what is wrong with a spec, as sentences."""
    errors = [
        f"'{name}' must be a text; found {getattr(spec, name)!r}."
        for name in ("key", "kind", "collection_id", "dataset_id", "version", "url", "sha256", "ending")
        if not isinstance(getattr(spec, name), str)
    ]
    if errors:
        return errors
    if not _KEY.fullmatch(spec.key):
        errors.append("'key' is the stem of a file: letters, digits, '.', '_' and '-' only.")
    if spec.kind not in KINDS:
        errors.append(f"'kind' is '{spec.kind}'; known are {listing(KINDS)}.")
    if spec.ending not in ENDINGS:
        errors.append(f"'ending' is '{spec.ending}'; known are {listing(ENDINGS)}.")
    errors += [
        f"'{name}' is '{value}', which is no id of CELLxGENE Discover (such as 9f222629-9e39-47d0-b83f-e08d610c7479,"
        " small letters)."
        for name in ("collection_id", "dataset_id", "version")
        if (value := getattr(spec, name)) and not is_uuid(value)
    ]
    if spec.size is not None and (not isinstance(spec.size, int) or isinstance(spec.size, bool) or spec.size < 0):
        errors.append(f"'size' must be a number of bytes; found {spec.size!r}.")
    if spec.sha256 and not _SHA256.fullmatch(spec.sha256):
        errors.append(f"'sha256' must be 64 hex digits in small letters; found '{spec.sha256}'.")
    if spec.kind == "cellxgene" and not (spec.collection_id or spec.dataset_id):
        errors.append("needs 'dataset_id' or 'collection_id'.")
    if spec.kind in ("url", "file") and not spec.url:
        errors.append("needs 'url'.")
    return errors + _select_errors(spec)


def _select_errors(spec: Spec) -> list[str]:
    if not isinstance(spec.select, Mapping):
        return [f"'select' must be an object; found {spec.select!r}."]
    errors = []
    unknown = [key for key in spec.select if key not in SELECT_KEYS]
    if unknown:
        errors.append(f"'select' has unknown keys {listing(unknown)}; known are {listing(SELECT_KEYS)}.")
    if spec.select and (spec.dataset_id or not spec.collection_id):
        errors.append("'select' chooses a data set of a collection: it needs 'collection_id' and no 'dataset_id'.")
    for key, value in spec.select.items():
        is_list = isinstance(value, (list, tuple)) and all(isinstance(label, str) for label in value)
        if not (isinstance(value, str) or (is_list and key != "title_contains")):
            errors.append(
                f"'select': '{key}' must be a text{'' if key == 'title_contains' else ' or a list of texts'}; found"
                f" {value!r}."
            )
    return errors


def cellxgene_spec(dataset_id: str, *, collection_id: str = "", version: str = "") -> Spec:
    """Return the spec of a data set of CELLxGENE Discover; a pinned version has a key of its own."""
    key = f"cellxgene_{dataset_id}" + (f"_{version}" if version else "")
    return Spec(key=key, kind="cellxgene", dataset_id=dataset_id, collection_id=collection_id, version=version)


def collection_spec(collection_id: str, name: str, *, select: Mapping[str, Any], version: str = "") -> Spec:
    """Return the spec of the data set of a collection that ``select`` chooses; ``name`` tells it from others of the
    collection.
    """
    return Spec(
        key=f"cellxgene_{collection_id}_{name}",
        kind="cellxgene",
        collection_id=collection_id,
        version=version,
        select=dict(select),
    )


def url_spec(url: str, *, ending: str = ".h5ad", size: int | None = None, sha256: str = "") -> Spec:
    """Return the spec of a file at an address; the key holds a digest of it, so that two addresses never share a
    file.
    """
    stem = re.sub(r"[^A-Za-z0-9]+", "_", Path(url.partition("?")[0]).stem).strip("_")[:40]
    return Spec(
        key=f"url_{stem}_{sha256_hash(url.encode()).hexdigest()[:10]}",
        kind="url",
        url=url,
        ending=ending,
        size=size,
        sha256=sha256,
    )


def file_spec(path: Path | str, *, size: int | None = None, sha256: str = "") -> Spec:
    """Return the spec of a local file; the key is its name's stem."""
    path = Path(path)
    key = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).strip("._-")
    return Spec(key=f"file_{key}", kind="file", url=str(path), ending=path.suffix, size=size, sha256=sha256)
