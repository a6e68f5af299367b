"""A client of CELLxGENE Discover's public curation interface, version 1.

What is used of it (its OpenAPI description and server are in the repository
``chanzuckerberg/single-cell-data-portal``):

=================================================== ====================================================================
GET                                                 answer
=================================================== ====================================================================
``/collections/{collection_id}``                    the collection, ``datasets`` holds its data sets in full
``/collections/{collection_id}/datasets/{id}``      the current version of one of them
``/datasets/{id}/versions``                         every published version, newest first
``/dataset_versions/{version_id}``                  one version, however old
=================================================== ====================================================================

Nothing of it needs a login. A data set has ``dataset_id`` (stays), ``dataset_version_id`` (changes with every
revision), ``title``, ``cell_count``, ``organism``, ``disease``, ``tissue``, ``assay`` (lists of ``{label,
ontology_term_id}``), ``citation``, ``schema_version``, and ``assets``: ``{filetype: H5AD | RDS, filesize: bytes or -1,
url}``, the address being that of one version for ever. Withdrawn ("tombstoned") data sets and collections answer 410,
all versions of them; ids that are unknown 404; what is no UUID or is not public 403.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scfm.errors import ScfmError
from scfm.fetch.spec import LABELS
from scfm.io.web import RefusedError, RetryPolicy, get_json

OFFICIAL = "https://api.cellxgene.cziscience.com/curation/v1"
#: environment variable with the address of a mirror
API_VARIABLE = "CELLXGENE_API"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """One version of a data set and where its h5ad file lies.

    Attributes
    ----------
    labels
        ``organism``, ``disease``, ``tissue``, ``assay`` -> labels.
    size
        Bytes of the file; None where the server does not know.
    """

    collection_id: str
    dataset_id: str
    version_id: str
    title: str
    cell_count: int | None
    labels: Mapping[str, tuple[str, ...]]
    citation: str
    schema_version: str
    url: str
    size: int | None

    @property
    def line(self) -> str:
        """One line for a person who must choose."""
        cells = "cells not stated" if self.cell_count is None else f"{self.cell_count:,} cells"
        about = "; ".join(", ".join(self.labels[key]) or f"no {key}" for key in ("organism", "disease", "tissue"))
        return f"{self.dataset_id}  {self.title}  ({cells}; {about})"


def api_address(api: str = "") -> str:
    """Return the interface's address: the given one, else the environment variable's, else the official one."""
    return (api or os.environ.get(API_VARIABLE, "") or OFFICIAL).rstrip("/")


class Discover:
    """The interface at an address.

    Parameters
    ----------
    api
        See :func:`api_address`.
    policy
        How a question without an answer is asked again.
    """

    def __init__(self, api: str = "", policy: RetryPolicy | None = None) -> None:
        self.api, self.policy = api_address(api), policy

    def collection(self, collection_id: str) -> list[DatasetVersion]:
        """Return the current data sets of a collection."""
        answer = self._ask(f"collections/{collection_id}", f"collection {collection_id}")
        datasets = answer.get("datasets") if isinstance(answer, dict) else None
        if not isinstance(datasets, list):
            raise ScfmError(self._odd(f"collections/{collection_id}", "no list 'datasets'"))
        return [
            self._version(d, f"collections/{collection_id}", collection_id)
            for d in datasets
            if not (isinstance(d, dict) and d.get("tombstone"))
        ]

    def current(self, dataset_id: str, collection_id: str = "") -> DatasetVersion:
        """Return the current version of a data set; in a collection where one is given."""
        what = f"data set {dataset_id}"
        if collection_id:
            path = f"collections/{collection_id}/datasets/{dataset_id}"
            return self._version(self._ask(path, f"{what} of collection {collection_id}"), path, collection_id)
        path = f"datasets/{dataset_id}/versions"
        versions = self._ask(path, what)
        if not isinstance(versions, list) or not versions:
            raise ScfmError(self._odd(path, "no list of versions"))
        return self._version(versions[0], path, "")

    def version(self, version_id: str, dataset_id: str = "") -> DatasetVersion:
        """Return a version by its own id.

        Raises
        ------
        ScfmError
            It is a version of another data set than ``dataset_id``, or there is none.
        """
        path = f"dataset_versions/{version_id}"
        found = self._version(self._ask(path, f"version {version_id}"), path, "")
        if dataset_id and found.dataset_id != dataset_id:
            raise ScfmError(
                f"{self.api}: {version_id} is a version of the data set {found.dataset_id} ('{found.title}'), not of"
                f" {dataset_id}."
            )
        return found

    def _ask(self, path: str, what: str) -> Any:
        try:
            answer = get_json(f"{self.api}/{path}", self.policy)
        except RefusedError as error:
            sentence = _sentence(error.code, what)
            if not sentence:
                raise
            raise ScfmError(f"{self.api}: {sentence}") from error
        if isinstance(answer, dict) and answer.get("tombstone") is True:
            raise ScfmError(f"{self.api}: {_sentence(410, what)}")
        return answer

    def _odd(self, path: str, what: str) -> str:
        return (
            f"{self.api}/{path}: the answer has {what}. Is it the address of CELLxGENE Discover's curation interface"
            f" (such as {OFFICIAL})?"
        )

    def _version(self, entry: Any, path: str, collection_id: str) -> DatasetVersion:
        """Return a version from its JSON object."""
        needed = ("dataset_id", "dataset_version_id", "assets")
        missing = [key for key in needed if not (isinstance(entry, dict) and entry.get(key))]
        if missing:
            raise ScfmError(self._odd(path, f"no '{missing[0]}'"))
        asset = next(
            (a for a in entry["assets"] if isinstance(a, dict) and a.get("filetype") == "H5AD" and a.get("url")), None
        )
        if asset is None:
            raise ScfmError(
                f"{self.api}: data set {entry['dataset_id']} ('{entry.get('title')}') has no h5ad file to download."
            )
        size = asset.get("filesize")
        return DatasetVersion(
            collection_id=entry.get("collection_id") or collection_id,
            dataset_id=entry["dataset_id"],
            version_id=entry["dataset_version_id"],
            title=entry.get("title") or "",
            cell_count=entry.get("cell_count"),
            labels={key: _labels(entry.get(key)) for key in LABELS},
            citation=entry.get("citation") or "",
            schema_version=entry.get("schema_version") or "",
            url=asset["url"],
            size=int(size) if isinstance(size, (int, float)) and size > 0 else None,
        )


def _sentence(code: int, what: str) -> str:
    """Return what a refusal means; empty for one that means nothing special here."""
    return {
        403: f"the {what} is not public, or its id is wrong (403).",
        404: (
            f"the {what} does not exist (404). Look for the id in the address of its page, or list a collection with"
            " --collection ID --list."
        ),
        410: (
            f"the {what} was withdrawn by its authors (410), with all its versions. Choose another data set; a copy"
            " that you have from before can still be given as a file."
        ),
    }.get(code, "")


def _labels(elements: Any) -> tuple[str, ...]:
    """Return the labels of ontology terms."""
    return tuple(str(e["label"]) for e in elements or [] if isinstance(e, dict) and e.get("label"))


def choose(candidates: Sequence[DatasetVersion], select: Mapping[str, Any], collection_id: str) -> DatasetVersion:
    """Return the one data set of a collection that fits.

    Parameters
    ----------
    candidates
        Data sets of the collection.
    select
        See :class:`~scfm.fetch.spec.Spec`.

    Raises
    ------
    ScfmError
        None or several fit; every candidate is listed.
    """
    fitting = [c for c in candidates if all(_fits(c, key, value) for key, value in select.items())]
    if len(fitting) == 1:
        return fitting[0]
    rule = (
        ", ".join(f"{key} = {value if isinstance(value, str) else list(value)}" for key, value in select.items())
        or "no rule"
    )
    shown = fitting or candidates
    lines = "".join(f"\n  {c.line}" for c in shown)
    count = (
        f"{len(fitting)} of {len(candidates)} data sets fit" if fitting else f"none of {len(candidates)} data sets fits"
    )
    raise ScfmError(
        f"collection {collection_id}: {count} ({rule}), expected one. Name it by its id, or change the rule:{lines}"
    )


def _fits(candidate: DatasetVersion, key: str, value: Any) -> bool:
    if key == "title_contains":
        return value.casefold() in candidate.title.casefold()
    labels = candidate.labels[key]
    return value in labels if isinstance(value, str) else set(value) == set(labels)
