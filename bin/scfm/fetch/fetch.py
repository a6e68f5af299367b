"""Fetching one source to ``<dest>/<key><ending>``, with a record of what it is beside it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.fetch.discover import DatasetVersion, Discover, choose
from scfm.fetch.records import (
    Located,
    check_held,
    is_current,
    make_record,
    name_of,
    read_record,
    record_path,
    write_record,
)
from scfm.fetch.spec import Spec
from scfm.io.addresses import check_url
from scfm.io.checksums import sha256_of
from scfm.io.transport import download
from scfm.io.web import RetryPolicy

log = logging.getLogger(__name__)

#: an HDF5 file begins with this, or has it behind a block of the user's
_SIGNATURE, _PLACES = b"\x89HDF\r\n\x1a\n", (0, 512, 1024, 2048)
_MOVED = "look on the page of the data set for where it has moved."


def fetch_source(
    spec: Spec | Mapping[str, Any],
    dest: Path | str,
    *,
    api: str = "",
    update: bool = False,
    verify: bool = False,
    policy: RetryPolicy | None = None,
) -> Path:
    """Fetch a source, or find that it is there.

    A file that is there and fits its record is kept, and nothing is asked of the network.

    Parameters
    ----------
    spec
        What to fetch.
    dest
        Folder; made where it does not exist.
    api
        Address of CELLxGENE Discover's interface; see :func:`scfm.fetch.discover.api_address`.
    update
        Ask whether there is a newer version, say so, and replace the file by it. An address without versions is
        downloaded again.
    verify
        Compute the checksum of a file that is there (minutes for large ones); without it, its size is compared.
    policy
        How broken downloads are retried.

    Returns
    -------
    The file. ``<key>.source.json`` beside it says what it is.

    Raises
    ------
    ScfmError
        The source does not exist, was withdrawn or is not one; the file is not what was expected; no connection; or
        what is in ``dest`` does not fit together.
    """
    spec, dest = Spec.of(spec), Path(dest)
    target, record_file = dest / f"{spec.key}{spec.ending}", record_path(spec, dest)
    record = read_record(record_file)
    if record and not update:
        check_held(spec, target, record_file, record, verify=verify)
        log.info("%s: there already (%s)", target, name_of(record))
        return target
    located = _locate(spec, api, policy)
    if record and target.is_file() and is_current(spec, target, record_file, record, located, verify=verify):
        return target
    if target.is_file() and not record and not update:
        digest = _adopt(spec, target, located)
    else:
        dest.mkdir(parents=True, exist_ok=True)
        digest = _bring(spec, located, target, policy, replace=target.is_file())
        log.info("%s: fetched (%s bytes)", target, f"{target.stat().st_size:,}")
    write_record(record_file, make_record(spec, located, target, digest))
    return target


def _locate(spec: Spec, api: str, policy: RetryPolicy | None) -> Located:
    """Return where a source lies; for CELLxGENE the interface is asked."""
    if spec.kind == "file":
        path = Path(spec.url)
        if not path.is_file():
            raise ScfmError(f"{path}: the file does not exist.")
        return Located(url=str(path.resolve()), size=_one_size(spec, path.stat().st_size, str(path)))
    if spec.kind == "url":
        check_url(spec.url, allow_http=(policy or RetryPolicy()).allow_http)
        return Located(url=spec.url, size=spec.size)
    discover = Discover(api, policy)
    if spec.version:
        found = discover.version(spec.version, spec.dataset_id)
    elif spec.dataset_id:
        found = discover.current(spec.dataset_id, spec.collection_id)
    else:
        found = choose(discover.collection(spec.collection_id), spec.select, spec.collection_id)
    log.info("%s: %s", spec.key, found.line)
    return Located(
        url=found.url,
        size=_one_size(spec, found.size, found.url),
        version=found.version_id,
        facts=_facts(found, discover.api),
    )


def _facts(found: DatasetVersion, api: str) -> dict[str, Any]:
    return {
        "api": api,
        "collection_id": found.collection_id,
        "dataset_id": found.dataset_id,
        "dataset_version_id": found.version_id,
        "title": found.title,
        "cell_count": found.cell_count,
        "organisms": list(found.labels["organism"]),
        "citation": found.citation,
        "schema_version": found.schema_version,
    }


def _one_size(spec: Spec, found: int | None, where: str) -> int | None:
    """Return the size of a file where what is expected and what is said agree."""
    if spec.size is not None and found is not None and spec.size != found:
        raise ScfmError(
            f"{where}: has {found:,} bytes, expected {spec.size:,}. It is another file, or another version of it."
        )
    return found if found is not None else spec.size


def _bring(spec: Spec, located: Located, target: Path, policy: RetryPolicy | None, *, replace: bool) -> str:
    """Put the file in its place and return its checksum."""
    check = check_is_h5ad if spec.ending == ".h5ad" else None
    if spec.kind != "file":
        return download(
            located.url,
            target,
            size=located.size,
            sha256=spec.sha256,
            policy=policy,
            advice=_MOVED,
            check=check,
            replace=replace,
        )
    source, part = Path(located.url), target.with_name(f"{target.name}.part")
    digest = sha256_of(source)
    if spec.sha256 and digest != spec.sha256:
        raise ScfmError(f"{source}: the checksum of the file is {digest}, expected {spec.sha256}. It is another file.")
    if check is not None:
        check(source)
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, part)
    os.replace(part, target)
    part.unlink(missing_ok=True)  # replacing a link by another one to the same file leaves both
    return digest


def check_is_h5ad(path: Path) -> None:
    """Raise :class:`ScfmError` where a file is not HDF5, as every h5ad file is."""
    with path.open("rb") as handle:
        for place in _PLACES:
            handle.seek(place)
            if handle.read(len(_SIGNATURE)) == _SIGNATURE:
                return
        handle.seek(0)
        raise ScfmError(f"not an h5ad (HDF5) file: {path.name} begins with {handle.read(20)!r}.")


def _adopt(spec: Spec, target: Path, located: Located) -> str:
    """Return the checksum of a file without a record that has the size of the source."""
    size = target.stat().st_size
    if located.size is None or size != located.size:
        said = "the source does not say its size" if located.size is None else f"the source has {located.size:,}"
        raise ScfmError(
            f"{target}: is there without a record ({size:,} bytes; {said}), so nothing tells what it is. Delete it, or"
            " fetch with --update."
        )
    if spec.ending == ".h5ad":
        check_is_h5ad(target)
    digest = sha256_of(target)
    if spec.sha256 and digest != spec.sha256:
        raise ScfmError(
            f"{target}: is there without a record, and its checksum is {digest}, expected {spec.sha256}. Delete it, or"
            " fetch with --update."
        )
    log.warning("%s: was there without a record; it has the size of the source and is taken for it", target)
    return digest
