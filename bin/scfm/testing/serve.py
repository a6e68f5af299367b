"""The web server of a mirror: CELLxGENE Discover's curation interface on this machine, from a folder.

See :mod:`scfm.testing.mirror` for the folder and :mod:`scfm.fetch.discover` for the interface. Files have a strong ETag
(size and time of change) and are served in ranges (RFC 9110: one range, ``If-Range``, 416 behind the end).

It is part of ``make demo-study`` and runs in a container without the tests' packages, so it is built on the standard
library and not on pytest-httpserver, which serves the other tests of downloads.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from scfm.errors import ScfmError
from scfm.fetch.discover import API_VARIABLE
from scfm.testing.mirror import LABELS, Mirror, MirrorCollection, MirrorDataset, MirrorVersion, load_mirror

log = logging.getLogger(__name__)

HOST, PREFIX, FILES = "127.0.0.1", "/curation/v1", "/files/"
_BLOCK = 1 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def count_cells(path: Path) -> int:
    """Return the number of cells of an h5ad file, from the index of its obs."""
    import h5py

    try:
        with h5py.File(path) as file:
            obs = file["obs"]
            index = obs.attrs.get("_index", "_index") if isinstance(obs, h5py.Group) else None
            return int(obs[index].shape[0] if index is not None else obs.shape[0])
    except (OSError, KeyError) as error:
        raise ScfmError(
            f"{path}: is not an h5ad file whose cells can be counted. Give 'cell_count' in the mirror's index."
        ) from error


class MirrorHandler(BaseHTTPRequestHandler):
    """Answers for one mirror; the subclass that :func:`serve` makes holds it."""

    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests for those who look for them."""
        log.debug("%s " + format, self.address_string(), *args)

    def do_GET(self) -> None:
        """Answer a question with its body."""
        path = unquote(urlsplit(self.path).path)
        if path.startswith(FILES):
            self.answer_file(path.removeprefix(FILES))
            return
        try:
            code, content = self.find(path)
        except ScfmError as error:
            log.error("%s", error)
            code, content = 500, str(error)
        self.answer_json(code, content)

    do_HEAD = do_GET  # the body is left out where it would be sent

    def find(self, path: str) -> tuple[int, Any]:
        """Return status and content for a path of the interface."""
        match path.removeprefix(PREFIX).strip("/").split("/") if path.startswith(f"{PREFIX}/") else []:
            case ["collections", collection]:
                found = self.mirror.find_collection(collection)
                return (200, self.collection_content(found)) if found else (404, "Resource not found.")
            case ["collections", collection, "datasets", dataset]:
                found = self.mirror.find_collection(collection)
                inside = next((d for d in found.datasets if d.dataset_id == dataset), None) if found else None
                return self.dataset_content(inside, all_versions=False)
            case ["datasets", dataset, "versions"]:
                return self.dataset_content(self.mirror.find_dataset(dataset), all_versions=True)
            case ["dataset_versions", version]:
                pair = self.mirror.find_version(version)
                if pair and pair[0].is_withdrawn:
                    return 410, "The resource has been withdrawn."
                return (200, self.version_content(pair[1])) if pair else (404, "Dataset version not found")
        return 404, "Resource not found."

    def dataset_content(self, dataset: MirrorDataset | None, *, all_versions: bool) -> tuple[int, Any]:
        """Return status and content for a data set."""
        if dataset is None:
            return 404, "Dataset not found"
        if dataset.is_withdrawn:
            return 410, "The resource has been withdrawn."
        contents = [self.version_content(version) for version in dataset.versions[: None if all_versions else 1]]
        return 200, contents if all_versions else contents[0]

    def collection_content(self, collection: MirrorCollection) -> dict[str, Any]:
        """Return the JSON object of a collection."""
        return {
            "collection_id": collection.collection_id,
            "name": collection.name,
            "doi": collection.doi,
            "visibility": "PUBLIC",
            "datasets": [self.version_content(d.versions[0]) for d in collection.datasets if not d.is_withdrawn],
        }

    def version_content(self, version: MirrorVersion) -> dict[str, Any]:
        """Return the JSON object of a version."""
        entry, path = version.entry, version.path
        if path is None:
            raise ScfmError(f"data set {version.dataset_id} is withdrawn and has no file.")
        name = next(name for name, file in self.mirror.files.items() if file == path)
        return {
            "collection_id": version.collection_id,
            "dataset_id": version.dataset_id,
            "dataset_version_id": version.version_id,
            "title": entry["title"],
            "citation": entry.get("citation", ""),
            "schema_version": entry.get("schema_version", ""),
            "cell_count": entry["cell_count"] if "cell_count" in entry else count_cells(path),
            "tombstone": False,
            "suspension_type": entry.get("suspension_type", []),
            "assets": [
                {
                    "filetype": "H5AD",
                    "filesize": path.stat().st_size,
                    "url": f"http://{self.headers.get('Host')}{FILES}{quote(name)}",
                }
            ],
        } | {key: [{"label": label, "ontology_term_id": ""} for label in entry.get(key, [])] for key in LABELS}

    def answer_json(self, code: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """Send JSON; an error as the problem object of the interface."""
        if code >= 400:
            content = {"detail": content, "status": code, "title": HTTPStatus(code).phrase, "type": "about:blank"}
        body = json.dumps(content).encode()
        self.send_head(code, len(body), {"Content-Type": "application/json"} | (headers or {}))
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_file(self, name: str) -> None:
        """Send a file, or the part of it that is asked for."""
        path = self.mirror.files.get(name)
        if path is None or not path.is_file():
            self.answer_json(404, "Resource not found.")
            return
        state = path.stat()
        tag = f'"{state.st_size:x}-{state.st_mtime_ns:x}"'
        headers = {"Content-Type": "application/octet-stream", "ETag": tag, "Accept-Ranges": "bytes"}
        start, end, code = 0, state.st_size, 200
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range", tag) == tag:
            start, end = int(wanted[1]), min(end, int(wanted[2]) + 1 if wanted[2] else end)
            if start >= end:
                self.answer_json(416, "Nothing in that range.", {"Content-Range": f"bytes */{state.st_size}"})
                return
            code, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{state.st_size}"
        self.send_head(code, end - start, headers)
        if self.command != "HEAD":
            self.send_part(path, start, end)

    def send_head(self, code: int, length: int, headers: dict[str, str]) -> None:
        """Send status and headers."""
        self.send_response(code)
        for key, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def send_part(self, path: Path, start: int, end: int) -> None:
        """Send the bytes ``start`` to before ``end`` of a file."""
        with path.open("rb") as handle:
            handle.seek(start)
            while start < end and (block := handle.read(min(_BLOCK, end - start))):
                self.wfile.write(block)
                start += len(block)


class _Server(ThreadingHTTPServer):
    """A server that logs its own errors, but not clients that disconnect."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with one request."""
        if isinstance(sys.exception(), ConnectionError):
            log.debug("%s went away", client_address[0])
        else:
            log.exception("a request from %s was not answered", client_address[0])


@contextmanager
def serve(mirror: Mirror, *, port: int = 0, handler: type[MirrorHandler] = MirrorHandler) -> Iterator[str]:
    """Serve a mirror to this machine while the context lasts.

    Parameters
    ----------
    mirror
        See :func:`~scfm.testing.mirror.load_mirror`.
    port
        0: any that is free.

    Yields
    ------
    The address for ``--api``.
    """
    server = _Server((HOST, port), type("Handler", (handler,), {"mirror": mirror}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}{PREFIX}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run_with_mirror(folder: Path | str, command: Sequence[str], *, port: int = 0) -> int:
    """Run a command that finds the mirror by the environment variable ``CELLXGENE_API``.

    Signals that would end this process are handed on to the command.

    Returns
    -------
    The command's exit status; 128 and the signal's number for one that a signal ended.
    """
    mirror = load_mirror(folder)
    if shutil.which(command[0]) is None:
        raise ScfmError(f"{command[0]}: no such command.")
    with serve(mirror, port=port) as api:
        log.info("%s is served at %s", folder, api)
        child = subprocess.Popen(command, env=environment(api))
        handed_on = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, lambda got, _frame: child.send_signal(got)) for number in handed_on}
        try:
            status = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def environment(api: str) -> dict[str, str]:
    """Return the environment with the mirror's address; requests to this machine go past a proxy."""
    direct = {name: ",".join(filter(None, [os.environ.get(name, ""), HOST])) for name in ("no_proxy", "NO_PROXY")}
    return dict(os.environ) | direct | {API_VARIABLE: api}
