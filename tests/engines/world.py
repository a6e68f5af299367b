"""A run that can be disturbed, always in one folder so that its cache holds, and the tables that it must give."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers_pipeline import PROJECT, Run, command, environment, same_tables

#: the smallest whole pipeline
SMALL = ["--methods", "pca", "--controls", "none", "--corrections", "none", "--skip_umap", "--skip_probing"]
DEMO = PROJECT / "tests" / "data" / "demo.h5ad"
SHEET = "dataset,h5ad,batch_key,label_key\ndemo,demo.h5ad,batch,cell_type\n"
#: small data and no time to lose between two tries
CONFIG = """
params {
    n_hvg = 200
    n_pcs = 20
}
process {
    resourceLimits = [cpus: 1, memory: '3.GB', time: '1.h']
}
executor {
    pollInterval = '200 ms'
}
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
        The undisturbed run; its results are kept beside the folder.
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
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copy2(DEMO, self.folder / "demo.h5ad")
        (self.folder / "sheet.csv").write_text(SHEET)
        (self.folder / "nextflow.config").write_text(config)

    def completed(self) -> None:
        """Put the completed run back, with the times of its files."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.kept, self.folder, symlinks=True)

    def start(self, *options: str, out: str = "out", **extra: str) -> subprocess.Popen[bytes]:
        """Start a run in the folder, in a session of its own; its log is ``<folder>/log``."""
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                command("--input", "sheet.csv", *SMALL, *options, outdir=self.folder / out),
                cwd=self.folder,
                env=environment(extra) | extra,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, process: subprocess.Popen[bytes], out: str = "out", seconds: int = 1800) -> Run:
        """Wait for the end of a run."""
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"no end after {seconds} s") from None
        return Run(self.folder, self.folder / out, status, (self.folder / "log").read_text())

    def run(self, *options: str, out: str = "out", **extra: str) -> Run:
        """Run in the folder and wait for the end."""
        return self.finish(self.start(*options, out=out, **extra), out)

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

    def work_file(self, name: str) -> Path:
        """Return a file of the completed run's work folder that is no link."""
        found = [path for path in self.folder.glob(f"work/*/*/{name}") if not path.is_symlink()]
        assert len(found) == 1, (name, found)
        return found[0]

    def same(self, run: Run) -> None:
        """Assert that a run completed with the tables of the undisturbed one."""
        assert run.status == 0, run.log[-1500:]
        same_tables(self.reference, run)

    def same_or_said(self, run: Run) -> str:
        """Assert that a run gave the same tables, or ended with a sentence and no table of its own."""
        if run.status == 0:
            self.same(run)
            return "the same tables"
        assert "Traceback" not in run.log, run.log[-1500:]
        return f"ended with: {sentence_of(run.log)}"


def sentence_of(log: str) -> str:
    """Return the sentence that says why a run ended: the first error, or the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR: ", "ERROR ~ ", "--outdir", "scfmbench stopped"))]
    chosen = next((line for line in errors if not line.startswith("ERROR ~ Error exec")), lines[-1])
    return chosen.removeprefix("ERROR ~ ").removeprefix("ERROR: ")[:300]


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
