"""Sharding: cells are cut by id, joined by id, and the result is that of the whole; a failed shard fails the embedding
with its reason.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from models_cases_scgpt import CASES
from models_contract import read_input
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding, write_embedding, write_json
from scfm.models.core.merging import merge_sidecars
from scfm.models.core.shards import plan_shards, read_cells, split_cells
from scfm.registries.messages import message

BIN = Path(__file__).resolve().parents[2] / "bin"
SETTINGS = {"gene_column": "gene_symbol", "max_length": 64}
NAME = "d.scgpt.raw.0"


def _main(script: str, *argv: str | Path) -> None:
    """Run an executable's main in this process."""
    spec = importlib.util.spec_from_file_location(script, BIN / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(a) for a in argv])


def _obs(folder: Path, ids: Sequence[str], **columns: list) -> Path:
    path = folder / "d.obs.parquet"
    pd.DataFrame({"cell_id": list(ids), **columns}).to_parquet(path, index=False)
    return path


def _lines(folder: Path) -> list[list[str]]:
    return [p.read_text().splitlines() for p in sorted(folder.glob("*.txt"))]


def test_ids_with_other_line_separators_come_back_whole(tmp_path) -> None:
    """Python's splitlines also ends a line at these; an id may hold them, a line feed it may not."""
    ids = ["plain", "a\u2028b", "c\x85d", "e\x0bf", "g\x1ch", "\u00e4 b"]
    split_cells(_obs(tmp_path, ids), tmp_path, shard_cells=4)
    assert sorted(i for p in sorted(tmp_path.glob("*.txt")) for i in read_cells(p)) == sorted(ids)
    (tmp_path / "windows.txt").write_bytes(b"a\r\nb\r\n")
    assert read_cells(tmp_path / "windows.txt") == ["a", "b"]
    with pytest.raises(ScfmError, match="1 cell id of 2 would not fit on one line"):
        split_cells(_obs(tmp_path, ["a\nb", "c"]), tmp_path, shard_cells=4)


# --- cutting ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=4), st.sampled_from(["x", "y", "z", None])),
        min_size=1,
        unique_by=lambda c: c[0],
    ),
    st.integers(0, 9),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_shards_are_a_partition_that_does_not_depend_on_order(cells, size, whole, random) -> None:
    ids, groups = [c for c, _ in cells], [g for _, g in cells]
    shards = plan_shards(ids, groups, shard_cells=size, whole_groups=whole)
    assert sorted(c for s in shards for c in s) == sorted(ids)
    assert all(s == sorted(s) and s for s in shards)
    mixed = list(zip(ids, groups, strict=True))
    random.shuffle(mixed)
    assert plan_shards([c for c, _ in mixed], [g for _, g in mixed], shard_cells=size, whole_groups=whole) == shards
    if not size:
        assert len(shards) == 1
    elif not whole:
        assert max(map(len, shards)) <= size and max(map(len, shards)) - min(map(len, shards)) <= 1
    else:
        group_of = dict(cells)
        where = {}
        for i, shard in enumerate(shards):
            for cell in shard:
                assert where.setdefault(group_of[cell], i) == i, "a group was cut"
            assert len(shard) <= max(size, len(ids)) and (
                len(shard) <= size or len({group_of[c] for c in shard}) == 1 or size >= len(ids)
            )


def test_split_writes_sorted_lists_one_for_all_by_default(tmp_path) -> None:
    obs = _obs(tmp_path, ["c3", "c1", "c2", "c5", "c4"])
    _main("split_cells", "--obs", obs, "--shard_cells", "0", "--outdir", tmp_path / "one")
    assert _lines(tmp_path / "one") == [["c1", "c2", "c3", "c4", "c5"]]
    _main("split_cells", "--obs", obs, "--shard_cells", "2", "--outdir", tmp_path / "three")
    assert [p.name for p in sorted((tmp_path / "three").iterdir())] == [
        "shard_000.txt",
        "shard_001.txt",
        "shard_002.txt",
    ]
    assert _lines(tmp_path / "three") == [["c1"], ["c2", "c3"], ["c4", "c5"]]


