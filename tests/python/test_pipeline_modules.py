"""One run in which every module works, disturbed on its way.

A scenario comes from a stand-in server through its recipe to methods, a model in shards with its twin, and imported
embeddings. One shard and the run with it are killed and resumed. Of the resumed run one task is killed for memory, and
of another one the process that works on its first embedding. One imported embedding and one model are broken, and one
model has no weights.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from helpers_modules import ASSETS, PROJECT, call
from helpers_pipeline import Run, command, environment, kill_at, valid_rows, wait_for
from scfm.io.tables import read_embedding, read_json
from scfm.testing.mirror import load_mirror
from scfm.testing.serve import serve

pytestmark = pytest.mark.pipeline
STUDY = PROJECT / "tests" / "data" / "study"
#: a task with the file of one embedding fails: its group, then its own; two steps move their results out of scratch
CONFIG = """
process {
    withName: PROBE_EMBEDDING {
        ext.args = '$(ls *.mine.l2.*.parquet > /dev/null 2>&1 && echo --no_such_option)' // a config has no `meta` in v2
    }
    withName: 'COLLECT_RESULTS|RESOLVE_INPUTS' {
        scratch      = true
        stageOutMode = 'move'
    }
}
profiles { test { } } // Nextflow 25.04 looks for the name of a profile in this file too
"""
#: a seed of its own makes the command lines unlike those of any other run on this machine
SEED = 7417


@dataclass
class World:
    """What the run is given."""

    folder: Path
    cells: list[str]

    @property
    def options(self) -> list[str]:
        """Options of the run, without the address of the server."""
        return [
            *("-profile", "test", "--input", str(self.folder / "sheet.csv"), "--data_dir", str(self.folder / "kept")),
            *("--methods", "pca,harmony", "--controls", "none", "--n_hvg", "150", "--n_pcs", "20"),
            *("--models", "sccello,cellplm,scgpt", "--random_init", "--weights_dir", str(self.folder / "weights")),
            *("--shard_cells", "250", "--seeds", str(SEED), "-c", str(self.folder / "own.config")),
        ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Samplesheet, two embeddings to import (one lacks cells, one has a NaN), weights of two models (one cut off)."""
    import anndata as ad

    folder = tmp_path_factory.mktemp("modules")
    source = STUDY / "liver.h5ad"
    (folder / "direct").mkdir()
    recipe = ASSETS / "recipes" / "liver.yml"
    call("apply_recipe", recipe=recipe, dataset="liver", source=f"healthy={source}", outdir=folder / "direct")
    data = ad.read_h5ad(folder / "direct" / "liver.recipe.h5ad")
    good = pd.DataFrame(np.random.default_rng(0).normal(size=(data.n_obs, 4)), data.obs_names).rename_axis("cell_id")
    broken = good.copy()
    broken.iloc[3, 1] = np.nan
    # without five of its cells: ranks are based on the others
    good.iloc[5:].sample(frac=1, random_state=1).to_csv(folder / "good.csv")
    broken.to_csv(folder / "broken.csv")
    (folder / "own.config").write_text(CONFIG)
    row = "liver,scenario:liver,mine=good.csv;theirs=broken.csv\n"
    (folder / "sheet.csv").write_text("dataset,h5ad,embeddings\n" + row)
    names = zip(data.var["feature_name"], data.var_names, strict=True)
    (folder / "genes.tsv").write_text("".join(f"{symbol}\t{identifier}\n" for symbol, identifier in names))
    call("make_tiny_weights", model="sccello,cellplm", genes=folder / "genes.tsv", dest=folder / "weights")
    checkpoint = next((folder / "weights" / "cellplm").glob("*.ckpt"))
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    return World(folder, list(data.obs_names))


def _kill(pattern: str, number: int) -> None:
    """Kill the first or second process of a task."""
    os.kill(wait_for(pattern, seconds=900, number=number), signal.SIGKILL)


