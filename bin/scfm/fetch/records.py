"""What is recorded beside a download, and whether it is still current."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.fetch.spec import Spec
from scfm.io.checksums import sha256_of
from scfm.io.tables import read_json, write_json
from scfm.task.resources import versions_of
from scfm.task.versions import loaded_packages

log = logging.getLogger(__name__)

RECORD_ENDING = ".source.json"


def record_path(spec: Spec | Mapping[str, Any], dest: Path | str) -> Path:
    """Return where the record of a source lies."""
    return Path(dest) / f"{Spec.of(spec).key}{RECORD_ENDING}"


def is_current(
    spec: Spec,
    target: Path,
    record_file: Path,
    record: Mapping[str, Any],
    located: Located,
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
        check_held(spec, target, record_file, record, verify=verify)
    except ScfmError as error:
        log.warning("%s Fetched again.", error)
        return False
    log.info("%s: is version %s, %s", target, located.version, "as wanted" if spec.version else "still the current one")
    return True


def make_record(spec: Spec, located: Located, target: Path, digest: str) -> dict[str, Any]:
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


def read_record(path: Path) -> dict[str, Any]:
    """Return a record; empty where there is none."""
    if not path.is_file():
        return {}
    record = read_json(path)
    types = {"key": str, "filesize": int, "sha256": str}
    odd = [key for key, kind in types.items() if not (isinstance(record, dict) and isinstance(record.get(key), kind))]
    if odd:
        raise ScfmError(f"{path}: is no record of a download: '{odd[0]}' is missing or of another type. Delete it.")
    return record


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    write_json(part, record)
    os.replace(part, path)


def name_of(record: Mapping[str, Any]) -> str:
    """Return how a log line calls what is there."""
    version = record.get("dataset_version_id")
    return f"version {version}" if version else f"from {record.get('url', 'an unknown place')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a source lies and what is known of it before its bytes come."""

    url: str
    size: int | None
    version: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_held(spec: Spec, target: Path, record_file: Path, record: Mapping[str, Any], *, verify: bool) -> None:
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
