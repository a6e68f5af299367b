"""The design of a data set before any score: its cells and samples, confounding, balance, and strength of the batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import primary_pair
from scfm.report.page.html import colour, number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell, table, tabs

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_RELATIONS = {
    "crossed": "crossed: every batch has several levels",
    "partial": "partial: some batches have one level, some have several",
    "nested": "nested: every batch has one level",
    "single": "one level only, or one batch",
    "not_declared": "not declared in the samplesheet",
}
_DESIGNS = {
    "donor + condition": "pairs within donors (donor + condition)",
    "batch + condition": "with the batch in the model (batch + condition)",
    "condition": "the condition alone",
    "none": "no test",
}
#: columns of the obs table that cells are counted by, in the order in which they are shown
_BY = ("condition", "tissue", "donor", "label")
#: principal components in the table of R2
_COMPONENTS = 10
_COVARIATES = {"depth": "depth (log total counts)", "mito_share": "mitochondrial share"}


def check_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the design table, confounding and balance of a data set; nothing where the design was not described."""
    rows = data.of("design", dataset)
    facts = data.row(dataset).get("design")
    if rows.empty or not facts:
        return []
    primary = primary_pair(data.row(dataset))[0]
    first = rows[rows["batch_key"] == primary]
    panels = [(f"Batch x {column}", grid) for column in _BY if (grid := count_table(first, column)) is not None]
    panels += [("Confounding", confounding_table(rows)), ("Balance", balance_table(rows))]
    return [
        said_section(
            "design_checks",
            "Can batch and biology be told apart?",
            design_sentences(data, dataset, facts),
            tabs(panels),
            description=(
                "Cells, with samples in brackets, of every combination; the darker the more cells. Confounding is"
                " counted in samples: Theil's U is 0 where the batch says nothing and 1 where it determines the column,"
                " Cramer's V likewise (bias-corrected). Limits are parameters (--design_*) and are printed beside"
                " the values."
            ),
        )
    ]


def design_sentences(data: "ReportData", dataset: str, facts: dict[str, Any]) -> list[str]:
    """Return the messages about the design, errors first, and the design of differential expression."""
    codes = ("E-CONF", "W-CONF", "W-DES", "W-LAB", "W-BAL", "I-DES", "I-STR")
    said = [f"{m['code']}: {m['text']} {m['advice']}".rstrip() for m in data.told(dataset, codes)]
    de = facts.get("de") or {}
    if de:
        said.append(f"Differential expression between conditions: {_DESIGNS[de['design']]}. {de['reason']}")
    return said


def count_table(rows: "pd.DataFrame", column: str) -> str | None:
    """Return cells and samples per batch and level of a column; None where it has no level."""
    part = rows[(rows["part"] == "samples") & (rows["column"] == column)]
    if part.empty:
        return None
    counts = part.set_index(["quantity", "batch", column])["value"]
    cells, samples = counts["n_cells"], counts["n_samples"]
    largest = math.log1p(cells.max())
    levels = sorted(part[column].unique())

    def cell(batch: str, level: str) -> Cell:
        n = int(cells.get((batch, level), 0))
        if not n:
            return Cell("–", "no cells", "scfm-none", sort=0)
        back, front = colour(math.log1p(n) / largest)
        return Cell(
            f"{n:,} ({int(samples[(batch, level)])})",
            f"{batch}, {level}",
            style=f"background:{back};color:{front}",
            sort=n,
        )

    body = [Row(batch, [cell(batch, level) for level in levels]) for batch in sorted(part["batch"].unique())]
    return data_table([Column(level) for level in levels], body, corner="Batch", css="scfm-heat")


def confounding_table(rows: "pd.DataFrame") -> str:
    """Return relation, estimability and coefficients of every batch key and column."""
    part = rows[rows["part"] == "confounding"]
    body = []
    for (batch_key, column), group in part.groupby(["batch_key", "column"], sort=False):
        found = group.set_index("quantity")
        value = found["value"].to_dict()
        estimable = {1.0: "yes", 0.0: "no"}.get(value.get("estimable"), "–")
        body.append(
            [
                batch_key,
                column,
                _RELATIONS[found.loc["relation", "text"]],
                estimable,
                _whole(value.get("components")),
                _whole(value.get("n_samples")),
                *(
                    _judged(found, name)
                    for name in ("theils_u_column_given_batch", "theils_u_batch_given_column", "cramers_v")
                ),
            ]
        )
    head = ["Batch key", "Column", "Relation", "All contrasts estimable", "Groups", "Samples"]
    return table([*head, "U (column | batch)", "U (batch | column)", "Cramer's V"], body)


def balance_table(rows: "pd.DataFrame") -> str:
    """Return the balance of the batches and of every label's batches, with the limits."""
    titles = {
        "size_ratio": "largest over smallest batch",
        "effective_share": "effective share of the batches",
        "js_distance": "distance of label proportions (Jensen-Shannon)",
        "n_batches": "batches",
    }
    part = rows[rows["part"] == "balance"]
    body = [
        [
            r.batch_key,
            r.label or "all labels",
            titles[r.quantity],
            number(r.value, 0 if r.quantity == "n_batches" else 2),
            number(r.threshold),
        ]
        for r in part.itertuples()
    ]
    return table(["Batch key", "Label", "Measure", "Value", "Limit"], body)


def strength_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return what batch, condition, label and technical covariates explain of the uncorrected components."""
    rows = data.of("design", dataset)
    rows = rows[(rows["part"] == "strength") & (rows["batch_key"] == primary_pair(data.row(dataset))[0])]
    if rows.empty:
        return []
    whole = rows[(rows["component"] == 0) & (rows["column"] != "")].set_index(["column", "quantity"])["value"]
    names = list(dict.fromkeys(whole.index.get_level_values(0)))
    quantities = ("pcr", "unique", "shared_with_batch")
    body = [Row(_COVARIATES.get(n, n), [heat_cell(whole.get((n, q))) for q in quantities]) for n in names]
    shares = data_table(["Alone", "Only this one", "Shared with the batch"], body, corner="Covariate", css="scfm-heat")
    single = rows[rows["quantity"] == "r2"].set_index(["column", "component"])["value"]
    shown = range(1, min(_COMPONENTS, int(rows["component"].max())) + 1)
    by_component = data_table(
        [f"PC{j}" for j in shown],
        [Row(_COVARIATES.get(n, n), [heat_cell(single.get((n, j))) for j in shown]) for n in names],
        corner="Covariate",
        css="scfm-heat",
    )
    batch = rows[(rows["column"] == "batch") & (rows["quantity"] == "pcr")]
    said = [
        f"The batch explains {r.value:.1%} of the variance of the uncorrected principal components: {r.text}"
        f" (negligible below {r.threshold:.0%})."
        for r in batch.itertuples()
    ]
    panels = [("All components", shares), ("By component", by_component)]
    return [
        said_section(
            "strength",
            "How strong is the batch before correction?",
            said,
            tabs(panels),
            description=(
                "Share of the variance of the uncorrected principal components that a covariate explains alone"
                " (principal component regression), that only it explains in a model of batch, condition, label and"
                " depth, and that it shares with the batch. Dark is much; a dash is not part of that model."
            ),
        )
    ]


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _judged(found: "pd.DataFrame", name: str) -> str:
    """Return a coefficient with its band and limit, or why it has none."""
    if name not in found.index:
        return "–"
    row = found.loc[name]
    if math.isnan(row["value"]):
        return f"not given ({row['reason'].replace('_', ' ')})"
    return f"{number(row['value'])} ({row['text']}; strong from {row['threshold']:g})"
