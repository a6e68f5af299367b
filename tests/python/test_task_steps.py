"""A step about one embedding: its main outputs are there whatever happens, of 0 bytes where it failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers_pipeline import PROJECT
from scfm.errors import NotApplicable, ScfmError
from scfm.io.tables import read_json
from scfm.task.steps import MAIN_OUTPUTS, step


def _files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir() if not path.name.endswith(".status.json")}


@pytest.mark.parametrize("name", MAIN_OUTPUTS)
def test_a_failed_step_leaves_its_main_outputs_empty(name: str, tmp_path: Path) -> None:
    half = tmp_path / f"d.m.raw.0.{MAIN_OUTPUTS[name][0]}"
    with step(name, dataset="d", embedding="m.raw.0", outdir=tmp_path):
        half.write_text("written half")
        raise ScfmError("It broke.")
    assert _files(tmp_path) == {f"d.m.raw.0.{ending}": 0 for ending in MAIN_OUTPUTS[name]}
    assert read_json(tmp_path / f"d.m.raw.0.{name}.status.json")["reason"] == "It broke."


def test_what_a_step_without_an_exception_wrote_stays(tmp_path: Path) -> None:
    table = tmp_path / "d.m.raw.0.scores.tsv"
    with step("score", dataset="d", embedding="m.raw.0", outdir=tmp_path) as status:
        table.write_text("one metric failed, the others are here")
        status["status"] = "failed"
    assert table.read_text().startswith("one metric")
    with step("probe", dataset="d", embedding="m.raw.0", outdir=tmp_path):
        (tmp_path / "d.m.raw.0.probing.tsv").write_text("reasons")
        raise NotApplicable("One batch.", "one_batch")
    assert (tmp_path / "d.m.raw.0.probing.tsv").read_text() == "reasons"


def test_no_main_output_of_a_module_is_optional() -> None:
    modules = (PROJECT / "modules" / "local").rglob("main.nf")
    optional = re.findall(r"^    path (\S+), optional: true", "\n".join(m.read_text() for m in modules), re.MULTILINE)
    # pictures and maps, what only some methods leave, and the tables of the paper profile
    expected = [
        "'*.png'",
        "'*.centroid_maps.tsv'",
        '"${meta.id}.history.csv"',
        '"${meta.id}.model"',
        '"${meta.id}.metrics_scib.csv"',
        '"${meta.id}.probing_results*.csv"',
    ]
    assert sorted(optional) == sorted(expected)
