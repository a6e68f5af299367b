"""Differential expression: the design that was used, what differs in every label, and what may be believed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.expression.rows import PSEUDOBULK, RANKING, SCVI, SCVI_ALL_BATCHES
from scfm.report.page.html import number
from scfm.report.page.mqc import Section, slug
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell, tabs
from scfm.report.plots.scatter import Plot, Point, draw_scatter
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: messages of the comparison, in the order in which they are read
_CODES = ("I-DE-01", "W-DE-01", "W-DE-02", "W-DE-04", "W-DE-03", "W-DE-05")
#: from where on a measure of conservation is good; ``practitioners' asks`` 3.10
GOOD = {"lfc_spearman": 0.7, "top_jaccard": 0.4, "auprc": 0.5}
#: comparisons that have a plot, those with most genes first
_PLOTS = 8
#: genes named in a plot, and in the table
_NAMED, _TOP = 12, 8
_UP, _DOWN = "#c0392b", "#2471a3"
_HEADS = (
    Column("Replicates", "Of the condition and of the reference"),
    Column("Genes, pseudobulk", "Called different by PyDESeq2 at --de_fdr, of the tested genes"),
    Column("Genes, t-test", "Called different by the moderated t-test, the reference of the null"),
    Column(
        "Genes, permuted", "The same with the condition permuted: median over permutations (largest); near 0 is right"
    ),
    Column("Genes, scVI", "Called changed by the model, decoded as the design allows"),
    Column("scVI, all batches", "Decoded over all batches although these are nested in conditions: what that loses"),
    Column("Spearman", f"Fold changes against those inside batches; {GOOD['lfc_spearman']} is good"),
    Column("Jaccard", f"First 100 genes against those inside batches; {GOOD['top_jaccard']} is good"),
    Column("AUPRC", f"Against the genes that batches agree on; {GOOD['auprc']} is good"),
    Column("First genes", "By p value; without replicates by AUROC between cells"),
)
_DESCRIPTION = (
    "Inside every label, the conditions of the samplesheet. The pseudobulk (counts summed per replicate, PyDESeq2) is"
    " the reference; scVI has the genes of its model only. A dash is not defined: point at it for the reason. All"
    " numbers are in tables/de.tsv and tables/de_genes.tsv, all genes in the folder de of the data set."
)


def expression_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return how many genes differ between conditions, by label; where nothing was compared, why."""
    if not data.facts(dataset):  # its preparation failed, which the verdict says
        return []
    rows = data.of("de", dataset)
    about = {"key": "expression", "name": "Differential expression", "description": _DESCRIPTION}
    if rows.empty:
        return [said_section(sentences=_why_not(data, dataset), table="", **about)]
    said = [m["text"] for code in _CODES for m in data.told(dataset, code)]
    pairs = [dict(zip(("label", "level", "reference"), key, strict=True)) for key in _pairs(rows)]
    lines = [_line(rows, pair) for pair in pairs]
    said += scvi_sentences(rows)
    table = data_table(_HEADS, lines, corner="Label: condition against reference")
    return [said_section(sentences=said, table=table, **about)]


def _pairs(rows: "pd.DataFrame") -> list[tuple[str, str, str]]:
    """Return label, level and reference of every comparison, in the order of the table."""
    return list(dict.fromkeys(zip(rows["label"], rows["level"], rows["reference"], strict=True)))


def _why_not(data: "ReportData", dataset: str) -> list[str]:
    """Return why conditions were not compared."""
    if not data.row(dataset).get("condition_key"):
        return ["The samplesheet names no condition_key, so there are no conditions to compare."]
    if data.params.get("skip_diagnosis"):
        return ["Conditions were not compared (--skip_diagnosis)."]
    about = [m["text"] for m in data.told(dataset, "") if m["values"].get("step") == "de"]
    return about or ["Conditions were not compared; see the messages."]


def scvi_sentences(rows: "pd.DataFrame") -> list[str]:
    """Return how the scVI model was decoded, and where it was refused."""
    found = rows[rows["analysis"] == SCVI]
    if found.empty:
        return ["No scVI model with these cells is in the run, so there is no comparison by scVI."]
    model, relation = found["model"].iloc[0], found["relation"].iloc[0]
    refused = found[found["status"] != "ok"]
    told = []
    if len(refused) < len(found):
        how = (
            "without correction for the batch, because batches are nested in conditions"
            if relation == "nested"
            else "over the batches that have both conditions"
        )
        told.append(f"{model} was decoded {how}.")
    for reason, part in refused.groupby("explanation", sort=True):
        told.append(f"{model} was not used in {plural(part['label'].nunique(), 'label')}: {reason}")
    return told


