"""The samplesheet's columns about the design: samples, pairing, side tables, clinical fields and a second modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_data import assert_says, check_one, make_adata
from scfm.errors import ScfmError
from scfm.inputs.keys import default_sample
from scfm.inputs.side_files import read_gmt, read_markers, read_network
from scfm.io.tables import write_table
from scfm.preparation.obs import build_obs
from scfm.preparation.write import _listed_types

GOOD = {
    "markers": ("m.tsv", "label\tgene\nt0\tABC1\nt0\tABC2\nt1\tABC3\nt0\tABC1\n"),
    "gmt": ("s.gmt", "set_a\tsource\tABC1\tABC2\n\nset_b\t\tABC3\tABC3\n"),
    "network": ("n.csv", "source,target,weight\nTF1,ABC1,1\nTF1,ABC2,-0.5\n"),
}


def _adata():
    data = make_adata()
    data.obs["time"] = data.obs["time"].astype(str)
    data.obs["age"] = np.where(np.arange(60) == 3, np.nan, np.arange(60.0))
    data.obs["stage"] = [None if i == 5 else f"s{i % 2}" for i in range(60)]
    data.obs["CD3"] = np.arange(60)
    return data


def _write(folder: Path) -> dict[str, str]:
    for name, text in GOOD.values():
        (folder / name).write_text(text)
    return {column: name for column, (name, _) in GOOD.items()}


def test_every_column_is_accepted_and_reaches_the_datasets(tmp_path):
    row = _write(tmp_path) | {
        "sample_key": "batch+donor", "paired": "true", "donor_key": "donor", "condition_key": "time",
        "clinical_keys": "age; stage", "modality_keys": "CD3",
    }  # fmt: skip
    outcome = check_one(tmp_path, _adata(), row=row)
    assert outcome.errors == []
    assert row.items() <= outcome.datasets[0].items()


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"sample_key": "sampel"}, ["obs has no column 'sampel' (column sample_key"]),
        ({"paired": "yes"}, ["column 'paired': 'yes' is not allowed"]),
        ({"paired": "true"}, ["paired is true, but there is no donor_key and no condition_key"]),
        (
            {"paired": "true", "donor_key": "batch+cell_type", "condition_key": "cell_type"},
            ["none of 9 donors of 'batch+cell_type' occurs in more than one level of 'cell_type'"],
        ),
        ({"markers": "gone.tsv"}, ["column 'markers': the file 'gone.tsv' does not exist"]),
        ({"gmt": "sets.txt"}, ["column 'gmt': 'sets.txt' is not allowed", "ending in .gmt"]),
        ({"clinical_keys": "age;stge"}, ["obs has no column 'stge' (clinical_keys", "Did you mean 'stage'"]),
        ({"clinical_keys": "age;age"}, ["clinical_keys lists 'age' 2 times"]),
        ({"modality_keys": "stage"}, ["obs column 'stage' (modality_keys) is of the type", "expected numbers"]),
    ],
)
def test_what_is_wrong_is_said(tmp_path, row, parts):
    assert_says(check_one(tmp_path, _adata(), row=row).errors, *parts)


def test_an_infinite_protein_level_is_an_error(tmp_path):
    data = _adata()
    data.obs["CD3"] = np.where(np.arange(60) == 0, np.inf, 1.0)
    assert_says(check_one(tmp_path, data, row={"modality_keys": "CD3"}).errors, "CD3", "1 infinite value")


def test_side_tables_are_read_in_their_order(tmp_path):
    _write(tmp_path)
    assert read_markers(tmp_path / "m.tsv") == {"t0": ["ABC1", "ABC2"], "t1": ["ABC3"]}
    assert read_gmt(tmp_path / "s.gmt") == {"set_a": ["ABC1", "ABC2"], "set_b": ["ABC3"]}
    assert read_network(tmp_path / "n.csv").to_numpy().tolist() == [["TF1", "ABC1", 1.0], ["TF1", "ABC2", -0.5]]
    (tmp_path / "plain.tsv").write_text("target\tsource\nABC1\tTF1\n")
    assert read_network(tmp_path / "plain.tsv").to_numpy().tolist() == [["TF1", "ABC1", 1.0]]


@pytest.mark.parametrize(
    ("read", "name", "text", "part"),
    [
        (read_markers, "m.tsv", "label,gene\na,b\n", "no column 'label'"),
        (read_markers, "m.tsv", "", "can't be read"),
        (read_markers, "m.csv", "label,gene\n", "has no rows"),
        (read_markers, "m.csv", "label,gene\nt0,A\n,B\n", "1 row of the table of markers have no value in 'label'"),
        (read_gmt, "s.gmt", "a\tb\n", "line 1 has no genes"),
        (read_gmt, "s.gmt", "a\tb\tG\na\tb\tG\n", "line 2: the set 'a' is a duplicate"),
        (read_gmt, "s.gmt", "\n", "no gene sets"),
        (read_network, "n.tsv", "source\ttarget\tweight\nA\tB\tx\n", "1 weight of the network are no finite numbers"),
        (read_network, "n.tsv", "source\ttarget\nA\tB\nA\tB\n", "repeat an edge"),
    ],
)
def test_a_wrong_side_table_is_refused_in_a_sentence(tmp_path, read, name, text, part):
    (tmp_path / name).write_text(text)
    with pytest.raises(ScfmError, match=name) as caught:
        read(tmp_path / name)
    assert part in str(caught.value)


def test_a_sample_is_a_combination_of_the_declared_keys():
    obs = pd.DataFrame({"b": ["1", "1", "2", "2"], "copy": ["x", "x", "y", "y"], "d": ["a", "b", "a", None], "l": "t"})
    row = {"batch_key": "b", "label_key": "l", "condition_key": "copy", "donor_key": "d"}
    assert build_obs(obs, row)["sample"].tolist() == ["1+a", "1+b", "2+a", None]  # the copy adds nothing
    assert build_obs(obs, row | {"sample_key": "d"})["sample"].tolist() == ["a", "b", "a", None]
    assert build_obs(obs, {"batch_key": "b", "label_key": "l"})["sample"].tolist() == ["1", "1", "2", "2"]


def test_levels_with_a_plus_do_not_share_a_sample():
    keys = pd.DataFrame({"batch": ["a+b", "a", "a"], "donor": ["c", "b+c", "c"]}, dtype=object)
    assert default_sample(keys).tolist() == ["a\\+b+c", "a+b\\+c", "a+c"]


def test_carried_columns_keep_their_kind_in_the_obs_table(tmp_path):
    data = _adata()
    row = {"batch_key": "batch", "label_key": "cell_type", "clinical_keys": "age;stage", "modality_keys": "CD3"}
    table = build_obs(data.obs, row)
    types = _listed_types(table)
    assert types["clinical:age"] == types["modality:CD3"] == "double"
    assert types["clinical:stage"] == types["batch:batch"] == "string"
    write_table(table, tmp_path / "obs.parquet", types=types)
    found = pd.read_parquet(tmp_path / "obs.parquet")
    assert np.isnan(found["clinical:age"][3])
    assert found["clinical:age"][4] == 4
    assert found["clinical:stage"][5] is None
    assert found["modality:CD3"].tolist() == list(range(60))
