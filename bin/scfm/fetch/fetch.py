"""Fetching one source to ``<dest>/<key><ending>``, with a record of what it is beside it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.fetch.discover import DatasetVersion, Discover, choose
from scfm.fetch.spec import Spec
from scfm.io.checksums import sha256_of
from scfm.io.tables import read_json, write_json
from scfm.io.transport import download
from scfm.io.web import RetryPolicy, check_url
from scfm.task.resources import versions_of
from scfm.task.versions import loaded_packages

log = logging.getLogger(__name__)

RECORD_ENDING = ".source.json"
#: an HDF5 file begins with this, or has it behind a block of the user's
_SIGNATURE, _PLACES = b"\x89HDF\r\n\x1a\n", (0, 512, 1024, 2048)
_MOVED = "look on the page of the data set for where it has moved."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Located:
    """Where a source lies and what is known of it before its bytes come."""

    url: str
    size: int | None
    version: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def record_path(spec: Spec | Mapping[str, Any], dest: Path | str) -> Path:
    """Return where the record of a source lies."""
    return Path(dest) / f"{Spec.of(spec).key}{RECORD_ENDING}"


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
        How broken downloads are tried again.

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
    record = _read_record(record_file)
    if record and not update:
        _check_held(spec, target, record_file, record, verify=verify)
        log.info("%s: there already (%s)", target, _called(record))
        return target
    located = _locate(spec, api, policy)
    if record and target.is_file() and _is_current(spec, target, record_file, record, located, verify=verify):
        return target
    if target.is_file() and not record and not update:
        digest = _adopt(spec, target, located)
    else:
        dest.mkdir(parents=True, exist_ok=True)
        digest = _bring(spec, located, target, policy, replace=target.is_file())
        log.info("%s: fetched (%s bytes)", target, f"{target.stat().st_size:,}")
    _write_record(record_file, _record(spec, located, target, digest))
    return target


def _locate(spec: Spec, api: str, policy: RetryPolicy | None) -> _Located:
    """Return where a source lies; for CELLxGENE the interface is asked."""
    if spec.kind == "file":
        path = Path(spec.url)
        if not path.is_file():
            raise ScfmError(f"{path}: the file does not exist.")
        return _Located(url=str(path.resolve()), size=_one_size(spec, path.stat().st_size, str(path)))
    if spec.kind == "url":
        check_url(spec.url, allow_http=(policy or RetryPolicy()).allow_http)
        return _Located(url=spec.url, size=spec.size)
    discover = Discover(api, policy)
    if spec.version:
        found = discover.version(spec.version, spec.dataset_id)
    elif spec.dataset_id:
        found = discover.current(spec.dataset_id, spec.collection_id)
    else:
        found = choose(discover.collection(spec.collection_id), spec.select, spec.collection_id)
    log.info("%s: %s", spec.key, found.line)
    return _Located(
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


def _bring(spec: Spec, located: _Located, target: Path, policy: RetryPolicy | None, *, replace: bool) -> str:
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


def _check_held(spec: Spec, target: Path, record_file: Path, record: Mapping[str, Any], *, verify: bool) -> None:
    """Raise where a file that is there does not fit its record, or not what is wanted."""
    again = f"Delete {record_file.name} and {target.name}, or fetch with --update."
    if not target.is_file():
        raise ScfmError(f"{record_file}: is the record of a file that is not there ({target.name}). {again}")
    size = target.stat().st_size
    if size != record["filesize"]:
        raise ScfmError(
            f"{target}: has {size:,} bytes, but its record says {record['filesize']:,}: it was changed, or broke off."
            f" {again}"
        )
    if verify and sha256_of(target) != record["sha256"]:
        raise ScfmError(f"{target}: its checksum is not the one of its record: it was changed. {again}")
    wanted = {
        "filesize": spec.size,
        "sha256": spec.sha256,
        "dataset_version_id": spec.version,
        "dataset_id": spec.dataset_id,
    }
    for name, value in wanted.items():
        if value not in (None, "", record.get(name)):
            raise ScfmError(f"{target}: '{name}' of its record is {record.get(name)}, but {value} is wanted. {again}")


def _is_current(
    spec: Spec,
    target: Path,
    record_file: Path,
    record: Mapping[str, Any],
    located: _Located,
    *,
    verify: bool,
) -> bool:
    """Say whether a file with a record is the one that would be fetched now."""
    if spec.kind != "cellxgene":
        if spec.sha256 and record["sha256"] == spec.sha256 and target.stat().st_size == record["filesize"]:
            log.info("%s: is the file with the checksum that is wanted", target)
            return True
        log.info("%s: fetched again: nothing tells whether %s has changed", target, spec.url)
        return False
    if record.get("dataset_version_id") != located.version:
        log.warning(
            "%s: is version %s of '%s'; %s is version %s: replaced by it",
            target,
            record.get("dataset_version_id"),
            located.facts["title"],
            "the one wanted" if spec.version else "the current one",
            located.version,
        )
        return False
    try:
        _check_held(spec, target, record_file, record, verify=verify)
    except ScfmError as error:
        log.warning("%s Fetched again.", error)
        return False
    log.info("%s: is version %s, %s", target, located.version, "as wanted" if spec.version else "still the current one")
    return True


def _adopt(spec: Spec, target: Path, located: _Located) -> str:
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


def _record(spec: Spec, located: _Located, target: Path, digest: str) -> dict[str, Any]:
    empty = {
        "api": "",
        "collection_id": "",
        "dataset_id": "",
        "dataset_version_id": "",
        "title": "",
        "cell_count": None,
        "organisms": [],
        "citation": "",
        "schema_version": "",
    }
    return {"key": spec.key, "kind": spec.kind, "url": located.url, **empty, **located.facts} | {
        "filesize": target.stat().st_size,
        "sha256": digest,
        "retrieved": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions_of(loaded_packages()),
    }


def _read_record(path: Path) -> dict[str, Any]:
    """Return a record; empty where there is none."""
    if not path.is_file():
        return {}
    record = read_json(path)
    types = {"key": str, "filesize": int, "sha256": str}
    odd = [key for key, kind in types.items() if not (isinstance(record, dict) and isinstance(record.get(key), kind))]
    if odd:
        raise ScfmError(f"{path}: is no record of a download: '{odd[0]}' is missing or of another type. Delete it.")
    return record


def _write_record(path: Path, record: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    write_json(part, record)
    os.replace(part, path)


def _called(record: Mapping[str, Any]) -> str:
    """Return how a log line calls what is there."""
    version = record.get("dataset_version_id")
    return f"version {version}" if version else f"from {record.get('url', 'an unknown place')}"
