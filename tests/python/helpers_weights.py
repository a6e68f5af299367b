"""A local web server that misbehaves on request, for the tests of downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Remote:
    """What the server does.

    Attributes
    ----------
    files
        Content by path.
    ranges
        Whether it serves ranges.
    break_after
        Bytes after which an answer breaks off, one entry per request; None = it does not.
    answers
        Status codes for the next requests in place of the file; 0 = the file.
    tags
        ETag by path; empty = none is sent.
    kind
        Content type.
    unasked
        Whether a whole file is sent as a part (status 206).
    lengthless
        Whether answers have no Content-Length.
    redirects
        Path -> other path.
    asked
        Record: (path, Range header) of every request.
    """

    files: dict[str, bytes]
    ranges: bool = True
    break_after: list[int | None] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    kind: str = "application/octet-stream"
    redirects: dict[str, str] = field(default_factory=dict)
    retry_after: str = ""
    wrong_range: bool = False
    unasked: bool = False
    lengthless: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    remote: Remote

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        remote, wanted = self.remote, self.headers.get("Range")
        remote.asked.append((self.path, wanted))
        self.close_connection = True
        if self.path in remote.redirects:
            self._answer(302, {"Location": remote.redirects[self.path]}, b"")
            return
        code = remote.answers.pop(0) if remote.answers else 0
        if code or self.path not in remote.files:
            self._answer(code or 404, {"Retry-After": remote.retry_after} if remote.retry_after else {}, b"")
            return
        content, tag = remote.files[self.path], remote.tags.get(self.path, '"v1"')
        headers = {"Content-Type": remote.kind} | ({"ETag": tag} if tag else {})
        start = 0
        condition = self.headers.get("If-Range")
        if remote.ranges and wanted and condition in (None, tag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self._answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
                return
            said = start + 1 if remote.wrong_range else start
            self._answer(
                206, headers | {"Content-Range": f"bytes {said}-{len(content) - 1}/{len(content)}"}, content[start:]
            )
            return
        if remote.unasked:
            self._answer(206, headers | {"Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}"}, content)
            return
        self._answer(200, headers, content)

    def _answer(self, code: int, headers: dict[str, str], body: bytes) -> None:
        stop = self.remote.break_after.pop(0) if code in (200, 206) and self.remote.break_after else None
        self.send_response(code)
        length = {} if self.remote.lengthless else {"Content-Length": str(len(body))}
        for name, value in {**length, "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if stop is None else body[:stop])


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[Remote]:
    """Run a server; its behaviour is what is set on the result."""
    remote = Remote(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"remote": remote}))
    remote.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield remote
    finally:
        server.shutdown()
        server.server_close()
