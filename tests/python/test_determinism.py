"""The list of steps in docs/reproducibility.md is whole, and the number of cores changes no table."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_methods import skip_without_r
from helpers_modules import call
from helpers_pipeline import PROJECT, Run, run_pipeline, same_tables
from scfm.io.tables import read_json
from scfm.registries.methods import load_methods

CLASSES = ("deterministic", "seeded", "exact up to")
#: processes that the run below can't have: they fetch or import, or need a data set of another kind
ELSEWHERE = {
    *("RESOLVE_INPUTS", "FETCH_DATASET", "APPLY_RECIPE", "IMPORT_EMBEDDING", "LIST_COMMON", "SCORE_COMMON"),
    *("COMPARE_CONDITIONS", "RELATE_BIOLOGY"),
    *("SAVE_REFERENCE", "TRAIN_QUERY", "MAP_QUERY"),
}


def _rows() -> list[tuple[list[str], list[str], str]]:
    """Processes, parts and class of every row of the page's table."""
    found = []
    for line in (PROJECT / "docs" / "reproducibility.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and cells[1].startswith("`"):
            found.append((re.findall(r"`(\w+)`", cells[1]), re.findall(r"`([\w*]+)`", cells[2]), cells[3]))
    return found


def test_the_page_lists_every_process_with_its_class() -> None:
    modules = (PROJECT / "modules" / "local").rglob("main.nf")
    names = {re.search(r"^process (\w+)", path.read_text(), re.MULTILINE)[1] for path in modules}
    rows = _rows()
    assert {name for processes, _, _ in rows for name in processes} == names
    assert all(kind.startswith(CLASSES) for _, _, kind in rows)


def test_the_page_lists_every_method_once() -> None:
    parts = [part for processes, parts, _ in _rows() if "INTEGRATE_CELLS" in processes for part in parts]
    for name in load_methods():
        assert sum(fnmatch(name, part) for part in parts) == 1, name
    assert all(any(fnmatch(name, part) for name in load_methods()) for part in parts)


def test_the_cores_of_a_task_change_no_file(tmp_path: Path) -> None:
    """Preparation to report of small inputs, on one core and on two: the same ids and numbers, to the last digit."""
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        script = PROJECT / "tests" / "python" / "make_module_inputs.py"
        subprocess.run([sys.executable, script, "--folder", folder, "--cpus", folder.name, "--skip_umap"], check=True)
    compared = 0
    for file in sorted(path.relative_to(folders[0]) for path in folders[0].rglob("*") if path.is_file()):
        first, second = (folder / file for folder in folders)
        if file.suffix == ".npz":
            one, two = (dict(np.load(path)) for path in (first, second))
            assert set(one) == set(two) and all(np.array_equal(one[key], two[key]) for key in one), file
        elif file.suffix in {".parquet", ".tsv"} and file.stem != "resources":  # resources are measured
            read = pd.read_parquet if file.suffix == ".parquet" else lambda path: pd.read_csv(path, sep="\t")
            pd.testing.assert_frame_equal(read(first), read(second), check_exact=True, obj=str(file))
        else:
            continue
        compared += 1
    assert compared > 25


def test_linear_algebra_of_a_method_has_one_thread_whatever_its_cores() -> None:
    """In a process of its own: libraries read the variables when they are loaded."""
    script = (
        "import os; from scfm.task.resources import limit_threads; limit_threads(2, blas=1)\n"
        "import scipy.linalg; from threadpoolctl import threadpool_info\n"
        "pools = [pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas']\n"
        "assert pools and set(pools) == {1}, pools\n"
        "assert os.environ['OMP_NUM_THREADS'] == os.environ['NUMBA_NUM_THREADS'] == '2'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PROJECT / "bin")


@pytest.mark.slow
@pytest.mark.pipeline
def test_other_core_counts_give_the_same_tables(tmp_path: Path) -> None:
    """Every method of the page and a model, on one and on two cores."""
    import anndata as ad

    demo = PROJECT / "tests" / "data" / "demo.h5ad"
    genes = ad.read_h5ad(demo, backed="r").var["ensembl_id"]
    (tmp_path / "genes.tsv").write_text("".join(f"{symbol}\t{identifier}\n" for symbol, identifier in genes.items()))
    call("make_tiny_weights", model="sccello", genes=tmp_path / "genes.tsv", dest=tmp_path / "weights")
    options = [
        *("--methods", ",".join(_methods(in_r=False)), "--controls", "random,shuffled", "--scvi_max_epochs", "5"),
        *("--models", "sccello", "--weights_dir", str(tmp_path / "weights"), "--shard_cells", "500"),
        *("--umap_epochs", "50", "--probe_permutations", "50"),
    ]
    run = _same_on_one_and_two_cores(tmp_path, *options)
    sidecar = read_json(run.outdir / "demo" / "embeddings" / "demo.scvi.raw.0.json")
    assert sidecar["settings"]["threads"] == 1
    listed = {name for processes, _, _ in _rows() for name in processes} - ELSEWHERE
    assert listed <= _modules_of(run.trace()), listed - _modules_of(run.trace())


@pytest.mark.slow
@pytest.mark.pipeline
def test_other_core_counts_give_the_same_tables_of_methods_in_r(tmp_path: Path) -> None:
    methods = _methods(in_r=True)
    for method in methods:
        skip_without_r(method)
    run = _same_on_one_and_two_cores(tmp_path, "--methods", ",".join(methods), "--skip_umap", "--skip_probing")
    assert all((run.outdir / "demo" / "embeddings" / f"demo.{method}.raw.0.parquet").is_file() for method in methods)


def _methods(in_r: bool) -> list[str]:
    """Names of the methods, without controls, that run in R or that don't."""
    return [
        name for name, method in load_methods().items() if not method.is_control and bool(method.r_packages) == in_r
    ]


def _same_on_one_and_two_cores(folder: Path, *options: str) -> Run:
    """Run the demo on one and on two cores, compare all tables, and return the second run."""
    runs = []
    for cores in ("1", "2"):
        sheet = str(PROJECT / "tests" / "data" / "demo_samplesheet.csv")
        runs.append(run_pipeline(folder / cores, "--input", sheet, "--seeds", "0", *options, "--max_cpus", cores))
        assert runs[-1].status == 0, runs[-1].log
    same_tables(*runs)
    return runs[1]


def _modules_of(rows: list[dict]) -> set[str]:
    """Names of the processes behind the aliases that a trace lists."""
    text = "\n".join(path.read_text() for path in (PROJECT / "subworkflows").rglob("main.nf"))
    aliases = {alias: name for name, alias in re.findall(r"include \{ (\w+) as (\w+)", text)}
    names = {row["name"].split(" ")[0].split(":")[-1] for row in rows}
    return {aliases.get(name, name) for name in names}
