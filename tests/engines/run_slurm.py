"""``make test-slurm``: the pipeline on a real Slurm of one node, and what its controller recorded."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from engines.cluster import control, jobs, missing_tools, request_of, slurm, wait_for_job
from engines.suite import Case, run_suite, undisturbed
from helpers_pipeline import Run, command, environment, launch_config, run_pipeline, same_tables

SMALL = ["--methods", "pca,harmony", "--controls", "none", "--corrections", "none", "--skip_umap", "--skip_probing"]
SMALL += ["--skip_diagnosis"]
ASKED = ["--queue", "short", "--account", "lab7", "--cluster_options=--comment=benchmark"]
#: two jobs at once, and a trace that says what each of them asked for
CONFIG = """
executor {
    queueSize = 2
    pollInterval = '500 ms'
}
trace {
    raw = true
    fields = 'task_id,native_id,name,status,exit,cpus,memory,time,queue'
}
"""
#: a head node of one core and 2 GB: what the JVM finds, and what the configuration reads from the machine
SMALL_HEAD = "process.ext.machine = [cpus: 1, memory: 2.GB]"
SMALL_JVM = {"NXF_OPTS": "-XX:ActiveProcessorCount=1 -Xmx300m"}
#: what conf/base.config and conf/methods.config give these processes: cores, MB, seconds
EXPECTED = {
    "SCVI": (2, 16 * 2**10, 12 * 3600),
    "SCANORAMA": (2, 32 * 2**10, 12 * 3600),
    "SCGPT": (8, 32 * 2**10, 12 * 3600),
    "PREPARE_DATASET": (2, 16 * 2**10, 8 * 3600),
}
FEW = ["--controls", "none", "--corrections", "none", "--skip_umap", "--skip_probing"]


class Cases:
    """The cases on one cluster.

    Parameters
    ----------
    extra
        Environment that leads to the cluster.
    demo
        Options of the run whose requests are read; none for the whole demo.
    """

    def __init__(self, extra: dict[str, str], demo: list[str]) -> None:
        self.extra, self.demo = extra, demo

    def start(self, folder: Path, *options: str) -> subprocess.Popen[bytes]:
        """Start a run on the cluster; its log is ``<folder>/log``."""
        (folder / "nextflow.config").write_text(launch_config("test,slurm", CONFIG))
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                command("-profile", "test,slurm", *options, outdir=folder / "out"),
                cwd=folder,
                env=environment(self.extra) | {"NXF_SYNTAX_PARSER": "v1"},  # see launch_config
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self, process: subprocess.Popen[bytes], folder: Path, options: list[str]) -> Run:
        """Wait for a run and compare its tables with those of the undisturbed one."""
        try:
            status = process.wait(timeout=2400)
        finally:
            process.kill()
        run = Run(folder, folder / "out", status, (folder / "log").read_text())
        assert run.status == 0, run.log
        same_tables(undisturbed(*options), run)
        return run

    def recorded(self, run: Run) -> list[tuple[str, dict[str, str]]]:
        """Process and the controller's record of every job, after comparing each with what its task asked for."""
        known = {job["JobId"]: job for job in jobs(self.extra)}
        found = []
        for row in run.trace():
            job = known[row["native_id"]]
            asked = (int(row["cpus"]), int(row["memory"]) // 2**20, int(row["time"]) // 1000)
            assert request_of(job) == asked, (row, job)
            found.append((row["name"].split(" ")[0].split(":")[-1], job))
        assert found
        return found

    def requests(self, folder: Path) -> str:
        """The demo: memory, time, cores, queue, account, extra options are in the controller's record of every job."""
        run = self.finish(self.start(folder, *self.demo, *ASKED), folder, self.demo)
        found = self.recorded(run)
        for _, job in found:
            assert (job["Partition"], job["Account"], job["Comment"]) == ("short", "lab7", "benchmark"), job
            assert request_of(job) == (1, 3 * 2**10, 3600), job  # the limits of the profile test
            assert "gpu" not in job.get("TresPerNode", ""), job
        return (
            f"{len(found)} jobs of {len(dict(found))} processes with memory, time, cores, queue, account and comment as"
            " asked; tables as without Slurm"
        )

    def small_head(self, folder: Path) -> str:
        """From a head node of one core and 2 GB: every job is asked for what its process needs, as a stub run."""
        (folder / "nextflow.config").write_text(launch_config("slurm", CONFIG, SMALL_HEAD))
        (folder / "weights" / "scgpt").mkdir(parents=True)
        sheet = ["--input", str(Path(__file__).parents[1] / "data" / "demo_samplesheet.csv")]
        chosen = ["--methods", "scanorama,scvi", "--models", "scgpt", "--weights_dir", "weights", "--queue", "short"]
        options = ["-stub", "-profile", "slurm", *sheet, *chosen, *FEW]
        run = run_pipeline(folder, *options, extra=self.extra | SMALL_JVM)
        assert run.status == 0, run.log
        found = self.recorded(run)
        given = {name: request_of(job) for name, job in found if name in EXPECTED}
        assert given == EXPECTED, given
        memory = sorted({request_of(job)[1] // 2**10 for _, job in found})
        sizes = ", ".join(map(str, memory))
        return f"{len(dict(found))} processes with {sizes} GB and up to 8 cores, as from a large head node"

    def gpu(self, folder: Path) -> str:
        """With -profile gpu, scVI and the models have gres=gpu:1 in the GPU partition, and nothing else has."""
        (folder / "nextflow.config").write_text(launch_config("test,slurm,gpu", CONFIG))
        for model in ("scgpt", "uce"):
            (folder / "weights" / model).mkdir(parents=True)
        chosen = ["--methods", "harmony,scvi", "--models", "scgpt,uce", "--weights_dir", "weights"]
        queues = ["--queue", "short", "--gpu_queue", "cuda"]
        options = ["-stub", "-profile", "test,slurm,gpu", *chosen, *FEW, *queues]
        run = run_pipeline(folder, *options, parser="v1", extra=self.extra)
        assert run.status == 0, run.log
        found = self.recorded(run)
        with_gpu, without = set(), set()
        for name, job in found:
            asked = job.get("TresPerNode") == "gres:gpu:1"
            assert asked == (job["Partition"] == "cuda"), job
            (with_gpu if asked else without).add(name)
        assert with_gpu == {"SCVI", "SCGPT", "UCE"}, with_gpu
        assert "HARMONY" in without and not with_gpu & without
        names = ", ".join(sorted(with_gpu))
        return f"gres:gpu:1 in partition cuda for {names}; none for the other {len(without)} processes"

    def cancelled(self, folder: Path) -> str:
        """scancel of a running job: the task is submitted again, and the tables are the same."""
        process = self.start(folder, *SMALL)
        job = wait_for_job(self.extra, process, "HARMONY", "RUNNING")
        control(self.extra, "scancel", job["JobId"])
        run = self.finish(process, folder, SMALL)
        again = [row for row in run.trace() if "HARMONY" in row["name"]]
        assert [row["status"] for row in again] == ["FAILED", "COMPLETED"], again
        return f"exit status {again[0]['exit']}, submitted again, the same tables"

    def drained(self, folder: Path) -> str:
        """The node is drained during the run: jobs wait, and go on when it is back."""
        process = self.start(folder, *SMALL)
        wait_for_job(self.extra, process, "PREPARE_DATASET", "RUNNING")
        node = jobs(self.extra)[-1]["BatchHost"]
        control(self.extra, "scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        waiting = wait_for_job(self.extra, process, "", "PENDING")
        control(self.extra, "scontrol", "update", f"nodename={node}", "state=resume")
        self.finish(process, folder, SMALL)
        return f"job {waiting['JobId']} waited ({waiting['Reason']}), then ran; the same tables"


NAMES = ("requests", "small_head", "gpu", "cancelled", "drained")


def main() -> int:
    """Start the cluster, run the cases, take the cluster down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="two methods up to the scores instead of the whole demo")
    args = parser.parse_args()
    absent = missing_tools()
    if absent:
        print(f"test-slurm: {' '.join(absent)} missing. Install slurm-wlm and munge (Debian).")
        return 2
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scfm-slurm-")))
        cases = Cases(stack.enter_context(slurm(scratch / "cluster")), SMALL if args.quick else [])
        table: dict[str, Case] = {name.replace("_", " "): getattr(cases, name) for name in NAMES}
        return run_suite("slurm", table, scratch / "cases", only=args.only)


if __name__ == "__main__":
    sys.exit(main())
