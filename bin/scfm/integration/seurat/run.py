"""One run of Seurat's integration (Stuart et al. 2019, doi 10.1016/j.cell.2019.05.031; Hao et al. 2021, doi
10.1016/j.cell.2021.04.048) in R.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.seurat.handover import read_coordinates, read_merges, read_pairs, read_versions, write_input
from scfm.registries.messages import message
from scfm.task.programs import Finished, rscript, run_program
from scfm.task.resources import thread_variables
from scfm.text import listing

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(__file__).with_name("integrate.R")
#: start of the decompositions, as in Seurat; another changes coordinates in the fourth digit
SEED = 42
#: neighbours that score an anchor, as in Seurat
K_SCORE = 30
#: fewer cells in a batch give no PCA and no neighbourhoods to score anchors by
FEWEST_CELLS = 10
#: status of ``integrate.R`` where a merge has fewer anchor cells than ``k_anchor``
TOO_FEW_ANCHORS = 3
_LACKS_MEMORY = ("cannot allocate", "std::bad_alloc", "long vectors not supported")


def integrate_batches(
    inputs: MethodInputs, settings: "Mapping[str, Any]", *, method: str, title: str, reduction: str
) -> MethodOutput:
    """Find anchors between all pairs of batches, correct expression along them, and take principal components.

    Parameters
    ----------
    inputs
        Log-normalised expression of the highly variable genes and batches are read.
    settings
        ``features`` genes at most, ``dims`` of the space in which anchors are looked for and weighted, ``k_anchor``
        neighbours for mutual pairs, ``k_filter`` neighbours in expression that an anchor must be among (CCA alone),
        ``k_weight`` anchors that correct a cell, ``n_pcs`` components of the corrected expression.
    method, title
        Name in the methods table, and for sentences.
    reduction
        ``cca`` or ``rpca``.

    Raises
    ------
    ScfmError
        A batch has too few cells, batches share too few anchors, or R ended with an error.
    """
    import numpy as np

    inputs.require_batches(title)
    names, codes = np.unique(inputs.batches.astype(str), return_inverse=True)
    names = [str(name) for name in names]
    sizes = dict(zip(names, np.bincount(codes).tolist(), strict=True))
    _require_cells(sizes, title, inputs.dataset)
    matrix, genes = inputs.expression("X", most=settings["features"])
    used = fitting(settings, smallest=min(sizes.values()), shape=matrix.shape)
    here, there = inputs.workdir / "to_r", inputs.workdir / "from_r"
    write_input(here, matrix, inputs.cell_ids, codes, {**used, "reduction": reduction, "seed": SEED})
    there.mkdir()
    finished = run_program(
        [str(rscript()), "--vanilla", str(PROGRAM), str(here), str(there)],
        environment={"LC_ALL": "C.UTF-8", **thread_variables(1)},
    )
    if finished.status == TOO_FEW_ANCHORS:
        raise ScfmError(_too_few(read_merges(there, names), used["k_anchor"], title, method, inputs.dataset))
    if finished.status:
        raise error_of(finished, title, inputs.dataset)
    merges = read_merges(there, names)
    used["k_weight"] = min(used["k_weight"], *(merge["anchor_cells"] for merge in merges))
    facts = {
        "n_genes": len(genes),
        **{f"{name}_used": value for name, value in used.items()},
        "anchors": read_pairs(there, names),
        "anchor_merges": merges,
    }
    values = read_coordinates(there, inputs.cell_ids)
    told = warnings_of(settings, used, sizes, merges, dataset=inputs.dataset, method=method, title=title)
    return MethodOutput(values.astype(np.float32), warnings=told, details=facts, versions=read_versions(there))


def fitting(settings: "Mapping[str, Any]", *, smallest: int, shape: tuple[int, int]) -> dict[str, int]:
    """Return the settings that Seurat is given: lowered where the data do not allow them.

    Parameters
    ----------
    settings
        As asked for; ``k_filter`` may be absent.
    smallest
        Cells of the smallest batch. Dimensions and neighbours are found within a batch: at most half of its cells,
        above which the decomposition does not converge and all anchors get the same score.
    shape
        Cells and genes.
    """
    within = smallest // 2
    return {
        "dims": min(settings["dims"], within, shape[1] - 1),
        "k_anchor": min(settings["k_anchor"], within),
        "k_filter": settings.get("k_filter", 200),
        "k_score": min(K_SCORE, within),
        "k_weight": settings["k_weight"],
        "n_pcs": min(settings["n_pcs"], min(shape) - 1),
    }


def warnings_of(
    settings: "Mapping[str, Any]",
    used: "Mapping[str, int]",
    sizes: "Mapping[str, int]",
    merges: list[dict],
    *,
    dataset: str,
    method: str,
    title: str,
) -> list[dict]:
    """Return W-SEU-01 where a small batch lowered settings, W-SEU-02 where a merge has fewer anchor cells than
    ``k_weight``.

    Parameters
    ----------
    settings, used
        As asked for, and as used.
    sizes
        Cells by batch.
    merges
        From :func:`scfm.integration.seurat.handover.read_merges`.
    dataset, method, title
        What was run.
    """
    found = []
    about = {"dataset": dataset, "method": method, "title": title}
    asked = {"dims": settings["dims"], "k_anchor": settings["k_anchor"], "k_score": K_SCORE}
    lowered = {name: (wish, used[name]) for name, wish in asked.items() if used[name] < wish}
    if lowered:
        batch = min(sizes, key=lambda name: (sizes[name], name))
        text = ", ".join(f"{name} from {wish} to {value}" for name, (wish, value) in lowered.items())
        values = {"n_cells": sizes[batch], **{name: value for name, (_, value) in lowered.items()}}
        found.append(message("W-SEU-01", **about, values=values, batch=batch, lowered=text))
    weakest = min(merges, key=lambda merge: merge["anchor_cells"])
    if weakest["anchor_cells"] < settings["k_weight"]:
        found.append(
            message(
                "W-SEU-02",
                **about,
                values={"anchor_cells": weakest["anchor_cells"]},
                threshold=settings["k_weight"],
                joined=" + ".join(weakest["joined"]),
            )
        )
    return found


def error_of(finished: Finished, title: str, dataset: str) -> Exception:
    """Return the error of a run of R that did not end well: :class:`MemoryError` where memory ran out."""
    text = " ".join(finished.errors.split())
    if finished.status == -9 or any(part in text for part in _LACKS_MEMORY):
        return MemoryError(f"R, {title} of {dataset}")
    told = re.findall(r"^Error.*?(?=^Calls:|^Execution halted|\Z)", finished.errors, re.MULTILINE | re.DOTALL)
    said = " ".join((told[-1] if told else finished.errors[-500:]).split()) or f"no message, status {finished.status}"
    return ScfmError(
        f"{dataset}: {title} ended in R with: {said.rstrip('.')}. The settings and sizes of the batches are the usual"
        " cause: merge or drop the smallest batches in the file, or run another method."
    )


def _require_cells(sizes: "Mapping[str, int]", title: str, dataset: str) -> None:
    """Raise :class:`ScfmError` where a batch has fewer cells than Seurat can look for neighbours in."""
    small = [f"{name} ({size})" for name, size in sizes.items() if size < FEWEST_CELLS]
    if small:
        raise ScfmError(
            f"{dataset}: {title} looks for neighbours within every batch and requires {FEWEST_CELLS} cells in each;"
            f" {listing(small)} {'has' if len(small) == 1 else 'have'} fewer. Merge or drop the smallest batches."
        )


def _too_few(merges: list[dict], k_anchor: int, title: str, method: str, dataset: str) -> str:
    """Return the sentence about the merge with the fewest anchor cells."""
    weakest = min(merges, key=lambda merge: merge["anchor_cells"])
    sides = [" + ".join(weakest[side]) for side in ("joined", "reference")]
    return (
        f"{dataset}: {title} found anchors for {weakest['anchor_cells']} cells of {sides[0]} in {sides[1]} and requires"
        f" {k_anchor}. The batches share too few cell states to be joined: leave one out, or raise"
        f" --{method}_k_anchor."
    )
