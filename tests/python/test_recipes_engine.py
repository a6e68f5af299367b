"""What the engine does with rows, labels and columns: small files, known answers, wrong input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from helpers_recipes import ROOT, apply, cells, dense, write
from scfm.errors import ScfmError

AGES = [1.0, 2.0, 3.0, None, 1.0, 2.0]
SEX = ["f", "m", "f", "m", None, "NA"]


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """Return a file of six cells: numbers, text, missing values of several kinds, a category that no cell has."""
    data = cells(
        6,
        age=AGES,
        sex=SEX,
        ok=[True, True, False, True, False, True],
        kind=pd.Categorical(list("aabbab"), categories=list("abz")),
    )
    data.obs["sex"] = pd.Categorical(data.obs["sex"])
    return write(data, tmp_path / "six.h5ad")


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ("{column: sex, equals: f}", "02"),
        ("{column: sex, not_equals: f}", "1345"),
        ("{column: sex, in: [f, m]}", "0123"),
        ("{column: sex, not_in: [f, m]}", "45"),
        ("{column: sex, missing: true}", "45"),
        ("{column: sex, missing: false}", "0123"),
        ("{column: age, equals: 1}", "04"),
        ("{column: age, in: [2.0, '3']}", "125"),
        ("{column: age, missing: true}", "3"),
        ("{column: ok, equals: true}", "0135"),
        ("{column: kind, not_equals: a}", "235"),
        ("{column: kind, equals: a}, {column: age, equals: 1}", "04"),
        ("{column: kind, equals: b}, {column: sex, missing: false}", "23"),
    ],
)
def test_filters(tmp_path: Path, six: Path, filters: str, kept: str) -> None:
    report, data = apply(tmp_path, f"sources: {{one: {{keep: [{filters}]}}}}", one=six)
    assert data.obs_names.tolist() == [f"c{i}" for i in kept]
    whole = ad.read_h5ad(six)
    np.testing.assert_array_equal(dense(data), whole.raw.X.toarray()[[int(i) for i in kept]])
    source = report["sources"][0]
    assert source["cells_in"] - sum(f["dropped"] for f in source["filters"]) == source["cells_kept"] == len(kept)
    assert len(source["filters"]) == filters.count("column")
    assert report["warnings"] == []


def test_every_filter_counts_what_it_drops_itself(tmp_path: Path, six: Path) -> None:
    report, _ = apply(
        tmp_path,
        "sources: {one: {keep: [{column: kind, equals: a}, {column: ok, equals: true}]}}\nkeep: [{column: age,"
        " equals: 1}]",
        one=six,
    )
    assert report["sources"][0]["filters"] == [
        {"rule": "kind is a", "dropped": 3},
        {"rule": "ok is True", "dropped": 1},
    ]
    assert report["filters"] == [{"rule": "age is 1", "dropped": 1}]
    assert (report["sources"][0]["cells_kept"], report["sources"][0]["cells_out"], report["n_cells"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "sources: {one: {keep: [{column: sexx, equals: f}]}}",
            ["six.h5ad: obs has no column 'sexx'", "Did you mean 'sex'?"],
        ),
        (
            "sources: {one: {keep: [{column: kind, equals: A}, {column: sex, equals: q}]}}",
            ["the filter 'kind is A' drops all of the 6 rows", "Did you mean 'a'?"],
        ),
        (
            "sources: {one: {keep: [{column: kind, equals: a}, {column: age, equals: 3}]}}",
            ["the filter 'age is 3' drops all of the 3 rows that were left", "'1', '2', '3'"],
        ),
        ("sources: {one: {keep: [{column: kind, equals: z}]}}", ["'kind is z' drops all"]),
        (
            "sources: {one: }\nkeep: [{column: sexx, missing: true}]",
            ["recipe.yml: keep: there is no column 'sexx'", "Did you mean 'sex'?"],
        ),
        (
            "sources: {one: }\nlabels: {column: x, rules: [{from: kinds, keep: [a]}]}",
            ["labels: there is no column 'kinds'", "Did you mean 'kind'?"],
        ),
        (
            "sources: {one: }\nlabels: {column: x, rules: [{from: kind, keep: [q]}]}",
            ["none of the 6 cells gets a label", "'a', 'b'"],
        ),
        ("sources: {one: {rename: {sx: y}}}", ["six.h5ad: rename: there is no column 'sx'", "Did you mean 'sex'?"]),
        ("sources: {one: {rename: {sex: age}}}", ["rename: the column 'age' exists already"]),
        ("sources: {one: {paste: {y: [sex, agee]}}}", ["paste: there is no column 'agee'", "Did you mean 'age'?"]),
        ("sources: {one: {counts: layer}}", ["there is no layer 'layer' (key 'counts')", "Layers: none"]),
        (
            "sources: {one: , two: {file: six.h5ad}}",
            ["6 cell ids of 'one', 'two' occur more than once", "cell_ids: {prefix: cell_}"],
        ),
        ("sources: {two: }", ["--source one=…: the recipe has none of that name", "'two'"]),
        ("sources: {one: , two: {file: absent.h5ad}}", ["absent.h5ad: the file does not exist"]),
        (
            f"sources: {{one: , two: {{cellxgene: {'0' * 8}-0000-0000-0000-{'0' * 12}}}}}",
            ["no file is given for source 'two'", "--source two=path"],
        ),
    ],
)
def test_what_is_wrong_is_reported(tmp_path: Path, six: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ScfmError) as error:
        apply(tmp_path, text, one=six)
    assert all(p in str(error.value) for p in parts), str(error.value)
    assert not list(tmp_path.glob("*out.recipe*")), "a failed recipe leaves nothing that looks like a result"


def test_values_that_no_row_has_are_warned_about_with_the_nearest(tmp_path: Path, six: Path) -> None:
    report, _ = apply(
        tmp_path,
        "sources: {one: {keep: [{column: kind, in: [a, bb, z]}]}}\nlabels: {column: l, rules: [{from: sex, keep: [f,"
        " F]}], unmapped: missing}",
        one=six,
    )
    first, second, third = report["warnings"]
    assert [w["code"] for w in report["warnings"]] == ["W-REC-01", "W-REC-01", "W-REC-02"]
    assert first["values"] == {"kind": ["bb", "z"]}
    assert (
        "six.h5ad (source 'one'): the filter 'kind is one of a, bb, z' names 2 values that no row has: 'bb' (kind),"
        " nearest: 'b'; 'z' (kind)." in first["text"]
    )
    assert second["values"] == {"sex": ["F"]}
    assert "stay without a label" in third["text"]
    assert first["dataset"] == "out"


def test_the_first_matching_rule_wins_and_the_rest_is_counted(tmp_path: Path, six: Path) -> None:
    text = (
        "sources: {one: }\nlabels: {column: l, rules: [{from: kind, map: {A: [a]}}, {from: age, map: {young: [1, 2]}},"
        " {from: kind, keep: [a]}]}"
    )
    report, data = apply(tmp_path, text, one=six)
    assert dict(data.obs["l"]) == {"c0": "A", "c1": "A", "c4": "A", "c5": "young"}
    assert report["labels"] == {
        "column": "l",
        "classes": {"A": 3, "young": 1},
        "unmapped": {"b | (missing)": 1, "b | 3": 1},
    }
    warning = report["warnings"][0]
    assert (warning["code"], warning["values"]) == ("W-REC-02", {"n_cells": 2, "n_values": 2, "what_is_done": "drop"})
    report, data = apply(tmp_path, text.replace("]}]}", "]}], unmapped: missing}"), one=six)
    assert data.obs["l"].isna().tolist() == [False, False, True, True, False, False]
    assert report["n_cells"] == 6


def test_columns_are_renamed_set_and_pasted_in_this_order(tmp_path: Path, six: Path) -> None:
    text = """
        sources:
          one:
            keep: [{column: kind, equals: a}]
            rename: {sex: gender, kind: type}
            set: {centre: Sanger, number: 3, ok: false}
            paste: {both: [gender, centre], twice: [both, type]}
        drop_columns: [age, leiden]
        """
    report, data = apply(tmp_path, text, one=six)
    assert list(data.obs.columns) == ["gender", "ok", "type", "centre", "number", "both", "twice"]
    assert data.obs["both"].astype(object).where(data.obs["both"].notna(), None).tolist() == [
        "f+Sanger",
        "m+Sanger",
        None,
    ]
    assert data.obs["twice"].tolist()[:2] == ["f+Sanger+a", "m+Sanger+a"]
    assert not data.obs["ok"].any()
    assert (data.obs["number"] == 3).all()
    assert report["dropped_columns"] == ["age"]
    assert list(data.obs["type"].cat.categories) == ["a"]


def test_several_sources_have_the_union_of_columns_and_keep_their_order(tmp_path: Path) -> None:
    one = cells(
        3,
        prefix="x",
        seed=1,
        genes=["g2", "g0", "g1"],
        n_genes=3,
        only_one=[1, 2, 3],
        shared=pd.Categorical(["b", "a", "b"]),
        mixed=[1, 2, 3],
        flag=[True, False, True],
    )
    two = cells(
        2,
        prefix="y",
        seed=2,
        genes=["g1", "g3", "g2"],
        n_genes=3,
        only_two=["p", "q"],
        shared=pd.Categorical(["c", "a"]),
        mixed=["1", "u"],
    )
    two.raw.var["feature_name"] = ["other"] * 3
    files = {"b": write(one, tmp_path / "1.h5ad"), "a": write(two, tmp_path / "2.h5ad")}
    report, data = apply(tmp_path, "sources: {b: {file: 1.h5ad}, a: {file: 2.h5ad}}", **files)
    assert data.obs_names.tolist() == ["x0", "x1", "x2", "y0", "y1"]
    assert data.var_names.tolist() == ["g1", "g2"]
    assert data.var["feature_name"].tolist() == ["Sg1", "Sg2"]
    np.testing.assert_array_equal(
        dense(data), np.vstack([one.raw.X.toarray()[:, [2, 0]], two.raw.X.toarray()[:, [0, 2]]])
    )
    assert list(data.obs["shared"].cat.categories) == ["a", "b", "c"]
    assert data.obs["shared"].tolist() == ["b", "a", "b", "c", "a"]
    assert data.obs["mixed"].tolist() == ["1", "2", "3", "1", "u"]
    assert data.obs["only_one"].tolist()[:3] == [1, 2, 3]
    assert data.obs["only_one"].isna().tolist() == data.obs["flag"].isna().tolist() == [False] * 3 + [True] * 2
    assert data.obs["only_two"].isna().tolist() == [True] * 3 + [False] * 2
    assert [s["genes_kept"] for s in report["sources"]] == [2, 2]
    _, union = apply(tmp_path, "sources: {b: {file: 1.h5ad}, a: {file: 2.h5ad}}\ngenes: union", **files)
    assert union.var_names.tolist() == ["g0", "g1", "g2", "g3"]
    assert union.var["feature_name"].tolist() == ["Sg0", "Sg1", "Sg2", "other"]
    np.testing.assert_array_equal(dense(union)[:3, :3], one.raw.X.toarray()[:, [1, 2, 0]])
    assert not dense(union)[:3, 3].any()
    assert not dense(union)[3:, 0].any()
    numbered = apply(
        tmp_path,
        "sources: {b: {file: 1.h5ad}, a: {file: 2.h5ad}}\ncell_ids: {prefix: n}\nkeep: [{column: shared,"
        " not_equals: a}]",
        **files,
    )[1]
    assert numbered.obs_names.tolist() == ["n0", "n1", "n2"]
    assert numbered.obs["source_cell_id"].tolist() == ["x0", "x2", "y0"]


@pytest.mark.parametrize("storage", ["csr", "csc", "dense", "csr_unsorted"])
@pytest.mark.parametrize("place", ["raw", "X", "layer"])
def test_every_storage_gives_the_same_counts(
    tmp_path: Path, storage: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scfm.io.matrix.PIECE_VALUES", 40)  # many pieces
    monkeypatch.setattr("scfm.io.matrix.SKIP_VALUES", 5)
    rng = np.random.default_rng(3)
    counts = (rng.poisson(1.0, (60, 15)) * rng.integers(0, 2, (60, 15))).astype(np.float32)
    counts[0, 0] = 9
    keep = rng.random(60) < 0.4
    matrix = {"csc": sparse.csc_matrix, "dense": np.asarray}.get(storage, sparse.csr_matrix)(counts)
    if storage == "csr_unsorted":
        for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            order = slice(start, stop)
            matrix.indices[order], matrix.data[order] = (
                matrix.indices[order][::-1].copy(),
                matrix.data[order][::-1].copy(),
            )
        matrix.has_sorted_indices = False
    data = cells(60, 15, keep=pd.Categorical(np.where(keep, "yes", "no")))
    if place == "raw":
        data.raw = ad.AnnData(matrix, var=data.raw.var)
    elif place == "X":
        del data.raw
        data.X = matrix
    else:
        data.layers["spliced"] = matrix
    path = write(data, tmp_path / "in.h5ad")
    named = {"raw": "", "X": "counts: X, ", "layer": "counts: spliced, "}[place]
    report, result = apply(tmp_path, f"sources: {{one: {{{named}keep: [{{column: keep, equals: 'yes'}}]}}}}", one=path)
    np.testing.assert_array_equal(dense(result), counts[keep])
    assert result.X.has_sorted_indices
    assert result.X.indices.dtype == np.int32
    assert report["sources"][0]["counts"] == {"raw": "raw", "X": "X", "layer": "layers/spliced"}[place]
    assert (result.X.data > 0).all()


def test_a_zarr_folder_is_a_source_too(tmp_path: Path) -> None:
    data = cells(9, 8, kind=pd.Categorical(list("abcabcabc")), text=list("abcabcabc"))
    data.write_zarr(tmp_path / "in.zarr", convert_strings_to_categoricals=False)
    _, result = apply(tmp_path, "sources: {one: {file: in.zarr, keep: [{column: kind, in: [a, c]}]}}")
    kept = [0, 2, 3, 5, 6, 8]
    np.testing.assert_array_equal(dense(result), data.raw.X.toarray()[kept])
    assert result.obs_names.tolist() == [f"c{i}" for i in kept]
    assert result.obs["text"].tolist() == list("acacac")


def test_the_result_is_a_file_that_others_can_read(tmp_path: Path, six: Path) -> None:
    """Backed by anndata, and by the steps that follow: counts are found in X, symbols and ids in var."""
    from scfm.io.counts import find_counts, load_counts
    from scfm.io.store import open_store

    _, data = apply(tmp_path, "sources: {one: {keep: [{column: sex, missing: true}]}}", one=six)
    path = tmp_path / "out.recipe.h5ad"
    backed = ad.read_h5ad(path, backed="r")
    np.testing.assert_array_equal(backed[[1, 0]].to_memory().X.toarray(), dense(data)[[1, 0]])
    backed.file.close()
    with open_store(path) as store:
        assert find_counts(store).source == "X"
    np.testing.assert_array_equal(load_counts(path, "X").toarray(), dense(data))
    assert not data.layers
    assert not data.obsm
    assert data.raw is None


def test_a_file_that_anndata_wrote_long_ago_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["obs"] = np.array([(b"a", 1)], dtype=[("index", "S3"), ("n", "i4")])
        file["var"] = np.array([(b"g",)], dtype=[("index", "S3")])
        file["X"] = np.ones((1, 1), dtype=np.float32)
    with pytest.raises(ScfmError, match=r"the encoding of anndata before 0\.7"):
        apply(tmp_path, "sources: {one: {file: old.h5ad}}")


def test_only_chosen_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far rows are never asked for: a run of rows is read, the gap between two runs is not."""
    monkeypatch.setattr("scfm.io.matrix.SKIP_VALUES", 5)
    data = cells(1000, 20, far=["yes" if i in {3, 4, 900} else "no" for i in range(1000)])
    path = write(data, tmp_path / "in.h5ad")
    asked = []
    plain = h5py.Dataset.__getitem__

    def watch(self: h5py.Dataset, key: object, *args: object, **kwargs: object) -> object:
        if self.name == "/raw/X/data" and isinstance(key, slice):
            asked.append(key.stop - key.start)
        return plain(self, key, *args, **kwargs)

    with h5py.File(path, "a") as file:  # one chunk is read whole, so make chunks small
        values = file["raw/X/data"][:]
        del file["raw/X/data"]
        file["raw/X"].create_dataset("data", data=values, chunks=(10,))
    monkeypatch.setattr(h5py.Dataset, "__getitem__", watch)
    _, result = apply(tmp_path, "sources: {one: {keep: [{column: far, equals: 'yes'}]}}", one=path)
    np.testing.assert_array_equal(dense(result), data.raw.X.toarray()[[3, 4, 900]])
    assert len(asked) == 2
    assert sum(asked) <= 60


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "1 negative value"),
        (0.5, "1 fractional value"),
        (np.nan, "1 missing value (NaN)"),
        (np.inf, "1 infinite value"),
    ],
)
def test_what_is_no_count_in_the_chosen_rows_is_refused(tmp_path: Path, value: float, words: str) -> None:
    data = cells(10, 8, side=["left"] * 5 + ["right"] * 5)
    counts = data.raw.X.tolil()
    counts[7, 7] = value
    data.raw = ad.AnnData(counts.tocsr(), var=data.raw.var)
    path = write(data, tmp_path / "in.h5ad")
    with pytest.raises(ScfmError) as error:
        apply(tmp_path, "sources: {one: {keep: [{column: side, equals: right}]}}", one=path)
    assert words in str(error.value)
    assert "in.h5ad (source 'one'): 'raw' holds" in str(error.value)
    assert not list(tmp_path.glob("*out.recipe*"))
    report, _ = apply(
        tmp_path, "sources: {one: {keep: [{column: side, equals: left}]}}", one=path
    )  # the others are fine
    assert report["n_cells"] == 5


