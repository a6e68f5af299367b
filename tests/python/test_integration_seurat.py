"""Seurat: what is handed to R and back, and errors of R as sentences; R itself where it is, else a stand-in."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from helpers_methods import skip_without_r, write_prepared
from scfm.errors import ScfmError, SoftwareError
from scfm.integration.base import MethodInputs
from scfm.integration.run import load_method, run_method
from scfm.integration.seurat.handover import read_coordinates, write_input
from scfm.integration.seurat.run import fitting
from scfm.io.tables import read_embedding, read_json
from scfm.planning.environment import require_r_packages
from scfm.registries.methods import get_method
from scfm.task.programs import require_r, run_program
from scfm.task.settings import pick_settings
from scfm.task.steps import step
from scfm.task.versions import write_versions

#: what every stand-in of Rscript begins with: it answers the question for packages, and reads what is handed over
HEAD = """#!{python}
import sys
from pathlib import Path
if "-e" in sys.argv:
    sys.exit(0)
here, there = map(Path, sys.argv[-2:])
cells = (here / "cells.txt").read_text().splitlines()
batches = (here / "batches.i32").read_bytes()[::4]
names = sorted(set(batches))
(there / "anchors.tsv").write_text(
    "first\\tsecond\\tanchors\\tscore\\tcells_first\\tcells_second\\n1\\t2\\t9\\t0.5\\t7\\t8\\n1\\t3\\t0\\tNA\\t0\\t0\\n"
)
(there / "merges.tsv").write_text(
    "reference\\tjoined\\tanchors\\tanchor_cells\\n1\\t2\\t9\\t8\\n1,2\\t3\\t30\\t{least}\\n"
)
(there / "versions.tsv").write_text("software\\tversion\\nR\\t4.2.2\\nSeurat\\t4.3.0\\n")
"""
#: returns the batch and the position of each cell, in reverse order
COORDINATES = """
import array
back = list(reversed(range(len(cells))))
(there / "cells.txt").write_text("".join(cells[i] + "\\n" for i in back))
(there / "values.f64").write_bytes(array.array("d", [x for i in back for x in (batches[i], i)]).tobytes())
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("seurat"))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a stand-in of Rscript in front of ``PATH``."""

    def put(body, *, least=12):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "Rscript"
        program.write_text(HEAD.format(python=sys.executable, least=least) + body)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return put


def integrate(name, prepared, workdir, **changes):
    module = load_method(name)
    workdir.mkdir(exist_ok=True)
    inputs = MethodInputs("sim", prepared.obs, workdir, pca_path=prepared.pca, prepared_path=prepared.h5ad)
    return module.integrate(inputs, pick_settings(name, module.DEFAULTS, {"n_pcs": 20} | changes), 0)


def test_arrays_are_read_back_as_they_were(tmp_path):
    matrix = sparse.random_array((5, 4), density=0.5, rng=1, format="csr", dtype=np.float32)
    ids = np.array(["b", "a b", "µ", "'", "c\t1"], dtype=object)
    write_input(tmp_path / "r", matrix, ids, np.array([0, 1, 1, 0, 2]), {"dims": 3})
    parts = [np.fromfile(tmp_path / "r" / name, dtype) for name, dtype in (("data.f64", "<f8"), ("indices.i32", "<i4"))]
    pointers = np.fromfile(tmp_path / "r" / "indptr.i32", "<i4")
    np.testing.assert_array_equal(sparse.csr_array((*parts, pointers), shape=(5, 4)).toarray(), matrix.toarray())
    assert (tmp_path / "r" / "cells.txt").read_text(encoding="utf-8") == "b\na b\nµ\n'\nc\t1\n"
    assert np.fromfile(tmp_path / "r" / "batches.i32", "<i4").tolist() == [1, 2, 2, 1, 3]
    assert (tmp_path / "r" / "settings.tsv").read_text() == "name\tvalue\ndims\t3\nn_genes\t4\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x85b", ""])
def test_an_id_that_is_no_line_is_a_sentence(bad, tmp_path):
    with pytest.raises(ScfmError, match="1 cell id with a line break or without a character"):
        write_input(tmp_path / "r", sparse.csr_array((2, 2)), np.array(["a", bad], dtype=object), np.zeros(2, int), {})


@pytest.mark.parametrize(
    ("back", "sentence"),
    [
        (["a", "b"], r"1 cell not at all \('c'\)"),
        (["a", "b", "c", "b"], r"1 cell more than once \('b'\)"),
        (["a", "b", "c", "d"], r"1 cell though it was not handed over \('d'\)"),
        (["a", "b", "C"], r"1 cell not at all \('c'\); 1 cell though it was not handed over \('C'\)"),
    ],
)
def test_cells_that_do_not_come_back_once_are_a_sentence(back, sentence, tmp_path):
    (tmp_path / "cells.txt").write_text("".join(f"{cell}\n" for cell in back))
    np.arange(2.0 * len(back)).tofile(tmp_path / "values.f64")
    with pytest.raises(ScfmError, match=f"Of 3 cells handed over came back {sentence}"):
        read_coordinates(tmp_path, np.array(["a", "b", "c"], dtype=object))


def test_values_that_are_no_table_are_a_sentence(tmp_path):
    (tmp_path / "cells.txt").write_text("a\nb\n")
    np.arange(3.0).tofile(tmp_path / "values.f64")
    with pytest.raises(ScfmError, match="3 coordinates for 2 cells"):
        read_coordinates(tmp_path, np.array(["a", "b"], dtype=object))


def test_of_many_variable_genes_the_forced_and_the_best_are_read(prepared, tmp_path):
    import anndata

    adata = anndata.read_h5ad(prepared.h5ad)
    adata.var.loc["gene_119", "highly_variable_rank"] = np.nan  # forced in, and not ranked
    adata.write_h5ad(tmp_path / "sim.prepared.h5ad")
    inputs = MethodInputs("sim", prepared.obs, tmp_path, prepared_path=tmp_path / "sim.prepared.h5ad")
    matrix, genes = inputs.expression("X", most=3)
    assert genes.tolist() == ["gene_0", "gene_1", "gene_119"] and matrix.shape == (360, 3)
    assert len(inputs.expression("X", most=3000)[1]) == 120


def test_settings_are_lowered_to_half_of_the_smallest_batch():
    asked = {"dims": 50, "k_anchor": 20, "k_weight": 100, "n_pcs": 50}
    plain = {"dims": 50, "k_anchor": 20, "k_filter": 200, "k_score": 30, "k_weight": 100, "n_pcs": 50}
    assert fitting(asked, smallest=100, shape=(400, 2000)) == plain
    small = {"dims": 15, "k_anchor": 15, "k_score": 15, "n_pcs": 50}
    assert fitting(asked, smallest=31, shape=(400, 2000)) == plain | small
    few_genes = {"dims": 39, "n_pcs": 39}
    assert fitting(asked, smallest=100, shape=(400, 40)) == plain | few_genes


def test_rows_follow_cells_and_the_sidecar_has_what_r_said(prepared, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr("scfm.task.versions._OUTSIDE", {})  # those of this process, which runs other tests too
    stand_in(COORDINATES)
    inputs = MethodInputs("sim", prepared.obs, tmp_path / "work", prepared_path=prepared.h5ad)
    (tmp_path / "work").mkdir()
    sidecar = run_method(get_method("seurat_rpca"), inputs, {"n_pcs": 20, "seurat_rpca_dims": 30}, 0, tmp_path)
    ids, values = read_embedding(tmp_path / "sim.seurat_rpca.raw.0.unchecked.parquet")
    assert ids.tolist() == inputs.cell_ids.tolist()
    batches = np.unique(inputs.batches.astype(str), return_inverse=True)[1]
    np.testing.assert_array_equal(values, np.column_stack([batches + 1, np.arange(360)]))
    assert sidecar["versions"]["Seurat"] == "4.3.0" and sidecar["versions"]["R"] == "4.2.2"
    assert sidecar["anchors"][0] == {
        "batches": ["b1", "b2"],
        "anchors": 9,
        "score": 0.5,
        "cells": {"b1": 7, "b2": 8},
    }
    assert sidecar["anchors"][1]["score"] is None
    assert sidecar["anchor_merges"][1]["reference"] == ["b1", "b2"]
    assert (sidecar["dims_used"], sidecar["k_weight_used"]) == (30, 8)
    assert [w["code"] for w in sidecar["warnings"]] == ["W-SEU-02"]
    assert (
        "when b2 was merged, 8 cells of it had an anchor, fewer than k_weight (100)" in sidecar["warnings"][0]["text"]
    )
    write_versions(tmp_path / "versions.yml", "SEURAT_RPCA", [])
    assert 'Seurat: "4.3.0"' in (tmp_path / "versions.yml").read_text()


def test_a_merge_without_enough_anchors_is_a_sentence(prepared, stand_in, tmp_path):
    stand_in("sys.exit(3)", least=2)
    with pytest.raises(ScfmError, match=r"found anchors for 2 cells of b3 in b1 \+ b2 and requires 5"):
        integrate("seurat_cca", prepared, tmp_path / "work")


def test_an_error_of_r_is_a_sentence_in_the_status(prepared, stand_in, tmp_path):
    told = "Warning: x\\nError in irlba(A) : \\n  did not converge\\nCalls: main -> RunPCA\\nExecution halted\\n"
    stand_in(f"sys.stderr.write('{told}'); sys.exit(1)")
    with step("embed", dataset="sim", embedding="seurat_cca.raw.0", outdir=tmp_path):
        integrate("seurat_cca", prepared, tmp_path / "work")
    status = read_json(tmp_path / "sim.seurat_cca.raw.0.embed.status.json")
    assert status["status"] == "failed"
    assert status["reason"].startswith("sim: Seurat CCA ended in R with: Error in irlba(A) : did not converge. ")


@pytest.mark.parametrize(
    "body",
    [
        "sys.stderr.write('Error: cannot allocate vector of size 3.2 Gb\\nExecution halted\\n'); sys.exit(1)",
        "import os; os.kill(os.getpid(), 9)",
    ],
)
def test_a_lack_of_memory_in_r_stops_the_task(body, prepared, stand_in, tmp_path):
    stand_in(body)
    with (
        pytest.raises(MemoryError, match="Seurat CCA of sim"),
        step("embed", dataset="sim", embedding="seurat_cca.raw.0", outdir=tmp_path),
    ):
        integrate("seurat_cca", prepared, tmp_path / "work")


def test_a_batch_of_nine_cells_is_a_sentence(tmp_path):
    small = write_prepared(tmp_path / "small", n_per_group=3)
    with pytest.raises(ScfmError, match=r"requires 10 cells in each; 'b1 \(9\)', 'b2 \(9\)', 'b3 \(9\)' have fewer"):
        integrate("seurat_rpca", small, tmp_path / "work")


def test_a_missing_r_is_a_sentence_and_nothing_is_cached(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    wanted = (
        r"R with the packages 'Seurat', 'Matrix' is required by Seurat CCA, and there is no Rscript on PATH. Run `make"
    )
    with pytest.raises(SoftwareError, match=wanted):
        require_r_packages({"Seurat CCA": ("Seurat", "Matrix")})
    require_r_packages({})
    (tmp_path / "conda-meta").mkdir()
    require_r_packages({"Seurat CCA": ("Seurat",)})  # an environment of this step alone
    inputs = MethodInputs("sim", prepared.obs, tmp_path, prepared_path=prepared.h5ad)
    with (
        pytest.raises(SoftwareError, match=wanted),
        step("embed", dataset="sim", embedding="seurat_cca.raw.0", outdir=tmp_path),
    ):
        run_method(get_method("seurat_cca"), inputs, {}, 0, tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_a_missing_package_of_r_is_named(stand_in, tmp_path):
    stand_in("")
    assert require_r(["Seurat"], "X") == str(tmp_path / "bin" / "Rscript")
    for answer, problem in (("print('Seurat')", "lacks 'Seurat'"), ("sys.exit(1)", "does not start")):
        stand_in("")
        program = tmp_path / "bin" / "Rscript"
        program.write_text(program.read_text().replace("sys.exit(0)", answer + "; sys.exit(0)", 1))
        with pytest.raises(SoftwareError, match=problem):
            require_r(["Seurat", "Matrix"], "X")


def test_the_memory_of_a_program_counts():
    from scfm.task.resources import peak_rss_mb, reset_peaks

    reset_peaks()
    size = int(peak_rss_mb() + 100) << 20
    done = run_program([sys.executable, "-S", "-c", f"import sys; b = b'x' * {size}; print(len(b)); sys.exit(5)"])
    assert (done.status, done.output, done.errors) == (5, f"{size}\n", "")
    assert peak_rss_mb() > size / 2**20
    reset_peaks()
    assert peak_rss_mb() < size / 2**20


def test_anchors_of_r_are_mutual_neighbours_in_canonical_variates(tmp_path):
    """An implementation of our own finds the anchors from the definition: the hand-over reaches Seurat cell by cell."""
    skip_without_r("seurat_cca")
    files = write_prepared(tmp_path / "two", n_per_group=30)
    told = integrate("seurat_cca", files, tmp_path / "work", seurat_cca_dims=8, seurat_cca_features=80)
    assert told.details["n_genes"] == 80 and told.values.shape == (270, 20)
    inputs = MethodInputs("sim", files.obs, tmp_path, prepared_path=files.h5ad)
    matrix, genes = inputs.expression("X", most=80)
    assert genes.tolist() == [f"gene_{i}" for i in range(80)]
    scaled = {}
    for name in ("b1", "b2", "b3"):
        rows = matrix.toarray().astype(float)[inputs.batches == name]
        spread = rows.std(axis=0, ddof=1)
        by_gene = np.divide(rows - rows.mean(axis=0), spread, out=np.zeros_like(rows), where=spread > 0).clip(max=10)
        centred = by_gene - by_gene.mean(axis=1, keepdims=True)  # RunCCA standardises each cell over genes
        scaled[name] = centred / centred.std(axis=1, ddof=1, keepdims=True)
    for pair in told.details["anchors"]:
        first, second = (scaled[name] for name in pair["batches"])
        left, _, right = np.linalg.svd(first @ second.T)
        variates = [m[:, :8] / np.linalg.norm(m[:, :8], axis=1, keepdims=True) for m in (left, right.T)]
        distances = np.linalg.norm(variates[0][:, None] - variates[1][None], axis=2)
        near = distances <= np.sort(distances, axis=1)[:, [4]]
        mutual = near & (distances <= np.sort(distances, axis=0)[4])
        # 90 cells are fewer than k_filter, so that no anchor is filtered out; Annoy misses few neighbours
        assert pair["anchors"] == pytest.approx(mutual.sum(), rel=0.02)
        assert pair["cells"] == pytest.approx(
            dict(zip(pair["batches"], (mutual.any(axis=1).sum(), mutual.any(axis=0).sum()), strict=True)), abs=2
        )


@pytest.mark.slow
def test_small_batches_are_integrated_with_lowered_settings(tmp_path):
    skip_without_r("seurat_cca")
    files = write_prepared(tmp_path / "small", n_per_group=4)
    for name in ("seurat_cca", "seurat_rpca"):
        told = integrate(name, files, tmp_path / name)
        assert np.isfinite(told.values).all() and told.values.shape == (36, 20)
        assert [w["code"] for w in told.warnings] == ["W-SEU-01", "W-SEU-02"]
        assert "b1, has 12 cells" in told.warnings[0]["text"] and "dims from 50 to 6" in told.warnings[0]["text"]


def test_the_program_lies_beside_the_module_that_calls_it():
    from scfm.integration.seurat.run import PROGRAM, TOO_FEW_ANCHORS

    text = Path(PROGRAM).read_text()
    assert f"TOO_FEW_ANCHORS <- {TOO_FEW_ANCHORS}\n" in text
