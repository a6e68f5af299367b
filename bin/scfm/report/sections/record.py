"""The record of the run: parameters, command, inputs, versions, and the tables beside the page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.embeddings.preparation import PREPARATION
from scfm.inputs.keys import primary_pair
from scfm.registries.schemas import Schemas
from scfm.report.page.mqc import Section
from scfm.report.page.tables import table
from scfm.report.page.templates import render
from scfm.report.tables.preparations import made_from
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

#: record of the run: key in the parameters' ``run``, and its words
_RUN = {
    "command": "Command",
    "version": "scfmbench",
    "revision": "Revision",
    "commit": "Commit",
    "profile": "Profile",
    "container_engine": "Container engine",
    "nextflow": "Nextflow",
}
#: parameters that are no settings of the analysis
_NOT_SETTINGS = frozenset({"run", "code", "input"})
#: more of them, of which the digest of the parameters does not depend
_PLACES = frozenset({"outdir", "publish_dir_mode", "report_title"})
_INPUTS = ["Data set", "File", "Batch key", "Label key", "Cells", "SHA-256", "Preparation", "Made from it"]


def run_sections(data: "ReportData") -> list[Section]:
    """Return how the run was started, the parameters that differ from their defaults, and the inputs."""
    recorded = data.params.get("run") or {}
    facts = [(words, str(recorded[key])) for key, words in _RUN.items() if recorded.get(key)]
    changed = changed_parameters(data.params, data.defaults)
    return [
        Section(
            "run",
            "What was run",
            "html",
            render(
                "run.html.j2",
                facts=facts,
                digest=parameters_digest(data.params),
                changed=table(["Parameter", "Here", "Default"], changed) if changed else "",
                known=bool(data.defaults),
                inputs=table(_INPUTS, _inputs(data)),
            ),
        )
    ]


def parameters_digest(params: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the settings of the analysis, 64 hexadecimal digits: equal for runs with the same settings,
    whatever their inputs, folders and titles.
    """
    settings = {k: v for k, v in params.items() if k not in _NOT_SETTINGS | _PLACES}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def changed_parameters(params: dict[str, Any], defaults: dict[str, Any]) -> list[list[str]]:
    """Return name, value and default of the parameters that differ from their defaults, by name.

    Numbers are compared as numbers, all else as text; a parameter without a default differs when it is set.
    """
    rows = []
    for name in sorted(set(params) - _NOT_SETTINGS):
        value, default = params[name], defaults.get(name)
        if not _same(value, default):
            rows.append([name, _words(value), _words(default)])
    return rows


def _same(value: Any, default: Any) -> bool:
    empty = (None, "", False)
    if value in empty and default in empty:
        return True
    if isinstance(value, bool) or isinstance(default, bool):
        return str(value).lower() == str(default).lower()
    try:
        return float(value) == float(default)
    except (TypeError, ValueError):
        return str(value) == str(default)


def _words(value: Any) -> str:
    return "not set" if value is None or value == "" else str(value).lower() if isinstance(value, bool) else str(value)


def _inputs(data: "ReportData") -> list[list[str]]:
    """Return one row per data set: its file, keys, cells and checksum, its preparation and how many of its embeddings
    name the same one.
    """
    rows = []
    for name in data.dataset_names():
        row, facts = data.row(name), data.facts(name)
        batch_key, label_key = primary_pair(row) if row.get("batch_key") else ("–", "–")
        n_cells = facts.get("n_cells") or row.get("n_cells")
        file = facts.get("input") or {}
        checksum = file.get("sha256") or "–"
        cells = f"{n_cells:,}" if n_cells else "–"
        preparation, made = facts.get(PREPARATION) or "–", made_from(data.embeddings, name)
        alike = f"{list(made.values()).count(preparation)} of {plural(len(made), 'embedding')}" if made else "–"
        file_name = str(row.get("h5ad") or "–")
        rows.append([name, file_name, batch_key, label_key, cells, checksum, preparation, alike])
    return rows


def version_sections(data: "ReportData") -> list[Section]:
    """Return the versions of everything that computed, one row per package; nothing where none were recorded."""
    found: dict[tuple[str, str], list[str]] = {}
    for process, packages in data.versions.items():
        for package, version in packages.items():
            found.setdefault((package, str(version)), []).append(process)
    rows = [[package, version, ", ".join(sorted(found[package, version]))] for package, version in sorted(found)]
    body = render("folded.html.j2", summary=f"Versions of {len({p for p, _ in found})} packages", body=_table(rows))
    return [Section("versions", "Software versions", "html", body)] if rows else []


def _table(rows: list[list[str]]) -> str:
    return table(["Package", "Version", "Processes"], rows)


def table_sections(data: "ReportData") -> list[Section]:
    """Return links to the published tables, with what each holds."""
    schemas = Schemas(data.assets)
    entries = [
        {"name": t.name, "title": t.title, "rows": f"{len(data.tables[t.name]):,}"} for t in schemas.tables.values()
    ]
    return [Section("tables", "Tables", "html", render("tables.html.j2", tables=entries))]
