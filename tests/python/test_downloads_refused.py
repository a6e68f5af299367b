"""What a download refuses: parts nobody asked for, other schemes, too many bytes, damaged gzip files, odd addresses."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from helpers_weights import Remote, serve
from scfm.errors import ResourceError, ScfmError
from scfm.io import transport
from scfm.io.addresses import check_url
from scfm.io.transport import download
from scfm.io.web import RetryPolicy

CONTENT = np.random.default_rng(1).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
POLICY = RetryPolicy(tries=2, timeout=5)


@pytest.fixture
def remote(httpserver):
    return serve(httpserver, {"/file": CONTENT})


def nothing_kept(folder: Path) -> bool:
    return not list(folder.iterdir())


def test_a_part_that_nobody_asked_for(remote: Remote, tmp_path: Path) -> None:
    remote.unasked = True
    with pytest.raises(ScfmError, match=r"a part of the file \(status 206\) though all of it was asked for"):
        download(f"{remote.url}/file", tmp_path / "file", policy=POLICY)
    assert nothing_kept(tmp_path) and len(remote.asked) == 1


@pytest.mark.parametrize("target", ["ftp://host/file", "file:///etc/hostname", "http://192.0.2.1/file", "data:,x"])
def test_a_redirect_to_another_scheme(remote: Remote, target: str, tmp_path: Path) -> None:
    remote.redirects["/start"] = target
    with pytest.raises(ScfmError, match=r"/start: the server redirects to an address that is refused\."):
        download(f"{remote.url}/start", tmp_path / "file", policy=POLICY)
    assert nothing_kept(tmp_path)


@pytest.mark.parametrize("lengthless", [False, True])
def test_more_bytes_than_may_be_downloaded(remote: Remote, lengthless: bool, tmp_path: Path) -> None:
    remote.lengthless = lengthless
    policy = RetryPolicy(tries=2, timeout=5, max_bytes=200_000)
    with pytest.raises(ScfmError, match=r"has [\d,]+ bytes or more, above the limit of 200,000\."):
        download(f"{remote.url}/file", tmp_path / "file", policy=policy)
    assert nothing_kept(tmp_path)
    assert download(f"{remote.url}/file", tmp_path / "file", policy=POLICY) == DIGEST


def test_a_longer_file_than_stated_ends_early(remote: Remote, tmp_path: Path) -> None:
    remote.lengthless = True
    with pytest.raises(ScfmError, match=r"gave [\d,]+ bytes or more, expected 100,000\. Nothing was kept"):
        download(f"{remote.url}/file", tmp_path / "file", size=100_000, policy=POLICY)
    assert nothing_kept(tmp_path)


def test_space_is_asked_for_while_a_file_without_a_length_comes(remote: Remote, tmp_path: Path, monkeypatch) -> None:
    remote.lengthless = True
    monkeypatch.setattr(transport, "BLOCK", 10_000)
    monkeypatch.setattr(transport, "SPACE_EVERY", 50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(10, 10, 40_000))
    with pytest.raises(ResourceError, match=r"its folder has 0\.0 MB of free space"):
        download(f"{remote.url}/file", tmp_path / "file", policy=POLICY)
    assert (tmp_path / "file.part").stat().st_size < 50_000  # a later call goes on from there


@pytest.mark.parametrize("damage", ["tail", "cut", "checksum", "no gzip"])
def test_a_gzip_file_is_read_to_its_end(remote: Remote, damage: str, tmp_path: Path) -> None:
    whole = gzip.compress(CONTENT)
    remote.files["/x.gz"] = {
        "tail": whole[:-200] + bytes(100) + whole[-100:],
        "cut": whole[:-20],
        "checksum": whole[:-8] + b"\1\2\3\4" + whole[-4:],
        "no gzip": CONTENT,
    }[damage]
    with pytest.raises(ScfmError, match=r"/x\.gz: the gzip file is damaged or cut short .*Nothing was kept"):
        download(f"{remote.url}/x.gz", tmp_path / "x.gz", policy=POLICY)
    assert nothing_kept(tmp_path)
    remote.files["/x.gz"] = whole
    assert download(f"{remote.url}/x.gz", tmp_path / "x.gz", policy=POLICY) == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://host/a file", "it holds ' '"),
        ("https://host/a\nfile", r"it holds '\\n'"),
        ("https://host/\x00", r"it holds '\\x00'"),
        ("https://h\u00f6st/file", "it holds '\u00f6'"),
        ("https://host:port/file", "not a web address"),
        ("https://[::1/file", "not a web address"),
        ("https:///file", "not a web address"),
        ("host/file", "not a web address"),
        ("", "not a web address"),
        ("javascript:alert(1)", "not a web address"),
        ("http://example.org/file", "is not encrypted"),
        ("http://127.0.0.1.example.org/file", "is not encrypted"),
    ],
)
def test_odd_addresses(url: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ScfmError, match=sentence):
        download(url, tmp_path / "file", policy=POLICY)
    assert nothing_kept(tmp_path)


def test_http_is_taken_from_this_machine_and_where_it_is_allowed() -> None:
    for url in ("http://localhost:80/x", "http://127.0.0.1/x", "http://[::1]/x", "https://example.org/x"):
        check_url(url)
    check_url("http://example.org/x", allow_http=True)
