"""From a samplesheet that names scenarios, ids, addresses and recipes to files: what to download, what to build.

Nothing is downloaded here. The outcome is a samplesheet whose column ``h5ad`` names files only, a list of downloads,
each once however many data sets share it, and a list of builds: which recipe makes which data set from which sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.fetch.spec import Spec, cellxgene_spec, is_uuid, url_spec
from scfm.inputs.params import check_params
from scfm.inputs.samplesheet import Located, check_rows, read_samplesheet, write_samplesheet
from scfm.io.tables import write_json
from scfm.recipes.downloads import source_spec, table_spec
from scfm.recipes.recipe import load_recipe
from scfm.registries.datasets import Scenario, find_scenario

if TYPE_CHECKING:
    from scfm.recipes.recipe import Recipe, Source, Table
    from scfm.registries.methods import Method

SCENARIO, CELLXGENE, WEB = "scenario:", "cellxgene:", ("https://", "http://")
#: the recipe's table that ``--ortholog_table`` takes the place of
ORTHOLOGS = "orthologs"


@dataclass(slots=True)
class Resolved:
    """What a samplesheet comes down to.

    Attributes
    ----------
    errors
        Sentences; any of them stops the run.
    rows
        Rows of the samplesheet of files.
    sources
        What to download, by key.
    builds
        ``{dataset, recipe, sources: [{name, key | path, relative_to}], tables: [...]}``.
    """

    errors: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    sources: dict[str, Spec] = field(default_factory=dict)
    builds: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Known:
    """What rows are resolved against.

    Attributes
    ----------
    catalogue
        The scenarios.
    scenarios
        Folder of their recipes.
    located
        Where the user's recipes lie.
    ortholog_table
        The user's table of orthologs, as written; empty: none.
    """

    catalogue: Mapping[str, Scenario]
    scenarios: Path
    located: Located
    ortholog_table: str = ""


def resolve_run(
    params: Mapping[str, Any],
    *,
    schema: Mapping[str, Any],
    input_schema: Mapping[str, Any],
    methods: Mapping[str, "Method"],
    samplesheet: Path,
    known: Known,
    corrections: Iterable[str] | None = None,
) -> Resolved:
    """Check parameters and samplesheet and resolve every row; all errors at once.

    Parameters
    ----------
    params
        Nextflow's parameters as given.
    schema, input_schema
        ``nextflow_schema.json`` and ``assets/schema_input.json``.
    methods, corrections
        The methods table, and the names of the corrections table (by default those of this checkout).
    samplesheet
        The CSV file.
    known
        What rows are resolved against.
    """
    _, errors = check_params(params, schema, methods, known.located.staged, corrections=corrections)
    resolved = Resolved(errors)
    try:
        rows = read_samplesheet(samplesheet)
    except ScfmError as error:
        resolved.errors.append(str(error))
        return resolved
    for number, row in enumerate(rows, start=2):
        try:
            resolved.rows.append(_resolve_row(row, known, resolved))
        except ScfmError as error:
            resolved.errors += [f"{samplesheet.name}: row {number}: {line}" for line in str(error).splitlines()]
            resolved.rows.append(dict(row))
    if not resolved.errors:
        resolved.errors += check_rows(resolved.rows, input_schema, samplesheet.name)
    return resolved


def _resolve_row(row: Mapping[str, str], known: Known, resolved: Resolved) -> dict[str, str]:
    """Return a row that names a file, and add what must be downloaded and built for it."""
    row, given = dict(row), row.get("h5ad", "")
    if given.startswith(SCENARIO):
        if "recipe" in row:
            raise ScfmError(
                f"column 'recipe': '{given}' has a recipe of its own. Give the scenario or a recipe, not both; to"
                " change a scenario, copy its recipe."
            )
        scenario = find_scenario(given.removeprefix(SCENARIO), known.catalogue)
        _fill_from(row, scenario)
        text, path = f"scenarios/{Path(scenario.recipe).name}", known.scenarios / Path(scenario.recipe).name
    elif "recipe" in row:
        text, path = row["recipe"], known.located.find(row["recipe"])
        if path is None:
            raise ScfmError(
                f"column 'recipe': the file '{text}' does not exist. Relative paths are taken from where the"
                " samplesheet lies."
            )
    else:
        spec = _spec_of_text(given)
        if spec:
            resolved.sources[spec.key] = spec
            row["h5ad"] = f"{spec.key}{spec.ending}"
        return row
    resolved.builds.append(_build(row.get("dataset", ""), text, path, given=given, known=known, resolved=resolved))
    row["h5ad"] = f"{row.get('dataset', '')}.recipe.h5ad"
    row.pop("recipe", None)
    return row


def _fill_from(row: dict[str, str], scenario: Scenario) -> None:
    """Take over from the catalogue what the row does not say itself."""
    for column, value in (scenario.row() | {"scenario": scenario.name}).items():
        row.setdefault(column, value)


def _build(dataset: str, text: str, path: Path, *, given: str, known: Known, resolved: Resolved) -> dict[str, Any]:
    """Return the build of one data set; its downloads are added to the outcome."""
    recipe = load_recipe(path)
    sources = [_source(source, recipe, given, resolved) for source in recipe.sources.values()]
    if given and not given.startswith(SCENARIO) and not any(s.is_own_file for s in recipe.sources.values()):
        raise ScfmError(
            f"column 'h5ad': the recipe '{path.name}' names its sources itself, so '{given}' would not be read. Leave"
            " h5ad empty, or take the place of one source out of the recipe."
        )
    return {
        "dataset": dataset,
        "recipe": text,
        "sources": sources,
        "tables": [_table(table, known, resolved) for table in recipe.tables.values()],
    }


def _source(source: "Source", recipe: "Recipe", given: str, resolved: Resolved) -> dict[str, str]:
    """Return where a source of a recipe comes from; one that does not say is the row's own file.

    Raises
    ------
    ScfmError
        The row has no file for it.
    """
    if not source.is_own_file:
        return _place(source.name, source_spec(source), source.file, "recipe", resolved)
    if not given or given.startswith(SCENARIO):
        raise ScfmError(
            f"recipe '{recipe.name}': the source '{source.name}' does not say where it lies, so column 'h5ad' must name"
            " its file."
        )
    return _place(source.name, _spec_of_text(given), given, "samplesheet", resolved)


def _table(table: "Table", known: Known, resolved: Resolved) -> dict[str, str]:
    """Return where a recipe's table comes from; ``--ortholog_table`` wins for the table of that name."""
    if table.name == ORTHOLOGS and known.ortholog_table:
        return {"name": table.name, "path": known.ortholog_table, "relative_to": "samplesheet"}
    return _place(table.name, table_spec(table), table.file, "recipe", resolved)


