"""Files and disks that fail: damaged work files, full and read-only disks, results of other runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engines.world import CONFIG, World, sentence_of
from helpers_pipeline import names_of

Damage = tuple[str, Callable[[Path], None]]


def damage(world: World, chosen: Sequence[Damage], _: Path) -> dict[str, str]:
    """Files of the work folder are damaged before the run is resumed into the output folder of before.

    ``chosen`` has one damage per data set: the file's name behind that of the data set, and what is done to it.
    """
    world.completed()
    damaged = dict(zip(world.sets, chosen, strict=False))
    for name, (ending, how) in damaged.items():
        how(world.work_file(name + ending))
    outcome = world.by_set(world.run("-resume"))
    return {f"{how.__name__} before resume: {FILES[ending]}": outcome[name] for name, (ending, how) in damaged.items()}


#: what a file's name has behind that of the data set -> what it is
FILES = {
    ".prepared.h5ad": "prepared data set",
    ".obs.parquet": "obs table",
    ".pca.raw.0.parquet": "validated embedding",
    ".pca.raw.0.knn.npz": "neighbours",
    ".pca.raw.0.scores.tsv": "scores",
}


def truncate(path: Path) -> None:
    """Cut a file to half its size."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Leave 0 bytes."""
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """Change 64 bytes in the middle; the size stays."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    path.write_bytes(bytes(content))


def delete(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def no_cache(world: World, _: Path) -> str:
    """Nextflow's record of a completed run is deleted before the run is resumed."""
    world.completed()
    shutil.rmtree(world.folder / ".nextflow")
    run = world.run("-resume")
    world.same(run)
    return f"{len(names_of(run.trace(), 'COMPLETED'))} tasks computed anew; the same tables"


def no_work_folder(world: World, _: Path) -> str:
    """The work folder is deleted before the run is resumed."""
    world.completed()
    shutil.rmtree(world.folder / "work")
    run = world.run("-resume")
    world.same(run)
    return f"{len(names_of(run.trace(), 'COMPLETED'))} tasks computed anew; the same tables"


def other_input(world: World, _: Path) -> str:
    """The input changes between a run and its resumption: nothing of the old one may be used."""
    import anndata as ad

    world.completed()
    data = ad.read_h5ad(world.folder / "a.h5ad")[:120].copy()
    data.write_h5ad(world.folder / "a.h5ad")
    resumed = world.run("-resume")
    assert resumed.status == 0, resumed.log
    ours, theirs = (run.table("scores").query("dataset == 'a'") for run in (resumed, world.reference))
    assert 0 < ours["n_cells"].max() < theirs["n_cells"].max(), (ours["n_cells"].max(), theirs["n_cells"].max())
    assert not set(ours["value"].dropna()) & set(theirs["value"].dropna()) - {0.0, 1.0}
    return "its data set was computed anew; no number of the old input is left"


def lost_input(world: World, _: Path) -> str:
    """The input is deleted after it was checked."""
    world.before("prepare_dataset.py", sets="d")
    process = world.start("-resume")
    world.find("/bin/prepare_dataset.py")
    (world.folder / "d.h5ad").unlink()
    outcome = world.by_set(world.finish(process))["d"]
    shutil.copy2(world.kept / "d.h5ad", world.folder / "d.h5ad")
    world.same(world.run("-resume"))
    return f"{outcome}; with the file the same tables"


def earlier_results(world: World, _: Path) -> str:
    """The output folder holds a completed run, and this run fails."""
    world.completed()
    (world.folder / "sheet.csv").write_text("dataset,h5ad,batch_key,label_key\na,a.h5ad,batch,no_such\n")
    run = world.run()
    said = world.said(run)
    assert not (run.outdir / "tables" / "verdict.json").exists()
    assert "report/scfmbench_report.html" not in run.log, run.log
    return f"ended with: {said}; nothing is said about the earlier run"


def results_of_other_settings(world: World, _: Path) -> str:
    """The output folder holds a run with other settings, and everything of this run is in the cache."""
    world.completed(with_results=False)
    other = world.run("-resume", "--neighbors_k", "30")
    assert other.status == 0, other.log
    changed = other.table("scores")["value"]
    assert not changed.equals(world.reference.table("scores")["value"])
    run = world.run("-resume")
    world.same(run)
    return f"{len(names_of(run.trace(), 'CACHED'))} cached tasks; the same tables, not those of the other settings"


def two_runs(world: World, _: Path) -> str:
    """A second run starts with the same output folder."""
    world.before("integrate_cells.py", sets="ab")
    first = world.start("-resume")
    world.find("/bin/integrate_cells.py")
    refused = world.beside(world.folder / "other").run(out="../out")
    assert refused.status != 0
    world.same(world.finish(first))
    return f"the second ended with: {sentence_of(refused.log)}; the first gave the same tables"


def one_launch_folder(world: World, _: Path) -> str:
    """A second run starts in the same folder, with an output folder of its own, while the first one runs."""
    world.before("prepare_dataset.py", sets="a")
    first = world.start("-resume")
    world.find("/bin/prepare_dataset.py")
    second = world.start(out="out2", log="log2")
    run = world.finish(second, out="out2", log="log2")
    world.same(world.finish(first))
    world.same(run)
    return "both gave the same tables"


def resumed_twice(world: World, _: Path) -> str:
    """A run is resumed while it still runs."""
    world.before("prepare_dataset.py", sets="a")
    first = world.start("-resume")
    world.find("/bin/prepare_dataset.py")
    refused = world.run("-resume", out="out2", log="log2")
    assert refused.status != 0
    world.same(world.finish(first))
    return f"the second ended with: {sentence_of(refused.log)}; the first gave the same tables"


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


@contextmanager
def small_disk(world: World, folder: Path, megabytes: int = 80) -> Iterator[Path]:
    """Mount a disk of its own on a folder, with what is in the folder; the body gets the path of a file to fill it."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.mkdir(exist_ok=True)
    folder.rename(aside)
    with mounted(folder, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"):
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        try:
            yield folder / ".ballast"
        finally:
            world.stop_tasks()


def fill(ballast: Path) -> None:
    """Write a file until its disk is full."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            return


def full_disk(world: World, where: str, step: str, _: Path) -> str:
    """A disk fills up while the run writes to it; then there is room again, and the run is resumed."""
    extra = f"process.scratch = '{world.folder}/scratch'\n" if where == "scratch" else ""
    world.before(step, CONFIG + extra, None if step == "collect_results.py" else "a")
    with small_disk(world, world.folder / where) as ballast:
        process = world.start("-resume")
        world.find(f"/bin/{step}")
        fill(ballast)
        said = world.said(world.finish(process))
        ballast.unlink()
        world.same(world.run("-resume"))
    return f"ended with: {said}; with more room the same tables"


def read_only_outdir(world: World, _: Path) -> str:
    """The output folder can't be written."""
    world.fresh()
    with mounted(world.folder / "out", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"):
        run = world.run()
        assert run.status != 0
    assert "can't be written" in run.log, run.log
    return f"ended with: {sentence_of(run.log)}"
