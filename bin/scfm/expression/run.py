"""Files in, files out: what ``bin/compare_conditions.py`` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import read_cells
from scfm.errors import NotApplicable, ScfmError
from scfm.expression.compare import Study, compare_pair, pairs_of
from scfm.expression.models import count_in_model, model_results
from scfm.expression.notes import messages_of
from scfm.expression.pseudobulk import Pseudobulk, sum_counts, unit_table
from scfm.expression.reading import PreparedCounts
from scfm.expression.rows import Result
from scfm.expression.settings import DeSettings, DesignChoice
from scfm.expression.tables import comparison_table, top_genes, write_label_tables
from scfm.inputs.keys import key_pairs
from scfm.io.tables import read_json, write_table

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

#: what makes a unit of the pseudobulk; units are joined further where the design has no batch
UNIT = ("label", "condition", "batch", "replicate")


@dataclass(frozen=True)
class ComparisonFiles:
    """Files of one data set.

    Attributes
    ----------
    dataset
        Its name.
    prepared, obs, design
        ``<dataset>.prepared.h5ad``, ``.obs.parquet`` and ``.design.json``.
    model, sidecar
        Folder of a scVI model that was trained on the data set, and the sidecar of its embedding; None without one.
    """

    dataset: str
    prepared: Path
    obs: Path
    design: Path
    model: Path | None = None
    sidecar: Path | None = None


def compare_files(files: ComparisonFiles, params: Mapping[str, Any], *, cpus: int, outdir: Path) -> dict[str, Any]:
    """Compare conditions in every label and write ``<dataset>.de.tsv``, ``.de_genes.tsv`` and the folder ``.de``.

    Returns
    -------
    Fields for the status file: ``warnings``.

    Raises
    ------
    NotApplicable
        There is no condition, or one level of it.
    """
    cells = labelled_cells(files.obs)
    study, n_left_out = make_study(files, cells, DeSettings.from_params(params), cpus=cpus)
    pairs = pairs_of(study)
    if not pairs:
        raise NotApplicable("No label has cells of two conditions, so nothing can be compared.", "no_common_label")
    results = [result for pair in pairs for result in compare_pair(study, pair)]
    if files.model and files.sidecar:
        results += _of_model(files, study, files.model, read_json(files.sidecar), results)
    keys = key_pairs(list(cells.columns))[0].names
    about = {"dataset": files.dataset, **keys}
    folder = outdir / f"{files.dataset}.de"
    folder.mkdir(parents=True, exist_ok=True)
    names = write_label_tables(results, folder)
    write_table(comparison_table(results, about, names), outdir / f"{files.dataset}.de.tsv")
    write_table(top_genes(results, about, study.settings.top), outdir / f"{files.dataset}.de_genes.tsv")
    warnings = [m | {"dataset": files.dataset} for m in messages_of(study, results, n_left_out=n_left_out)]
    for entry in warnings:
        log.warning(entry["text"])
    return {"warnings": warnings}


def labelled_cells(path: Path) -> "pd.DataFrame":
    """Read the cells that have a label, with ``condition`` and ``replicate``: donors where declared, else samples.

    Raises
    ------
    NotApplicable
        ``no_condition``: none is declared.
    ScfmError
        There is no column of samples.
    """
    cells = read_cells(path)
    if "condition" not in cells or cells["condition"].isna().all():
        raise NotApplicable("The samplesheet names no condition_key for this data set.", "no_condition")
    has_donor = "donor" in cells and cells["donor"].notna().any()
    if not has_donor and "sample" not in cells:
        raise ScfmError(f"{path}: no column 'sample'; the preparation writes it. Prepare the data set again.")
    return cells[cells["label"].notna()].assign(replicate=lambda table: table["donor" if has_donor else "sample"])


def make_study(files: ComparisonFiles, cells: "pd.DataFrame", settings: DeSettings, *, cpus: int) -> tuple[Study, int]:
    """Add up the counts of a data set; return what its comparisons share, and how many cells belong to no unit."""
    choice = DesignChoice.from_json(read_json(files.design), str(files.design))
    expression = PreparedCounts(files.prepared, cells)
    units, codes = unit_table(cells, UNIT)
    counts = sum_counts(expression.blocks("counts"), codes, len(units), len(expression.genes))
    bulk = Pseudobulk(units, counts, expression.genes)
    return Study(cells, expression, bulk, choice, settings, cpus), int((codes < 0).sum())


def _of_model(
    files: ComparisonFiles, study: Study, folder: Path, sidecar: Mapping[str, Any], results: list[Result]
) -> list[Result]:
    """Return what a scVI model finds, and note in the pseudobulk results how many of their genes are in it."""
    from scfm.expression.scvi_de import TrainedModel
    from scfm.integration.base import MethodInputs

    inputs = MethodInputs(files.dataset, files.obs, folder.parent, prepared_path=files.prepared)
    model = TrainedModel(folder, inputs, sidecar["settings"], study.settings.seed)
    count_in_model(results, model)
    return [r for pair in pairs_of(study) for r in model_results(study, pair, model, sidecar["embedding"])]
