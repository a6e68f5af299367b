"""A process can import the packages of its own environment and no others, in every run of these tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from helpers_environments import (
    environment_files,
    executables_of,
    hidden_packages,
    hiding_environment,
    reached_packages,
)
from helpers_pipeline import PROJECT

#: processes that run under the name of a method or model, whose environment is of that alone
OF_METHODS = ("INTEGRATE_CELLS", "EMBED_CELLS")
#: what is imported by functions that a process does not call, though it imports their modules
NOT_CALLED = {
    "APPLY_RECIPE": {"pyarrow"},  # JSON is read, no parquet
    "BUILD_REPORT": {"anndata", "h5py", "igraph", "numba", "scanpy", "sklearn", "threadpoolctl"},  # nothing is scored
    "CHECK_VERDICT": {"pandas", "pyarrow"},  # as APPLY_RECIPE
    "COLLECT_RESULTS": {"anndata", "h5py", "igraph", "numba", "sklearn", "threadpoolctl"},  # as BUILD_REPORT
    "CORRECT_EMBEDDING": {"anndata", "h5py"},  # the preparation is read from parquet, not from h5ad
    "FETCH_DATASET": {
        "anndata",
        "jsonschema",
        "pandas",
        "pyarrow",
        "tqdm",
        "yaml",
    },  # recipes are read before; no person looks
    "LIST_COMMON": {"igraph", "numba", "scipy", "sklearn", "threadpoolctl"},  # as BUILD_REPORT
    "MERGE_SHARDS": {"anndata", "h5py"},  # as CORRECT_EMBEDDING
    "PREPARE_DATASET": {"jsonschema"},  # for --schema, which the module does not give
    "SAVE_REFERENCE": {"scanpy", "scvi"},  # files of scVI are copied, nothing is trained
}

IMPORT = "import sys, {module}; print(sys.modules['{module}'].__name__)"


def imports(module: str, process: str) -> subprocess.CompletedProcess[str]:
    """Import a module as a task of a process does."""
    return run_as(IMPORT.format(module=module), process)


def run_as(code: str, process: str) -> subprocess.CompletedProcess[str]:
    """Run code as a task of a process does."""
    return subprocess.run(
        [sys.executable, "-c", code, "--process", f"SCFMBENCH:MAKE_EMBEDDINGS:{process}"],
        env=os.environ | hiding_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_process_has_a_file_of_its_environment() -> None:
    absent = {process: file for process, file in environment_files().items() if not file.is_file()}
    assert absent == {}
    assert environment_files()["HARMONY"].name == "harmony.yml"


def test_what_a_package_requires_is_there_and_what_others_require_is_not() -> None:
    hidden = hidden_packages()
    assert not {"harmonypy", "anndata", "scipy", "pandas", "dateutil"} & set(hidden["HARMONY"][0])
    assert {"torch", "igraph", "sklearn", "pytest"} <= set(hidden["HARMONY"][0])
    assert {"anndata", "h5py", "scipy"} <= set(hidden["CONTROL"][0]) and "numpy" not in hidden["CONTROL"][0]


@pytest.mark.parametrize(("module", "process", "found"), [("h5py", "HARMONY", True), ("h5py", "CONTROL", False)])
def test_a_task_finds_the_packages_of_its_process(module: str, process: str, found: bool) -> None:
    done = imports(module, process)
    assert (done.returncode == 0) is found, done.stderr
    assert found or "No module named 'h5py'" in done.stderr


def test_a_package_that_is_hidden_is_not_listed_as_installed() -> None:
    code = "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()), m.version('{}'))"
    there, hidden = (run_as(code.format(name), "HARMONY") for name in ("h5py", "pytest"))
    assert there.returncode == 0 and "'h5py'" in there.stdout and "'pytest'" not in there.stdout, there.stderr
    assert hidden.returncode == 1 and "PackageNotFoundError" in hidden.stderr


def test_a_process_without_an_environment_is_an_error() -> None:
    done = imports("json", "NOBODY")
    assert done.returncode == 1 and "No environment is known of the process NOBODY." in done.stderr


def test_the_hook_lies_where_no_other_module_is_found() -> None:
    assert [path.name for path in (PROJECT / "tests" / "python" / "own_packages").glob("*.py")] == ["sitecustomize.py"]


@pytest.mark.parametrize("process", [p for p, names in executables_of().items() if names and p not in OF_METHODS])
def test_what_the_code_of_a_process_can_import_is_in_its_environment(process: str) -> None:
    """Imports lie in functions: runs of tests reach those of small data and usual parameters, this reads all."""
    lacking = reached_packages(executables_of()[process]) & set(hidden_packages()[process][0])
    assert lacking - {"torch"} == NOT_CALLED.get(process, set()), "torch alone is for --device cuda"


@pytest.mark.parametrize("process", [p for p, names in executables_of().items() if names and p not in OF_METHODS])
def test_what_numba_compiles_is_kept_for_the_next_task(process: str) -> None:
    """As the compiled Leiden of the scores: it takes seconds, in every task that does not keep it."""
    compiles = "numba" in reached_packages(executables_of()[process]) - NOT_CALLED.get(process, set())
    module = environment_files()[process].with_name("main.nf").read_text(encoding="utf-8")
    assert not compiles or "${keepCompiled(" in module