def test_split_follows_groups(tmp_path, caplog) -> None:
    obs = _obs(tmp_path, [f"c{i}" for i in range(6)], batch=["b", "a", "b", "a", "c", "b"])
    _main(
        "split_cells",
        "--obs",
        obs,
        "--shard_cells",
        "3",
        "--groups",
        "true",
        "--group_column",
        "batch",
        "--outdir",
        tmp_path / "g",
    )
    assert _lines(tmp_path / "g") == [["c1", "c3"], ["c0", "c2", "c5"], ["c4"]]
    with caplog.at_level("INFO"):
        _main("split_cells", "--obs", obs, "--shard_cells", "3", "--groups", "true", "--outdir", tmp_path / "none")
    assert len(_lines(tmp_path / "none")) == 1 and "no group_column is set: one shard with all 6 cells" in caplog.text
    with caplog.at_level("INFO"):
        split_cells(obs, tmp_path / "odd", shard_cells=3, groups=True, group_column="plate")
    assert len(_lines(tmp_path / "odd")) == 1 and "'plate' is no column of d.obs.parquet" in caplog.text


def test_split_of_nothing_is_a_sentence(tmp_path) -> None:
    with pytest.raises(ScfmError, match="no cells to embed"):
        split_cells(_obs(tmp_path, []), tmp_path, shard_cells=0)
    with pytest.raises(ScfmError, match="expected 0"):
        split_cells(_obs(tmp_path, ["a"]), tmp_path, shard_cells=-1)


