"""Several embeddings in one task: each has its own results, and one that kills the process takes no other with it."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from pathlib import Path

import pytest

from helpers_modules import INPUTS, MODEL_STEM, STEM, call
from scfm.errors import EXIT_UNEXPECTED, ResourceError, ScfmError
from scfm.io.tables import read_json, read_table
from scfm.task.group import Member, corrected, members_of, run_each
from scfm.task.imports import ImportClock
from scfm.task.resources import peak_rss_mb, reset_peaks
from scfm.task.steps import step
from scfm.task.versions import loaded_packages


def _members(*names: str) -> list[Member]:
    return members_of([Path(f"d.{name}.raw.0.parquet") for name in names], [Path(f"d.{n}.raw.0.json") for n in names])


def _run(folder: Path, spoil: dict, *names: str) -> list[str]:
    """Run a step for each name; ``spoil`` says what happens in the middle of one. Return the names that are done."""

    def work(member: Member) -> None:
        name = member.name.split(".")[1]
        with step("probe", dataset="d", embedding=f"{name}.raw.0", outdir=folder):
            (folder / f"{member.name}.probing.tsv").write_text("written\n")
            if name in spoil:
                spoil[name]()

    run_each(_members(*names), work, outdir=folder)
    return sorted(path.name.split(".")[1] for path in folder.glob("*.probe.status.json"))


def _crash() -> None:
    faulthandler.disable()  # pytest's, which would print every stack
    ctypes.string_at(0)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "end",
    [
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        _crash,
        lambda: _raise(MemoryError("a big array")),
        lambda: _raise(OSError(28, "No space left on device", "d.b.raw.0.probing.tsv")),
    ],
    ids=["killed", "segmentation fault", "out of memory", "disk full"],
)
def test_an_embedding_that_ends_the_process_is_left_out_and_the_others_are_done(end, tmp_path: Path, caplog) -> None:
    (tmp_path / "d.b.raw.0.parquet").write_text("its table: an input is not removed")
    assert _run(tmp_path, {"b": end}, "a", "b", "c", "d") == ["a", "c", "d"]
    assert sorted(p.name for p in tmp_path.glob("d.b.*")) == ["d.b.raw.0.parquet"]  # nothing written half
    assert "d.b.raw.0: the process that worked on it" in caplog.text and "run again on its own" in caplog.text


def test_two_bad_embeddings_cost_themselves_only(tmp_path: Path) -> None:
    kill = {name: lambda: os.kill(os.getpid(), signal.SIGKILL) for name in ("a", "d")}
    assert _run(tmp_path, kill, "a", "b", "c", "d") == ["b", "c"]


def test_a_task_without_any_result_asks_for_more_memory(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="None of 2 embeddings could be finished"):
        _run(tmp_path, dict.fromkeys("ab", lambda: _raise(MemoryError("a big array"))), "a", "b")


def test_an_error_that_comes_back_is_a_status_and_one_of_the_environment_ends_the_task(tmp_path: Path) -> None:
    assert _run(tmp_path, {"b": lambda: _raise(ScfmError("It broke."))}, "a", "b", "c") == ["a", "b", "c"]
    assert read_json(tmp_path / "d.b.raw.0.probe.status.json")["reason"] == "It broke."
    with pytest.raises(SystemExit) as ended:
        _run(tmp_path, {"b": lambda: _raise(ModuleNotFoundError("no", name="igraph"))}, "a", "b", "c")
    assert ended.value.code == EXIT_UNEXPECTED


def test_one_embedding_is_worked_on_in_this_process(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        _run(tmp_path, {"a": lambda: _raise(MemoryError("a big array"))}, "a")


def test_packages_that_a_child_imported_are_in_the_versions(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "igraph", raising=False)
    monkeypatch.setattr("scfm.task.versions._LOADED_BY_CHILDREN", set())
    assert "igraph" not in loaded_packages()
    _run(tmp_path, {"b": lambda: sys.modules.setdefault("igraph", sys)}, "a", "b")
    assert "igraph" in loaded_packages() and "igraph" not in sys.modules


def test_files_belong_together_by_name_in_any_order() -> None:
    tables = [Path(f"in/d.{name}.raw.0.parquet") for name in "abc"]
    sidecars = [Path(f"in/d.{name}.raw.0.json") for name in "cab"]
    found = members_of(tables, sidecars, knn=[Path("d.b.raw.0.knn.npz")])
    assert [(m.name, m.sidecar.name) for m in found] == [(f"d.{n}.raw.0", f"d.{n}.raw.0.json") for n in "abc"]
    assert [m.more.get("knn") for m in found] == [None, Path("d.b.raw.0.knn.npz"), None]
    unchecked = members_of([Path("d.a.raw.0.unchecked.parquet")] * 1, [Path("d.a.raw.0.unchecked.json")])
    assert unchecked[0].name == "d.a.raw.0"
    names = [m.name for m in corrected(found[:2], ["l2", "center"])]
    assert names == ["d.a.l2.0", "d.a.center.0", "d.b.l2.0", "d.b.center.0"]
    with pytest.raises(ScfmError, match=r"2 embeddings without a table or without a sidecar, first: d\.c\.raw\.0"):
        members_of(tables, [*sidecars[1:], Path("d.z.raw.0.json")])
    with pytest.raises(ScfmError, match="3 files of the kind 'embedding' belong to 2 embeddings"):
        members_of([*tables[:2], Path("other/d.a.raw.0.parquet")], sidecars)


def test_a_group_gives_what_its_embeddings_give_alone(tmp_path: Path) -> None:
    stems = (STEM, MODEL_STEM)
    given = {"obs": INPUTS / "tiny.obs.parquet", "k": 15}
    files = {
        "embedding": [INPUTS / f"{stem}.parquet" for stem in stems],
        "sidecar": [INPUTS / f"{stem}.json" for stem in stems],
    }
    (tmp_path / "group").mkdir()
    call("find_neighbors", **files, **given, outdir=tmp_path / "group")
    for position, stem in enumerate(stems):
        (tmp_path / stem).mkdir()
        one = {kind: paths[position] for kind, paths in files.items()}
        call("find_neighbors", **one, **given, outdir=tmp_path / stem)
        name = f"{stem}.knn.npz"
        assert (tmp_path / "group" / name).read_bytes() == (tmp_path / stem / name).read_bytes()
        assert read_json(tmp_path / "group" / f"{stem}.neighbors.status.json")["status"] == "ok"


def test_every_embedding_is_corrected_in_every_way(tmp_path: Path) -> None:
    call(
        "correct_embedding",
        embedding=[INPUTS / f"{STEM}.parquet", INPUTS / f"{MODEL_STEM}.parquet"],
        sidecar=[INPUTS / f"{MODEL_STEM}.json", INPUTS / f"{STEM}.json"],
        obs=INPUTS / "tiny.obs.parquet",
        correction=["l2", "center"],
        params=INPUTS / "params.json",
        outdir=tmp_path,
    )
    made = sorted(path.name.removesuffix(".unchecked.parquet") for path in tmp_path.glob("*.unchecked.parquet"))
    assert made == [f"tiny.{m}.{c}.0" for m in ("harmony", "sccello") for c in ("center", "l2")]
    rows = read_table(tmp_path / "tiny.sccello.l2.0.unchecked.parquet").set_index("cell_id")
    assert ((rows**2).sum(axis=1) ** 0.5 - 1).abs().max() < 1e-5


def test_the_peak_of_memory_is_that_of_the_step() -> None:
    block = bytearray(os.urandom(1)) * (80 * 1024**2)
    high = peak_rss_mb()
    del block
    reset_peaks()
    if peak_rss_mb() == high:
        pytest.skip("this system does not reset the peak")
    assert peak_rss_mb() < high - 60


def test_the_clock_measures_imports_once_and_only_while_it_runs(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "outer_module.py").write_text("import time\nimport inner_module\ntime.sleep(0.05)\n")
    (tmp_path / "inner_module.py").write_text("import time\ntime.sleep(0.05)\n")
    (tmp_path / "later_module.py").write_text("import time\ntime.sleep(0.05)\n")
    monkeypatch.syspath_prepend(tmp_path)
    clock = ImportClock()
    clock.start()
    try:
        import outer_module
    finally:
        clock.stop()
    import later_module

    assert outer_module.inner_module and later_module
    taken = clock.take()
    assert 0.1 <= taken < 1.0
    assert clock.take() == 0
