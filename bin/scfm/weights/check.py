"""Is a folder of weights complete, and are its files the ones they were? By names without opening them, or by
checksums.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from scfm.errors import ScfmError
from scfm.io.checksums import sha256_of
from scfm.registries.weights import WeightsFile, WeightsRelease, WeightsTable
from scfm.text import listing

#: checksums recorded at first use, in the format of ``sha256sum``: ``sha256sum --check`` reads it, too
RECORD = "CHECKSUMS.sha256"
#: marks a folder of randomly initialised weights (``bin/make_tiny_weights.py``); the report says so
RANDOM_MARK = "RANDOM_WEIGHTS.txt"


@dataclass(frozen=True)
class WeightsState:
    """What a folder holds.

    Attributes
    ----------
    model, release
        The release that the files belong to: the complete one, else the nearest to it.
    missing
        Required files that are not there.
    command
        How to get them.
    is_random
        Whether the folder is marked as holding randomly initialised weights.
    """

    model: str
    release: str
    missing: tuple[str, ...]
    command: str
    is_random: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every required file is there."""
        return not self.missing

    @property
    def sentence(self) -> str:
        """What is missing and what to do; for the report and for an error."""
        if self.is_complete:
            return f"The weights of {self.model} ({self.release}) are complete."
        return (
            f"weights missing: {listing(self.missing)} of {self.model} ({self.release}). On a machine with internet:"
            f" {self.command}"
        )


def fetch_command(release: WeightsRelease, dest: str = "DIR", *, usual: bool = True) -> str:
    """Return the command that fetches a release.

    Parameters
    ----------
    release
        Row of the table.
    dest
        Folder of all weights (``--weights_dir`` of the pipeline).
    usual
        Whether it is the usual release of its model, which need not be named.
    """
    words = ["bin/fetch_weights.py", "--model", release.model]
    words += [] if usual else ["--release", release.release]
    words += ["--dest", dest] + (["--accept_license", release.accept] if release.accept else [])
    return " ".join(words)


def check_names(table: WeightsTable, model: str, names: Iterable[str], *, dest: str = "DIR") -> WeightsState:
    """Check the names of a folder's files against the table.

    Parameters
    ----------
    table
        Both tables.
    model
        The model.
    names
        Paths of the files relative to the model's folder; empty where there is no such folder.
    dest
        Folder of all weights, for the command.

    Returns
    -------
    The state for the first complete release; where none is complete, for the one of which the largest share is there
    (the usual one where nothing is).
    """
    names = set(names)
    releases = table.releases_of(model)
    best: tuple[float, WeightsRelease, list[str]] | None = None
    for release in releases:
        required = [f for f in table.files_of(release) if f.need == "required"]
        missing = [f.path for f in required if not find_name(f, names)]
        share = len(missing) / len(required)
        if best is None or share < best[0]:
            best = (share, release, missing)
    if best is None:
        raise ScfmError(f"No weights are known for model '{model}'.")
    _, release, missing = best
    command = fetch_command(release, dest, usual=release is releases[0])
    return WeightsState(model, release.release, tuple(missing), command, RANDOM_MARK in names)


def find_name(file: WeightsFile, names: Iterable[str]) -> str | None:
    """Return the name under which a file (or its substitute) is there, None where it is not."""
    names = set(names)
    if file.path in names:
        return file.path
    return next((n for pattern in file.also_at for n in sorted(names) if fnmatchcase(n, pattern)), None)


def names_in(folder: Path | str) -> list[str]:
    """List the files below a folder, relative to it; an absent folder has none."""
    folder = Path(folder)
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []


def check_folder(table: WeightsTable, model: str, folder: Path | str) -> WeightsState:
    """Check a model's folder against the table; see :func:`check_names`."""
    return check_names(table, model, names_in(folder), dest=str(Path(folder).parent))


# ---- checksums -------------------------------------------------------------------------------------------------------


def read_record(folder: Path | str) -> dict[str, str]:
    """Return the recorded checksums of a folder: path -> SHA-256; none where nothing was recorded."""
    path = Path(folder) / RECORD
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, two_blanks, name = line[:64], line[64:66], line[66:]
        if two_blanks not in ("  ", " *") or not name or set(digest) - set("0123456789abcdef"):
            raise ScfmError(
                f"{path}: line {number} is not '<sha256>  <file>'. Delete the file to record the checksums anew."
            )
        found[name] = digest
    return found


def write_record(folder: Path | str, checksums: Mapping[str, str]) -> None:
    """Write checksums beside the files, sorted by name; the old record is replaced in one step."""
    path = Path(folder) / RECORD
    part = path.with_name(f".{RECORD}.{os.getpid()}")
    part.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(checksums.items())), encoding="utf-8")
    os.replace(part, path)


@dataclass
class Verdict:
    """Result of :func:`verify`: names by outcome."""

    published: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    stand_ins: list[str] = field(default_factory=list)


def verify(table: WeightsTable, model: str, folder: Path | str, found: Mapping[str, str] | None = None) -> Verdict:
    """Compare the checksums of a folder's files with the published and the recorded ones, and record those seen for the
    first time.

    Parameters
    ----------
    table, model
        The table and the model.
    folder
        The model's folder; its record is :data:`RECORD`.
    found
        Checksums already computed, path -> SHA-256; None = of all files of the table that are there.

    Raises
    ------
    ScfmError
        A file differs from its published or recorded checksum; nothing is recorded then.
    """
    folder = Path(folder)
    files = {f.path: f for v in table.releases_of(model) for f in table.files_of(v)}
    if found is None:
        names = names_in(folder)
        wanted = sorted({name for f in files.values() if (name := find_name(f, names))})
        found = {name: sha256_of(folder / name) for name in wanted}
    old, result = read_record(folder), Verdict()
    not_published, not_recorded = [], []
    is_random = (folder / RANDOM_MARK).is_file()
    for name, digest in found.items():
        # the checksum of an archive is not that of a file in it
        published = files[name].sha256 if name in files and not files[name].unpack and not is_random else ""
        if published:
            (result.published if digest == published else not_published).append(name)
        elif digest != old.get(name, digest):
            not_recorded.append(name)
        else:
            (result.recorded if name in old else result.new if name in files else result.stand_ins).append(name)
    if not_published:
        raise ScfmError(
            f"{folder}: {listing(not_published)} differ from the published checksum: damaged, or another version."
            " Delete and fetch again; a model of your own belongs in a folder of its own name."
        )
    if not_recorded:
        raise ScfmError(
            f"{folder}: {listing(not_recorded)} differ from the checksum recorded at first use: damaged or replaced."
            f" Fetch again, or delete {RECORD} if the change was meant."
        )
    if set(found) - set(old):
        write_record(folder, old | dict(found))
    return result