def _place(name: str, spec: Spec | None, path: str, relative_to: str, resolved: Resolved) -> dict[str, str]:
    """Return the place of a source or table: a download, which is added to the outcome, or a path."""
    if spec is None:
        return {"name": name, "path": path, "relative_to": relative_to}
    resolved.sources[spec.key] = spec
    return {"name": name, "key": spec.key}


def _spec_of_text(text: str) -> Spec | None:
    """Return what to download for a value of the column ``h5ad``; None for a path.

    Raises
    ------
    ScfmError
        ``cellxgene:`` is not followed by an id.
    """
    if text.startswith(CELLXGENE):
        identifier = text.removeprefix(CELLXGENE).strip()
        if not is_uuid(identifier):
            raise ScfmError(
                f"column 'h5ad': '{text}' is no id of a data set. Expected cellxgene: and the id of a data set as in"
                " the address of its explorer, for instance cellxgene:9f222629-9e39-47d0-b83f-e08d610c7479;"
                " `fetch_dataset.py --collection ID --list` shows those of a collection."
            )
        return cellxgene_spec(identifier)
    return url_spec(text) if text.startswith(WEB) else None


def write_resolved(resolved: Resolved, outdir: Path, name: str) -> None:
    """Write ``errors.txt``, ``resolved/<name>``, ``sources.json`` and ``builds.json``."""
    (outdir / "resolved").mkdir(parents=True, exist_ok=True)
    (outdir / "errors.txt").write_text(
        "".join(f"{' '.join(error.split())}\n" for error in dict.fromkeys(resolved.errors))
    )
    write_json(outdir / "sources.json", [resolved.sources[key].as_dict() for key in sorted(resolved.sources)])
    write_json(outdir / "builds.json", resolved.builds)
    write_samplesheet(outdir / "resolved" / name, resolved.rows)
