"""Downloads of data sets against a local server with CELLxGENE Discover's interface and injected errors."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
import time
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers_fetch import (
    ALL,
    ALL_V,
    ATLAS,
    EMPTY,
    HEALTHY,
    HEALTHY_NEW,
    HEALTHY_OLD,
    LIVER,
    LUNG,
    MOUSE,
    MOUSE_V,
    SIGNATURE,
    UNKNOWN,
    WITHDRAWN,
    WITHDRAWN_V,
    Faults,
    content_of,
    index,
    serving,
    write_folder,
)
from helpers_weights import record_waits
from scfm.errors import ScfmError
from scfm.fetch import fetch as fetch_module
from scfm.fetch.discover import OFFICIAL, api_address
from scfm.fetch.fetch import fetch_source
from scfm.fetch.spec import Spec, cellxgene_spec, collection_spec, file_spec, url_spec
from scfm.io.web import RetryPolicy

POLICY = RetryPolicy(tries=3, pause=1.0, timeout=5)
NEW, OLD = content_of("healthy"), content_of("healthy_old")


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    return record_waits(monkeypatch)


@pytest.fixture
def remote(tmp_path):
    with serving(write_folder(tmp_path / "mirror")) as faults:
        yield faults


@pytest.fixture
def dest(tmp_path) -> Path:
    return tmp_path / "data"


def fetch(remote: Faults | str, spec: Spec | dict, dest: Path, **more: object) -> Path:
    api = remote if isinstance(remote, str) else remote.api
    return fetch_source(spec, dest, api=api, policy=POLICY, **more)


def record_of(path: Path) -> dict:
    return json.loads(path.with_name(f"{path.stem}.source.json").read_text())


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


# ---- a data set by its id --------------------------------------------------------------------------------------------


def test_a_data_set_by_its_id_and_what_is_written_down(remote, dest) -> None:
    path = fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert path == dest / f"cellxgene_{HEALTHY}.h5ad" and path.read_bytes() == NEW
    record = record_of(path)
    assert record.pop("retrieved")[:2] == "20"
    assert record.pop("versions")["python"]
    assert record == {
        "key": f"cellxgene_{HEALTHY}",
        "kind": "cellxgene",
        "api": remote.api,
        "url": f"{remote.files}/healthy.h5ad",
        "collection_id": LIVER,
        "dataset_id": HEALTHY,
        "dataset_version_id": HEALTHY_NEW,
        "title": "Healthy liver",
        "cell_count": 1200,
        "organisms": ["Homo sapiens"],
        "citation": "Somebody et al.",
        "schema_version": "5.2.0",
        "filesize": len(NEW),
        "sha256": hashlib.sha256(NEW).hexdigest(),
    }
    assert remote.paths == [f"/datasets/{HEALTHY}/versions", "/files/healthy.h5ad"]
    assert names(dest) == [f"cellxgene_{HEALTHY}.h5ad", f"cellxgene_{HEALTHY}.source.json"]


def test_a_data_set_of_a_collection(remote, dest) -> None:
    path = fetch(remote, cellxgene_spec(HEALTHY, collection_id=LIVER), dest)
    assert path.read_bytes() == NEW and record_of(path)["collection_id"] == LIVER
    assert remote.paths[0] == f"/collections/{LIVER}/datasets/{HEALTHY}"
    with pytest.raises(ScfmError, match=f"the data set {HEALTHY} of collection {LUNG} does not exist"):
        fetch(remote, cellxgene_spec(HEALTHY, collection_id=LUNG), dest / "other")


def test_what_is_there_is_not_asked_for(remote, dest, caplog) -> None:
    path = fetch(remote, cellxgene_spec(HEALTHY), dest)
    remote.asked.clear()
    with caplog.at_level("INFO"):
        assert fetch("http://127.0.0.1:9/curation/v1", cellxgene_spec(HEALTHY), dest) == path
    assert remote.asked == [] and "there already" in caplog.text and HEALTHY_NEW in caplog.text


def test_a_broken_connection_is_gone_on_with(remote, dest, waits) -> None:
    remote.cuts = [70_000, 30_000]
    path = fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert path.read_bytes() == NEW and waits == [1.0, 1.0]
    assert [part for _, part in remote.asked] == [None, None, "bytes=70000-", "bytes=100000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(remote, dest) -> None:
    remote.cuts = [70_000, 0, 0, 0]
    with pytest.raises(ScfmError, match=r"not downloaded after 3 attempts .*70,000 bytes\) is kept"):
        fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert names(dest) == [f"cellxgene_{HEALTHY}.h5ad.part", f"cellxgene_{HEALTHY}.h5ad.part.json"]
    remote.cuts.clear()
    remote.asked.clear()
    assert fetch(remote, cellxgene_spec(HEALTHY), dest).read_bytes() == NEW
    assert remote.asked[-1] == ("/files/healthy.h5ad", "bytes=70000-")
    assert names(dest) == [f"cellxgene_{HEALTHY}.h5ad", f"cellxgene_{HEALTHY}.source.json"]


@given(cuts=st.lists(st.integers(1, 9_000), max_size=12))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_it_breaks_the_bytes_are_the_same(cuts, tmp_path) -> None:
    folder, dest = tmp_path / "small", tmp_path / "out"
    content = content_of("small", 50_000)
    if not folder.exists():
        folder.mkdir()
        (folder / "small.h5ad").write_bytes(content)
        (folder / "mirror.json").write_text(json.dumps({"collections": [], "files": ["small.h5ad"]}))
    shutil.rmtree(dest, ignore_errors=True)
    with serving(folder) as remote:
        remote.cuts = list(cuts)
        path = fetch(remote, url_spec(f"{remote.files}/small.h5ad"), dest)
        assert path.read_bytes() == content
        starts = [int(part[6:-1]) for _, part in remote.asked[1:]]
        assert starts == [int(n) for n in np.cumsum(cuts)[: len(starts)]]


def test_a_size_other_than_stated(remote, dest) -> None:
    remote.sizes["healthy.h5ad"] = len(NEW) + 1
    with pytest.raises(ScfmError, match=rf"gave {len(NEW):,} bytes, expected {len(NEW) + 1:,}"):
        fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert names(dest) == []
    remote.sizes["healthy.h5ad"] = -1  # how the server says that it does not know
    assert fetch(remote, cellxgene_spec(HEALTHY), dest).read_bytes() == NEW
    with pytest.raises(ScfmError, match=r"has 200,008 bytes, expected 7\. It is another file, or another version"):
        fetch(remote, Spec(key="wrong", kind="cellxgene", dataset_id=ALL, size=7), dest)


def test_an_unknown_data_set_and_a_file_that_is_not_there(remote, dest, tmp_path) -> None:
    with pytest.raises(ScfmError, match=rf"the data set {UNKNOWN} does not exist \(404\)\. Look for the id"):
        fetch(remote, cellxgene_spec(UNKNOWN), dest)
    with pytest.raises(ScfmError, match=f"the collection {UNKNOWN} does not exist"):
        fetch(remote, collection_spec(UNKNOWN, "x", select={}), dest)
    (tmp_path / "mirror" / "healthy.h5ad").rename(tmp_path / "mirror" / "elsewhere")
    remote.assets = [{"filetype": "H5AD", "filesize": 3, "url": f"{remote.files}/nothing.h5ad"}]
    with pytest.raises(ScfmError, match=r"answers 404 Not Found.*look on the page of the data set"):
        fetch(remote, cellxgene_spec(ALL), dest)
    assert names(dest) == []


def test_a_private_data_set(remote, dest, waits) -> None:
    remote.codes = [(403, "")]
    with pytest.raises(ScfmError, match=rf"the data set {HEALTHY} is not public, or its id is wrong"):
        fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert waits == [] and len(remote.asked) == 1


def test_a_busy_server_is_asked_again_when_it_wants(remote, dest, waits, monkeypatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    remote.codes = [(429, "7"), (503, ""), (429, "")]
    with pytest.raises(ScfmError, match=r"no answer after 3 attempts \(the server answers 429"):
        fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert waits == [7.0, 1.0]  # what the server asks for, else a pause that doubles
    waits.clear()
    remote.codes = [(429, formatdate(1_000_030, usegmt=True))]
    assert fetch(remote, cellxgene_spec(HEALTHY), dest).read_bytes() == NEW
    assert waits == [30.0]
    remote.codes = [(429, "1000000")]
    fetch(remote, cellxgene_spec(ALL), dest)
    assert waits == [30.0, 120.0]  # never days


def test_a_busy_file_server(remote, dest, waits) -> None:
    spec = url_spec(f"{remote.files}/all.h5ad")
    remote.codes = [(429, "5")]
    assert fetch(remote, spec, dest).read_bytes() == content_of("all")
    assert waits == [5.0]


# ---- versions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def revised(tmp_path):
    """What was fetched from a mirror before the authors revised the data, and the mirror after it."""
    before = index()
    healthy = before["collections"][0]["datasets"][0]
    healthy |= {"dataset_version_id": HEALTHY_OLD, "file": "healthy_old.h5ad", "previous": []}
    dest = tmp_path / "data"
    with serving(write_folder(tmp_path / "before", before)) as remote:
        path = fetch(remote, cellxgene_spec(HEALTHY), dest)
        assert path.read_bytes() == OLD
    with serving(write_folder(tmp_path / "mirror")) as remote:
        yield remote, dest


def test_a_changed_version_is_not_looked_for_unless_asked(revised) -> None:
    remote, dest = revised
    assert fetch(remote, cellxgene_spec(HEALTHY), dest).read_bytes() == OLD
    assert remote.asked == []


def test_a_changed_version_replaces_the_file_on_update(revised, caplog) -> None:
    remote, dest = revised
    with caplog.at_level("INFO"):
        path = fetch(remote, cellxgene_spec(HEALTHY), dest, update=True)
    assert len(OLD) == len(NEW) and path.read_bytes() == NEW  # the sizes are equal
    assert record_of(path)["dataset_version_id"] == HEALTHY_NEW
    assert (
        f"is version {HEALTHY_OLD} of 'Healthy liver'; the current one is version {HEALTHY_NEW}: replaced by it"
        in caplog.text
    )
    caplog.clear()
    remote.asked.clear()
    with caplog.at_level("INFO"):
        fetch(remote, cellxgene_spec(HEALTHY), dest, update=True)
    assert f"is version {HEALTHY_NEW}, still the current one" in caplog.text
    assert remote.paths == [f"/datasets/{HEALTHY}/versions"]


def test_an_update_that_fails_leaves_what_was_there(revised) -> None:
    remote, dest = revised
    remote.cuts = [1000, 0, 0, 0]
    with pytest.raises(ScfmError, match="not downloaded"):
        fetch(remote, cellxgene_spec(HEALTHY), dest, update=True)
    assert fetch(remote, cellxgene_spec(HEALTHY), dest, verify=True).read_bytes() == OLD


def test_an_update_replaces_a_file_that_was_changed(remote, dest, caplog) -> None:
    path = fetch(remote, cellxgene_spec(HEALTHY), dest)
    path.write_bytes(NEW[:-1])
    assert fetch(remote, cellxgene_spec(HEALTHY), dest, update=True).read_bytes() == NEW
    assert "has 200,007 bytes, but its record says 200,008" in caplog.text


def test_bytes_of_an_older_version_are_not_gone_on_with(revised) -> None:
    remote, dest = revised
    remote.cuts = [70_000, 0, 0, 0]
    pinned = cellxgene_spec(HEALTHY, version=HEALTHY_OLD)
    with pytest.raises(ScfmError, match="not downloaded"):
        fetch(remote, pinned, dest)
    for part in dest.glob(f"{pinned.key}.h5ad.part*"):  # as if the same key had stood for the older version
        part.rename(dest / part.name.replace(pinned.key, "mine"))
    path = fetch(remote, Spec(key="mine", kind="cellxgene", dataset_id=HEALTHY), dest)
    assert path.read_bytes() == NEW and remote.asked[-1] == ("/files/healthy.h5ad", None)


def test_a_file_that_is_replaced_while_it_comes_is_not_mixed(remote, dest, tmp_path) -> None:
    remote.cuts = [70_000, 0, 0, 0]
    with pytest.raises(ScfmError, match="not downloaded"):
        fetch(remote, cellxgene_spec(HEALTHY), dest)
    (tmp_path / "mirror" / "healthy.h5ad").write_bytes(OLD)  # of the same size, at the same address
    path = fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert remote.asked[-1] == ("/files/healthy.h5ad", "bytes=70000-") and path.read_bytes() == OLD


def test_a_pinned_version_is_fetched_by_its_own_address(remote, dest, caplog) -> None:
    spec = cellxgene_spec(HEALTHY, version=HEALTHY_OLD)
    path = fetch(remote, spec, dest)
    assert path.name == f"cellxgene_{HEALTHY}_{HEALTHY_OLD}.h5ad" and path.read_bytes() == OLD
    assert record_of(path)["dataset_version_id"] == HEALTHY_OLD
    assert remote.paths == [f"/dataset_versions/{HEALTHY_OLD}", "/files/healthy_old.h5ad"]
    with caplog.at_level("INFO"):
        fetch(remote, spec, dest, update=True)
    assert f"is version {HEALTHY_OLD}, as wanted" in caplog.text
    with pytest.raises(
        ScfmError, match=f"{MOUSE_V} is a version of the data set {MOUSE} .'Mouse liver'., not of {HEALTHY}"
    ):
        fetch(remote, cellxgene_spec(HEALTHY, version=MOUSE_V), dest)
    with pytest.raises(ScfmError, match=f"the version {UNKNOWN} does not exist"):
        fetch(remote, cellxgene_spec(HEALTHY, version=UNKNOWN), dest)


def test_another_version_there_than_pinned(remote, dest) -> None:
    fetch(remote, Spec(key="liver", kind="cellxgene", dataset_id=HEALTHY), dest)
    pinned = Spec(key="liver", kind="cellxgene", dataset_id=HEALTHY, version=HEALTHY_OLD)
    with pytest.raises(
        ScfmError, match=rf"'dataset_version_id' of its record is {HEALTHY_NEW}, but {HEALTHY_OLD} is wanted\. Delete"
    ):
        fetch(remote, pinned, dest)
    assert fetch(remote, pinned, dest, update=True).read_bytes() == OLD


def test_withdrawn_data_sets(remote, dest) -> None:
    sentence = r"was withdrawn by its authors \(410\), with all its versions\. Choose another data set; a copy"
    for spec in (
        cellxgene_spec(WITHDRAWN),
        cellxgene_spec(WITHDRAWN, collection_id=LIVER),
        cellxgene_spec(WITHDRAWN, version=WITHDRAWN_V),
    ):
        with pytest.raises(ScfmError, match=sentence):
            fetch(remote, spec, dest)
    remote.tombstone = True  # a mark in place of the status
    with pytest.raises(ScfmError, match=sentence):
        fetch(remote, cellxgene_spec(HEALTHY, collection_id=LIVER), dest)
    assert names(dest) == []


def test_a_withdrawn_data_set_that_is_there_is_used(remote, dest) -> None:
    fetch(remote, cellxgene_spec(HEALTHY), dest)
    remote.codes = [(410, "")] * 3
    assert fetch(remote, cellxgene_spec(HEALTHY), dest).read_bytes() == NEW
    with pytest.raises(ScfmError, match="withdrawn"):
        fetch(remote, cellxgene_spec(HEALTHY), dest, update=True)
    assert (dest / f"cellxgene_{HEALTHY}.h5ad").read_bytes() == NEW


def test_a_data_set_without_an_h5ad_file(remote, dest) -> None:
    remote.assets = [{"filetype": "RDS", "filesize": 3, "url": f"{remote.files}/healthy.rds"}]
    with pytest.raises(ScfmError, match=r"'Healthy liver'\) has no h5ad file"):
        fetch(remote, cellxgene_spec(HEALTHY), dest)


# ---- one of a collection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("select", "dataset"),
    [
        ({"title_contains": "ALL CELLS"}, ALL),
        ({"disease": ["normal"], "organism": "Homo sapiens"}, HEALTHY),
        ({"disease": "biliary atresia"}, ALL),
        ({"disease": ["biliary atresia", "normal"]}, ALL),
        ({"organism": ["Mus musculus"]}, MOUSE),
        ({"assay": "10x 3' v2", "tissue": "liver"}, ALL),
    ],
)
def test_labels_choose_one_of_a_collection(remote, dest, select, dataset) -> None:
    path = fetch(remote, collection_spec(LIVER, "chosen", select=select), dest)
    assert path.name == f"cellxgene_{LIVER}_chosen.h5ad" and record_of(path)["dataset_id"] == dataset


def test_a_collection_of_one_needs_no_rule(remote, dest) -> None:
    assert record_of(fetch(remote, collection_spec(LUNG, "atlas", select={}), dest))["dataset_id"] == ATLAS


@pytest.mark.parametrize(
    ("select", "sentence", "listed"),
    [
        ({"disease": "normal"}, r"3 of 3 data sets fit \(disease = normal\), expected one", [HEALTHY, ALL, MOUSE]),
        ({"organism": "Homo sapiens"}, r"2 of 3 data sets fit \(organism = Homo sapiens\)", [HEALTHY, ALL]),
        (
            {"disease": ["biliary atresia"]},
            r"none of 3 data sets fits \(disease = \['biliary atresia'\]\)",
            [HEALTHY, ALL, MOUSE],
        ),
        ({}, r"3 of 3 data sets fit \(no rule\)", [HEALTHY, ALL, MOUSE]),
    ],
)
def test_none_or_several_fit(remote, dest, select, sentence, listed) -> None:
    with pytest.raises(ScfmError, match=sentence) as error:
        fetch(remote, collection_spec(LIVER, "chosen", select=select), dest)
    lines = str(error.value).splitlines()[1:]
    assert sorted(line.split()[0] for line in lines) == sorted(listed)  # withdrawn ones are no choice
    assert f"{HEALTHY}  Healthy liver  (1,200 cells; Homo sapiens; normal; liver)" in str(error.value)


def test_an_empty_collection(remote, dest) -> None:
    with pytest.raises(ScfmError, match="none of 0 data sets fits"):
        fetch(remote, collection_spec(EMPTY, "x", select={}), dest)


# ---- connection and interface ----------------------------------------------------------------------------------------


def test_no_connection(remote, dest, waits) -> None:
    with pytest.raises(ScfmError, match=r"127.0.0.1:9/.*no answer after 3 attempts .*connected to the internet"):
        fetch("http://127.0.0.1:9/curation/v1", cellxgene_spec(HEALTHY), dest)
    assert waits == [1.0] and names(dest) == []  # the second attempt follows at once


def test_an_address_that_is_not_the_interface(remote, dest) -> None:
    with pytest.raises(ScfmError, match=r"the answer is not JSON but begins with b'<html>"):
        fetch(f"{remote.files}/page.html?", cellxgene_spec(HEALTHY), dest)
    with pytest.raises(ScfmError, match=r"no 'dataset_id'\. Is it the address of CELLxGENE Discover"):
        from scfm.fetch.discover import Discover

        Discover(remote.api)._version({"id": HEALTHY}, "collections", "")
    with pytest.raises(ScfmError, match="not a web address"):
        fetch("cellxgene", cellxgene_spec(HEALTHY), dest)


def test_the_interface_is_found_by_option_then_environment(monkeypatch) -> None:
    monkeypatch.delenv("CELLXGENE_API", raising=False)
    assert api_address() == OFFICIAL == "https://api.cellxgene.cziscience.com/curation/v1"
    monkeypatch.setenv("CELLXGENE_API", "http://mirror/v1/")
    assert api_address() == "http://mirror/v1" and api_address("http://other/v1") == "http://other/v1"


# ---- addresses and files ---------------------------------------------------------------------------------------------


def test_a_file_at_an_address(remote, dest) -> None:
    spec = url_spec(f"{remote.files}/orthologs.csv", ending=".csv", size=23)
    path = fetch(remote, spec, dest)
    assert path.suffix == ".csv" and path.read_text() == "human,mouse\nTP53,Trp53\n"
    record = record_of(path)
    assert (record["kind"], record["url"], record["filesize"], record["dataset_version_id"]) == (
        "url",
        f"{remote.files}/orthologs.csv",
        23,
        "",
    )
    remote.asked.clear()
    fetch(remote, spec, dest)
    assert remote.asked == []
    fetch(remote, spec, dest, update=True)  # nothing but the bytes tells whether it has changed
    assert remote.paths == ["/files/orthologs.csv"]


def test_an_address_whose_file_is_another(remote, dest) -> None:
    address = f"{remote.files}/all.h5ad"
    with pytest.raises(ScfmError, match=r"gave [\d,]+ bytes or more, expected 5"):
        fetch(remote, url_spec(address, size=5), dest)
    with pytest.raises(ScfmError, match=f"the checksum of the file is .*, expected {'0' * 64}"):
        fetch(remote, url_spec(address, sha256="0" * 64), dest)
    with pytest.raises(ScfmError, match=r"not an h5ad \(HDF5\) file: .* begins with b'human,mouse.* Nothing was kept"):
        fetch(remote, url_spec(f"{remote.files}/orthologs.csv"), dest)
    remote.kind = "text/html"
    with pytest.raises(ScfmError, match="sends a web page in place of the file"):
        fetch(remote, url_spec(address), dest)
    assert names(dest) == []


def test_a_checksum_that_is_known_spares_the_update(remote, dest) -> None:
    spec = url_spec(f"{remote.files}/all.h5ad", sha256=hashlib.sha256(content_of("all")).hexdigest())
    fetch(remote, spec, dest)
    remote.asked.clear()
    fetch(remote, spec, dest, update=True)
    assert remote.asked == []


def test_a_local_file_is_linked_or_copied(tmp_path, dest, monkeypatch) -> None:
    source = tmp_path / "my cells.h5ad"
    source.write_bytes(NEW)
    digest = hashlib.sha256(NEW).hexdigest()
    path = fetch_source(file_spec(source, size=len(NEW), sha256=digest), dest)
    assert path.name == "file_my_cells.h5ad" and path.samefile(source)
    assert record_of(path) | {"retrieved": ""} == record_of(path) | {
        "retrieved": "",
        "url": str(source),
        "sha256": digest,
        "filesize": len(NEW),
    }
    assert fetch_source(file_spec(source), dest, update=True).samefile(source) and names(dest) == [
        "file_my_cells.h5ad",
        "file_my_cells.source.json",
    ]
    monkeypatch.setattr(fetch_module.os, "link", lambda *_: (_ for _ in ()).throw(OSError("another file system")))
    other = fetch_source(file_spec(source), tmp_path / "copied")
    assert not other.samefile(source) and other.read_bytes() == NEW


def test_a_local_file_that_is_another(tmp_path, dest) -> None:
    source = tmp_path / "cells.h5ad"
    with pytest.raises(ScfmError, match="the file does not exist"):
        fetch_source(file_spec(source), dest)
    source.write_bytes(b"text")
    with pytest.raises(ScfmError, match="not an h5ad"):
        fetch_source(file_spec(source), dest)
    with pytest.raises(ScfmError, match="has 4 bytes, expected 5"):
        fetch_source(file_spec(source, size=5), dest)
    with pytest.raises(ScfmError, match=r"the checksum of the file is .*, expected 0"):
        fetch_source(file_spec(source, sha256="0" * 64), dest)
    with pytest.raises(ScfmError, match=r"'ending' is '.loom'; known are '.h5ad', '.csv'"):
        file_spec(tmp_path / "cells.loom")
    assert names(dest) == []


def test_an_hdf5_file_with_a_block_in_front(tmp_path) -> None:
    file = tmp_path / "front.h5ad"
    file.write_bytes(b"\0" * 512 + SIGNATURE)
    fetch_module.check_is_h5ad(file)
    file.write_bytes(b"\0" * 513 + SIGNATURE)
    with pytest.raises(ScfmError):
        fetch_module.check_is_h5ad(file)


# ---- what is there already -------------------------------------------------------------------------------------------


def test_a_record_without_its_file(remote, dest) -> None:
    path = fetch(remote, cellxgene_spec(HEALTHY), dest)
    path.unlink()
    with pytest.raises(
        ScfmError, match=r"source.json: is the record of a file that is not there .*Delete .* or fetch with --update"
    ):
        fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert fetch(remote, cellxgene_spec(HEALTHY), dest, update=True).read_bytes() == NEW


def test_a_file_that_is_not_that_of_its_record(remote, dest) -> None:
    path = fetch(remote, cellxgene_spec(HEALTHY), dest)
    path.write_bytes(NEW[:-5])
    with pytest.raises(ScfmError, match="has 200,003 bytes, but its record says 200,008: it was changed, or broke off"):
        fetch(remote, cellxgene_spec(HEALTHY), dest)
    path.write_bytes(NEW[:-1] + b"?")
    assert (
        fetch(remote, cellxgene_spec(HEALTHY), dest) == path
    )  # the size fits; reading gigabytes at every start would cost minutes
    with pytest.raises(ScfmError, match="its checksum is not the one of its record"):
        fetch(remote, cellxgene_spec(HEALTHY), dest, verify=True)


def test_a_file_without_a_record(remote, dest, caplog) -> None:
    dest.mkdir()
    path = dest / f"cellxgene_{HEALTHY}.h5ad"
    path.write_bytes(NEW)
    fetch(remote, cellxgene_spec(HEALTHY), dest)
    assert (
        remote.paths == [f"/datasets/{HEALTHY}/versions"]
        and record_of(path)["sha256"] == hashlib.sha256(NEW).hexdigest()
    )
    assert "was there without a record" in caplog.text
    other = dest / f"cellxgene_{ALL}.h5ad"
    other.write_bytes(NEW[:-1])
    with pytest.raises(ScfmError, match=r"is there without a record \(200,007 bytes; the source has 200,008\)"):
        fetch(remote, cellxgene_spec(ALL), dest)
    assert fetch(remote, cellxgene_spec(ALL), dest, update=True).read_bytes() == content_of("all")


def test_a_record_that_is_none(remote, dest) -> None:
    dest.mkdir()
    record = dest / f"cellxgene_{HEALTHY}.source.json"
    for text, sentence in (
        ("[1]", "is no record of a download: 'key'"),
        ('{"key": "a", "filesize": "many", "sha256": ""}', "'filesize'"),
        ("{", "not valid JSON"),
    ):
        record.write_text(text)
        with pytest.raises(ScfmError, match=sentence):
            fetch(remote, cellxgene_spec(HEALTHY), dest)


# ---- large files -----------------------------------------------------------------------------------------------------


def test_a_large_sparse_file_is_the_same_after_a_cut(tmp_path) -> None:
    """32 MB, and 2 GB with SCFM_BIG_DOWNLOAD=1: two cuts, a call that gave up, and a file that is equal byte for
    byte.
    """
    size = 2 * 1024**3 if os.environ.get("SCFM_BIG_DOWNLOAD") == "1" else 32 * 1024**2
    folder, random = write_folder(tmp_path / "mirror"), np.random.default_rng(0)
    source = folder / "healthy.h5ad"
    with source.open("wb") as handle:
        handle.truncate(size)
        for place in [0, *random.integers(0, size - 4096, 50).tolist(), size - 4096]:
            handle.seek(place)
            handle.write((SIGNATURE if place == 0 else b"") + random.bytes(4000))
    with serving(folder) as remote:
        remote.cuts = [size // 3, 0, 0, 0]
        with pytest.raises(ScfmError, match=f"{size // 3:,} bytes.* is kept"):
            fetch(remote, cellxgene_spec(HEALTHY), tmp_path / "data")
        remote.cuts, remote.asked = [size // 3, None], []
        path = fetch(remote, cellxgene_spec(HEALTHY), tmp_path / "data")
        assert [part for _, part in remote.asked] == [None, f"bytes={size // 3}-", f"bytes={2 * (size // 3)}-"]
    assert path.stat().st_size == size and filecmp.cmp(path, source, shallow=False)
    assert record_of(path)["filesize"] == size
    shutil.rmtree(tmp_path / "data")
    source.unlink()


# ---- specs -----------------------------------------------------------------------------------------------------------


def test_keys_are_those_of_the_resolver() -> None:
    assert cellxgene_spec(HEALTHY).key == f"cellxgene_{HEALTHY}"
    assert cellxgene_spec(HEALTHY, version=ALL_V).key == f"cellxgene_{HEALTHY}_{ALL_V}"
    assert url_spec("https://h.org/biomart/martservice?query=abc").key == "url_martservice_e1be21f9c1"
    assert url_spec("https://h.org/a.h5ad?x=1").key != url_spec("https://h.org/a.h5ad?x=2").key


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "must be an object"),
        ({"kind": "url", "url": "https://x"}, "missing keys 'key'"),
        ({"key": "a", "kind": "url", "url": "https://x", "colour": 1}, "unknown keys 'colour'"),
        ({"key": "../a", "kind": "url", "url": "https://x"}, "'key' is the stem of a file"),
        ({"key": "a", "kind": "ftp", "url": "https://x"}, "'kind' is 'ftp'; known are 'cellxgene', 'url', 'file'"),
        ({"key": "a", "kind": "url"}, "needs 'url'"),
        ({"key": "a", "kind": "url", "url": 5}, "'url' must be a text"),
        ({"key": "a", "kind": "url", "url": "https://x", "size": "5"}, "'size' must be a number of bytes"),
        ({"key": "a", "kind": "url", "url": "https://x", "sha256": "ab"}, "'sha256' must be 64 hex digits"),
        ({"key": "a", "kind": "url", "url": "https://x", "ending": ".zip"}, "'ending' is '.zip'"),
        ({"key": "a", "kind": "cellxgene"}, "needs 'dataset_id' or 'collection_id'"),
        ({"key": "a", "kind": "cellxgene", "dataset_id": "liver"}, "'dataset_id' is 'liver', which is no id"),
        ({"key": "a", "kind": "cellxgene", "dataset_id": HEALTHY, "select": {"disease": "normal"}}, "no 'dataset_id'"),
        (
            {"key": "a", "kind": "cellxgene", "collection_id": LIVER, "select": {"sex": "male"}},
            "'select' has unknown keys 'sex'",
        ),
        (
            {"key": "a", "kind": "cellxgene", "collection_id": LIVER, "select": {"disease": 5}},
            "'disease' must be a text or a list of texts",
        ),
        (
            {"key": "a", "kind": "cellxgene", "collection_id": LIVER, "select": {"title_contains": ["a"]}},
            "'title_contains' must be a text;",
        ),
        ({"key": "a", "kind": "cellxgene", "collection_id": LIVER, "select": "normal"}, "'select' must be an object"),
    ],
)
def test_specs_that_do_not_fit(content, sentence, dest) -> None:
    with pytest.raises(ScfmError, match=sentence):
        fetch_source(content, dest, api="http://127.0.0.1:9")
    assert not dest.exists()


def test_a_spec_is_its_json(remote, dest) -> None:
    spec = collection_spec(LIVER, "mouse", select={"organism": ["Mus musculus"]})
    assert Spec.of(json.loads(json.dumps(spec.as_dict()))) == spec
    assert fetch(remote, spec.as_dict(), dest).read_bytes() == content_of("mouse")
