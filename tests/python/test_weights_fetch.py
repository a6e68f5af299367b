"""Downloads against a local server that misbehaves, the tables of weights, and the check of a folder."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers_weights import Remote, record_waits, serve
from models_contract import DATA
from scfm.errors import ResourceError, ScfmError
from scfm.io.transport import download
from scfm.io.web import RetryPolicy
from scfm.models import available_models
from scfm.registries.models import load_model_table
from scfm.registries.reader import ASSETS
from scfm.registries.weights import WeightsFile, WeightsRelease, WeightsTable, load_weights_table
from scfm.testing.tiny import make_tiny
from scfm.testing.tiny_common import gene_table
from scfm.weights.check import RECORD, check_folder, check_names, names_in, read_record, verify
from scfm.weights.fetch import check_licence, fetch, unpack

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "fetch_weights.py"


POLICY = RetryPolicy(tries=3, pause=1.0, timeout=5)


@pytest.fixture
def remote(httpserver):
    return serve(httpserver, {"/file": CONTENT})


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    return record_waits(monkeypatch)


def get(remote: Remote, path: Path, **more: object) -> str:
    return download(f"{remote.url}/file", path, policy=POLICY, **more)


def only(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# ---- one file --------------------------------------------------------------------------------------------------------


def test_a_plain_download(remote, tmp_path) -> None:
    assert get(remote, tmp_path / "sub" / "file", size=len(CONTENT), sha256=DIGEST) == DIGEST
    assert (tmp_path / "sub" / "file").read_bytes() == CONTENT
    assert only(tmp_path / "sub") == ["file"] and remote.asked == [("/file", None)]


def test_what_is_there_and_fits_is_kept(remote, tmp_path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert get(remote, tmp_path / "file", size=len(CONTENT), sha256=DIGEST) == DIGEST
    assert remote.asked == []
    (tmp_path / "file").write_bytes(CONTENT[:-1] + b"x")
    get(remote, tmp_path / "file", size=len(CONTENT), sha256=DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_broken_connections_go_on_where_they_ended(remote, waits, tmp_path) -> None:
    remote.break_after = [100_000, 50_000, 1_000]
    assert get(remote, tmp_path / "file", sha256=DIGEST) == DIGEST
    assert [r for _, r in remote.asked] == [None, "bytes=100000-", "bytes=150000-", "bytes=151000-"]
    assert waits == [1.0, 1.0, 1.0]  # each attempt brought something, so the pause does not grow


def test_a_server_without_ranges_starts_again(remote, tmp_path) -> None:
    remote.ranges, remote.break_after = False, [100_000]
    assert get(remote, tmp_path / "file", sha256=DIGEST) == DIGEST
    assert [r for _, r in remote.asked] == [None, "bytes=100000-"]


def test_no_progress_gives_up_and_a_later_call_goes_on(remote, waits, tmp_path) -> None:
    remote.break_after = [100_000, 0, 0, 0]
    with pytest.raises(ScfmError, match=r"not downloaded after 3 attempts .*100,000 bytes\) is kept"):
        get(remote, tmp_path / "file", sha256=DIGEST)
    assert waits == [1.0, 1.0]  # after the bytes, and before the third attempt without any
    assert only(tmp_path) == ["file.part", "file.part.json"]
    remote.break_after.clear()
    remote.asked.clear()
    assert get(remote, tmp_path / "file", sha256=DIGEST) == DIGEST
    assert remote.asked == [("/file", "bytes=100000-")] and only(tmp_path) == ["file"]


def broken_off(remote: Remote, path: Path) -> None:
    remote.break_after = [100_000, 0, 0, 0]
    with pytest.raises(ScfmError, match="attempts"):
        get(remote, path)
    remote.asked.clear()
    remote.break_after.clear()


def test_a_file_that_changed_meanwhile_is_not_mixed(remote, tmp_path) -> None:
    broken_off(remote, tmp_path / "file")
    new = CONTENT[::-1]
    remote.files["/file"], remote.tags["/file"] = new, '"v2"'
    assert get(remote, tmp_path / "file") == hashlib.sha256(new).hexdigest()
    assert remote.asked == [("/file", "bytes=100000-")]  # If-Range: the server sent the whole new file


def test_bytes_of_another_address_or_without_a_tag_are_not_gone_on_with(remote, tmp_path) -> None:
    broken_off(remote, tmp_path / "file")
    remote.files["/other"] = CONTENT[::-1]
    download(f"{remote.url}/other", tmp_path / "file", policy=POLICY)
    assert remote.asked == [("/other", None)]
    remote.tags["/file"] = ""
    broken_off(remote, tmp_path / "second")
    get(remote, tmp_path / "second", sha256=DIGEST)
    assert remote.asked == [("/file", None)]


def test_resumed_bytes_that_do_not_fit_are_fetched_again(remote, tmp_path) -> None:
    broken_off(remote, tmp_path / "file")
    (tmp_path / "file.part").write_bytes(b"x" * 100_000)
    assert get(remote, tmp_path / "file", sha256=DIGEST) == DIGEST
    assert [r for _, r in remote.asked] == ["bytes=100000-", None]


def test_more_bytes_than_the_file_has(remote, tmp_path) -> None:
    broken_off(remote, tmp_path / "file")
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert get(remote, tmp_path / "file", sha256=DIGEST) == DIGEST
    broken_off(remote, tmp_path / "whole")
    (tmp_path / "whole.part").write_bytes(CONTENT)  # all there, only not renamed
    assert get(remote, tmp_path / "whole", sha256=DIGEST) == DIGEST
    assert remote.asked == [("/file", "bytes=300000-")]


def test_another_range_than_asked_for(remote, tmp_path) -> None:
    broken_off(remote, tmp_path / "file")
    remote.wrong_range = True
    assert get(remote, tmp_path / "file", sha256=DIGEST) == DIGEST


def test_wrong_checksum_and_wrong_size_keep_nothing(remote, tmp_path) -> None:
    with pytest.raises(ScfmError, match=rf"the checksum of the file is {DIGEST}, expected {'0' * 64}"):
        get(remote, tmp_path / "file", sha256="0" * 64)
    with pytest.raises(ScfmError, match="gave 300,000 bytes, expected 300,001"):
        get(remote, tmp_path / "file", size=300_001)
    assert only(tmp_path) == [] and len(remote.asked) == 2


@pytest.mark.parametrize(
    ("code", "sentence"), [(404, "not there"), (403, "refuses access"), (401, "wants a login"), (451, "in a browser")]
)
def test_refusals_are_not_tried_again(remote, code, sentence, tmp_path) -> None:
    remote.answers = [code]
    with pytest.raises(ScfmError, match=f"answers {code} .*{sentence}"):
        get(remote, tmp_path / "file")
    assert len(remote.asked) == 1 and only(tmp_path) == []


def test_busy_servers_are_asked_again(remote, waits, tmp_path) -> None:
    remote.answers = [503, 500]
    get(remote, tmp_path / "file", sha256=DIGEST)
    assert waits == [1.0]  # the second attempt follows at once
    waits.clear()
    remote.answers, remote.retry_after = [429], "7"
    get(remote, tmp_path / "second", sha256=DIGEST)
    assert waits == [7.0]


def test_a_web_page_is_not_a_checkpoint(remote, tmp_path) -> None:
    remote.kind = "text/html; charset=utf-8"
    with pytest.raises(ScfmError, match="sends a web page in place of the file"):
        get(remote, tmp_path / "file")
    assert only(tmp_path) == []


def test_redirects_keep_the_range(remote, tmp_path) -> None:
    remote.redirects["/start"], remote.break_after = "/file", [100_000]
    assert download(f"{remote.url}/start", tmp_path / "file", sha256=DIGEST, policy=POLICY) == DIGEST
    assert remote.asked[-1] == ("/file", "bytes=100000-")


def test_nobody_answers(tmp_path) -> None:
    with socket.socket() as unused:  # a port that nobody listens to
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ScfmError, match=r"not downloaded after 3 attempts .*connected to the internet"):
        download(f"{url}/file", tmp_path / "file", policy=POLICY)
    for odd in ("ftp://host/file", "file:///etc/hostname"):
        with pytest.raises(ScfmError, match="not a web address"):
            download(odd, tmp_path / "file")


def test_a_full_disk_is_reported_before_the_download(remote, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(10, 10, 1000))
    with pytest.raises(ResourceError, match=r"needs about .* and its folder has 0\.0 MB of free space.*--data_dir"):
        get(remote, tmp_path / "file")


# ---- a model ---------------------------------------------------------------------------------------------------------


def archive_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("protein/link.pt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return out.getvalue()


def make_table(remote: Remote) -> WeightsTable:
    def file(path: str, **more: str | tuple) -> WeightsFile:
        given = {
            "name": f"toy/{path}",
            "releases": ("small",),
            "also_at": (),
            "need": "required",
            "source": "url",
            "repository": "https://example.org/toy",
            "revision": "",
            "remote_path": f"{remote.url}/{path}",
            "unpack": "",
            "size": "",
            "sha256": "",
            "note": "a note",
        }
        return WeightsFile(**given | more)

    release = WeightsRelease(
        "toy/small", "Toy", ("8",), "symbol", ("human",), "ten cells", "Free", "", "10.1234/x", "A toy."
    )
    files = (
        file("file", size=str(len(CONTENT)), sha256=DIGEST),
        file("vocab.json", also_at=("dict/*.json",)),
        file("protein/a.pt", remote_path=f"{remote.url}/archive", unpack="*.pt"),
        file("extra", need="optional"),
    )
    remote.files |= {
        "/vocab.json": b"{}",
        "/archive": archive_of({"x/y/a.pt": b"A", "../../b.pt": b"B", "c.txt": b"C"}),
        "/extra": b"E",
    }
    return WeightsTable((release,), files)


def run(table: WeightsTable, dest: Path, **more: object) -> Path:
    return fetch(table, table.release("toy"), dest, confirm=lambda _: True, policy=POLICY, **more)


def test_a_model_is_fetched_verified_and_recorded(remote, tmp_path) -> None:
    table = make_table(remote)
    folder = run(table, tmp_path)
    assert names_in(folder) == [RECORD, "file", "protein/a.pt", "protein/b.pt", "vocab.json"]
    assert (folder / "protein" / "a.pt").read_bytes() == b"A"
    assert set(read_record(folder)) == {"file", "protein/a.pt", "vocab.json"}
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "--check", "--quiet", RECORD], cwd=folder, check=False).returncode == 0
    remote.asked.clear()
    run(table, tmp_path)
    assert remote.asked == []
    run(table, tmp_path, with_optional=True)
    assert [path for path, _ in remote.asked] == ["/extra"]


def test_changed_files_are_found(remote, tmp_path) -> None:
    table = make_table(remote)
    folder = run(table, tmp_path)
    before = (folder / RECORD).read_text()
    (folder / "vocab.json").write_text("[]")
    with pytest.raises(ScfmError, match=r"'vocab.json' differ from the checksum recorded at first use"):
        verify(table, "toy", folder)
    (folder / "vocab.json").write_text("{}")
    (folder / "file").write_bytes(CONTENT[:-1])
    with pytest.raises(ScfmError, match=r"'file' differ from the published checksum"):
        verify(table, "toy", folder)
    assert (folder / RECORD).read_text() == before
    (folder / RECORD).write_text("nonsense\n")
    with pytest.raises(ScfmError, match="line 1 is not"):
        read_record(folder)


def test_a_substitute_is_accepted_and_recorded(remote, tmp_path) -> None:
    table = make_table(remote)
    (tmp_path / "toy" / "dict").mkdir(parents=True)
    (tmp_path / "toy" / "dict" / "mine.json").write_text("{}")
    folder = run(table, tmp_path)
    assert "/vocab.json" not in [path for path, _ in remote.asked]
    assert "dict/mine.json" in read_record(folder)


def test_files_without_an_address_are_asked_of_a_person(remote, tmp_path) -> None:
    table = make_table(remote)
    by_hand = replace(table.files[1], source="manual", remote_path="", note="cloud drive")
    table = WeightsTable(table.releases, (table.files[0], by_hand))
    with pytest.raises(
        ScfmError,
        match=r"(?s)1 file cannot be fetched by a program.*example.org/toy  \(cloud drive\)  ->  .*toy/vocab.json",
    ) as error:
        run(table, tmp_path)
    assert "same command again" in str(error.value)
    assert (tmp_path / "toy" / "file").read_bytes() == CONTENT  # what can be fetched is there
    (tmp_path / "toy" / "vocab.json").write_text("{}")
    run(table, tmp_path)


def test_nothing_happens_unconfirmed_or_into_random_weights(remote, tmp_path) -> None:
    table = make_table(remote)
    shown: list[str] = []
    with pytest.raises(ScfmError, match="not confirmed"):
        fetch(table, table.release("toy"), tmp_path, confirm=lambda text: bool(shown.append(text)))
    assert (
        "Licence: Free." in shown[0]
        and "3 files to" in shown[0]
        and "0.3 MB and 2 of a size that is not published" in shown[0]
    )
    assert remote.asked == [] and only(tmp_path) == []
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "RANDOM_WEIGHTS.txt").write_text("random")
    with pytest.raises(ScfmError, match="randomly initialised weights"):
        run(table, tmp_path)


def test_archives(tmp_path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(archive_of({"a.pt": b"A"})[:40])
    with pytest.raises(ScfmError, match="not readable as a tar archive"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", "*.pt")
    (tmp_path / "a.tar.gz").write_bytes(archive_of({"a.txt": b"A"}))
    with pytest.raises(ScfmError, match=r"holds no file '\*.pt'"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", "*.pt")
    (tmp_path / "a.tar.gz").write_bytes(archive_of({"../../../b.pt": b"B"}))
    assert unpack(tmp_path / "a.tar.gz", tmp_path / "out", "*.pt") == [tmp_path / "out" / "b.pt"]


# ---- the tables ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> WeightsTable:
    return load_weights_table()


def test_the_tables_agree_with_the_models_table(table) -> None:
    models = load_model_table()
    assert table.models == list(models) and sorted(models) == available_models()
    for v in table.releases:
        info = models[v.model]
        assert (v.licence, v.gene_ids, v.organisms, v.article) == (
            info.licence,
            info.gene_ids,
            info.organisms,
            info.reference,
        )
        assert set(v.dims) <= set(info.dims)
    assert [v.accept for v in table.releases if v.accept] == ["scfoundation"]


def test_addresses_are_official_and_pinned(table) -> None:
    hosts = {"huggingface.co", "raw.githubusercontent.com", "media.githubusercontent.com", "figshare.com"}
    for file in table.files:
        assert bool(file.url) == (file.source != "manual")
        assert file.url == "" or (file.url.startswith("https://") and file.url.split("/")[2] in hosts)
        assert file.page.startswith("https://")
        if file.source.startswith("github"):
            assert file.revision and file.sha256 and file.bytes
    found = {f.name: f for f in table.files}["geneformer/Geneformer-V2-316M/model.safetensors"]
    assert found.bytes == 1_265_455_076
    assert found.url.endswith(
        "ctheodoris/Geneformer/resolve/05fcbeb8a27d49e0a7a4349152202ee2c1cbfd28/Geneformer-V2-316M/model.safetensors"
    )


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda t: t.replace("scgpt/brain", "scgpt/whole-human"), "is a duplicate"),
        (lambda t: t.replace("\tsymbol\t", "\tname\t", 1), "gene_ids"),
        (lambda t: t + "toy/a\tToy\t8\tsymbol\thuman\t\tFree\t\t10.1234/x\tA toy.\n", "has no file for toy/a"),
    ],
)
def test_errors_of_the_tables(edit, sentence, tmp_path) -> None:
    for name in ("weights.tsv", "weights_files.tsv", "schema_weights.json", "schema_weights_files.json"):
        shutil.copy(ASSETS / name, tmp_path / name)
    (tmp_path / "weights.tsv").write_text(edit((ASSETS / "weights.tsv").read_text()))
    with pytest.raises(ScfmError, match=sentence):
        load_weights_table(tmp_path)


def test_unknown_names(table) -> None:
    with pytest.raises(ScfmError, match=r"No weights are known for model 'scgtp'. Did you mean 'scgpt'"):
        table.release("scgtp")
    with pytest.raises(ScfmError, match=r"scgpt has no release 'brian'. Did you mean 'brain'"):
        table.release("scgpt", "brian")


# ---- the check of a folder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", available_models())
def test_random_weights_are_complete(table, model, tmp_path) -> None:
    folder = make_tiny(model, gene_table(["A", "B", "C"]), tmp_path / model)
    state = check_folder(table, model, folder)
    assert state.is_complete and state.is_random
    verify(table, model, folder)
    first = sorted(read_record(folder))[0]
    (folder / first).unlink()
    assert not check_folder(table, model, folder).is_complete


@pytest.mark.parametrize(
    ("fixture", "model"),
    [
        ("scgpt", "scgpt"),
        ("geneformer-v1", "geneformer"),
        ("geneformer-v2", "geneformer"),
        ("sccello", "sccello"),
        ("scfoundation", "scfoundation"),
        ("genecompass", "genecompass"),
        ("nicheformer", "nicheformer"),
    ],
)
def test_the_layouts_of_the_fixtures_are_complete(table, fixture, model) -> None:
    state = check_folder(table, model, DATA / fixture)
    assert state.is_complete and not state.is_random


def test_absent_weights_name_the_command(table) -> None:
    state = check_names(table, "scfoundation", [], dest="weights")
    assert state.missing == ("models.ckpt", "OS_scRNA_gene_index.19264.tsv")
    assert state.command == "bin/fetch_weights.py --model scfoundation --dest weights --accept_license scfoundation"
    assert state.sentence.startswith("weights missing: 'models.ckpt', ")
    state = check_names(table, "geneformer", ["Geneformer-V1-10M/config.json", "Geneformer-V1-10M/model.safetensors"])
    assert state.release == "Geneformer-V1-10M" and state.command.endswith(
        "--model geneformer --release Geneformer-V1-10M --dest DIR"
    )
    assert all("gc30M" in name for name in state.missing)
    assert check_names(
        table,
        "uce",
        [
            "4layer_model.torch",
            "species_chrom.csv",
            "species_offsets.pkl",
            "protein_embeddings/Homo_sapiens.GRCh38.gene_symbol_to_embedding_ESM2.pt",
        ],
    ).is_complete


# ---- the executable --------------------------------------------------------------------------------------------------


def main(*argv: str) -> None:
    spec = importlib.util.spec_from_file_location("fetch_weights", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(list(argv))


def test_a_licence_with_limits_must_be_accepted(table, tmp_path) -> None:
    with pytest.raises(
        ScfmError, match=r"non-commercial research only.*--model scfoundation --dest .* --accept_license scfoundation$"
    ):
        main("--model", "scfoundation", "--dest", str(tmp_path), "--yes")
    check_licence(table.release("scfoundation"), ["scfoundation"], "")
    check_licence(table.release("scgpt"), [], "")


def test_the_executable_shows_lists_and_checks(tmp_path, capsys) -> None:
    main("--list")
    assert "geneformer\tGeneformer-V1-10M\t256\tApache-2.0" in capsys.readouterr().out
    with pytest.raises(ScfmError, match="--model is needed"):
        main("--dest", str(tmp_path))
    with pytest.raises(ScfmError, match=r"weights missing: .*model_files/4layer_model.torch"):
        main("--model", "uce", "--check", "--dest", str(tmp_path))
    make_tiny("uce", gene_table(["A"]), tmp_path / "uce")
    main("--model", "uce", "--check", "--dest", str(tmp_path))
    assert "4 recorded now. The weights are randomly initialised." in capsys.readouterr().out


def test_errors_have_no_traceback_and_an_exit_status(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--model", "scgpt", "--dest", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2
    assert (
        "Licence: Code MIT" in done.stderr
        and "ERROR: The download can't be confirmed without a terminal: add --yes." in done.stderr
        and "Traceback" not in done.stderr
    )
