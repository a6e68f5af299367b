"""Which cells and genes of a data set are kept, what is dropped per batch, and genes that a batch never measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.batch_rules import MIN_BATCH, batch_errors
from scfm.inputs.keys import level_counts, placeholders_of, primary_pair
from scfm.preparation.normalize import cells_with_gene
from scfm.preparation.obs import build_obs
from scfm.preparation.pilot import draw_cells
from scfm.registries.messages import message
from scfm.text import listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.preparation.counts import Counts

DROPPED = ("cell_id", "reason", "detail")
#: a gene without a count in a batch is reported only where chance would give this many cells with one
EXPECTED_CELLS = 10.0
#: a batch is reported when this share of such genes is silent in it
SILENT_SHARE = 0.05


@dataclass(slots=True)
class Kept:
    """What the filters leave.

    Attributes
    ----------
    table
        ``cell_id`` and the keys, rows sorted by id.
    obs
        The user's columns, same rows.
    counts
        Shape (n_cells, n_genes).
    genes
        Mask of the genes that are kept, shape (all genes,).
    dropped
        ``cell_id, reason, detail``: cells left out, and cells kept but not scored.
    n_dropped_genes
        Reason to number of genes.
    notes
        Messages.
    """

    table: "pd.DataFrame"
    obs: "pd.DataFrame"
    counts: "Counts"
    genes: "np.ndarray"
    dropped: "pd.DataFrame"
    n_dropped_genes: dict[str, int] = field(default_factory=dict)
    notes: list[dict] = field(default_factory=list)


def filter_data(counts: "Counts", obs: "pd.DataFrame", row: Mapping[str, Any], params: Mapping[str, Any]) -> Kept:
    """Drop cells without a batch or with few genes, then genes, and check the batches again.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes), CSR.
    obs
        The user's frame, indexed by cell id.
    row
        Row of the samplesheet.
    params
        All parameters, with defaults.

    Raises
    ------
    ScfmError
        A key is missing; batches, cells or genes that are left are too few.
    """
    import numpy as np

    table = build_obs(obs, row, placeholders_of(params["missing_values"]))
    raw = build_obs(obs, row)  # to tell placeholders from gaps
    order = np.argsort(table["cell_id"].to_numpy(dtype=str), kind="stable")
    table, raw = (t.iloc[order].reset_index(drop=True) for t in (table, raw))
    obs, counts = obs.iloc[order], counts.select_cells(order)
    min_genes = int(params["min_genes_per_cell"])
    keep, dropped = _drop_cells(table, raw, counts.genes_per_cell(), row, min_genes)
    notes = _cell_notes(table, keep, min_genes)
    if row.get("pilot_cells"):
        keep, dropped = _draw_pilot(table, keep, dropped, row, params)
    if not keep.any():
        raise ScfmError(f"{row['dataset']}: 0 cells are left; loosen the filters.{_what_was_dropped(notes)}")
    if not keep.all():
        table, obs = table[keep].reset_index(drop=True), obs[keep]
        counts = counts.select_cells(np.flatnonzero(keep))
    when = f" after the filters (--min_genes_per_cell {min_genes})" if min_genes else ""
    errors = batch_errors(row["dataset"], primary_pair(row)[0], level_counts(table["batch"]), len(keep), when=when)
    if errors:
        raise ScfmError(f"{' '.join(errors)}{_what_was_dropped(notes)}")
    genes, n_dropped_genes, more = _keep_genes(counts, table["batch"].to_numpy(dtype=str), params)
    counts = counts.select_genes(genes)
    if counts.shape[0] < MIN_BATCH or counts.shape[1] < 2:  # one gene has no second dimension
        raise ScfmError(
            f"{row['dataset']}: {plural(counts.shape[0], 'cell')} and {plural(counts.shape[1], 'gene')} are "
            f"left after the filters; loosen --min_genes_per_cell, --min_cells_per_gene and --shared_genes."
        )
    return Kept(table, obs, counts, genes, dropped, n_dropped_genes, notes + more)


def _drop_cells(
    table: "pd.DataFrame", raw: "pd.DataFrame", n_genes: "np.ndarray", row: Mapping[str, Any], min_genes: int
) -> tuple["np.ndarray", "pd.DataFrame"]:
    """Return the mask of kept cells, and the list of cells that are left out or not scored."""
    import numpy as np
    import pandas as pd

    no_batch, few = table["batch"].isna().to_numpy(), n_genes < min_genes
    no_label = table["label"].isna().to_numpy()
    reasons = np.select([no_batch, few, no_label], ["no_batch", "few_genes", "no_label"], "")
    batch_key, label_key = primary_pair(row)
    fates = {"no_batch": ("batch", batch_key, "left out"), "no_label": ("label", label_key, "kept, not scored")}
    listed = np.flatnonzero(reasons != "")
    details = []
    for i in listed:
        if reasons[i] == "few_genes":
            details.append(f"fewer than {min_genes} genes; left out")
            continue
        name, key, fate = fates[reasons[i]]
        value = raw[name].iloc[i]
        details.append(
            f"no value in '{key}'; {fate}" if value is None else f"'{value}' in '{key}' is a placeholder; {fate}"
        )
    dropped = pd.DataFrame({"cell_id": table["cell_id"].iloc[listed], "reason": reasons[listed], "detail": details})
    return ~(no_batch | few), dropped.sort_values("cell_id", kind="stable").reset_index(drop=True)[list(DROPPED)]


def _draw_pilot(
    table: "pd.DataFrame",
    keep: "np.ndarray",
    dropped: "pd.DataFrame",
    row: Mapping[str, Any],
    params: Mapping[str, Any],
) -> tuple["np.ndarray", "pd.DataFrame"]:
    """Return the mask of a pilot's cells among those that the filters keep, and the list with the others added."""
    import numpy as np
    import pandas as pd

    places = np.flatnonzero(keep)
    chosen = draw_cells(
        table.iloc[places], int(row["pilot_cells"]), floor=int(params["pilot_floor"]), seed=int(params["pilot_seed"])
    )
    left = table["cell_id"].iloc[places[~chosen]]
    others = pd.DataFrame({"cell_id": left, "reason": "not_in_pilot", "detail": "not drawn for the pilot; left out"})
    drawn = np.zeros(len(table), dtype=bool)
    drawn[places[chosen]] = True
    dropped = dropped[~dropped["cell_id"].isin(left)]  # a cell without a label that is not drawn is left out
    listed = pd.concat([dropped, others]).sort_values("cell_id", kind="stable").reset_index(drop=True)
    return drawn, listed[list(DROPPED)]