@pytest.fixture(scope="module")
def run(world: World) -> Run:
    """Kill the second shard and the run with it; resume; kill one task of the resumed run, and part of another, as the
    kernel would.
    """
    folder, log = world.folder / "run", world.folder / "log.txt"
    with serve(load_mirror(STUDY)) as api:
        options = [*world.options, "--cellxgene_api", api]
        # one task of a kind at a time: the first shard is done when the second one starts
        shard = f"python.*embed_cells.py .*--method sccello .*shard_001.*--seed {SEED}"
        kill_at(shard, folder, *options, "-process.maxForks=1")
        with log.open("w") as handle:
            process = subprocess.Popen(
                command(*options, "-resume", outdir=folder / "out"),
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                # a task is two processes: the second one works on its embeddings
                about = rf"_embedding.py .*liver\.sccello\.raw\.{SEED}"
                with ThreadPoolExecutor() as pool:
                    list(pool.map(_kill, (f"python.*score{about}", f"python.*probe{about}"), (1, 2)))
                status = process.wait(timeout=1500)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    return Run(folder, folder / "out", status, log.read_text())


@pytest.fixture(scope="module")
def status(run: Run) -> pd.DataFrame:
    """The status table by embedding (without the seed) and step."""
    table = run.table("status")
    return table.assign(embedding=table["embedding"].str.removesuffix(f".{SEED}")).set_index(["embedding", "step"])


def test_every_module_was_run(run: Run) -> None:
    includes = "\n".join(path.read_text() for path in (PROJECT / "subworkflows").rglob("main.nf"))
    found = re.findall(r"include \{ (\w+)(?: as (\w+))?\s*\} from '[./]*/modules/local/([\w/]+)'", includes)
    ran = {row["name"].split(" ")[0].split(":")[-1] for row in run.trace() if row["status"] in {"COMPLETED", "CACHED"}}
    reached = {module for name, alias, module in found if (alias or name) in ran}
    # downloaded before the run was killed: the resumed run finds it where downloads are kept
    assert "Stored process > SCFMBENCH:FETCH_DATA:FETCH_DATASET" in run.log
    # the verdict of this run is bad: its task fails on purpose
    assert "CHECK_VERDICT" in {row["name"].split(" ")[0].split(":")[-1] for row in run.trace()}
    modules = {
        str(p.parent.relative_to(PROJECT / "modules" / "local")) for p in PROJECT.glob("modules/local/**/main.nf")
    }
    # the scenario has no condition, no new cells and no evidence from outside: their nf-tests run these
    without_input = {"compare/conditions", "map/query", "relate/biology", "save/reference", "train/query"}
    assert modules - reached == {"check/verdict", "fetch/dataset"} | without_input


def test_the_data_set_came_from_the_server_through_its_recipe(run: Run, world: World) -> None:
    record = read_json(world.folder / "kept" / next(p.name for p in (world.folder / "kept").glob("*.source.json")))
    assert record["kind"] == "cellxgene"
    row = read_json(run.outdir / "tables" / "datasets.json")[0]
    assert row["recipe"]["n_cells"] == row["prepared"]["n_cells"] == len(world.cells) == 392
    assert row["recipe"]["sources"][0]["record"]["dataset_id"] == record["dataset_id"]


def test_a_broken_embedding_fails_alone_and_the_run_says_so(run: Run, status: pd.DataFrame) -> None:
    assert run.status != 0
    for name in ("mine.raw", "harmony.raw", "pca.center_l2", "sccello.center_l2", "sccello_random.raw"):
        assert (status.xs(name)["status"] == "ok").all(), run.log
    failed = status.loc[("theirs.raw", "validate")]
    assert (failed["status"], failed["reason_code"]) == ("failed", "non_finite")
    assert status.loc[("theirs.raw", "score"), "reason_code"] == "earlier_step_failed"
    scored = set(run.table("scores")["embedding"].str.split(".").str[0])
    assert scored >= {"pca", "harmony", "mine", "sccello", "sccello_random"}
    assert not scored & {"theirs", "cellplm", "scgpt"}
    html = (run.outdir / "report" / "scfmbench_report.html").read_text()
    for text in ("theirs", "scCello", "CellPLM", "random weights"):
        assert text in html, text


def test_nothing_empty_is_published_and_versions_and_parameters_are(run: Run) -> None:
    assert not list((run.outdir / "liver" / "embeddings").glob("*theirs*"))
    assert all(path.stat().st_size for path in run.outdir.rglob("*") if path.is_file() and path.name != ".lock")
    assert not list(run.outdir.rglob("versions.yml"))
    assert run.log.rstrip().splitlines()[-1].startswith("scfmbench completed with failures")
    versions = yaml.safe_load((run.outdir / "pipeline_info" / "scfmbench_software_versions.yml").read_text())
    assert {"harmonypy", "numpy", "python"} <= set(versions["HARMONY"])
    assert "igraph" in versions["SCORE_EMBEDDING"]
    assert read_json(run.outdir / "pipeline_info" / "params.json")["methods"] == "pca,harmony"


def test_a_broken_checkpoint_fails_its_model_alone(status: pd.DataFrame) -> None:
    assert status.loc[("cellplm.raw", "embed"), "status"] == "failed"
    assert ".ckpt" in status.loc[("cellplm.raw", "embed"), "reason"]


def test_absent_weights_are_not_applicable_with_the_command_that_gets_them(status: pd.DataFrame) -> None:
    row = status.loc[("scgpt.raw", "embed")]
    assert (row["status"], row["reason_code"]) == ("not_applicable", "weights_missing")
    assert "bin/fetch_weights.py --model scgpt" in row["reason"]


def test_the_killed_shard_alone_was_embedded_again(run: Run) -> None:
    shards = {
        row["name"].split("(")[1].rstrip(")"): row["status"]
        for row in run.trace()
        if f"liver.sccello.raw.{SEED} shard_" in row["name"]
    }
    assert shards == {f"liver.sccello.raw.{SEED} shard_00{i}": s for i, s in enumerate(("CACHED", "COMPLETED"))}


def test_resumed_shards_were_joined_to_what_one_task_gives(run: Run, world: World, tmp_path: Path) -> None:
    settings = read_json(run.outdir / "pipeline_info" / "model_settings.json")["liver"]["sccello"]
    (tmp_path / "options.json").write_text(json.dumps(settings))
    call(
        "embed_cells",
        model="sccello",
        weights=world.folder / "weights" / "sccello",
        input=run.outdir / "liver" / "prepared" / "liver.prepared.h5ad",
        options=tmp_path / "options.json",
        seed=SEED,
        device="cpu",
        output=tmp_path / "whole.parquet",
    )
    made = run.outdir / "liver" / "embeddings" / f"liver.sccello.raw.{SEED}"
    ids, values = read_embedding(f"{made}.parquet")
    whole_ids, whole = read_embedding(tmp_path / "whole.parquet")
    assert sorted(ids) == sorted(whole_ids)
    np.testing.assert_allclose(values, pd.DataFrame(whole, whole_ids).loc[ids], atol=1e-6, rtol=0)
    sidecar = read_json(f"{made}.json")
    assert (sidecar["shards"], sidecar["weights_random"]) == (2, True)


def _tries(run: Run, process: str, tag: str) -> list[tuple[str, str]]:
    """Exit status and attempt of every try of a task."""
    return [(row["exit"], row["attempt"]) for row in run.trace() if row["name"].endswith(f":{process} ({tag})")]


def _group_of(run: Run, name: str) -> str:
    plan = pd.read_csv(run.outdir / "pipeline_info" / "plan.tsv", sep="\t").set_index("embedding")
    return plan.loc[f"{name}.{SEED}", "task_group"]


def test_a_task_killed_for_memory_was_tried_again(run: Run, status: pd.DataFrame) -> None:
    assert _tries(run, "SCORE_EMBEDDING", _group_of(run, "sccello.raw")) == [("137", "1"), ("0", "2")]
    assert (status.xs("score", level="step").loc[["sccello.raw", "sccello.l2"], "status"] == "ok").all()


def test_an_embedding_whose_process_was_killed_was_run_again_alone(run: Run, status: pd.DataFrame) -> None:
    assert _tries(run, "PROBE_EMBEDDING", _group_of(run, "sccello.raw")) == [("0", "1")]
    assert _tries(run, "PROBE_EMBEDDING_ALONE", f"liver.sccello.raw.{SEED}") == [("0", "1")]
    assert not _tries(run, "PROBE_EMBEDDING_ALONE", f"liver.sccello.l2.{SEED}")
    assert (status.xs("probe", level="step").loc[["sccello.raw", "sccello.l2"], "status"] == "ok").all()


def test_a_group_that_failed_was_run_again_one_by_one_and_takes_no_other_with_it(
    run: Run, status: pd.DataFrame
) -> None:
    assert _tries(run, "PROBE_EMBEDDING", _group_of(run, "mine.l2")) == [("2", "1")]
    names = ("raw", "l2", "center_l2")
    alone = {name: _tries(run, "PROBE_EMBEDDING_ALONE", f"liver.mine.{name}.{SEED}") for name in names}
    assert alone == {"raw": [("0", "1")], "l2": [("2", "1")], "center_l2": [("0", "1")]}
    probed = status.xs("probe", level="step")["status"]
    assert (probed["mine.raw"], probed["mine.l2"], probed["mine.center_l2"]) == ("ok", "failed", "ok")


def test_an_embedding_that_left_nothing_is_named_with_exit_status_and_attempt(run: Run, status: pd.DataFrame) -> None:
    row = status.loc[("mine.l2", "probe")]
    assert (row["status"], row["reason_code"]) == ("failed", "no_result")
    assert "failed with exit status 2 in attempt 1" in row["reason"]
    messages = read_json(run.outdir / "tables" / "warnings.json")
    told = [m["text"] for m in messages if m["code"] == "E-RUN-02"]
    assert len(told) == 1 and f"mine.l2.{SEED}" in told[0] and "exit status 2 in attempt 1" in told[0]


def test_ranks_are_based_on_the_cells_that_all_ranked_embeddings_have(run: Run, world: World) -> None:
    again = run.table("scores_common")
    ranked = run.table("totals").query("rank_reason == ''")
    assert set(again["embedding"]) >= set(ranked["embedding"]) >= {f"mine.raw.{SEED}", f"pca.center_l2.{SEED}"}
    assert set(again.query("group == 'all' and metric == 'ilisi'")["n_cells"]) == {len(world.cells) - 5}
    own = run.table("scores").query("group == 'all' and metric == 'ilisi'").set_index("embedding")["n_cells"]
    assert own[f"pca.raw.{SEED}"] == len(world.cells) and own[f"mine.raw.{SEED}"] == len(world.cells) - 5
    messages = read_json(run.outdir / "tables" / "warnings.json")
    assert "387 of 392 scored cells" in next(m["text"] for m in messages if m["code"] == "I-RANK-01")


def test_tables_are_valid_against_their_schemas(run: Run) -> None:
    for name in ("scores", "totals", "probing", "status", "resources", "centroids"):
        assert valid_rows(run, name) > 0
