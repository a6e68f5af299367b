"""``make test-profiles``: every profile as a stub run with both parsers, and real runs without a shared file system.

Docker, Singularity, Apptainer, Charliecloud and conda are stand-ins that run every task on this machine and keep which
image or environment it asked for. Executors of clouds are replaced by the local one: no plugin can be had offline.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from engines.files import mounted
from engines.suite import Case, run_suite, undisturbed
from helpers_containers import environments_of, images_of
from helpers_pipeline import PROJECT, copy_project, launch_config, run_pipeline, same_tables
from helpers_profiles import APART, CLOUDS, IMAGES, QUICK, stub, stub_of_cloud, used_images

REAL = ["--controls", "none", "--corrections", "none", "--methods", "pca,harmony"]
ENGINES = ["docker", "podman", "singularity", "apptainer", "charliecloud"]
SCHEDULERS = ["slurm", "pbs", "pbspro", "lsf", "sge"]


def local(parser: str, folder: Path) -> str:
    """A stub run on this machine."""
    run, engines, schedulers = stub("gpu", parser, folder)
    assert not images_of(engines) and not list(schedulers.glob("*.txt"))
    return f"{len(run.trace())} tasks"


def container(profile: str, parser: str, folder: Path) -> str:
    """A stub run in containers: every task runs in the image of its process."""
    run, engines, _ = stub(profile, parser, folder)
    return f"{len(run.trace())} tasks in the images {used_images(engines)}"


def conda(parser: str, folder: Path) -> str:
    """A stub run with conda: environments are made from the files of the modules."""
    run, engines, _ = stub("conda", parser, folder)
    files = [*(PROJECT / "modules").rglob("environment.yml"), *(PROJECT / "modules").rglob("environments/*.yml")]
    made = environments_of(engines)
    assert len(made) >= len(IMAGES) and made <= {path.read_text() for path in files}
    return f"{len(run.trace())} tasks in {len(made)} environments"


def scheduler(profile: str, parser: str, folder: Path) -> str:
    """A stub run on a batch system: every task is a job, those of GPUs in their queue."""
    run, _, schedulers = stub(f"{profile},gpu", parser, folder, "--queue", "long", "--gpu_queue", "cuda")
    jobs = [file.read_text() for file in schedulers.glob("*.txt")]
    assert len(jobs) == len(run.trace()), (len(jobs), len(run.trace()))
    able = [row for row in run.trace() if re.search(r":(SCVI|SCGPT)\b", row["name"])]
    with_gpu = [text for text in jobs if re.search(r"(-p|-q) cuda$", text, re.MULTILINE)]
    assert len(with_gpu) == len(able) >= 2, (len(with_gpu), len(able))
    return f"{len(jobs)} jobs, {len(with_gpu)} of them in the queue of GPUs"


def cloud(profile: str, parser: str, folder: Path) -> str:
    """A stub run with the local executor: in containers, inputs copied, results moved, work on another file system."""
    run, images = stub_of_cloud(profile, parser, folder)
    return f"{len(run.trace())} tasks in the images {images}"


def apart(folder: Path) -> str:
    """A real run: read-only project, inputs copied, results moved, work on another file system."""
    copy_project(folder / "copy")
    (folder / "copy" / ".tools" / "numba-0").mkdir(parents=True)  # a cache that can't be written
    (folder / "run").mkdir()
    (folder / "run" / "nextflow.config").write_text(launch_config("test", QUICK, APART))
    with (
        tempfile.TemporaryDirectory(prefix="scfm-work-", dir="/dev/shm") as work,  # another file system
        mounted(folder / "project", "--bind", "-o", "ro", str(folder / "copy")),
    ):
        assert not os.access(folder / "project" / "bin" / "scfm", os.W_OK)
        options = ["-profile", "test", *REAL, "-work-dir", work]
        run = run_pipeline(folder / "run", *options, parser="v1", project=folder / "project")
        assert run.status == 0, run.log
    same_tables(undisturbed(*REAL), run)
    links = [path for path in run.outdir.rglob("*") if path.is_symlink()]
    assert links == [], links[:3]
    n_tasks = len(run.trace())
    shutil.rmtree(folder)
    return f"{n_tasks} tasks; the same tables, and no link in the results once the work folder is gone"


def cases() -> dict[str, Case]:
    """Return the cases by name."""
    table: dict[str, Case] = {}
    for parser in ("v1", "v2"):
        table[f"local {parser}"] = partial(local, parser)
        table[f"conda {parser}"] = partial(conda, parser)
        for kind, profiles in ((container, ENGINES), (scheduler, SCHEDULERS), (cloud, list(CLOUDS))):
            table |= {f"{profile} {parser}": partial(kind, profile, parser) for profile in profiles}
    return table | {"no shared file system": apart}


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    only = parser.parse_args().only
    if os.geteuid() != 0:
        print("test-profiles: requires root, for a read-only mount of the project.")
        return 2
    with tempfile.TemporaryDirectory(prefix="scfm-profiles-") as scratch:
        return run_suite("profiles", cases(), Path(scratch) / "cases", only=only)


if __name__ == "__main__":
    sys.exit(main())
