"""Where the cells of a data set come from, and what its recipe left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.report.page.html import esc
from scfm.report.page.mqc import Section
from scfm.report.page.tables import table
from scfm.report.page.templates import render
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData


_SOURCE_HEAD = ["Source", "File", "Cells in it", "Cells kept", "Genes in it", "Genes kept"]


def source_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the section of one data set; none where the user's own file was taken as it is."""
    row = data.row(dataset)
    recipe, download = row.get("recipe"), row.get("download")
    if not recipe and not download:
        return []
    scenario = data.catalogue[row["scenario"]] if recipe and row.get("scenario") else None
    html = render(
        "sources.html.j2",
        sources=table(_SOURCE_HEAD, [_source(s) for s in recipe["sources"]]) if recipe else "",
        records=_records([(s["name"], s.get("record")) for s in recipe["sources"]] if recipe else [("", download)]),
        dropped=_dropped(recipe) if recipe else "",
        unmapped=_unmapped(recipe) if recipe else None,
        scenario=scenario,
    )
    description = _summary(recipe) if recipe else "The file was downloaded and taken as it is."
    return [Section("provenance", "Where the cells come from", "html", html, description=description)]


def _summary(recipe: dict[str, Any]) -> str:
    """Return what was made, in one line."""
    read = sum(source["cells_in"] for source in recipe["sources"])
    return (
        f"Recipe <b>{esc(recipe['recipe'])}</b>: {esc(recipe.get('description') or '')} {recipe['n_cells']:,} of"
        f" {read:,} cells and {plural(recipe['n_genes'], 'gene')} are left."
    )


def _source(source: dict[str, Any]) -> list[str]:
    """Return a source with its cells and genes."""
    counts = [f"{source[c]:,}" for c in ("cells_in", "cells_kept", "genes_in", "genes_kept")]
    return [source["name"], source["file"], *counts]


def _records(records: list[tuple[str, dict[str, Any] | None]]) -> str:
    """Return what is known of each download: title, id, version, address, checksum."""
    rows = [
        [
            name or record["key"],
            record.get("title") or "–",
            record.get("dataset_id") or "–",
            record.get("dataset_version_id") or "–",
            record.get("url") or "–",
            record.get("sha256") or "–",
        ]
        for name, record in records
        if record
    ]
    return table(["Download", "Title", "Data set id", "Version", "From", "SHA-256"], rows) if rows else ""


def _dropped(recipe: dict[str, Any]) -> str:
    """Return how many cells each filter dropped."""
    rules = [(s["name"], f) for s in recipe["sources"] for f in s["filters"]]
    rules += [("all sources", f) for f in recipe["filters"]]
    rows = [[name, f["rule"], f"{f['dropped']:,}"] for name, f in rules]
    return table(["Source", "Cells are kept where", "Cells dropped"], rows) if rows else ""


def _unmapped(recipe: dict[str, Any]) -> dict[str, str] | None:
    """Return the source values that no label rule names, with their cells; None where there are none."""
    labels = recipe.get("labels") or {}
    unmapped = labels.get("unmapped") or {}
    if not unmapped:
        return None
    rows = [[value, f"{n:,}"] for value, n in sorted(unmapped.items(), key=lambda item: (-item[1], item[0]))]
    return {
        "cells": plural(sum(unmapped.values()), "cell"),
        "column": labels["column"],
        "table": table(["Value in the source", "Cells"], rows),
    }
