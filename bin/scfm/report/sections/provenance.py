"""Where the cells of a data set come from, and what its recipe left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.report.page.html import esc, table
from scfm.report.page.mqc import Section
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData


def provenance_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the section of one data set; none where the user's own file was taken as it is."""
    row = data.row(dataset)
    recipe, download = row.get("recipe"), row.get("download")
    if recipe:
        html = _sources(recipe) + _dropped(recipe) + _unmapped(recipe) + _to_cite(data, row)
        return [_section(html, _summary(recipe))]
    return [_section(_records([("", download)]), "The file was downloaded and taken as it is.")] if download else []


def _section(html: str, description: str) -> Section:
    return Section("provenance", "Where the cells come from", "html", html, description=description)


def _summary(recipe: dict[str, Any]) -> str:
    """Return what was made, in one line."""
    read = sum(source["cells_in"] for source in recipe["sources"])
    return (
        f"Recipe <b>{esc(recipe['recipe'])}</b>: {esc(recipe.get('description') or '')} {recipe['n_cells']:,} of"
        f" {read:,} cells and {plural(recipe['n_genes'], 'gene')} are left."
    )


def _sources(recipe: dict[str, Any]) -> str:
    """Return the sources with their cells and genes, and the records of what was downloaded."""
    rows = [
        [
            esc(s["name"]),
            esc(s["file"]),
            f"{s['cells_in']:,}",
            f"{s['cells_kept']:,}",
            f"{s['genes_in']:,}",
            f"{s['genes_kept']:,}",
        ]
        for s in recipe["sources"]
    ]
    html = table(["Source", "File", "Cells in it", "Cells kept", "Genes in it", "Genes kept"], rows)
    return html + _records([(s["name"], s["record"]) for s in recipe["sources"] if s.get("record")])


def _to_cite(data: "ReportData", row: dict[str, Any]) -> str:
    """Return whose data a scenario's are, and their licence."""
    if not row.get("scenario"):
        return ""
    scenario = data.catalogue[row["scenario"]]
    doi = f", doi {esc(scenario.reference)}" if scenario.reference else ""
    return f"<p>To cite: {esc(scenario.citation)}{doi}. Licence of the data: {esc(scenario.licence)}.</p>"


def _records(records: list[tuple[str, dict[str, Any]]]) -> str:
    """Return what is known of each download: title, id, version, address, checksum."""
    if not records:
        return ""
    rows = [
        [
            esc(name or record["key"]),
            esc(record.get("title") or "–"),
            esc(record.get("dataset_id") or "–"),
            esc(record.get("dataset_version_id") or "–"),
            esc(record.get("url") or "–"),
            f"<code>{esc((record.get('sha256') or '')[:12])}</code>",
        ]
        for name, record in records
    ]
    return table(["Download", "Title", "Data set id", "Version", "From", "SHA-256 begins"], rows)


def _dropped(recipe: dict[str, Any]) -> str:
    """Return how many cells each filter dropped."""
    rules = [(s["name"], f) for s in recipe["sources"] for f in s["filters"]] + [
        ("all sources", f) for f in recipe["filters"]
    ]
    if not rules:
        return ""
    return table(
        ["Source", "Cells are kept where", "Cells dropped"],
        [[esc(name), esc(f["rule"]), f"{f['dropped']:,}"] for name, f in rules],
    )


def _unmapped(recipe: dict[str, Any]) -> str:
    """Return the source values that no label rule names, with their cells."""
    labels = recipe.get("labels") or {}
    unmapped = labels.get("unmapped") or {}
    if not unmapped:
        return ""
    total = sum(unmapped.values())
    rows = [[esc(value), f"{n:,}"] for value, n in sorted(unmapped.items(), key=lambda item: (-item[1], item[0]))]
    return f"<p>{plural(total, 'cell')} of no class of <code>{esc(labels['column'])}</code> were dropped:</p>" + table(
        ["Value in the source", "Cells"], rows
    )
