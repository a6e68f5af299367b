"""Where it fails: embeddings by label, and labels by held-out batch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell, tabs
from scfm.report.sections.verdict import BIOLOGICAL, role_of
from scfm.report.view.labels import Grid, batch_pairs, metric_grids, recall_grid
from scfm.report.view.rows import CONTROL, MIN_LABEL_CELLS, NO_SCORES, RANKED, EmbeddingRow, embedding_rows
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: labels that a sentence names
_NAMED = 3
#: a label of which fewer cells are recognised in a batch that was held out is named
HALF = 0.5


def fail_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the labels that suffer: by embedding, and by held-out batch where batches were held out."""
    rows = [r for r in embedding_rows(data, dataset) if r.group not in (CONTROL, NO_SCORES)]
    recall = recall_grid(data, dataset)
    grids = metric_grids(data, dataset)
    grids = [*grids[:1], *([recall] if recall else []), *grids[1:]]
    if not rows or not grids:
        return []
    biological = role_of(data, dataset) == BIOLOGICAL
    said = [text for grid in grids for text in sentences(grid, rows, biological=biological)]
    panels = [(grid.title, grid_table(grid, rows)) for grid in grids]
    sections = [
        said_section(
            "labels",
            "Which labels suffer",
            said,
            tabs(panels),
            description=(
                "One row per embedding, one column per label with its scored cells; dark is high. A frame marks the"
                " lowest label of an embedding, unless another can't be told from it. Labels with fewer than"
                f" {MIN_LABEL_CELLS} cells are grey and are never called the weakest; a dash is not defined, point at"
                " it for the reason."
            ),
        )
    ]
    ranked = [r.key for r in rows if r.group == RANKED] or [r.key for r in rows]
    return [*sections, *label_by_batch(batch_pairs(data, dataset, ranked), len(ranked))]


def grid_table(grid: Grid, rows: list[EmbeddingRow]) -> str:
    """Return embedding x label for one metric, embeddings in the order of the overview."""
    columns = [Column(f"{label} ({n:,})") for label, n in grid.cells.items()]
    shown = [
        r for r in rows if any((label, r.key) in grid.numbers or (label, r.key) in grid.reasons for label in grid.cells)
    ]
    body = [Row(r.title, [_cell(grid, label, r) for label in grid.cells]) for r in shown]
    return data_table(columns, body, corner="Embedding", css="scfm-heat")


def _cell(grid: Grid, label: str, row: EmbeddingRow) -> Cell:
    """Return a cell: grey where the label is too small, framed where it is the lowest of the row."""
    value, reason = grid.numbers.get((label, row.key)), grid.reasons.get((label, row.key), "no value")
    if value is None:
        return heat_cell(None, f"not defined: {reason}")
    if label in grid.few:
        tip = f"{plural(grid.cells[label], 'cell')}: too few to judge this label"
        return Cell(f"{value:z.2f}", tip, "scfm-few", sort=round(value, 4))
    found = heat_cell(value, f"{row.title}, {label}: {value:.3f}")
    css = "scfm-lowest" if grid.weakest(row.key) == label else ""
    return Cell(found.text, found.tip, css, found.style, found.sort)


def sentences(grid: Grid, rows: list[EmbeddingRow], *, biological: bool = False) -> list[str]:
    """Return what the first mixing metric and the recall say of the weakest labels of the ranked embeddings.

    Parameters
    ----------
    grid
        Values by label and embedding.
    rows
        Embeddings; those that are not ranked are left out where others are.
    biological
        Whether the batch is declared biological: low mixing is then no failure.
    """
    ranked = [r for r in rows if r.group == RANKED] or rows
    if grid.name == "held_out_recall":
        return _unrecognised(grid, ranked)
    if grid.name != "bras" or biological:
        return []
    lowest = Counter(x for r in ranked if (x := grid.weakest(r.key)))
    if not lowest:
        return []
    named = []
    for label, times in lowest.most_common(_NAMED):
        found = [grid.numbers[label, r.key] for r in ranked if grid.weakest(r.key) == label]
        ends = list(dict.fromkeys(f"{v:.2f}" for v in (min(found), max(found))))
        named.append(f"{label} in {times} ({grid.cells[label]:,} cells, {' to '.join(ends)})")
    return [
        f"Label whose batches mix worst by {grid.title}, where one can be told from the others"
        f" ({sum(lowest.values())} of {plural(len(ranked), 'embedding')}): {'; '.join(named)}."
    ]


def _unrecognised(grid: Grid, rows: list[EmbeddingRow]) -> list[str]:
    """Return the labels of which most embeddings lose more than half in a batch that was held out."""
    named = []
    for label in grid.cells:
        values = [grid.numbers[label, r.key] for r in rows if (label, r.key) in grid.numbers]
        low = sum(v < HALF for v in values)
        if label not in grid.few and low:
            named.append((low, label, f"{label} in {low} of {plural(len(values), 'embedding')}"))
    named.sort(key=lambda n: (-n[0], n[1]))
    if not any((label, r.key) in grid.numbers for label in grid.cells if label not in grid.few for r in rows):
        return []
    if not named:
        return [
            f"Nearest neighbours recognise at least half of the cells of every label of {MIN_LABEL_CELLS} cells or more"
            " in a batch that was held out, in every embedding."
        ]
    more = f"; and {plural(len(named) - _NAMED, 'more label', 'more labels')}" if len(named) > _NAMED else ""
    return [
        "Labels of which nearest neighbours recognise fewer than half of the cells in a batch that was held out:"
        f" {'; '.join(text for _, _, text in named[:_NAMED])}{more}."
    ]


def label_by_batch(pairs: "pd.DataFrame", n: int) -> list[Section]:
    """Return label x held-out batch: recall, mean over the ranked embeddings; nothing where no batch was held out."""
    if pairs.empty:
        return []
    found = {(r.label, r.batch): r for r in pairs.itertuples()}
    batches = sorted(pairs["batch"].unique())
    sizes = pairs.groupby("label")["n_test"].sum()
    labels = sorted(sizes.index, key=lambda x: (-sizes[x], x))
    body = [Row(f"{x} ({int(sizes[x]):,})", [_pair_cell(found.get((x, b))) for b in batches]) for x in labels]
    return [
        Section(
            "pairs",
            "Which labels are lost in which batch",
            "html",
            data_table([Column(b) for b in batches], body, corner="Label (tested cells)", css="scfm-heat"),
            description=(
                "Share of the cells of a label that nearest neighbours recognise in a batch that was held out, mean"
                f" over {plural(n, 'embedding')}; point at a cell for the lowest and the highest. A pair that is low in"
                " all of them is a matter of the data (few cells, a state of its own, other labels), one that is low in"
                f" a few of the embedding. Pairs of fewer than {MIN_LABEL_CELLS} cells are grey."
            ),
        )
    ]


def _pair_cell(pair: object) -> Cell:
    """Return the cell of a label and batch (a row of :func:`batch_pairs`), a dash where the batch lacks the label."""
    if pair is None:
        return heat_cell(None, "no cells of this label in this batch, or no value")
    mean, low, high, n = (float(getattr(pair, a)) for a in ("mean", "low", "high", "n_test"))
    tip = f"{plural(int(n), 'cell')}; from {low:.2f} to {high:.2f} over embeddings"
    if n < MIN_LABEL_CELLS:
        return Cell(f"{mean:z.2f}", tip, "scfm-few", sort=round(mean, 4))
    return heat_cell(mean, tip)