def _line(rows: "pd.DataFrame", pair: dict[str, str]) -> Row:
    """Return the row of one comparison."""
    part = rows[(rows["label"] == pair["label"]) & (rows["level"] == pair["level"])]
    by = {r["analysis"]: r for r in part.to_dict("records")}
    bulk = by[PSEUDOBULK]
    null = "–" if _missing(bulk["null_median"]) else f"{bulk['null_median']:g} ({bulk['null_max']})"
    replicates = "–" if _missing(bulk["n_level"]) else f"{bulk['n_level']} + {bulk['n_reference']}"
    cells = [
        _cell(replicates, bulk["explanation"]),
        _called(bulk),
        _cell("–" if _missing(bulk["null_observed"]) else f"{bulk['null_observed']:,}", bulk["null_reason"]),
        _cell(null, bulk["null_reason"]),
        _called(by.get(SCVI)),
        _called(by.get(SCVI_ALL_BATCHES)),
        *(_conserved(bulk, measure) for measure in GOOD),
        _cell(", ".join((by.get(RANKING) or bulk)["top_genes"].split(", ")[:_TOP]) or "–", ""),
    ]
    return Row(f"{pair['label']}: {pair['level']} against {pair['reference']}", cells)


def _missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def _cell(text: str, tip: str) -> Cell:
    return Cell(text, "" if text != "–" else tip)


def _called(row: dict[str, Any] | None) -> Cell:
    """Return the genes that an analysis calls different, of those it tested."""
    if row is None:
        return _cell("–", "not in this run")
    if _missing(row["n_significant"]):
        return _cell("–", row["explanation"])
    return Cell(f"{row['n_significant']:,} of {row['n_genes']:,}", sort=int(row["n_significant"]))


def _conserved(row: dict[str, Any], measure: str) -> Cell:
    """Return a measure of conservation, coloured where it is 0 or more."""
    value = row[measure]
    if _missing(value):
        return heat_cell(None, f"not defined: {row['conservation_reason'] or row['explanation']}")
    chance = f"; a guess reaches {number(row['auprc_chance'])}" if measure == "auprc" else ""
    cell = heat_cell(max(0.0, float(value)), f"{value:.3f}; {GOOD[measure]} is good{chance}")
    return Cell(number(value), cell.tip, cell.css, cell.style, round(float(value), 4))


def gene_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the first genes of the comparisons, each as fold change against the strength of the evidence."""
    rows = data.of("de", dataset)
    pairs = [dict(zip(("label", "level", "reference"), key, strict=True)) for key in _pairs(rows)]
    genes = data.of("de_genes", dataset)
    genes = genes[genes["analysis"].isin([PSEUDOBULK, RANKING])]
    called = rows[rows["analysis"] == PSEUDOBULK].set_index(["label", "level"])["n_significant"].fillna(0)
    shown = sorted(pairs, key=lambda p: -int(called.get((p["label"], p["level"]), 0)))
    panels = []
    for number_, pair in enumerate(shown):
        part = genes[(genes["label"] == pair["label"]) & (genes["level"] == pair["level"])]
        if len(part) and len(panels) < _PLOTS:
            title = f"{pair['label']}: {pair['level']}"
            panels.append((title, _plot(part, pair, f"scfm-de-{slug(dataset)}-{number_}")))
    if not panels:
        return []
    few = f" The {_PLOTS} comparisons with most genes are shown." if len(pairs) > _PLOTS else ""
    text = (
        "The strongest genes of each comparison (de_top): log2 fold change against -log10 of the p value, or, without"
        f" replicates, against the AUROC between cells, which is an effect size and no test.{few}"
    )
    title = "Genes that differ between conditions"
    return [Section("expression_genes", title, "html", tabs(panels), description=text)]


def _plot(part: "pd.DataFrame", pair: dict[str, str], key: str) -> str:
    """Return one comparison as a scatter; the first genes are named."""
    ranked = part["analysis"].iloc[0] == RANKING
    points = []
    for row in part.sort_values("rank").itertuples():
        p = max(float(row.p_value), 1e-300) if not ranked and not _missing(row.p_value) else math.nan
        y = float(row.statistic) if ranked else -math.log10(p)
        if math.isfinite(y):
            tip = (
                f"{row.symbol}: {2 ** abs(row.log_fold_change):.3g}-fold {'up' if row.log_fold_change > 0 else 'down'}"
            )
            colour = _UP if row.log_fold_change > 0 else _DOWN
            points.append(Point(row.symbol, float(row.log_fold_change), y, colour, tip, named=row.rank <= _NAMED))
    legend = {f"higher in {pair['level']}": _UP, f"higher in {pair['reference']}": _DOWN}
    ylab = "AUROC between cells" if ranked else "-log10 p"
    return draw_scatter(points, Plot(key, "log2 fold change", ylab, legend))
