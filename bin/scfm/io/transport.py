"""Downloading one file: resumed where it broke off, retried after a pause, verified, and put in place in one
step.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from urllib3 import BaseHTTPResponse

from scfm.errors import ScfmError
from scfm.io.addresses import check_url
from scfm.io.checksums import sha256_of
from scfm.io.progress import meter
from scfm.io.space import require_space
from scfm.io.web import RetryPolicy, TransientError, ask, refusal

log = logging.getLogger(__name__)

BLOCK = 1 << 20
#: what to do about a full folder
DEST_ADVICE = "Free some space, or choose another folder (--data_dir of the pipeline, --dest of an executable)."
#: bytes between two looks at the free space while writing
SPACE_EVERY = 64 * BLOCK


def download(
    url: str,
    path: Path | str,
    *,
    size: int | None = None,
    sha256: str = "",
    policy: RetryPolicy | None = None,
    advice: str = "",
    check: Callable[[Path], None] | None = None,
    replace: bool = False,
) -> str:
    """Download a file.

    The bytes go to ``<path>.part``, which stays after a failure: the next call goes on where it ended, if the server
    still has the same file (its ETag or date) and can serve ranges, else from the beginning.

    Parameters
    ----------
    url
        ``https://`` address; ``http://`` as :func:`~scfm.io.addresses.check_url` has it.
    path
        Target; its folder is made. A file that is there and fits ``size`` and ``sha256`` is kept.
    size, sha256
        What is expected; nothing where not known.
    policy
        See :class:`~scfm.io.web.RetryPolicy`.
    advice
        Half a sentence for a file that is not there (any more): where a person should look for it.
    check
        Looks at the whole file before it is put in place, and raises a :class:`ScfmError` where it is not what it
        should be.
    replace
        Download also when a file is there that fits.

    Returns
    -------
    SHA-256 of the file.

    Raises
    ------
    ScfmError
        Not found, refused, wrong size or checksum (the bytes are deleted), a web page in place of the file, or no
        connection.
    ResourceError
        Too little space on disk.
    """
    path, policy = Path(path), policy or RetryPolicy()
    check_url(url, allow_http=policy.allow_http)
    if not replace and path.is_file() and (size is None or path.stat().st_size == size):
        digest = sha256_of(path)
        if not sha256 or digest == sha256:
            log.info("%s is there already", path)
            return digest
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(url, path)
    resumed = part.length > 0
    _fill(part, size, policy, advice)
    try:
        digest = part.check(size, sha256, check)
    except ScfmError:
        if not resumed:
            raise
        log.warning("%s: what was resumed does not fit; downloading from the beginning", path)
        _fill(part, size, policy, advice)
        digest = part.check(size, sha256, check)
    part.finish()
    return digest


class _Part:
    """A file on its way: its bytes so far, and a note of which remote file they are from."""

    def __init__(self, url: str, path: Path) -> None:
        self.url, self.path = url, path
        self.file = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.validator = ""
        if self.file.is_file():
            known = _read_note(self.note)
            if known.get("url") == url and known.get("validator"):
                self.validator = known["validator"]
            else:
                self.drop()

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self.file.stat().st_size if self.file.is_file() else 0

    def range_header(self) -> dict[str, str]:
        """Header fields that ask for the bytes behind those so far."""
        if not self.length:
            return {}
        return {"Range": f"bytes={self.length}-"} | ({"If-Range": self.validator} if self.validator else {})

    def drop(self) -> None:
        """Forget what is there."""
        self.validator = ""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def begin(self, validator: str) -> None:
        """Start from the first byte of a remote file; without a validator it cannot be resumed by a later call."""
        self.drop()
        self.validator = validator
        self.note.write_text(json.dumps({"url": self.url, "validator": validator}))

    def check(self, size: int | None, sha256: str, check: Callable[[Path], None] | None = None) -> str:
        """Return the checksum; delete the bytes and raise where they are not what is expected."""
        found, digest = self.length, sha256_of(self.file)
        if size is not None and found != size:
            self.drop()
            raise ScfmError(
                f"{self.url}: gave {found:,} bytes, expected {size:,}. The file there is another one, or it was changed"
                " on the way; nothing was kept."
            )
        if sha256 and digest != sha256:
            self.drop()
            raise ScfmError(
                f"{self.url}: the checksum of the file is {digest}, expected {sha256}. It is another file, or it was"
                " changed on the way; nothing was kept."
            )
        try:
            if self.path.name.endswith(".gz"):
                check_gzip(self.file)
            if check is not None:
                check(self.file)
        except ScfmError as error:
            self.drop()
            raise ScfmError(f"{self.url}: {error} Nothing was kept.") from error
        return digest

    def finish(self) -> None:
        """Put the file in its place."""
        os.replace(self.file, self.path)
        self.note.unlink(missing_ok=True)


def _read_note(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fill(part: _Part, size: int | None, policy: RetryPolicy, advice: str) -> None:
    """Ask until all bytes are there; give up after some attempts in a row that brought none."""

    def give_up(why: str) -> str:
        return (
            f"{part.url}: not downloaded after {policy.tries} attempts ({why}). Is this machine connected to the"
            f" internet? What came so far ({part.length:,} bytes) is kept: the same command goes on from there."
        )

    if size is None or part.length != size:
        ask(
            part.url,
            policy,
            lambda answer: _receive(part, answer, size, policy.max_bytes, advice),
            give_up=give_up,
            headers=part.range_header,
            progress=lambda: part.length,
        )


def _receive(part: _Part, answer: BaseHTTPResponse, size: int | None, max_bytes: int, advice: str) -> None:
    """Write the body of an answer behind the bytes so far, or from the beginning where the server sends all of it."""
    at = part.length
    if answer.status == 416 and at:  # nothing behind our last byte: another file, or all of it is there
        if answer.headers.get("Content-Range", "").rpartition("/")[2] == str(at):
            return
        part.drop()
        raise TransientError("the file there is shorter than what was received")
    if answer.status not in {200, 206}:
        raise refusal(part.url, answer, advice)
    at = _start(part, answer)
    length = answer.headers.get("Content-Length")
    total = at + int(length) if length is not None else None
    expected = total if total is not None else size
    _check_cap(part, expected or 0, max_bytes)
    require_space(part.path, (expected or at) - at, DEST_ADVICE)
    at_most = min(max_bytes, size if size is not None else max_bytes)
    with part.file.open("ab") as out, meter(part.path.name, at, total) as tell:
        # read1: what has come by now, so that nothing of it is lost when the connection breaks
        while block := answer.read1(BLOCK):
            if at + len(block) > at_most:
                _check_cap(part, at + len(block), max_bytes)
                part.drop()
                raise ScfmError(
                    f"{part.url}: gave {at + len(block):,} bytes or more, expected {size:,}. Nothing was kept."
                )
            if at // SPACE_EVERY != (at + len(block)) // SPACE_EVERY:
                require_space(part.path, SPACE_EVERY, DEST_ADVICE)
            out.write(block)
            at += len(block)
            tell(len(block))


def _start(part: _Part, answer: BaseHTTPResponse) -> int:
    """Return the position of an answer's first byte in the file; begin anew where it is the first of all."""
    at = part.length
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and not part.path.name.endswith((".html", ".htm")):
        raise ScfmError(
            f"{part.url}: the server sends a web page in place of the file (a login, or a warning?). Open it in a"
            " browser and put the file in place by hand."
        )
    if answer.status == 206 and not at:  # partial content
        raise ScfmError(
            f"{part.url}: the server sends a part of the file (status 206) though all of it was asked for. Nothing was"
            f" kept."
        )
    goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {at}-")
    if answer.status == 206 and not goes_on:
        part.drop()
        raise TransientError("the server sends another range than asked for")
    if goes_on:
        return at
    if at:
        log.info("%s: the server cannot resume, or has another file now: from the beginning", part.path.name)
    part.begin(_validator(answer.headers))
    return 0


def _validator(headers: Any) -> str:
    """Return what tells a server's file from a later one of the same address: a strong ETag, else the date."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _check_cap(part: _Part, n_bytes: int, max_bytes: int) -> None:
    """Raise where a file is larger than what may be downloaded; nothing of it is kept."""
    if n_bytes > max_bytes:
        part.drop()
        raise ScfmError(
            f"{part.url}: has {n_bytes:,} bytes or more, above the limit of {max_bytes:,}. Is it the right file?"
            f" Nothing"
            " was kept."
        )


def check_gzip(path: Path) -> None:
    """Raise :class:`ScfmError` where a gzip file can't be read to its end."""
    import gzip
    import zlib

    try:
        with gzip.open(path) as handle:
            while handle.read(BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise ScfmError(f"the gzip file is damaged or cut short ({error}).") from error
