"""``make test-slurm``: the pipeline on a real Slurm of one node, and what its controller recorded."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from engines.cluster import control, jobs, missing_tools, slurm, wait_for_job
from engines.suite import Case, run_suite
from helpers_pipeline import Run, command, environment, run_pipeline, same_tables

SMALL = ["--methods", "pca,harmony", "--controls", "none", "--corrections", "none", "--skip_umap", "--skip_probing"]
ASKED = ["--queue", "short", "--account", "lab7", "--cluster_options=--comment=benchmark"]


class Cases:
    """The cases on one cluster.

    Parameters
    ----------
    extra
        Environment that leads to the cluster.
    scratch
        Folder for the undisturbed run, which is made once.
    """

    def __init__(self, extra: dict[str, str], scratch: Path) -> None:
        self.extra, self.scratch = extra, scratch
        self._reference: Run | None = None

    def reference(self) -> Run:
        """The same run without a scheduler."""
        if self._reference is None:
            self._reference = run_pipeline(self.scratch / "reference", "-profile", "test", *SMALL)
            assert self._reference.status == 0, self._reference.log
        return self._reference

    def start(self, folder: Path, *options: str) -> subprocess.Popen[bytes]:
        """Start a run on the cluster; its log is ``<folder>/log``."""
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                command("-profile", "test,slurm", *SMALL, *options, outdir=folder / "out"),
                cwd=folder,
                env=environment(self.extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self, process: subprocess.Popen[bytes], folder: Path) -> Run:
        """Wait for a run and compare its tables with those of the undisturbed one."""
        run = Run(folder, folder / "out", process.wait(timeout=1200), (folder / "log").read_text())
        assert run.status == 0, run.log
        same_tables(self.reference(), run)
        return run

    def requests(self, folder: Path) -> str:
        """Memory, time, cores, queue, account and extra options are in the scheduler's record of every job."""
        first = {job["JobId"] for job in jobs(self.extra)}
        run = self.finish(self.start(folder, *ASKED), folder)
        found = [job for job in jobs(self.extra) if job["JobId"] not in first]
        assert len(found) == len(run.trace()), (len(found), len(run.trace()))
        for job in found:
            assert (job["Partition"], job["Account"], job["Comment"]) == ("short", "lab7", "benchmark"), job
            assert (job["MinMemoryNode"], job["TimeLimit"], job["NumCPUs"]) == ("3G", "01:00:00", "1"), job
            assert "gpu" not in job.get("TresPerNode", ""), job
        return f"{len(found)} jobs with memory, time, cores, queue, account, comment as asked; tables as without Slurm"

    def gpu(self, folder: Path) -> str:
        """With -profile gpu, scVI and the models have gres=gpu:1 in the GPU partition, and nothing else has."""
        first = {job["JobId"] for job in jobs(self.extra)}
        for model in ("scgpt", "uce"):
            (folder / "weights" / model).mkdir(parents=True)
        chosen = [
            "--methods",
            "harmony,scvi",
            "--models",
            "scgpt,uce",
            "--weights_dir",
            "weights",
            "--controls",
            "none",
        ]
        few = ["--corrections", "none", "--skip_umap", "--skip_probing", "--queue", "short", "--gpu_queue", "cuda"]
        run = run_pipeline(folder, "-stub", "-profile", "test,slurm,gpu", *chosen, *few, extra=self.extra)
        assert run.status == 0, run.log
        with_gpu, without = set(), set()
        for job in jobs(self.extra):
            if job["JobId"] not in first:
                name = job["JobName"].split("_(")[0].split("_EMBEDDINGS_")[-1]
                asked = job.get("TresPerNode") == "gres:gpu:1"
                assert asked == (job["Partition"] == "cuda"), job
                (with_gpu if asked else without).add(name)
        assert with_gpu == {"SCVI", "SCGPT", "UCE"}, with_gpu
        assert any("HARMONY" in name for name in without) and not with_gpu & without
        names = ", ".join(sorted(with_gpu))
        return f"gres:gpu:1 in partition cuda for {names}; none for the other {len(without)} processes"

    def cancelled(self, folder: Path) -> str:
        """scancel of a running job: the task is submitted again, and the tables are the same."""
        process = self.start(folder)
        job = wait_for_job(self.extra, "HARMONY", "RUNNING")
        control(self.extra, "scancel", job["JobId"])
        run = self.finish(process, folder)
        again = [row for row in run.trace() if "HARMONY" in row["name"]]
        assert [row["status"] for row in again] == ["FAILED", "COMPLETED"], again
        return f"exit status {again[0]['exit']}, submitted again, the same tables"

    def drained(self, folder: Path) -> str:
        """The node is drained during the run: jobs wait, and go on when it is back."""
        process = self.start(folder)
        wait_for_job(self.extra, "PREPARE_DATASET", "RUNNING")
        node = jobs(self.extra)[-1]["BatchHost"]
        control(self.extra, "scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        waiting = wait_for_job(self.extra, "HARMONY", "PENDING")
        control(self.extra, "scontrol", "update", f"nodename={node}", "state=resume")
        self.finish(process, folder)
        return f"job {waiting['JobId']} waited ({waiting['Reason']}), then ran; the same tables"


def main() -> int:
    """Start the cluster, run the cases, take the cluster down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    only = parser.parse_args().only
    absent = missing_tools()
    if absent:
        print(f"test-slurm: {' '.join(absent)} missing. Install slurm-wlm and munge (Debian).")
        return 2
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scfm-slurm-")))
        cases = Cases(stack.enter_context(slurm(scratch / "cluster")), scratch)
        table: dict[str, Case] = {name: getattr(cases, name) for name in ("requests", "gpu", "cancelled", "drained")}
        return run_suite("slurm", table, scratch / "cases", only=only)


if __name__ == "__main__":
    sys.exit(main())
