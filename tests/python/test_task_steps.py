"""A step about one embedding: its main outputs are there whatever happens, of 0 bytes where it failed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers_metrics import make_inputs
from helpers_pipeline import PROJECT
from scfm.errors import EXIT_UNEXPECTED, NotApplicable, ScfmError
from scfm.io.tables import read_json
from scfm.metrics.registry import load_metrics
from scfm.metrics.scoring import run_metric
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table
from scfm.task.cli import environment_file, run
from scfm.task.steps import MAIN_OUTPUTS, step

FOLDERS = [name.upper() for name, m in load_methods().items() if not m.is_control] + [
    m.upper() for m in load_model_table()
]


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


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModuleNotFoundError("No module named 'harmonypy'", name="harmonypy"), "'harmonypy' is not installed"),
        (ImportError("libx.so: cannot open", name="igraph._igraph"), r"'igraph\._igraph' can't be loaded \(libx\.so"),
    ],
)
def test_an_incomplete_environment_fails_the_task_and_leaves_no_result(
    error: ImportError, sentence: str, tmp_path: Path, capsys
) -> None:
    def main(_: object) -> None:
        with step("embed", dataset="d", embedding="m.raw.0", outdir=tmp_path):
            raise error

    with pytest.raises(SystemExit) as ended:
        run(main, ["--process", "SCFMBENCH:MAKE_EMBEDDINGS:HARMONY"])
    assert ended.value.code == EXIT_UNEXPECTED and list(tmp_path.iterdir()) == []
    told = capsys.readouterr().err
    assert re.search(sentence, told) and "modules/local/*/cells/environments/harmony.yml" in told


def test_a_metric_without_its_package_fails_the_task(monkeypatch) -> None:
    data = make_inputs(np.random.default_rng(0).normal(size=(60, 3)), ["a", "b"] * 30, ["x", "x", "y", "y"] * 15)
    metric = load_metrics()["leiden_nmi"]
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(ModuleNotFoundError, match="igraph"):
        run_metric(metric, data)


@pytest.mark.parametrize(
    "process", [*FOLDERS, "CONTROL", "VALIDATE_UNCORRECTED", "LIST_COMMON", "COLLECT_RESULTS", "MULTIQC"]
)
def test_the_environment_file_of_a_process_is_there(process: str) -> None:
    assert len(list(PROJECT.glob(environment_file(f"SCFMBENCH:X:{process}")))) == 1


def test_no_main_output_of_a_module_is_optional() -> None:
    modules = (PROJECT / "modules" / "local").rglob("main.nf")
    outputs = r"^    (?:tuple .*)?path[ (](\S+?)\)?, optional: true"
    optional = re.findall(outputs, "\n".join(m.read_text() for m in modules), re.MULTILINE)
    # pictures and maps, what only some methods leave, and the tables of the paper profile
    expected = [
        "'*.png'",
        "'*.centroid_maps.tsv'",
        '"${meta.id}.history.csv"',
        '"${meta.id}.model"',
        "'*.metrics_scib.csv'",
        "'*.probing_results*.csv'",
    ]
    assert sorted(optional) == sorted(expected)