def test_log_values_and_empty_counts_are_refused(tmp_path: Path) -> None:
    data = cells(6)
    path = write(data, tmp_path / "in.h5ad")
    with pytest.raises(ScfmError, match="They look log-transformed"):
        apply(tmp_path, "sources: {one: {counts: X}}", one=path)
    data.raw = ad.AnnData(sparse.csr_matrix((6, 8), dtype=np.float32), var=data.raw.var)
    with pytest.raises(ScfmError, match="no value above zero in the chosen rows"):
        apply(tmp_path, "sources: {one: }", one=write(data, tmp_path / "in.h5ad"))


def test_symbols_come_from_the_counts_own_frame_else_var_else_the_ids(tmp_path: Path) -> None:
    data = cells(6)
    raw = data.raw.to_adata()
    del raw.var["feature_name"]
    data.raw = raw
    data.var["feature_name"] = pd.Categorical([f"V{i}" for i in range(8)])
    assert apply(tmp_path, "sources: {one: }", one=write(data, tmp_path / "a.h5ad"))[1].var[
        "feature_name"
    ].tolist() == [f"V{i}" for i in range(8)]
    del data.var["feature_name"]
    assert apply(tmp_path, "sources: {one: }", one=write(data, tmp_path / "b.h5ad"))[1].var[
        "feature_name"
    ].tolist() == [f"g{i}" for i in range(8)]


