"""The first step of a run: parameters, samplesheet and every file, all errors at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.contract import check_file
from scfm.inputs.params import Choice, check_params, with_defaults
from scfm.inputs.samplesheet import Located, check_rows, read_samplesheet, resolve_embeddings
from scfm.inputs.side_files import side_file_errors
from scfm.io.tables import write_json
from scfm.planning.groups import assign_groups, slow_methods, widths
from scfm.planning.instances import with_instances
from scfm.planning.mapping import mapped_rows, without_keys
from scfm.planning.memory import memory_warnings, read_needs
from scfm.planning.model_options import read_options
from scfm.planning.models import Models, choose_models, plan_models
from scfm.planning.pilot import pilot_error, with_pilots
from scfm.planning.plan import plan_rows, plan_text
from scfm.planning.stages import columns_of
from scfm.query.reading import check_query
from scfm.registries.messages import message
from scfm.registries.methods import Method
from scfm.registries.models import ModelInfo
from scfm.text import split_list

if TYPE_CHECKING:
    from scfm.registries.weights import WeightsTable

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """What the check of a run found.

    Attributes
    ----------
    errors
        Sentences; any of them stops the run.
    warnings
        Entries made by :func:`scfm.registries.messages.message`.
    datasets
        One object per row of the samplesheet, for ``datasets.json``.
    plan
        Rows of ``plan.tsv``.
    model_settings
        Data set -> model -> settings, for ``model_settings.json``.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[dict] = field(default_factory=list)
    datasets: list[dict] = field(default_factory=list)
    plan: list[dict] = field(default_factory=list)
    model_settings: dict[str, dict[str, dict]] = field(default_factory=dict)


def check_run(
    params: Mapping[str, Any],
    *,
    schema: Mapping[str, Any],
    input_schema: Mapping[str, Any],
    methods: Mapping[str, Method],
    samplesheet: Path,
    located: Located,
    corrections: Iterable[str] | None = None,
    model_table: Mapping[str, ModelInfo] | None = None,
    weights: Mapping[str, Sequence[str] | None] | None = None,
    weights_table: "WeightsTable | None" = None,
    resources: Path | None = None,
) -> Outcome:
    """Check everything that can be checked before the first computation.

    Parameters
    ----------
    params
        Nextflow's parameters as given, unknown ones included.
    schema, input_schema
        ``nextflow_schema.json`` and ``assets/schema_input.json``.
    methods
        The methods table.
    samplesheet
        The CSV file.
    located
        Where the files named in it lie.
    corrections
        Names of the corrections table; by default those of this checkout.
    model_table
        The models table.
    weights
        Model -> files in its folder below ``--weights_dir``, relative to it; None where it has no folder.
    weights_table
        The tables of released weights; needed where models are asked for.
    resources
        ``resources.tsv``; that of this checkout by default.
    """
    outcome = Outcome()
    choice, outcome.errors = check_params(params, schema, methods, located.staged, corrections=corrections)
    complete = with_defaults(params, schema)
    choice, wrong = with_instances(choice, complete, located.staged, schema=schema, methods=methods)
    options, errors = read_options(complete.get("model_options"), located.staged, model_table or {})
    models, more = choose_models(complete, model_table or {}, options, weights or {}, weights_table)
    outcome.errors += wrong + errors + more
    try:
        rows = read_samplesheet(samplesheet)
    except ScfmError as error:
        outcome.errors.append(str(error))
        return outcome
    if complete.get("reference"):
        outcome.errors += check_rows(rows, without_keys(input_schema), samplesheet.name)
        outcome.datasets, more = mapped_rows(rows, complete, located, samplesheet.name)
        outcome.errors += more
        return outcome
    outcome.errors += check_rows(rows, input_schema, samplesheet.name)
    for number, row in enumerate(rows, start=2):
        _check_row(
            outcome,
            row,
            where=f"{samplesheet.name}: row {number}",
            choice=choice,
            params=complete,
            methods=methods,
            models=models,
            located=located,
        )
    outcome.errors = list(dict.fromkeys(outcome.errors))
    if not outcome.errors and complete.get("max_memory"):
        needs = read_needs(resources)
        for dataset in outcome.datasets:
            runs = [r["base_method"] for r in outcome.plan if r["dataset"] == dataset["dataset"] and not r["status"]]
            outcome.warnings += memory_warnings(dataset, runs, methods, limit=complete["max_memory"], needs=needs)
    return outcome


def _query_errors(row: Mapping[str, str], located: Located, params: Mapping[str, Any], where: str) -> list[str]:
    """Return the errors of the file with new cells, if the row names one: the contract of a data set's own file, but
    cells need no label.
    """
    if not row.get("query"):
        return []
    path = located.find(row["query"])
    if path is None:
        return [located.not_found(where, "query", row["query"])]
    try:
        check_query(path, row, params)
    except ScfmError as error:
        return [f"{where}, column 'query': {error}"]
    return []


