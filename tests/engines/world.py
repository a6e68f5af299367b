"""A small run that can be disturbed, always in one folder so that its cache holds, and the tables that it must give."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from helpers_pipeline import KEYS, PROJECT, Run, command, environment, same_tables

#: the smallest whole pipeline
SMALL = ["--methods", "pca", "--controls", "none", "--corrections", "none"]
SMALL += ["--skip_umap", "--skip_probing", "--skip_diagnosis"]
DEMO = PROJECT / "tests" / "data" / "demo.h5ad"
SHEET = "dataset,h5ad,batch_key,label_key\ndemo,demo.h5ad,batch,cell_type\n"
#: small data, no time to lose between two tries, and of Nextflow's own reports only the trace
CONFIG = """
params {
    n_hvg = 200
    n_pcs = 20
}
process {
    resourceLimits = [cpus: 1, memory: '3.GB', time: '1.h']
}
executor {
    pollInterval = '100 ms'
}
dag.enabled = false
report.enabled = false
timeline.enabled = false
"""


class World:
    """A folder with a small run in it.

    Parameters
    ----------
    folder
        Folder of the run; its name is the same in every case.

    Attributes
    ----------
    reference
        The undisturbed run, made once; it is kept beside the folder with its work files and its cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = folder.with_name(folder.name + ".kept")
        self.reference = self._make_reference()

    def _make_reference(self) -> Run:
        self.fresh()
        run = self.run()
        assert run.status == 0, run.log
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.folder, self.kept, symlinks=True)
        return Run(self.kept, self.kept / "out", 0, run.log)

    def fresh(self, config: str = CONFIG) -> None:
        """Empty the folder but for the inputs."""
        self.stop_tasks()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copy2(DEMO, self.folder / "demo.h5ad")
        (self.folder / "sheet.csv").write_text(SHEET)
        (self.folder / "nextflow.config").write_text(config)

    def completed(self, *, with_results: bool = True) -> None:
        """Put the completed run back, with the times of its files; without results, nothing old can be read as new."""
        self.stop_tasks()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.kept, self.folder, symlinks=True)
        if not with_results:
            shutil.rmtree(self.folder / "out")

    def before(self, executable: str, config: str = CONFIG) -> None:
        """Put the run back as it was before a step: ``-resume`` computes this step and all that follow it."""
        self.completed(with_results=False)
        (self.folder / "nextflow.config").write_text(config)
        found = [p.parent for p in self.folder.glob("work/*/*/.command.sh") if f"{executable} " in p.read_text()]
        assert found, f"no task of the undisturbed run calls {executable}"
        for task in found:
            shutil.rmtree(task)

    def beside(self, folder: Path) -> World:
        """Return the same run in another folder, which has its inputs already."""
        other = copy(self)
        other.folder = folder
        return other

    def start(self, *options: str, out: str = "out", log: str = "log", **extra: str) -> subprocess.Popen[bytes]:
        """Start a run in the folder, in a session of its own; ``log`` is the file of its log there."""
        with (self.folder / log).open("wb") as handle:
            return subprocess.Popen(
                command("--input", "sheet.csv", *SMALL, *options, outdir=self.folder / out),
                cwd=self.folder,
                env=environment(extra) | extra,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, process: subprocess.Popen[bytes], out: str = "out", log: str = "log", seconds: int = 900) -> Run:
        """Wait for the end of a run."""
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"no end after {seconds} s") from None
        return Run(self.folder, self.folder / out, status, (self.folder / log).read_text())

    def run(self, *options: str, out: str = "out", log: str = "log", **extra: str) -> Run:
        """Run in the folder and wait for the end."""
        return self.finish(self.start(*options, out=out, log=log, **extra), out, log)

    def find(self, pattern: str, seconds: int = 300) -> int:
        """Return the id of a process of this run whose command line holds a text, as soon as there is one."""
        for _ in range(seconds * 20):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and pattern in _read(entry / "cmdline") and self.is_ours(entry):
                    return int(entry.name)
            time.sleep(0.05)
        raise AssertionError(f"no process '{pattern}' came up in {seconds} s")

    def is_ours(self, entry: Path) -> bool:
        """Whether a process of ``/proc`` works in the folder of the run."""
        try:
            return Path(os.readlink(entry / "cwd")).is_relative_to(self.folder)
        except OSError:
            return False

    def stop_tasks(self) -> None:
        """End what a killed run, or a case that failed, left behind, and wait for its end."""
        for _ in range(100):
            left = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and self.is_ours(entry)]
            if not left:
                return
            for entry in left:
                _kill(int(entry.name))
            time.sleep(0.1)
        raise AssertionError("tasks of a killed run do not end")

    def work_file(self, name: str) -> Path:
        """Return a file of the completed run's work folder that is no link."""
        found = [path for path in self.folder.glob(f"work/*/*/{name}") if not path.is_symlink()]
        assert len(found) == 1, (name, found)
        return found[0]

    def same(self, run: Run) -> None:
        """Assert that a run completed with the tables of the undisturbed one."""
        assert run.status == 0, run.log[-1500:]
        assert "scfmbench completed in" in run.log, run.log[-1500:]
        same_tables(self.reference, run)

    def same_or_said(self, run: Run) -> str:
        """Assert that a run gave the same tables, or failed with a sentence and no other number."""
        if run.status == 0:
            self.same(run)
            return "the same tables"
        return f"ended with: {self.said(run)}"

    def said(self, run: Run) -> str:
        """Return the sentence of a run that failed.

        Asserts that it shows no traceback, does not say that it completed, leaves no verdict but its own, and that
        every score in its tables is that of the undisturbed run.
        """
        assert run.status != 0, run.log[-1500:]
        assert "Traceback" not in run.log, run.log[-3000:]
        assert "scfmbench completed in" not in run.log, run.log[-1500:]
        verdict = run.outdir / "tables" / "verdict.json"
        if verdict.exists():
            assert json.loads(verdict.read_text())["exit_status"] != 0, verdict.read_text()
        if (run.outdir / "tables" / "scores.tsv").exists():
            ours, theirs = (r.table("scores").set_index(KEYS)["value"].dropna() for r in (run, self.reference))
            assert ours.index.isin(theirs.index).all() and (ours == theirs[ours.index]).all(), ours.compare(theirs)
        return sentence_of(run.log)


def sentence_of(log: str) -> str:
    """Return the sentence that says why a run ended: the first error, or the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR: ", "ERROR ~ ", "--outdir", "scfmbench stopped"))]
    chosen = next((line for line in errors if not line.startswith("ERROR ~ Error exec")), lines[-1])
    return chosen.removeprefix("ERROR ~ ").removeprefix("ERROR: ")[:300]


def _kill(pid: int) -> None:
    """Kill a process that may have ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder while the body runs (needs root).

    Parameters
    ----------
    folder
        Folder to make and to mount on.
    options
        Arguments of ``mount`` before the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, folder], check=True, capture_output=True)
    try:
        yield
    finally:
        _until_unmounted(lambda: subprocess.run(["umount", folder], check=False, capture_output=True).returncode == 0)


def _until_unmounted(attempt: Callable[[], bool]) -> None:
    for _ in range(100):
        if attempt():
            return
        time.sleep(0.1)
    raise AssertionError("a file system stays busy")
