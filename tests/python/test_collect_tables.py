"""The published tables: valid against their schemas, in one order, the same from the same files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from helpers_diagnosis import CHOSEN
from helpers_report import ASSETS, collect_command
from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.registries.schemas import KEYWORDS, Schemas
from scfm.registries.typed import read_typed
from scfm.report.tables import resources
from scfm.report.tables.collect import collect_results
from scfm.report.tables.load import Collected

SCHEMAS = Schemas(ASSETS)
BIN = Path(__file__).resolve().parents[2] / "bin"


def collect_run(run, outdir: Path, **changes) -> dict:
    """Collect a synthetic run."""
    arguments = {
        "plan": run.plan,
        "datasets": run.datasets,
        "results": [run.results],
        "metrics_table": ASSETS / "metrics.tsv",
        "methods_table": ASSETS / "methods.tsv",
        "params": read_json(run.params),
        "messages": run.messages,
        "trace": run.trace,
    }
    return collect_results(outdir=outdir, **{**arguments, **changes})


@pytest.fixture(scope="module")
def run(collected_run):
    """A synthetic run."""
    return collected_run[0]


@pytest.fixture(scope="module")
def tables(collected_run):
    """The folder of its tables."""
    return collected_run[1]


def rows_of(path: Path, name: str) -> list[dict]:
    """Return a published table as JSON rows, missing as null."""
    frame = read_typed(path, name, SCHEMAS)
    return json.loads(frame.astype(object).where(frame.notna(), None).to_json(orient="records"))


@pytest.mark.parametrize("name", SCHEMAS.tables)
def test_every_published_table_is_valid_row_by_row(tables, name):
    rows = rows_of(tables / f"{name}.tsv", name)
    assert rows
    jsonschema.Draft202012Validator.check_schema(SCHEMAS.load(name))
    jsonschema.Draft202012Validator(SCHEMAS.load(name)).validate(rows)
    assert list(pd.read_csv(tables / f"{name}.tsv", sep="\t", nrows=0).columns) == SCHEMAS.columns(name)


def test_the_messages_are_valid_and_sorted(tables):
    entries = read_json(tables / "warnings.json")
    jsonschema.Draft202012Validator(SCHEMAS.load("warnings")).validate(entries)
    order = ["error", "warning", "info"]
    assert [order.index(m["severity"]) for m in entries] == sorted(order.index(m["severity"]) for m in entries)
    assert {"E-RUN-01", "E-RUN-02", "E-ID-01", "W-MET-02", "W-BAL-01", "E-IN-03"} <= {m["code"] for m in entries}


def test_the_status_table_has_every_planned_step_and_the_verdict_counts_it(run, tables):
    status = read_typed(tables / "status.tsv", "status", SCHEMAS)
    plan = pd.read_csv(run.plan, sep="\t")
    assert set(zip(status["dataset"], status["embedding"], strict=True)) == set(
        zip(plan["dataset"], plan["embedding"], strict=True)
    )
    again = status["step"] == "score_common"
    points = plan["instance"] == "sweep"
    assert again.sum() == (plan.loc[~points, "dataset"] == "pbmc").sum() and set(status.loc[again, "dataset"]) == {
        "pbmc"
    }
    chosen = status["step"] == "diagnose"
    assert set(status.loc[chosen, "embedding"]) == set(CHOSEN)
    assert len(status) == 6 * (~points).sum() + 4 * points.sum() + again.sum() + chosen.sum()
    bad = status[status["status"] == "failed"]
    assert sorted(zip(bad["embedding"], bad["step"], strict=True)) == [
        ("combat.raw.0", "embed"),
        ("mymodel.raw.0", "score"),
    ]
    assert (status.loc[status["status"] != "ok", "reason"].str.len() > 10).all()
    end = read_json(tables / "verdict.json")
    assert (end["n_failed"], end["unexplained"], end["exit_status"]) == (2, 1, 1)


def test_the_same_files_in_another_place_and_order_give_the_same_bytes(run, tables, tmp_path):
    moved = tmp_path / "moved"
    for i, path in enumerate(sorted(run.results.iterdir(), reverse=True)):
        folder = moved / str(i % 3)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    collect_run(run, tmp_path / "again", results=[moved / "2", moved / "0", moved / "1"])
    for path in sorted(tables.iterdir()):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_files_staged_twice_count_once(run, tables, tmp_path):
    shutil.copytree(run.results, tmp_path / "copy")
    collect_run(run, tmp_path / "twice", results=[run.results, tmp_path / "copy"])
    assert (tmp_path / "twice" / "scores.tsv").read_bytes() == (tables / "scores.tsv").read_bytes()
    assert (tmp_path / "twice" / "warnings.json").read_bytes() == (tables / "warnings.json").read_bytes()


def test_a_run_that_left_nothing_still_gives_tables_and_a_verdict(run, tmp_path):
    (tmp_path / "empty").mkdir()
    end = collect_run(run, tmp_path / "tables", results=[tmp_path / "empty"], trace=None)
    assert end["exit_status"] == 1 and end["n_ok"] == 0
    assert read_typed(tmp_path / "tables" / "scores.tsv", "scores", SCHEMAS).empty
    assert read_typed(tmp_path / "tables" / "totals.tsv", "totals", SCHEMAS).empty


def test_the_executable_writes_the_tables_and_says_what_is_wrong(run, tmp_path):
    command = collect_command(run, tmp_path / "tables")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR E-RUN-01 ifnb ComBat (combat.raw.0): the step 'embed' failed." in done.stderr
    assert (tmp_path / "tables" / "verdict.json").is_file()
    broken = subprocess.run([*command, "--trace", str(run.plan)], capture_output=True, text=True, check=False)
    assert broken.returncode == 2 and "Expected Nextflow's execution trace" in broken.stderr


def good_status() -> pd.DataFrame:
    """Return two valid rows of the status table."""
    row = {
        "dataset": "d",
        "embedding": "pca.raw.0",
        "method": "pca",
        "family": "none",
        "correction": "raw",
        "seed": 0,
        "is_control": False,
        "step": "embed",
        "status": "ok",
        "reason_code": "",
        "reason": "",
    }
    return pd.DataFrame([row, {**row, "step": "score"}])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "fine"}, r"column 'status': 2 values against enum"),
        ({"seed": -1}, r"column 'seed': 2 values against minimum 0, first: -1"),
        ({"seed": 0.5}, r"column 'seed': 2 values are not of type integer"),
        ({"is_control": "no"}, r"column 'is_control': 2 values are not of type boolean, first: 'no'"),
        ({"dataset": ""}, r"column 'dataset': 2 values against minLength 1"),
        ({"reason": None}, r"column 'reason': 2 missing values"),
        ({"reason_code": "two words"}, r"column 'reason_code': 2 values against pattern"),
        ({"step": "embed"}, r"1 rows repeat a key \(dataset, embedding, step\), first: d, pca.raw.0, embed"),
        ({"extra": 1}, r"columns not in the schema: extra"),
    ],
)
def test_a_table_against_its_schema_is_refused_with_every_error(change, sentence):
    SCHEMAS.check(good_status(), "status")
    with pytest.raises(ScfmError, match=sentence):
        SCHEMAS.check(good_status().assign(**change), "status")


def test_a_column_missing_is_named():
    with pytest.raises(ScfmError, match="columns missing: step"):
        SCHEMAS.check(good_status().drop(columns="step"), "status")


@pytest.mark.parametrize("name", SCHEMAS.tables)
def test_the_quick_check_supports_every_keyword_of_the_schemas(name):
    for column, rule in SCHEMAS.rules(name).items():
        assert set(rule) <= KEYWORDS, column
    assert set(SCHEMAS.key(name)) <= set(SCHEMAS.columns(name))


def test_an_infinite_number_is_not_a_number_of_a_table():
    table = pd.DataFrame([{c: "x" for c in SCHEMAS.columns("resources")}]).assign(
        seconds=float("inf"), peak_rss_mb=1.0, peak_gpu_mb=None, cells_per_second=1.0, source="trace"
    )
    with pytest.raises(ScfmError, match="column 'seconds': 1 values are not of type number/null"):
        SCHEMAS.check(table, "resources")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("1m 3s", 63.0), ("250", 0.25), ("2h 1m", 7260.0), ("12ms", 0.012), ("1d", 86400.0), ("-", None), ("", None)],
        *[("961ms", 0.961), ("2.9s", 2.9), ("1m 2.5s", 62.5), ("1h 3m", 3780.0)],
    ],
)
def test_durations_of_the_trace(text, seconds):
    assert resources.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "mib"), [("1.5 GB", 1536.0), ("1048576", 1.0), ("512 KB", 0.5), ("0", 0.0), ("-", None), ("many", None)]
)
def test_sizes_of_the_trace(text, mib):
    assert resources.parse_size(text) == pytest.approx(mib)


def test_the_trace_names_data_set_embedding_and_step_by_the_plan(tables):
    table = read_typed(tables / "resources.tsv", "resources", SCHEMAS)
    rows = table[table["source"] == "trace"].set_index("task")
    assert rows.loc["PREPARE_DATASET (pbmc)", ["dataset", "embedding", "step", "seconds", "peak_rss_mb"]].tolist() == [
        "pbmc",
        "",
        "",
        63.0,
        1536.0,
    ]
    retried = rows.loc["SCORE_EMBEDDING (pbmc.mymodel.raw.0) attempt 2"]
    assert (retried["embedding"], retried["step"], retried["seconds"]) == ("mymodel.raw.0", "score", 0.25)
    assert pd.isna(retried["peak_rss_mb"])


def test_the_cost_of_an_embedding_is_its_own_measurement(tables):
    table = read_typed(tables / "resources.tsv", "resources", SCHEMAS)
    row = table[table["task"] == "embed pbmc.harmony.raw.0"].iloc[0]
    assert (row["source"], row["seconds"], row["device"], row["cells_per_second"]) == ("sidecar", 3.0, "cpu", 400.0)
    assert (table["task"] == "correct pbmc.harmony.center_l2.0").sum() == 1


def test_an_attempt_that_succeeded_later_explains_nothing():
    trace = pd.DataFrame(
        {
            "process": ["SCORE_EMBEDDING"] * 2,
            "tag": ["a.b.raw.0"] * 2,
            "status": ["FAILED", "COMPLETED"],
            "exit": ["137", "0"],
            "attempt": [1, 2],
            "memory": ["8 GB", "16 GB"],
            "seconds": 1.0,
            "peak_rss_mb": 1.0,
        }
    )
    assert resources.last_attempts(trace) == {}
    assert "exit status 137 in attempt 1, with 8 GB" in resources.last_attempts(trace.iloc[:1])["score", "a.b.raw.0"]
    twice = resources.last_attempts(trace.assign(status="FAILED", exit="137"))["score", "a.b.raw.0"]
    assert "in attempt 2, with 8 GB, then 16 GB of memory asked for." in twice


def test_the_data_sets_carry_what_the_preparation_found(tables):
    described = {d["dataset"]: d for d in read_json(tables / "datasets.json")}
    assert described["pbmc"]["prepared"]["n_genes"] == 1767 and described["pbmc"]["label_key"] == "cell_type"
    assert "warnings" not in described["pbmc"]["prepared"]


def test_the_step_that_made_an_embedding_has_its_imports_from_the_status_and_its_time_from_the_sidecar() -> None:
    about = {"dataset": "d", "embedding": "pca.raw.0"}
    found = Collected(
        plan=pd.DataFrame(),
        datasets=[],
        schemas=SCHEMAS,
        sidecars=[about | {"seconds": 1.0, "device": "cpu"}],
        statuses=[
            about | {"step": "embed", "seconds": 3.0, "import_seconds": 1.5},
            about | {"step": "score", "seconds": 2.0, "import_seconds": 0.0},
        ],
    )
    table = resources.build_resources(found).set_index("step")
    assert table[["seconds", "import_seconds", "source"]].to_dict("index") == {
        "embed": {"seconds": 1.0, "import_seconds": 1.5, "source": "sidecar"},
        "score": {"seconds": 2.0, "import_seconds": 0.0, "source": "status"},
    }


def test_a_group_in_the_trace_belongs_to_its_data_set_and_a_task_alone_to_its_embedding() -> None:
    plan = pd.DataFrame([{"dataset": "d", "embedding": "pca.raw.0"}])
    found = Collected(plan=plan, datasets=[{"dataset": "d"}], schemas=SCHEMAS)
    trace = pd.DataFrame(
        {
            "process": ["SCORE_EMBEDDING", "SCORE_EMBEDDING_ALONE"],
            "tag": ["d.group_1", "d.pca.raw.0"],
            "status": "FAILED",
            "exit": ["1", "137"],
            "attempt": [1, 3],
            "memory": "",
            "seconds": 1.0,
            "peak_rss_mb": 1.0,
        }
    )
    table = resources.build_resources(found, trace)
    assert table[["dataset", "embedding", "step"]].to_numpy().tolist() == [["d", "", ""], ["d", "pca.raw.0", "score"]]
    assert "exit status 137 in attempt 3" in resources.last_attempts(trace)["score", "d.pca.raw.0"]
