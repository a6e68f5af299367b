"""Fetching a release's files from their official sources into ``<dest>/<model>``.

Files of the model hub are downloaded like all others, by :mod:`scfm.io.transport`, and not by ``huggingface_hub``.
Measured with its version 2.4.0 and a server that breaks off after 24 of 30 MB: a second call of it starts at byte 0,
since every call has a temporary file of its own; ours resumes at byte 24,000,000. Within a call it resumes at
multiples of 10 MiB. The largest file here has 1.3 GB. It also follows redirects that
:func:`scfm.io.addresses.check_url` would refuse, and brings six more packages.
"""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from scfm.errors import ScfmError
from scfm.io.transport import download
from scfm.io.web import RetryPolicy
from scfm.registries.weights import WeightsFile, WeightsRelease, WeightsTable
from scfm.text import plural
from scfm.weights.check import RANDOM_MARK, check_folder, find_name, names_in, verify

log = logging.getLogger(__name__)

_MOVED = "look for it on the page of the model, and tell us if it has moved."


def licence_text(release: WeightsRelease) -> str:
    """Return what a person must know before the download."""
    lines = [
        f"{release.title}: {release.description}",
        f"Licence: {release.licence}.",
        f"Article: https://doi.org/{release.article}",
        (
            f"Trained on: {release.trained_on or 'not stated'}. Organisms: {', '.join(release.organisms)}. Genes:"
            f" {release.gene_ids}."
        ),
    ]
    return "\n".join(lines)


def plan(table: WeightsTable, release: WeightsRelease, folder: Path, *, with_optional: bool) -> list[WeightsFile]:
    """Return the files of a release that are not there yet: the required ones, and the optional ones where asked
    for.
    """
    names = names_in(folder)
    wanted = [f for f in table.files_of(release) if with_optional or f.need == "required"]
    return [f for f in wanted if not find_name(f, names)]


def plan_text(files: list[WeightsFile], folder: Path) -> str:
    """Return the list of what is about to be downloaded."""
    known = sum(f.bytes or 0 for f in files)
    unknown = sum(f.bytes is None for f in files)
    sizes = [f"{known / 1e6:,.1f} MB"] * bool(known) + [f"{unknown} of a size that is not published"] * bool(unknown)
    head = f"{plural(len(files), 'file')} to {folder}: {' and '.join(sizes)}"
    return "\n".join([head, *(f"  {f.path}  from {f.url}" + (f"  ({f.note})" if f.note else "") for f in files)])


def by_hand(files: list[WeightsFile], folder: Path) -> str:
    """Return what a person must do for the files that have no address of their own."""
    lines = [
        f"{plural(len(files), 'file')} cannot be fetched by a program: open the page in a browser, download, and put"
        " each where it belongs."
    ]
    lines += [f"  {f.page}  ({f.note})  ->  {folder / f.path}" for f in files]
    return "\n".join(lines)


def check_licence(release: WeightsRelease, accepted: list[str], command: str) -> None:
    """Refuse to fetch what must be accepted by name first."""
    if release.accept and release.accept not in accepted:
        raise ScfmError(
            f"The weights of {release.title} have a licence with limits ({release.licence}). Read it, and if it allows"
            f" your use, say so: {command} --accept_license {release.accept}"
        )


def fetch(
    table: WeightsTable,
    release: WeightsRelease,
    dest: Path | str,
    *,
    confirm: Callable[[str], bool],
    with_optional: bool = False,
    policy: RetryPolicy | None = None,
) -> Path:
    """Fetch what a release lacks, verify everything, record checksums seen for the first time.

    Parameters
    ----------
    table, release
        The tables and a row of them.
    dest
        Folder of all weights; the files go to ``<dest>/<model>``.
    confirm
        Is shown licence and list of files; False stops.
    with_optional
        Also the files that the model can do without.
    policy
        How broken downloads are retried.

    Returns
    -------
    The model's folder, complete and verified.

    Raises
    ------
    ScfmError
        A download failed, a checksum is wrong, it was not confirmed, or files are left that a person must download: the
        sentence says where from and where to.
    """
    folder = Path(dest) / release.model
    if (folder / RANDOM_MARK).is_file():
        raise ScfmError(
            f"{folder}: holds randomly initialised weights ({RANDOM_MARK}). Name another --dest, or remove the folder."
        )
    files = plan(table, release, folder, with_optional=with_optional)
    direct, manual = [f for f in files if f.url], [f for f in files if not f.url]
    text = (
        licence_text(release)
        + ("\n" + plan_text(direct, folder) if direct else "")
        + ("\n" + by_hand(manual, folder) if manual else "")
    )
    if files and not confirm(text):
        raise ScfmError("Nothing was downloaded: not confirmed.")
    for file in direct:
        log.info("%s from %s", file.path, file.url)
        fetch_file(file, folder, policy)
    required = [f for f in manual if f.need == "required"]
    if required:
        raise ScfmError(by_hand(required, folder) + "\nThen run the same command again: it checks that all is there.")
    state = check_folder(table, release.model, folder)
    if not state.is_complete:
        raise ScfmError(f"{folder}: {state.sentence}")
    verdict = verify(table, release.model, folder)
    log.info(
        "%s is complete: %d checksums as published, %d as recorded before, %d recorded now",
        folder,
        len(verdict.published),
        len(verdict.recorded),
        len(verdict.new) + len(verdict.stand_ins),
    )
    return folder


def fetch_file(file: WeightsFile, folder: Path, policy: RetryPolicy | None = None) -> None:
    """Download one file, or the archive that holds it and what lies beside it."""
    if not file.unpack:
        download(file.url, folder / file.path, size=file.bytes, sha256=file.sha256, policy=policy, advice=_MOVED)
        return
    target = (folder / file.path).parent
    archive = target.with_name(f"{target.name}.archive")
    download(file.url, archive, size=file.bytes, sha256=file.sha256, policy=policy, advice=_MOVED)
    unpack(archive, target, file.unpack)
    archive.unlink()


def unpack(archive: Path, target: Path, pattern: str) -> list[Path]:
    """Write the regular files of a tar archive whose name fits a pattern into one folder, whatever folders the archive
    has.

    Only the last part of a member's name is used, so that nothing can be written elsewhere; links and devices are left
    out.
    """
    target.mkdir(parents=True, exist_ok=True)
    found: list[Path] = []
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if not member.isfile() or not fnmatchcase(name, pattern) or name.startswith("."):
                    continue
                content = tar.extractfile(member)
                part = target / f"{name}.part"
                with part.open("wb") as out:
                    while content is not None and (block := content.read(1 << 20)):
                        out.write(block)
                os.replace(part, target / name)
                found.append(target / name)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ScfmError(
            f"{archive}: not readable as a tar archive ({' '.join(str(error).split())[:120]}). Delete it and run the"
            " command again."
        ) from error
    if not found:
        raise ScfmError(
            f"{archive}: holds no file '{pattern}'. The archive is another one than expected; delete it and tell us."
        )
    return found
