"""Orthogonal validation: what gene sets, regulators, a second modality and clinical fields say of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import table, tabs

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

_TITLES = {
    "gene_sets": "Gene sets",
    "regulators": "Regulators",
    "modality": "Second modality",
    "clinical": "Clinical fields",
}
_HEAD = ["Label", "Of", "Measure", "Value", "Lowest", "Highest", "q value", "Number", "Limit", "Holds"]
#: columns of the samplesheet that ask for evidence
_COLUMNS = ("gmt", "network", "modality_keys", "clinical_keys")
_DESCRIPTION = (
    "Evidence that no embedding was made from. Gene sets and regulators: Spearman correlation of activities between"
    " batches, and the most active ones of a label. Second modality: AUROC of a label against the others, by batch."
    " Clinical fields: what goes with the parts of a label that an embedding keeps apart, counted in donors (samples"
    " where none is declared)."
)


def orthogonal_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the evidence, a tab per kind; nothing where the samplesheet names none."""
    if not data.facts(dataset):  # its preparation failed, which the verdict says
        return []
    if not any(data.row(dataset).get(name) for name in _COLUMNS):
        return []
    rows = data.of("orthogonal", dataset)
    codes = ("W-ORT-01", "I-ORT-01")
    said = [m["text"] for code in codes for m in data.told(dataset, code)]
    said += [f"{_TITLES[r.evidence]}: {r.explanation}" for r in rows.itertuples() if r.label == "all" and r.reason]
    if rows.empty:
        about = [m["text"] for m in data.told(dataset, "") if m["values"].get("step") == "orthogonal"]
        said += about or ["It was left out (--skip_diagnosis)."]
    panels = []
    for kind, title in _TITLES.items():
        part = rows[(rows["evidence"] == kind) & (rows["label"] != "all")]
        if len(part):
            panels.append((title, table(_HEAD, [_line(r) for r in part.to_dict("records")])))
    shown = tabs(panels) if panels else ""
    return [said_section("orthogonal", "Orthogonal validation", said, shown, description=_DESCRIPTION)]


def _line(row: dict[str, Any]) -> list[str]:
    """Return the cells of one row."""
    import pandas as pd

    about = " in ".join(text for text in (row["feature"], row["of_embedding"]) if text)
    about = about if row["batch"] == "all" else f"{about}, {row['batch']}"
    if row["status"] != "ok":
        return [row["label"], about, row["explanation"], *["–"] * (len(_HEAD) - 3)]
    holds = "" if pd.isna(row["agrees"]) else "yes" if row["agrees"] else "no"
    numbers = ["–" if pd.isna(row[c]) else number(float(row[c])) for c in ("value", "low", "high", "q_value")]
    limit = "" if pd.isna(row["threshold"]) else f"{row['threshold']:g}"
    return [row["label"], about, row["measure"], *numbers, f"{row['n']}", limit, holds]