def test_the_executable_writes_both_files_and_says_what_is_wrong(tmp_path: Path, six: Path) -> None:
    (tmp_path / "r.yml").write_text("name: r\nsources: {one: , two: {file: 2.h5ad}}\ncell_ids: {prefix: c_}\n")
    (tmp_path / "one.source.json").write_text('{"key": "k"}')
    write(cells(2, sex=["f", "m"]), tmp_path / "2.h5ad")

    def call(*arguments: str) -> subprocess.CompletedProcess:
        command = [
            sys.executable,
            str(ROOT / "bin" / "apply_recipe.py"),
            "--recipe",
            str(tmp_path / "r.yml"),
            "--dataset",
            "d",
            "--outdir",
            str(tmp_path / "out"),
        ]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    done = call("--source", f"one={six}", "--record", f"one={tmp_path / 'one.source.json'}")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["d.recipe.h5ad", "d.recipe.json"]
    import json

    report = json.loads((tmp_path / "out" / "d.recipe.json").read_text())
    assert [s["record"] for s in report["sources"]] == [{"key": "k"}, None]
    assert set(report) == {
        "dataset",
        "recipe",
        "description",
        "sources",
        "tables",
        "filters",
        "labels",
        "n_cells",
        "n_genes",
        "dropped_columns",
        "warnings",
    }
    for arguments, words in (
        (["--source", "one"], "is not name=path"),
        (["--source", f"one={six}", f"one={six}"], "--source: 'one' is given 2 times"),
        (["--source", f"oen={six}"], "Did you mean 'one'?"),
    ):
        failed = call(*arguments)
        assert failed.returncode == 2
        assert words in failed.stderr
