"""What a correction cost: markers, rare labels, and the tests of over-correction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Row, change_cell, data_table, tabs
from scfm.report.sections.residual import embeddings_of, sentences
from scfm.report.view.diagnosed import only_diagnosed
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_TESTS = {
    "biology_probe": "biology read inside labels",
    "null_batches": "batches dealt at random",
    "disjoint_types": "batches of different labels",
}
_REASONS = {
    "no_biology_column": (
        "no condition, tissue or biological batch is declared with a value for every cell, or none has two levels in"
        " a label"
    ),
    "not_rerun": "not made again: that is done for Harmony as it is (raw) and for corrections of the PCA",
}

#: what is known of the over-correction of an embedding that was not diagnosed
_BY_SCORES = "of the others only the batch metrics are judged, beside those of cells shuffled within labels"


def marker_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the markers of every label, before and after correction; nothing where nothing was diagnosed."""
    found = embeddings_of(data.of("markers", dataset), data, dataset)
    if not found:
        return []
    heads = ["Markers", "Clusters", "AUROC", "Change", "Tau", "Change", "Agreement of batches", "Change"]
    said = sentences(data, dataset, ("W-MRK-01",), found) or [
        "No label lost the specificity of its markers."
        if _some_judged(found)
        else "The markers of no label could be judged."
    ]
    panels = [(title, _labels(heads, [_marker_row(r) for r in rows.itertuples()])) for _, title, rows in found]
    return [
        said_section(
            "markers",
            "Are the markers still specific",
            said,
            tabs(panels),
            description=(
                "On the clusters of each embedding, with the change from those of the uncorrected PCA: AUROC of the"
                " mean expression of a label's markers for its clusters, tau (1: in one label only), and how many of"
                " the 50 most specific genes batches share." + only_diagnosed(data, dataset, "markers")
            ),
        )
    ]


def _labels(heads: list[str], rows: list[Row]) -> str:
    """Return a table with a row per label."""
    return data_table(heads, rows, corner="Label")


def _marker_row(row: object) -> Row:
    """Return the row of a label."""
    cells = [Cell(str(row.n_markers), row.markers), Cell(str(row.n_clusters_after))]
    for name in ("auroc", "tau", "agreement"):
        before, after = float(getattr(row, f"{name}_before")), float(getattr(row, f"{name}_after"))
        cells += [Cell(number(after), row.reason), change_cell(after - before)]
    return Row(row.label, cells)


def rare_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the rare labels, before and after correction; nothing where there are none."""
    found = embeddings_of(data.of("rare", dataset), data, dataset)
    if not found:
        return []
    measures = ("Best cluster F1", "Recall", "Own neighbours", "In a new batch")
    weighed = ", of votes in which every label weighs the same" if data.params.get("probe_balanced", True) else ""
    cells, share = data.params.get("diagnose_rare_cells", 200), data.params.get("diagnose_rare_share", 0.01)
    heads = ["Cells", *(head for measure in measures for head in (measure, "Change")), "F1 over seeds"]
    said = sentences(data, dataset, ("W-RARE-01", "W-RARE-02"), found) or [_none_lost(data, len(found))]
    panels = [(title, _labels(heads, [_rare_row(r) for r in rows.itertuples()])) for _, title, rows in found]
    return [
        said_section(
            "rare",
            "Are rare labels still found",
            said,
            tabs(panels),
            description=(
                f"Labels of fewer than {cells:,} cells or less than {share:.1%} of all, with the change from the"
                " uncorrected PCA: the single cluster with the best F1 and its recall, the share of cells with mostly"
                " neighbours of their own label, and the share for which a plain majority of the 15 nearest cells of"
                " other batches has the right label (the recall in a held-out batch under <i>Where it fails</i> is a"
                f" mean over batches{weighed}); then the smallest and largest F1 over the seeds."
                + only_diagnosed(data, dataset, "rare")
            ),
        )
    ]


def _some_judged(found: "list[tuple[str, str, pd.DataFrame]]") -> bool:
    """Whether a row of any embedding has a result."""
    return any((rows["status"] == "ok").any() for _, _, rows in found)


def _none_lost(data: "ReportData", n: int) -> str:
    """Return that no rare label was lost, with what counts as lost."""
    fall, least = data.params.get("diagnose_rare_drop", 0.2), data.params.get("diagnose_rare_f1", 0.3)
    return (
        f"No rare label was lost in {plural(n, 'diagnosed embedding')}: no F1 and no share with neighbours of its own"
        f" or recognised in a new batch fell by more than {fall:g}, and no F1 fell below {least:g}."
    )


def _rare_row(row: object) -> Row:
    """Return the row of a label."""
    cells = [Cell(f"{row.n_cells:,} ({row.share:.1%})", sort=int(row.n_cells))]
    for name in ("best_f1", "best_recall", "purity", "held_out_recall"):
        before, after = float(getattr(row, f"{name}_before")), float(getattr(row, f"{name}_after"))
        cells += [Cell(number(after)), change_cell(after - before)]
    low, high = number(row.best_f1_low), number(row.best_f1_high)
    cells.append(Cell(f"{low} to {high} ({row.n_seeds})" if row.n_seeds > 1 else "one seed"))
    return Row(row.label, cells)


def overcorrection_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the tests of over-correction; nothing where nothing was diagnosed."""
    found = embeddings_of(data.of("overcorrection", dataset), data, dataset)
    if not found:
        return []
    said = [f"{m['text']} {m['advice']}" for m in data.told(dataset, "W-OVER-01")]  # by scores: of any embedding
    said = said or [
        "No sign of over-correction was found."
        if _some_judged(found)
        else "No test of over-correction applies here; the table has the reasons."
    ]
    panels = [(title, _test_table(rows)) for _, title, rows in found]
    return [
        said_section(
            "overcorrection",
            "What correction removed that it should have kept",
            said,
            tabs(panels),
            description=(
                "A probe reads condition, tissue or a biological batch inside every label, before and after. Random"
                " batches: neighbourhoods should stay. Batches of different labels: the labels should stay apart;"
                " any removal of batch means fails that, so it alone is no sign."
                + only_diagnosed(data, dataset, "overcorrection", _BY_SCORES)
            ),
        )
    ]


def _test_table(rows: "pd.DataFrame") -> str:
    """Return the tests of one embedding."""
    heads = ["Label", "Column", "Cells", "Before", "After", "Judged", "Threshold", "Result"]
    body = []
    for row in rows.itertuples():
        known = row.status == "ok"
        result = ("fails" if row.failed else "passes") if known else _REASONS.get(row.reason, row.reason)
        values = [Cell(number(float(v))) for v in (row.before, row.after, row.value, row.limit)]
        cells = [Cell(row.label), Cell(row.column), Cell(f"{row.n_cells:,}"), *values]
        body.append(Row(_TESTS[row.test], [*cells, Cell(result, css="scfm-bad" if known and row.failed else "")]))
    return data_table(heads, body, corner="Test")
