"""A small run that can be disturbed, always in one folder so that its cache holds, and the tables that it must give."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path

import pandas as pd

from helpers_pipeline import KEYS, PROJECT, Run, command, copy_project, environment, same_tables

#: the smallest whole pipeline
SMALL = ["--methods", "pca", "--controls", "none", "--corrections", "none"]
SMALL += ["--skip_umap", "--skip_probing", "--skip_diagnosis"]
DEMO = PROJECT / "tests" / "data" / "demo.h5ad"
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
#: executable -> what it writes where a case is not about the report
STAND_INS = {
    "build_report.py": "mkdir content\nprintf 'Tables only.\\n' > summary.txt\n",
    "write_page.py": "mkdir scfmbench_report_data\nprintf 'Tables only.\\n' > scfmbench_report.html\n",
}


def tables_only(target: Path) -> Path:
    """Copy the pipeline with stand-ins for the two steps that make the report, a third of the time of a small run."""
    copy_project(target)
    for name, lines in STAND_INS.items():
        versions = 'printf \'"stand-in":\\n    bash: "5"\\n\' > versions.yml\n'
        (target / "bin" / name).write_text(f"#!/usr/bin/env bash\nset -eu\n{lines}{versions}")
    return target


def failures(run: Run) -> str:
    """Return the last lines of standard error of every task that failed."""
    failed = [path for path in run.folder.glob("work/*/*/.exitcode") if path.read_text() != "0"]
    logs = {path.parent: path.with_name(".command.err").read_text().splitlines()[-15:] for path in failed}
    return "\n".join(f"{task.name}:\n" + "\n".join(lines) for task, lines in logs.items())


class World:
    """A folder with a small run in it: one method, and data sets ``a``, ``b`` ... that differ in their cells.

    Parameters
    ----------
    folder
        Folder of the run; its name is the same in every case.
    sets
        Names of the data sets.
    project
        The pipeline.

    Attributes
    ----------
    reference
        The undisturbed run, made once; it is kept beside the folder with its work files and its cache.
    """

    def __init__(self, folder: Path, sets: Sequence[str] = "abcd", project: Path = PROJECT) -> None:
        self.folder, self.sets, self.project = folder, list(sets), project
        self.inputs = folder.with_name(folder.name + ".inputs")
        self.kept = folder.with_name(folder.name + ".kept")
        self._write_inputs()
        self.reference = self._make_reference()

    def _write_inputs(self) -> None:
        import anndata as ad

        self.inputs.mkdir(parents=True)
        cells = ad.read_h5ad(DEMO)
        for i, name in enumerate(self.sets):
            cells[i :: max(3, len(self.sets))].copy().write_h5ad(self.inputs / f"{name}.h5ad")
        rows = "".join(f"{name},{name}.h5ad,batch,cell_type\n" for name in self.sets)
        (self.inputs / "sheet.csv").write_text(f"dataset,h5ad,batch_key,label_key\n{rows}")

    def _make_reference(self) -> Run:
        self.fresh()
        run = self.run()
        assert run.status == 0, f"{run.log}\n{failures(run)}"
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.folder, self.kept, symlinks=True)
        return Run(self.kept, self.kept / "out", 0, run.log)

    def fresh(self, config: str = CONFIG) -> None:
        """Empty the folder but for the inputs."""
        self.stop_tasks()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.inputs, self.folder)
        (self.folder / "nextflow.config").write_text(config)

    def completed(self, *, with_results: bool = True) -> None:
        """Put the completed run back, with the times of its files; without results, nothing old can be read as new."""
        self.stop_tasks()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.kept, self.folder, symlinks=True)
        if not with_results:
            shutil.rmtree(self.folder / "out")

    def before(self, executable: str, config: str = CONFIG, sets: Sequence[str] | None = None) -> None:
        """Put the run back as it was before a step: ``-resume`` computes this step and all that follow it.

        Parameters
        ----------
        executable
            The step; nothing is left of the run where it is the first one.
        config
            Configuration of the run to come.
        sets
            Data sets that are put back; all where not given.
        """
        if executable == "check_inputs.py":
            self.fresh(config)
            return
        self.completed(with_results=False)
        (self.folder / "nextflow.config").write_text(config)
        about = re.compile("|".join(rf"--dataset {name}\b|[ /]{name}\.pca\b" for name in sets or []))
        scripts = [(path.parent, path.read_text()) for path in self.folder.glob("work/*/*/.command.sh")]
        found = [task for task, text in scripts if f"{executable} " in text and (sets is None or about.search(text))]
        assert found, f"no task of the undisturbed run calls {executable}"
        for task in found:
            shutil.rmtree(task)

    def beside(self, folder: Path) -> World:
        """Return the same run in another folder, with its inputs."""
        shutil.copytree(self.inputs, folder)
        shutil.copy2(self.folder / "nextflow.config", folder / "nextflow.config")
        other = copy(self)
        other.folder = folder
        return other

    def whole(self) -> World:
        """Return the same run with the pipeline itself, report included."""
        other = copy(self)
        other.project = PROJECT
        return other

    def start(self, *options: str, out: str = "out", log: str = "log", **extra: str) -> subprocess.Popen[bytes]:
        """Start a run in the folder, in a session of its own; ``log`` is the file of its log there."""
        arguments = ["--input", "sheet.csv", *SMALL, *options]
        with (self.folder / log).open("wb") as handle:
            return subprocess.Popen(
                command(*arguments, project=self.project, outdir=self.folder / out),
                cwd=self.folder,
                env=self._environment(extra),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a run; this checkout's ``bin`` is taken off PATH, where it would hide stand-ins."""
        env = environment(extra) | extra
        paths = [path for path in env["PATH"].split(os.pathsep) if Path(path).resolve() != PROJECT / "bin"]
        return env | {"PATH": os.pathsep.join(paths)}

    def finish(self, process: subprocess.Popen[bytes], out: str = "out", log: str = "log", seconds: int = 1500) -> Run:
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

    def processes(self, pattern: str) -> list[int]:
        """Return the ids of the processes of this run whose command line holds a text."""
        entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [int(e.name) for e in entries if pattern in _read(e / "cmdline") and self.is_ours(e)]

    def find(self, pattern: str, seconds: int = 600) -> int:
        """Return the id of a process of this run whose command line holds a text, as soon as there is one."""
        for _ in range(seconds * 20):
            found = self.processes(pattern)
            if found:
                return found[0]
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
            left = self.processes("")
            if not left:
                return
            for pid in left:
                kill(pid)
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
            ours, theirs = _values(run), _values(self.reference)
            assert ours.index.isin(theirs.index).all() and (ours == theirs[ours.index]).all(), ours.compare(theirs)
        return sentence_of(run.log)

    def by_set(self, run: Run) -> dict[str, str]:
        """Return what became of every data set: the same numbers, or its failures; asserts one of the two.

        A run that stopped before its tables has one sentence for all.
        """
        if run.status == 0:
            self.same(run)
            return dict.fromkeys(self.sets, "the same tables")
        said = self.said(run)
        if not (run.outdir / "tables" / "verdict.json").exists():
            return dict.fromkeys(self.sets, f"ended with: {said}")
        ours, theirs, status = _values(run), _values(self.reference), run.table("status")
        outcome = {}
        for name in self.sets:
            failed = status[(status["dataset"] == name) & (status["status"] == "failed")]
            if len(failed):
                assert (failed["reason"].str.len() > 0).all(), failed
                outcome[name] = f"failed, the others did not: {failed['reason'].iloc[0]}"
            else:
                expected = theirs[theirs.index.get_level_values("dataset") == name]
                assert ours[ours.index.get_level_values("dataset") == name].equals(expected), (name, run.log[-1500:])
                outcome[name] = "the same numbers"
        return outcome


def _values(run: Run) -> pd.Series:
    """Return the scores of a run that are numbers."""
    return run.table("scores").set_index(KEYS)["value"].dropna().sort_index()


def sentence_of(log: str) -> str:
    """Return the sentence that says why a run ended: the first error, or the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    kinds = ("ERROR: ", "ERROR ~ --", "--outdir: ", "scfmbench stopped", "ERROR ~ ")
    chosen = next((line for kind in kinds for line in lines if line.startswith(kind)), lines[-1])
    return chosen.removeprefix("ERROR ~ ").removeprefix("ERROR: ")[:300]


def kill(pid: int) -> None:
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