def _cell_notes(table: "pd.DataFrame", keep: "np.ndarray", min_genes: int) -> list[dict]:
    """Return the message about cells with few genes, counted per batch."""
    few = ~keep & table["batch"].notna().to_numpy()
    if not few.any():
        return []
    sizes, gone = level_counts(table["batch"]), level_counts(table["batch"][few])
    lost = {b: {"dropped": n, "of": sizes[b]} for b, n in gone.items()}
    empty = [b for b, n in lost.items() if n["dropped"] == n["of"]]
    return [
        message(
            "W-QC-02",
            n_dropped=int(few.sum()),
            n_cells=int(keep.sum() + few.sum()),
            shown={b: f"{n['dropped']:,} of {n['of']:,}" for b, n in lost.items()},
            emptied=f" No cell is left of {listing(empty)}." if empty else "",
            values=lost,
            threshold=min_genes,
        )
    ]


def _what_was_dropped(notes: list[dict]) -> str:
    """Return what the filters dropped, for the sentence of a failure."""
    return "".join(f" {note['text']}" for note in notes)


def _keep_genes(
    counts: "Counts", batch: "np.ndarray", params: Mapping[str, Any]
) -> tuple["np.ndarray", dict[str, int], list[dict]]:
    """Return the mask of kept genes, the number of dropped ones by reason, and messages."""
    import numpy as np

    levels = np.unique(batch)
    cells = cells_with_gene(counts, batch, levels)
    sizes = np.array([int((batch == level).sum()) for level in levels])
    genes, dropped, notes = np.ones(counts.shape[1], dtype=bool), {}, []
    if params["shared_genes"]:
        genes = (cells > 0).all(axis=0)
        dropped["unshared_genes"] = int((~genes).sum())
        notes.append(message("I-GENE-01", values={"kept": int(genes.sum()), "n_genes": len(genes)}))
    else:
        notes += silent_genes(cells, sizes, [str(level) for level in levels])
    rare = genes & (cells.sum(axis=0) < int(params["min_cells_per_gene"]))
    if rare.any():
        dropped["rare_genes"] = int(rare.sum())
    return genes & ~rare, {k: n for k, n in dropped.items() if n}, notes


def silent_genes(cells: "np.ndarray", sizes: "np.ndarray", levels: list[str]) -> list[dict]:
    """Return the message about genes that a batch never measured, as an outer join filled with zeros leaves them.

    A gene counts as never measured in a batch where no cell of the batch has a count, though at the share of cells that
    have one in the other batches ten or more cells would.

    Parameters
    ----------
    cells
        Cells with a count, shape (n_batches, n_genes).
    sizes
        Cells of every batch, shape (n_batches,).
    levels
        Names of the batches.
    """
    import numpy as np

    others = cells.sum(axis=0) - cells
    expected = others / np.maximum(sizes.sum() - sizes, 1)[:, None] * sizes[:, None]
    judged = expected >= EXPECTED_CELLS
    silent = judged & (cells == 0)
    found = {
        b: {"silent": int(s.sum()), "of": int(j.sum())}
        for b, s, j in zip(levels, silent, judged, strict=True)
        if s.sum() > SILENT_SHARE * j.sum()
    }
    if not found:
        return []
    shared = int((cells > 0).all(axis=0).sum())
    shown = {b: f"{n['silent']:,} of {n['of']:,}" for b, n in found.items()}
    values = {"batches": found, "shared": shared}
    return [message("W-GENE-01", n_batches=len(found), shown=shown, values=values, threshold=SILENT_SHARE)]
