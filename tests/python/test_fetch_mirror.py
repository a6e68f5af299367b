"""The mirror of CELLxGENE Discover: its folder, its answers, the command it runs; and the command line of the
download.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPMessage
from pathlib import Path

import pytest

from helpers_fetch import (
    ALL,
    ATLAS,
    EMPTY,
    HEALTHY,
    HEALTHY_NEW,
    HEALTHY_OLD,
    LIVER,
    LUNG,
    MOUSE,
    UNKNOWN,
    WITHDRAWN,
    WITHDRAWN_V,
    content_of,
    index,
    uuid,
    write_folder,
)
from scfm.errors import ScfmError
from scfm.io.progress import meter
from scfm.testing.mirror import load_mirror
from scfm.testing.serve import environment, run_with_mirror, serve

BIN = Path(__file__).resolve().parents[2] / "bin"
STUDY = BIN.parent / "tests" / "data" / "study"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("mirror"))


@pytest.fixture(scope="module")
def api(folder):
    with serve(load_mirror(folder)) as address:
        yield address


def ask(address: str, method: str = "GET", **headers: str) -> tuple[int, HTTPMessage, bytes]:
    request = urllib.request.Request(
        address, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def json_of(address: str) -> object:
    status, headers, body = ask(address)
    assert status == 200 and headers["Content-Type"] == "application/json"
    return json.loads(body)


# ---- the interface ---------------------------------------------------------------------------------------------------


def test_a_collection_lists_the_current_version_of_what_is_not_withdrawn(api) -> None:
    found = json_of(f"{api}/collections/{LIVER}")
    assert {key: found[key] for key in ("collection_id", "name", "doi")} == {
        "collection_id": LIVER,
        "name": "Liver",
        "doi": "10.1000/liver",
    }
    assert [(d["dataset_id"], d["tombstone"]) for d in found["datasets"]] == [
        (HEALTHY, False),
        (ALL, False),
        (MOUSE, False),
    ]
    assert found["datasets"][0] == json_of(f"{api}/collections/{LIVER}/datasets/{HEALTHY}")
    assert json_of(f"{api}/collections/{EMPTY}")["datasets"] == []


def test_a_data_set_has_what_the_interface_names(api) -> None:
    found = json_of(f"{api}/collections/{LIVER}/datasets/{HEALTHY}")
    assert found["organism"] == [{"label": "Homo sapiens", "ontology_term_id": ""}]
    assert (found["collection_id"], found["dataset_version_id"], found["title"], found["cell_count"]) == (
        LIVER,
        HEALTHY_NEW,
        "Healthy liver",
        1200,
    )
    assert found["assets"] == [
        {
            "filetype": "H5AD",
            "filesize": len(content_of("healthy")),
            "url": api.replace("/curation/v1", "/files/healthy.h5ad"),
        }
    ]


def test_versions_are_listed_newest_first_and_reached_by_their_ids(api) -> None:
    versions = json_of(f"{api}/datasets/{HEALTHY}/versions")
    assert [v["dataset_version_id"] for v in versions] == [HEALTHY_NEW, HEALTHY_OLD]
    old = json_of(f"{api}/dataset_versions/{HEALTHY_OLD}")
    assert (
        old == versions[1] and old["title"] == "Healthy liver" and old["cell_count"] == 1100
    )  # what it does not say it takes over
    assert ask(old["assets"][0]["url"])[2] == content_of("healthy_old")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/datasets/{UNKNOWN}/versions", 404),
        (f"/collections/{UNKNOWN}", 404),
        (f"/collections/{LUNG}/datasets/{HEALTHY}", 404),
        (f"/collections/{UNKNOWN}/datasets/{HEALTHY}", 404),
        (f"/dataset_versions/{UNKNOWN}", 404),
        ("/anything", 404),
        ("", 404),
        (f"/datasets/{WITHDRAWN}/versions", 410),
        (f"/collections/{LIVER}/datasets/{WITHDRAWN}", 410),
        (f"/dataset_versions/{WITHDRAWN_V}", 410),
    ],
)
def test_what_is_not_there_and_what_was_withdrawn(api, path, code) -> None:
    status, _, body = ask(api + path)
    assert status == code and json.loads(body)["status"] == code


def test_cells_are_counted_in_the_file_where_the_index_does_not_say(tmp_path) -> None:
    import anndata as ad
    import numpy as np

    ad.AnnData(np.ones((7, 2), dtype=np.float32)).write_h5ad(tmp_path / "real.h5ad")
    (tmp_path / "broken.h5ad").write_bytes(b"nothing")
    datasets = [
        {"dataset_id": ATLAS, "dataset_version_id": uuid(1), "title": "real", "file": "real.h5ad"},
        {"dataset_id": ALL, "dataset_version_id": uuid(2), "title": "broken", "file": "broken.h5ad"},
    ]
    (tmp_path / "mirror.json").write_text(json.dumps({"collections": [{"collection_id": LUNG, "datasets": datasets}]}))
    with serve(load_mirror(tmp_path)) as api:
        assert json_of(f"{api}/dataset_versions/{uuid(1)}")["cell_count"] == 7
        status, _, body = ask(f"{api}/dataset_versions/{uuid(2)}")
    assert status == 500 and "broken.h5ad: is not an h5ad file whose cells can be counted" in json.loads(body)["detail"]


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        ("", 200, 0, None),
        ("bytes=0-", 206, 0, None),
        ("bytes=5-9", 206, 5, 10),
        ("bytes=200007-", 206, 200_007, None),
        ("bytes=200000-999999", 206, 200_000, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ],
)
def test_ranges(api, wanted, status, first, last) -> None:
    content = content_of("all")
    address = api.replace("/curation/v1", "/files/all.h5ad")
    got, headers, body = ask(address, **({"Range": wanted} if wanted else {}))
    assert got == status and body == content[first:last] and int(headers["Content-Length"]) == len(body)
    if status == 206:
        assert headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(content)}"


def test_a_range_behind_the_end_and_of_another_file(api) -> None:
    address, size = api.replace("/curation/v1", "/files/all.h5ad"), len(content_of("all"))
    status, headers, _ = ask(address, Range=f"bytes={size}-")
    assert status == 416 and headers["Content-Range"] == f"bytes */{size}"
    tag = ask(address, "HEAD")[1]["ETag"]
    assert ask(address, Range="bytes=5-", If_Range=tag)[0] == 206
    assert ask(address, Range="bytes=5-", If_Range='"another"')[0] == 200


def test_head_sends_no_body(api) -> None:
    status, headers, body = ask(api.replace("/curation/v1", "/files/all.h5ad"), "HEAD")
    assert (status, body, int(headers["Content-Length"])) == (200, b"", len(content_of("all")))
    assert ask(f"{api}/collections/{LIVER}", "HEAD")[2] == b""


def test_only_files_of_the_index_are_served(api, folder) -> None:
    (folder / "secret.txt").write_text("secret")
    files = api.replace("/curation/v1", "/files/")
    assert ask(f"{files}orthologs.csv")[2] == b"human,mouse\nTP53,Trp53\n"
    for name in ("secret.txt", "mirror.json", "../mirror.json", "%2e%2e/etc/passwd", "/etc/passwd", ""):
        assert ask(files + name)[0] == 404, name


def test_a_changed_file_has_another_tag(tmp_path) -> None:
    folder = write_folder(tmp_path)
    with serve(load_mirror(folder)) as api:
        address = api.replace("/curation/v1", "/files/all.h5ad")
        before = ask(address, "HEAD")[1]["ETag"]
        (folder / "all.h5ad").write_bytes(content_of("mouse"))  # of the same size
        os.utime(folder / "all.h5ad", ns=(1, 1))
        assert ask(address, "HEAD")[1]["ETag"] != before


# ---- the folder ------------------------------------------------------------------------------------------------------


def changed(**healthy: object) -> dict:
    content = index()
    content["collections"][0]["datasets"][0] |= healthy
    return content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "expected an object with the key 'collections'"),
        ({"collections": [], "color": 1}, "the file: unknown keys 'color'"),
        ({"collections": [5]}, r"collections\[0\]: must be an object; found 5"),
        ({"collections": [{"collection_id": LIVER}]}, "'datasets' must be a list; found None"),
        (
            {"collections": [{"collection_id": "liver", "datasets": []}]},
            "'collection_id' must be a UUID in small letters; found 'liver'",
        ),
        ({"collections": [{"collection_id": LIVER.upper(), "datasets": []}]}, "must be a UUID in small letters"),
        ({"collections": [{"collection_id": LIVER, "datasets": []}] * 2}, f"'collection_id' {LIVER} is a duplicate"),
        ({"collections": [], "files": ["no.csv"]}, "files: the file 'no.csv' does not exist"),
        (changed(file="no.h5ad"), r"collections\[0\].datasets\[0\]: the file 'no.h5ad' does not exist"),
        (changed(file=""), "'file' is missing"),
        (changed(file="../x.h5ad"), "must be named by a path inside the folder"),
        (changed(title=""), "'title' is missing"),
        (changed(titel="x"), "unknown keys 'titel'"),
        (changed(dataset_id=ALL), f"'dataset_id' {ALL} is a duplicate"),
        (changed(organism="Homo sapiens"), "'organism' must be a list of labels; found 'Homo sapiens'"),
        (changed(cell_count=-1), "'cell_count' must be"),
        (changed(tombstone="yes"), "'tombstone' must be true or false"),
        (changed(dataset_version_id=None), "'dataset_version_id' must be a UUID"),
        (
            changed(previous=[{"dataset_version_id": HEALTHY_NEW, "file": "healthy_old.h5ad"}]),
            f"'dataset_version_id' {HEALTHY_NEW} is a duplicate",
        ),
        (changed(previous=[{"dataset_version_id": uuid(77)}]), r"previous\[0\]: 'file' is missing"),
    ],
)
def test_a_folder_with_errors(tmp_path, content, sentence) -> None:
    with pytest.raises(ScfmError, match=sentence):
        load_mirror(write_folder(tmp_path, content or {"x": 1}))


def test_all_errors_of_a_folder_come_at_once(tmp_path) -> None:
    with pytest.raises(ScfmError) as error:
        load_mirror(write_folder(tmp_path, changed(title="", file="no.h5ad", cell_count="many")))
    assert len(str(error.value).splitlines()) == 3
    with pytest.raises(ScfmError, match=r"has no mirror\.json"):
        load_mirror(tmp_path / "elsewhere")
    (tmp_path / "mirror.json").write_text("{")
    with pytest.raises(ScfmError, match="is not valid JSON"):
        load_mirror(tmp_path)


@pytest.mark.skipif(not (STUDY / "mirror.json").is_file(), reason="the stand-ins of the study are not here")
def test_the_stand_ins_of_the_study_are_a_mirror() -> None:
    assert all(d.versions[0].path for c in load_mirror(STUDY).collections for d in c.datasets if not d.is_withdrawn)


# ---- a command with a mirror -----------------------------------------------------------------------------------------


def script(name: str, *arguments: str | Path, **more: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(BIN / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **more,
    )


def test_a_command_finds_the_mirror_and_its_status_is_returned(folder, tmp_path) -> None:
    done = script(
        "serve_mirror.py",
        "--folder",
        folder,
        "--",
        sys.executable,
        BIN / "fetch_dataset.py",
        "--cellxgene",
        ALL,
        "--dest",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / f'cellxgene_{ALL}.h5ad'}\n" and Path(
        done.stdout.strip()
    ).read_bytes() == content_of("all")
    failed = script(
        "serve_mirror.py",
        "--folder",
        folder,
        "--",
        sys.executable,
        BIN / "fetch_dataset.py",
        "--cellxgene",
        UNKNOWN,
        "--dest",
        tmp_path,
    )
    assert (
        failed.returncode == 2
        and "ERROR: http://127.0.0.1:" in failed.stderr
        and "does not exist (404)" in failed.stderr
    )
    assert "Traceback" not in failed.stderr


def test_status_of_a_command(folder) -> None:
    assert run_with_mirror(folder, ["true"]) == 0 and run_with_mirror(folder, ["sh", "-c", "exit 7"]) == 7
    assert run_with_mirror(folder, ["sh", "-c", "kill -9 $$"]) == 137
    with pytest.raises(ScfmError, match="no-such-command: no such command"):
        run_with_mirror(folder, ["no-such-command"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(folder, number) -> None:
    code = (
        f"import signal, sys, time\nsignal.signal({number:d}, lambda *_: sys.exit(23))\nprint('ready',"
        " flush=True)\ntime.sleep(30)"
    )
    running = subprocess.Popen(
        [sys.executable, str(BIN / "serve_mirror.py"), "--folder", str(folder), "--", sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None and running.stdout.readline() == "ready\n"
    begun = time.monotonic()
    running.send_signal(number)
    assert running.wait(20) == 23 and time.monotonic() - begun < 15
    running.stdout.close()


def test_a_mirror_until_it_is_interrupted(folder) -> None:
    running = subprocess.Popen(
        [sys.executable, str(BIN / "serve_mirror.py"), "--folder", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        # a shell's background job ignores interrupts, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no thread is running)
    )
    assert running.stdout is not None
    api = running.stdout.readline().strip()
    assert json_of(f"{api}/collections/{LUNG}")["name"] == "Lung"
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 0
    running.stdout.close()


def test_requests_to_the_mirror_go_past_a_proxy(monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "intranet")
    monkeypatch.delenv("NO_PROXY", raising=False)
    found = environment("http://127.0.0.1:1/curation/v1")
    assert (found["no_proxy"], found["NO_PROXY"], found["CELLXGENE_API"]) == (
        "intranet,127.0.0.1",
        "127.0.0.1",
        "http://127.0.0.1:1/curation/v1",
    )
    assert found["PATH"] == os.environ["PATH"]


# ---- the command line of the download --------------------------------------------------------------------------------


@pytest.fixture
def cli(capsys):
    spec = importlib.util.spec_from_file_location("fetch_dataset", BIN / "fetch_dataset.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*arguments: str | Path) -> list[str]:
        module.main([str(a) for a in arguments])
        return capsys.readouterr().out.splitlines()

    return call


def test_a_collection_is_listed(cli, api) -> None:
    rows = [line.split("\t") for line in cli("--collection", LIVER, "--list", "--api", api)]
    assert rows[0] == ["dataset_id", "title", "cells", "organisms", "diseases", "size_mb", "version"]
    assert [row[0] for row in rows[1:]] == [ALL, HEALTHY, MOUSE]
    assert rows[2] == [HEALTHY, "Healthy liver", "1200", "Homo sapiens", "normal", "0.2", HEALTHY_NEW]


def test_several_sources_in_one_call(cli, api, tmp_path) -> None:
    spec = tmp_path / "spec.json"
    files = api.replace("/curation/v1", "/files")
    spec.write_text(
        json.dumps(
            [
                {"key": "one", "kind": "url", "url": f"{files}/all.h5ad"},
                {"key": "two", "kind": "cellxgene", "dataset_id": MOUSE},
            ]
        )
    )
    local = tmp_path / "local.h5ad"
    local.write_bytes(content_of("local"))
    out = cli(
        "--api",
        api,
        "--dest",
        tmp_path / "d",
        "--cellxgene",
        HEALTHY,
        "--cellxgene",
        ATLAS,
        "--url",
        f"{files}/orthologs.csv",
        "--spec",
        spec,
        "--quiet",
    )
    names = [Path(line).name for line in out]
    assert names[:2] == [f"cellxgene_{HEALTHY}.h5ad", f"cellxgene_{ATLAS}.h5ad"] and names[3:] == [
        "one.h5ad",
        "two.h5ad",
    ]
    assert names[2].startswith("url_orthologs_") and all(Path(line).is_file() for line in out)
    [line] = cli("--file", local, "--size", local.stat().st_size, "--dest", tmp_path / "d")
    assert Path(line).samefile(local)


def test_options_choose_a_version_and_one_of_a_collection(cli, api, tmp_path) -> None:
    [old] = cli("--api", api, "--dest", tmp_path, "--cellxgene", HEALTHY, "--version", HEALTHY_OLD)
    assert Path(old).read_bytes() == content_of("healthy_old")
    [chosen] = cli(
        "--api",
        api,
        "--dest",
        tmp_path,
        "--collection",
        LIVER,
        "--select",
        "organism=Homo sapiens",
        "--select",
        "title_contains=all",
    )
    assert Path(chosen).name == f"cellxgene_{ALL}.h5ad"
    [update] = cli("--api", api, "--dest", tmp_path, "--collection", LIVER, "--cellxgene", ALL, "--update", "--verify")
    assert update == chosen


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Nothing to fetch"),
        (["--list"], "give --collection"),
        (["--version", HEALTHY_OLD], "give --cellxgene once; found 0"),
        (["--cellxgene", HEALTHY, "--cellxgene", ALL, "--version", HEALTHY_OLD], "found 2"),
        (["--size", "5"], "give one of them"),
        (["--select", "disease=normal"], "give --collection"),
        (["--collection", LIVER, "--select", "normal"], "expected KEY=VALUE"),
        (["--collection", LIVER, "--select", "sex=male"], "unknown keys 'sex'"),
        (["--collection", "liver", "--list"], "which is no id"),
        (["--cellxgene", "liver"], "which is no id"),
        (["--spec", "nothing.json"], "the file does not exist"),
        (["--tries", "0"], "expected 1 or more"),
        (["--url", "ftp://host/a.h5ad"], "not a web address"),
    ],
)
def test_options_that_do_not_go_together(cli, arguments, sentence, tmp_path) -> None:
    with pytest.raises(ScfmError, match=sentence):
        cli("--api", "http://127.0.0.1:9", "--dest", tmp_path / "d", *arguments)
    assert not (tmp_path / "d").exists()


def test_the_download_starts_without_heavy_imports() -> None:
    code = (
        "import sys; sys.path.insert(0, %r)\nimport scfm.fetch.fetch, scfm.study.request, scfm.testing.serve\nprint([m"
        " for m in ('numpy', 'pandas', 'h5py', 'anndata', 'tqdm') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code % str(BIN)], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


# ---- progress --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_at_a_terminal(monkeypatch, caplog) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with caplog.at_level("INFO"), meter("cells.h5ad", 5_000_000, 10_000_000) as tell:
        tell(5_000_000)
    assert "cells.h5ad: 100%" in sys.stderr.getvalue() and "10.0M/10.0M" in sys.stderr.getvalue()


def test_lines_in_a_log(monkeypatch, caplog) -> None:
    now = iter([0.0, 10.0, 20.0, 20.0, 25.0])
    monkeypatch.setattr("scfm.io.progress.time.monotonic", lambda: next(now))
    with caplog.at_level("INFO"), meter("cells.h5ad", 1_000_000, 4_000_000) as tell:
        tell(1_000_000)
        tell(1_000_000)
        tell(1_000_000)
    assert [record.getMessage() for record in caplog.records] == ["cells.h5ad: 3 MB of 4 MB"]
