"""New cells mapped to a data set: which labels were transferred how well, and which cells lie outside of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_TITLES = {
    "pca": "PCA projection",
    "center": "PCA projection, batches centred",
    "harmony": "Harmony reference",
    "scvi": "scVI (scArches)",
    "scanvi": "scANVI (scArches)",
}
_HEADS = {
    "macro_f1": Column("Macro-F1", "Transferred labels, of new cells whose label is in the reference; 0 to 1"),
    "accuracy": Column("Accuracy", "Share of these cells with the right label"),
    "calibration_error": Column("Calibration error", "Difference of the votes' share and the accuracy; 0 is best"),
    "out_of_reference": Column("Outside", "Share of the new cells that lie outside of the reference"),
    "mixing": Column("Mixing", "iLISI of reference and new cells, 0 to 1"),
    "seconds": Column("Seconds", "Time of the mapping"),
    "reference_seconds": Column(
        "Anew (s)", "Time of the method on the reference: the least that integrating all cells anew takes"
    ),
}
_HEAT = ("macro_f1", "accuracy", "mixing")
#: labels that the sentences name
_NAMED = 5


def query_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the table of the mappings and sentences about labels; nothing without a query."""
    table = data.of("query", dataset)
    if table.empty:
        return []
    whole = table[table["group_kind"] == "all"].pivot(index="mapping", columns="quantity", values="value")  # noqa: PD010
    rows = [Row(_TITLES[name], _cells(whole.loc[name])) for name in _TITLES if name in whole.index]
    first = table.iloc[0]
    where = f"the reference {data.row(dataset)['reference']}" if data.row(dataset).get("reference") else "this data set"
    n_cells = int(table.loc[table["quantity"] == "gene_overlap", "n_cells"].max())
    return [
        said_section(
            "query",
            "New cells mapped",
            sentences(table) + [f"{m['code']}: {m['text']} {m['advice']}" for m in data.told(dataset, "W-QRY")],
            data_table(list(_HEADS.values()), rows, corner="Mapping", css="scfm-heat"),
            description=(
                f"{plural(n_cells, 'new cell')} of {first['query']}, placed among the cells of {where} by"
                f" {whole['gene_overlap'].max():.0%} of its variable genes. No cell of the reference was moved; scVI"
                " and scANVI learned the new batches only. A dash is not defined: the method was not run, its model"
                " takes no new cells, its training on them failed, a projection requires no method, or no new cell has"
                " a known label (`reason` in tables/query.tsv)."
            ),
        )
    ]


def _cells(values: "pd.Series") -> list[Cell]:
    """Return the cells of one mapping."""
    return [
        heat_cell(values.get(name, float("nan")))
        if name in _HEAT
        else Cell(number(values.get(name, float("nan")), 3 if name == "calibration_error" else 2))
        for name in _HEADS
    ]


def sentences(table: "pd.DataFrame") -> list[str]:
    """Return what the best-known facts about labels are: those that transfer worst, and those that lie outside."""
    said = []
    labels = table[table["group_kind"] == "label"]
    for mapping, part in labels.groupby("mapping", sort=False):
        title = _TITLES[str(mapping)]
        f1 = part[(part["quantity"] == "f1") & (part["status"] == "ok")].sort_values("value")
        if len(f1):
            label = "label" if len(f1) == 1 else "labels"
            worst = ", ".join(
                f"{r.group} ({number(r.value)}, {plural(r.n_cells, 'cell')})" for r in f1.head(3).itertuples()
            )
            said.append(f"{title}: {label} transferred worst (F1): {worst}.")
        absent = set(part.loc[part["reason"] == "label_not_in_reference", "group"])
        outside = part[(part["quantity"] == "out_of_reference") & part["group"].isin(absent)]
        if len(outside):
            shown = ", ".join(
                f"{r.group} ({r.value:.0%} of {plural(r.n_cells, 'cell')} outside)"
                for r in outside.head(_NAMED).itertuples()
            )
            said.append(f"{title}: not among the labels of the reference: {shown}.")
    return said
