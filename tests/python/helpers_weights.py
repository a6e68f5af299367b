"""What a local web server does, for the tests of downloads: pytest-httpserver calls :meth:`Remote.respond`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


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

    def respond(self, request: Request) -> Response:
        """Answer a request."""
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        if request.path in self.redirects:
            return Response(status=302, headers={"Location": self.redirects[request.path]})
        code = self.answers.pop(0) if self.answers else 0
        if code or request.path not in self.files:
            after = {"Retry-After": self.retry_after} if self.retry_after else {}
            return Response(status=code or 404, headers=after)
        content, tag = self.files[request.path], self.tags.get(request.path, '"v1"')
        headers = {"Content-Type": self.kind} | ({"ETag": tag} if tag else {})
        if self.ranges and wanted and request.headers.get("If-Range") in (None, tag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
            said = start + 1 if self.wrong_range else start
            return self._body(206, headers, content[start:], f"bytes {said}-{len(content) - 1}/{len(content)}")
        if self.unasked:
            return self._body(206, headers, content, f"bytes 0-{len(content) - 1}/{len(content)}")
        return self._body(200, headers, content)

    def _body(self, code: int, headers: dict[str, str], body: bytes, part: str = "") -> Response:
        stop = self.break_after.pop(0) if self.break_after else None
        headers |= {"Content-Range": part} if part else {}
        headers |= {} if self.lengthless else {"Content-Length": str(len(body))}
        return Response(iter([body[:stop]]), status=code, headers=headers)


def serve(server: HTTPServer, files: dict[str, bytes]) -> Remote:
    """Let a server of pytest-httpserver's serve files; its behaviour is what is set on the result."""
    remote = Remote(files, url=server.url_for("").rstrip("/"))
    server.expect_request(re.compile(".*")).respond_with_handler(remote.respond)
    return remote


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that gets the pauses asked for; nothing waits any more."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits
