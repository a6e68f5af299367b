"""Where batches are still apart: label by pair of batches, with its cause, and the clusters that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.diagnosis.choose import is_uncorrected
from scfm.diagnosis.clusters import MIN_DONORS
from scfm.diagnosis.residual_messages import TITLES
from scfm.report.page.html import colour, number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell, tabs
from scfm.report.view.diagnosed import only_diagnosed
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: pairs of batches that a table shows; those with the largest AUROC in any label
_SHOWN = 40
_CAUSES = TITLES | {"unexplained": "no programme", "few_genes": "hardly any gene"}
_FLAGS = {
    "single_donor": "one donor",
    "donor_dominated": "mostly one donor",
    "few_donors": "few donors",
    "batch_island": "one batch",
    "rainbow": "mixed",
}


def embeddings_of(frame: "pd.DataFrame", data: "ReportData", dataset: str) -> "list[tuple[str, str, pd.DataFrame]]":
    """Return name, title and rows of every embedding in a table, the uncorrected one first."""
    found = []
    keys = ["embedding", "method", "correction", "seed"]
    for (name, method, correction, seed), rows in frame.groupby(keys, sort=True):
        title = data.title(dataset, method, correction) + (f", seed {seed}" if seed else "")
        found.append((not is_uncorrected(method, correction), name, title, rows))
    return [(name, title, rows) for _, name, title, rows in sorted(found, key=lambda f: f[:2])]


def sentences(
    data: "ReportData", dataset: str, codes: tuple[str, ...], found: "list[tuple[str, str, pd.DataFrame]]"
) -> list[str]:
    """Return the messages with some codes about embeddings (:func:`embeddings_of`) of a data set, with their advice."""
    title_of = {name: title for name, title, _ in found}
    return [
        f"{title_of[m['embedding']]}: {m['text']} {m['advice']}"
        for m in data.told(dataset, codes)
        if m["embedding"] in title_of
    ]


def residual_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return label by pair of batches for every diagnosed embedding; nothing where none was."""
    found = embeddings_of(data.of("residual", dataset), data, dataset)
    panels = [(title, residual_table(rows)) for _, title, rows in found]
    panels = [(title, table) for title, table in panels if table]
    if not panels:
        return []
    said = sentences(data, dataset, ("W-RES-01", "W-RES-02"), found)
    fdr, auroc = data.params.get("diagnose_fdr", 0.05), data.params.get("diagnose_auroc", 0.8)
    return [
        said_section(
            "residual",
            "Which labels still split by batch, and why",
            said,
            tabs(panels),
            description=(
                "AUROC with which the 15 nearest neighbours inside a label tell two batches apart: 0.5 is chance, dark"
                f" is apart. A value in bold is significant (false discovery rate {fdr:g}, permutations inside the"
                f" label), a grey one is not. Point at it for what differs. A label is flagged above {auroc:g}. A cause"
                " is what differs most by its own threshold, not proof that nothing else does."
                + only_diagnosed(data, dataset, "residual")
            ),
        )
    ]


def residual_table(rows: "pd.DataFrame") -> str:
    """Return one embedding's labels by pair of batches; empty where no pair was compared."""
    pairs = rows[rows["n_b"].notna()]
    if pairs.empty:
        return ""
    largest = pairs.groupby(["batch_a", "batch_b"])["auroc"].max().sort_values(ascending=False, kind="stable")
    shown = sorted(largest.index[:_SHOWN])
    cells = {(r.label, r.batch_a, r.batch_b): r for r in pairs.itertuples()}
    labels = rows[rows["n_b"].isna()].sort_values(["n_a", "label"], ascending=[False, True])
    body = [
        Row(
            f"{row.label} ({row.n_a:,})",
            [Cell(_words(row.flags)), *(_pair_cell(cells.get((row.label, *p)), row) for p in shown)],
        )
        for row in labels.itertuples()
    ]
    heads = [Column("Flags"), *(Column(f"{a} | {b}") for a, b in shown)]
    return data_table(heads, body, corner="Label (cells)", css="scfm-heat")


def _words(flags: str) -> str:
    """Return the flags of a label as words."""
    return flags.replace(",", ", ").replace("_", " ")


def _pair_cell(pair: object, label: object) -> Cell:
    """Return the cell of a label and a pair of batches, a dash where they were not compared."""
    if pair is None:
        return heat_cell(None, f"not compared: {getattr(label, 'reason', '') or 'too few cells in one of the batches'}")
    auroc, significant = float(pair.auroc), bool(pair.significant)
    causes = ", ".join(_CAUSES[c] for c in str(pair.causes).split(",") if c) or "no programme"
    tip = (
        f"{pair.n_a} and {pair.n_b} cells, q {number(float(pair.q_value), 3)}, unit: {pair.level.replace('_', ' ')};"
        f" {plural(int(pair.n_genes), 'gene differs', 'genes differ')}: {pair.top_genes or 'none'}; {causes}"
    )
    back, front = colour(2 * (auroc - 0.5))
    style = f"background:{back};color:{front}" if significant else ""
    cause = f" {_CAUSES[pair.cause]}" if significant and pair.cause else ""
    return Cell(f"{auroc:.2f}{cause}", tip, "scfm-strong" if significant else "scfm-few", style, round(auroc, 4))


def cluster_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the clusters with a red flag; a sentence where there is none."""
    found = embeddings_of(data.of("clusters", dataset), data, dataset)
    if not found:
        return []
    said = sentences(data, dataset, ("W-CL-01", "W-CL-02", "W-CL-03"), found) or [
        "Clusters have a red flag before correction only: they mix labels or tissues in the uncorrected embedding."
        if any((rows["flags"] != "").any() for _, _, rows in found)
        else "No cluster of a diagnosed embedding has a red flag."
    ]
    if all((rows["donor"] == "").all() for _, _, rows in found):
        said = [_why_no_donors(data, dataset), *said]
    panels = [(title, _cluster_table(rows)) for _, title, rows in found]
    smallest = data.params.get("diagnose_cluster_cells", 50)
    return [
        said_section(
            "clusters",
            "Clusters of one donor, of one batch, or mixed",
            said,
            tabs(panels),
            description=(
                f"Leiden clusters with at least {smallest} cells. Clusters of the uncorrected embedding that a batch"
                " makes up are what correction is for; in a corrected one they are what it has left."
                + only_diagnosed(data, dataset, "clusters")
            ),
        )
    ]


def _why_no_donors(data: "ReportData", dataset: str) -> str:
    """Return why no cluster can be called one of a single donor."""
    if not data.row(dataset).get("donor_key"):
        return "Whether a cluster is of one donor is not known: the samplesheet names no donor_key."
    return f"Whether a cluster is of one donor is not known: cells lack a donor, or there are fewer than {MIN_DONORS}."


def _cluster_table(rows: "pd.DataFrame") -> str:
    """Return the clusters of one embedding, flagged ones first."""
    heads = ["Cells", "Label", "Batch", "Of the label", "Donor", "Of the label", "Flags", "Differs most by"]
    body = []
    for row in rows.sort_values("flags", key=lambda f: f == "", kind="stable").itertuples():
        donor = f"{row.donor} {number(row.donor_share)}" if row.donor else "–"
        body.append(
            Row(
                row.cluster,
                [
                    Cell(f"{row.n_cells:,}", sort=int(row.n_cells)),
                    Cell(f"{row.label} {number(row.label_share)}", sort=float(row.label_share)),
                    Cell(f"{row.batch} {number(row.batch_share)}", sort=float(row.batch_share)),
                    Cell(number(row.batch_share_of_label)),
                    Cell(donor),
                    Cell(number(row.donor_share_of_label)),
                    Cell(", ".join(_FLAGS[f] for f in row.flags.split(",") if f)),
                    Cell(_CAUSES.get(row.hint, ""), row.top_genes),
                ],
            )
        )
    return data_table(heads, body, corner="Cluster")