def _check_row(
    outcome: Outcome,
    row: Mapping[str, str],
    *,
    where: str,
    choice: Choice,
    params: Mapping[str, Any],
    methods: Mapping[str, Method],
    models: Models,
    located: Located,
) -> None:
    """Check one data set and add what was found to the outcome."""
    taken = [*methods, *models.method_names(), *(instance.name for instance in choice.instances)]
    embeddings, errors = resolve_embeddings(row, located, taken, where)
    outcome.errors += errors
    outcome.errors += side_file_errors(row, located, where)
    facts: dict[str, Any] = {}
    if "h5ad" in row:
        path = located.find(row["h5ad"])
        if path is None:
            outcome.errors.append(located.not_found(where, "h5ad", row["h5ad"]))
        else:
            report = check_file(
                row, path, params=params, embeddings=embeddings, obs_columns=_covariates(params, choice)
            )
            outcome.errors += report.errors
            outcome.warnings += report.warnings
            facts = report.facts
    outcome.errors += _query_errors(row, located, params, where)
    if too_large := pilot_error(facts.get("n_cells"), params, where):
        outcome.errors.append(too_large)
    parts = with_pilots(row, facts, params)
    for entry in outcome.warnings:  # what is said of the file is said once, of the largest pilot
        if entry["dataset"] == row.get("dataset"):
            entry["dataset"] = parts[-1][0].get("dataset", "")
    left_out = ""
    if "pilot_of" in parts[0][0]:
        embeddings, left_out = {}, " or left out of a pilot"
    how = {"embeddings": embeddings, "choice": choice, "params": params, "methods": methods, "models": models}
    n_planned = sum(_plan_dataset(outcome, part, of_part, **how) for part, of_part in parts)
    if not n_planned and not errors:
        outcome.errors.append(
            f"{where}: nothing to do: --methods, --controls and --models are none and the column 'embeddings' is"
            f" empty{left_out}."
        )


def _plan_dataset(
    outcome: Outcome,
    row: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    embeddings: Mapping[str, str],
    choice: Choice,
    params: Mapping[str, Any],
    methods: Mapping[str, Method],
    models: Models,
) -> int:
    """Add a data set, its rows of the plan and its models' settings to the outcome; return the number of rows."""
    planned = plan_models(models, row, facts)
    plan = plan_rows(row.get("dataset", ""), choice, methods, list(embeddings), planned)
    if not outcome.errors:  # the parameters are what they should be
        assign_groups(
            plan,
            n_cells=facts["n_cells"],
            dims=widths(methods, planned, n_pcs=params["n_pcs"]),
            slow=slow_methods(methods, planned),
            size=params["group_size"],
        )
    outcome.warnings += _advice(row, facts, params)
    outcome.datasets.append({**row, "batch_role": row.get("batch_role") or "", **facts, "embeddings": embeddings})
    outcome.plan += plan
    outcome.model_settings[row.get("dataset", "")] = {p.info.name: dict(p.settings) for p in planned}
    return len(plan)


def _covariates(params: Mapping[str, Any], choice: Choice) -> list[str]:
    """Return the obs columns that the parameters name for scVI, if it runs, and those of the stages."""
    runs = [params] if "scvi" in choice.methods else []
    runs += [instance.settings for instance in choice.instances if instance.base == "scvi"]
    keys = ("scvi_continuous_covariates", "scvi_categorical_covariates")
    covariates = [column for run in runs for key in keys for column in split_list(run.get(key))]
    return list(dict.fromkeys([*covariates, *columns_of(choice.instances)]))


def _advice(row: Mapping[str, str], facts: Mapping[str, Any], params: Mapping[str, Any]) -> list[dict]:
    """Return warnings about settings that don't fit the size of the data."""
    found, dataset = [], row.get("dataset", "")
    n_cells = facts.get("n_cells")
    neighbors = params.get("neighbors_k")
    if isinstance(neighbors, int) and n_cells and n_cells < neighbors:
        found.append(message("W-NN-01", dataset=dataset, values={"n_cells": n_cells}, threshold=neighbors))
    return found


def write_outcome(outcome: Outcome, outdir: Path) -> None:
    """Write ``errors.txt``, ``datasets.json``, ``plan.tsv``, ``model_settings.json`` and ``input_warnings.json``."""
    outdir.mkdir(parents=True, exist_ok=True)
    (outdir / "errors.txt").write_text("".join(f"{' '.join(error.split())}\n" for error in outcome.errors))
    (outdir / "plan.tsv").write_text(plan_text(outcome.plan))
    write_json(outdir / "datasets.json", outcome.datasets)
    write_json(outdir / "model_settings.json", outcome.model_settings)
    write_json(outdir / "input_warnings.json", outcome.warnings)