# --- a whole run on the fixture ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The fixture's cells with three empty ones that sort first: with small shards, one shard has no cell with a
    gene.
    """
    adata = read_input("scgpt")
    empty = ad.AnnData(
        sparse.csr_matrix((3, adata.n_vars), dtype=np.float32),
        obs=pd.DataFrame(index=["00a", "00b", "00c"]),
        var=adata.var,
    )
    joined = ad.concat([adata, empty], join="outer", merge="same")
    path = tmp_path_factory.mktemp("source") / "d.prepared.h5ad"
    joined.write_h5ad(path)
    return path


def _embed(source: Path, out: Path, cells: Path | None = None, *more: str) -> None:
    out.mkdir(parents=True)
    (out / "options.json").write_text(json.dumps(SETTINGS))
    _main(
        "embed_cells",
        "--model",
        "scgpt",
        "--weights",
        CASES.folder,
        "--input",
        source,
        "--output",
        out / "embedding.parquet",
        "--device",
        "cpu",
        "--dataset",
        "d",
        "--options",
        out / "options.json",
        *(("--cells", cells) if cells else ()),
        *more,
    )


def _merge(folder: Path, obs: Path, out: Path, *more: str) -> dict:
    _main(
        "merge_shards",
        "--id",
        NAME,
        "--parts",
        *folder.glob("*/embedding.parquet"),
        "--sidecars",
        *folder.glob("*/embedding.json"),
        "--statuses",
        *folder.glob("*/*.status.json"),
        "--obs",
        obs,
        "--outdir",
        out,
        *more,
    )
    return json.loads((out / f"{NAME}.embed.status.json").read_text())


@pytest.fixture(scope="module")
def sharded(source, tmp_path_factory) -> Path:
    """Folder with ``obs``, the shards and what each left."""
    folder = tmp_path_factory.mktemp("sharded")
    obs = _obs(folder, list(ad.read_h5ad(source, backed="r").obs_names))
    _main("split_cells", "--obs", obs, "--shard_cells", "3", "--outdir", folder / "lists")
    for cells in sorted((folder / "lists").iterdir()):
        _embed(source, folder / "shards" / cells.stem, cells)
    return folder


def test_merged_shards_equal_the_whole(source, sharded, tmp_path) -> None:
    _embed(source, tmp_path / "whole")
    ids, rows = read_embedding(tmp_path / "whole" / "embedding.parquet")
    whole = json.loads((tmp_path / "whole" / "embedding.json").read_text())
    status = _merge(sharded / "shards", sharded / "d.obs.parquet", tmp_path / "out")
    assert (status["status"], status["step"], status["embedding"], status["shards"]) == (
        "ok",
        "embed",
        "scgpt.raw.0",
        9,
    )
    found = dict(zip(*read_embedding(tmp_path / "out" / f"{NAME}.unchecked.parquet"), strict=True))
    assert set(found) == set(ids) and len(ids) == 24
    assert np.abs(np.stack([found[i] for i in ids]) - rows).max() < 1e-6
    merged = json.loads((tmp_path / "out" / f"{NAME}.unchecked.json").read_text())
    for key in set(whole) - {"seconds", "cells_per_second", "peak_rss_mb", "peak_gpu_mb", "not_embedded"}:
        assert merged[key] == whole[key], key
    assert merged["shards"] == 9 and [e["cell_id"] for e in merged["not_embedded"]] == ["00a", "00b", "00c"]
    parts = [json.loads(p.read_text()) for p in (sharded / "shards").glob("*/embedding.json")]
    assert min(p["cells_out"] for p in parts) == 0  # the shard without a single row
    assert merged["seconds"] == pytest.approx(sum(p["seconds"] for p in parts), abs=1e-2)
    assert merged["peak_rss_mb"] == max(p["peak_rss_mb"] for p in parts)
    assert status["seconds"] == pytest.approx(
        sum(json.loads(p.read_text())["seconds"] for p in (sharded / "shards").glob("*/*.status.json"))
    )


def test_one_part_is_the_same_path(source, tmp_path) -> None:
    obs = _obs(tmp_path, list(ad.read_h5ad(source, backed="r").obs_names))
    _main("split_cells", "--obs", obs, "--outdir", tmp_path / "lists")
    _embed(source, tmp_path / "shards" / "shard_000", tmp_path / "lists" / "shard_000.txt")
    assert _merge(tmp_path / "shards", obs, tmp_path / "out")["status"] == "ok"
    assert json.loads((tmp_path / "out" / f"{NAME}.unchecked.json").read_text())["shards"] == 1


def test_a_file_without_an_embeddable_cell_is_still_an_error(source, tmp_path) -> None:
    adata = ad.read_h5ad(source)
    adata[["00a", "00b", "00c"]].write_h5ad(tmp_path / "empty.h5ad")
    _embed(tmp_path / "empty.h5ad", tmp_path / "x")
    assert "the matrix is empty" in json.loads((tmp_path / "x" / f"{NAME}.embed.status.json").read_text())["reason"]


def test_a_failed_shard_fails_the_embedding_with_its_reason(source, sharded, tmp_path) -> None:
    shards = tmp_path / "shards"
    for folder in sorted((sharded / "shards").iterdir())[:2]:
        (shards / folder.name).mkdir(parents=True)
        for file in folder.iterdir():
            (shards / folder.name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "ids.txt").write_text("no such cell\n")
    _embed(source, shards / "shard_008", tmp_path / "ids.txt")
    assert not (shards / "shard_008" / "embedding.parquet").exists()
    status = _merge(shards, sharded / "d.obs.parquet", tmp_path / "out")
    assert (status["status"], status["reason_code"]) == ("failed", "ScfmError")
    assert (
        status["reason"].startswith("1 of 3 shards failed; the first reason: ") and "'no such cell'" in status["reason"]
    )
    assert [p.name for p in (tmp_path / "out").iterdir() if p.stat().st_size] == [f"{NAME}.embed.status.json"]
    with pytest.raises(ScfmError, match="no such cell"):
        _merge(shards, sharded / "d.obs.parquet", tmp_path / "stop", "--on_error", "stop")


def test_a_lost_shard_is_noticed(sharded, tmp_path) -> None:
    shards = tmp_path / "shards"
    for folder in sorted((sharded / "shards").iterdir())[1:]:
        (shards / folder.name).mkdir(parents=True)
        for file in folder.iterdir():
            (shards / folder.name / file.name).write_bytes(file.read_bytes())
    status = _merge(shards, sharded / "d.obs.parquet", tmp_path / "out")
    assert status["status"] == "failed" and "3 cells of 27 were in no shard ('00a', '00b', '00c')" in status["reason"]
    assert (tmp_path / "out" / f"{NAME}.unchecked.parquet").stat().st_size == 0


# --- sidecars ---------------------------------------------------------------------------------------------------------


def _part(**changes: object) -> dict:
    return {
        "dataset": "d",
        "embedding": "scgpt.raw.0",
        "method": "scgpt",
        "model": "scgpt",
        "family": "foundation_model",
        "correction": "raw",
        "seed": 0,
        "settings": {"max_length": 5},
        "precision": "bf16",
        "n_dims": 2,
        "weights_sha256": {"a": "1"},
        "weights_random": False,
        "device": "cuda",
        "seconds": 2.0,
        "cells_in": 10,
        "cells_out": 10,
        "peak_rss_mb": 5.0,
        "peak_gpu_mb": 7.0,
        "batch_tokens": 8,
        "warnings": [],
        "not_embedded": [],
        "share_padding": 0.5,
        "bf16_drift": {"cells": 4, "cosine_min": 0.9, "cosine_median": 1.0},
        "versions": {"torch": "2"},
        **changes,
    }


def test_costs_add_up_and_warnings_are_reported_once() -> None:
    told = message("W-MOD-01", model="scgpt", values={"gene_overlap": 0.2}, method="scgpt")
    lost = {"cell_id": "x", "reason": "no gene"}
    merged = merge_sidecars(
        NAME,
        [
            _part(warnings=[told]),
            _part(
                warnings=[told, message("W-MOD-03", cell="x", reason="", method="scgpt", values={"n": 1})],
                cells_out=5,
                seconds=1.0,
                device="cpu",
                peak_gpu_mb=None,
                batch_tokens=4,
                share_padding=0.2,
                not_embedded=[lost, {**lost, "cell_id": "a"}],
                bf16_drift={"cells": 12, "cosine_min": 0.8, "cosine_median": 0.6},
            ),
        ],
    )
    assert (merged["cells_in"], merged["cells_out"], merged["seconds"], merged["cells_per_second"]) == (
        20,
        15,
        3.0,
        5.0,
    )
    assert (merged["peak_rss_mb"], merged["peak_gpu_mb"], merged["device"], merged["batch_tokens"]) == (
        5.0,
        7.0,
        "cpu,cuda",
        4,
    )
    assert [e["cell_id"] for e in merged["not_embedded"]] == ["a", "x"]
    assert [w["text"] for w in merged["warnings"]] == [told["text"], "2 cells got no row (such as 'a': no gene)."]
    assert merged["bf16_drift"] == {"cells": 16, "cosine_min": 0.8, "cosine_median": pytest.approx(0.7)}
    assert merged["share_padding"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"max_length": 6}},
        {"weights_sha256": {"a": "2"}},
        {"precision": "fp32"},
        {"n_dims": 3},
        {"seed": 1},
        {"weights_random": True},
    ],
)
def test_shards_that_do_not_belong_together_are_refused(change) -> None:
    with pytest.raises(ScfmError, match=f"the shards differ in '{next(iter(change))}'"):
        merge_sidecars(NAME, [_part(), _part(**change)])


def test_shards_of_another_embedding_and_of_no_cells_are_refused() -> None:
    with pytest.raises(ScfmError, match=r"a shard is of 'e\.scgpt\.raw\.0'"):
        merge_sidecars(NAME, [_part(dataset="e")])
    with pytest.raises(ScfmError, match="none of 10 cells could be embedded: no gene"):
        merge_sidecars(NAME, [_part(cells_out=0, not_embedded=[{"cell_id": "x", "reason": "no gene"}])])


def test_a_cell_in_two_shards_is_refused(tmp_path) -> None:
    for i, ids in enumerate((["a", "b"], ["b", "c"])):
        folder = tmp_path / "shards" / f"shard_{i:03d}"
        folder.mkdir(parents=True)
        write_embedding(folder / "embedding.parquet", ids, np.ones((2, 2)))
        write_json(folder / "embedding.json", _part(cells_in=2, cells_out=2))
        write_json(
            folder / f"{NAME}.embed.status.json",
            {
                "dataset": "d",
                "embedding": "scgpt.raw.0",
                "step": "embed",
                "status": "ok",
                "reason": "",
                "reason_code": "",
            },
        )
    status = _merge(tmp_path / "shards", _obs(tmp_path, ["a", "b", "c"]), tmp_path / "out")
    assert status["status"] == "failed" and "1 cell in more than one shard ('b')" in status["reason"]
