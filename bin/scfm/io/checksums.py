"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe_file(path: Path | str, name: str) -> dict[str, str | int | None]:
    """Return name, size in bytes and SHA-256 of an input; a folder (zarr) has neither size nor checksum."""
    path = Path(path)
    if path.is_dir():
        return {"file": name, "bytes": None, "sha256": None}
    return {"file": name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
