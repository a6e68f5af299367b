"""Stub runs of profiles, with stand-ins for what they call: container engines, conda, batch systems, clouds."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from helpers_containers import images_of, write_engines
from helpers_pipeline import PROJECT, Run, launch_config, run_pipeline
from helpers_schedulers import path_with, write_schedulers

FEW = ["--controls", "none", "--corrections", "none", "--skip_umap", "--skip_probing"]
STUB = [
    *("-stub", "--input", str(PROJECT / "tests" / "data" / "demo_samplesheet.csv"), *FEW),
    *("--methods", "harmony,scvi", "--models", "scgpt", "--weights_dir", "weights"),
]
#: images that the stub run must use
IMAGES = {"core", "harmony", "scvi", "models", "report"}
#: profile of a cloud -> its parameters
CLOUDS = {
    "awsbatch": ["--queue", "jobs", "--aws_region", "eu-central-1", "--aws_cli_path", "/opt/aws"],
    "google_batch": ["--google_project", "project", "--google_location", "europe-west1"],
    "azurebatch": ["--queue", "pool", "--azure_batch_account", "a", "--azure_storage_account", "b"],
    "k8s": ["--k8s_namespace", "science", "--k8s_claim", "claim"],
}
#: tasks that share no folder with the machine that submits: inputs are copied in, results are moved out
APART = """
process {
    stageInMode  = 'copy'
    stageOutMode = 'move'
    scratch      = true
}
"""
#: no plugin of a cloud can be had offline
HERE = """
process {
    executor = 'local'
    withName: FETCH_DATASET { executor = 'local' }
}
"""
QUICK = "executor { pollInterval = '200 ms' }"


def stub(profile: str, parser: str, folder: Path, *options: str, parts: tuple[str, ...] = ()) -> tuple[Run, Path, Path]:
    """Run the stub with a profile; return the run and the folders with the records of engines and schedulers."""
    (folder / "weights" / "scgpt").mkdir(parents=True)
    (folder / "nextflow.config").write_text(launch_config(profile, QUICK, *parts))
    engines, schedulers = write_engines(folder / "engines"), write_schedulers(folder / "schedulers")
    path = path_with(engines, path_with(schedulers, os.environ["PATH"]))
    run = run_pipeline(folder, "-profile", profile, *STUB, *options, parser=parser, extra={"PATH": path})
    assert run.status == 0, run.log
    rows = run.trace()
    assert rows and {row["status"] for row in rows} == {"COMPLETED"}, rows
    names = {row["name"].split(" ")[0].split(":")[-1] for row in rows}
    assert {"HARMONY", "SCVI", "SCGPT", "SCORE_EMBEDDING", "MULTIQC"} <= names, names
    return run, engines, schedulers


def stub_of_cloud(profile: str, parser: str, folder: Path) -> tuple[Run, str]:
    """Run the stub of a cloud's profile on this machine, with nothing shared and work on another file system.

    Returns
    -------
    The run, and the images it used, in words.
    """
    with tempfile.TemporaryDirectory(prefix="scfm-work-", dir="/dev/shm") as work:
        run, engines, _ = stub(profile, parser, folder, *CLOUDS[profile], "-work-dir", work, parts=(HERE, APART))
    return run, used_images(engines)


def used_images(engines: Path) -> str:
    """Return the images of a stub run in words, after comparing them with :data:`IMAGES` and the release."""
    found = images_of(engines)
    version = re.search(r"version\s+= '([\d.]+)'", (PROJECT / "nextflow.config").read_text())
    assert found == {(name, version[1]) for name in IMAGES}, found
    return ", ".join(sorted(IMAGES))
