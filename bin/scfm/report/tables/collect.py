"""From what the steps left to the published tables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.io.tables import write_json, write_table
from scfm.registries.schemas import Schemas
from scfm.registries.strengths import Strength, load_strengths
from scfm.report.tables import checks, cost, resources, status, sweep
from scfm.report.tables.load import Collected, collect, read_metrics
from scfm.report.tables.names import Names, read_methods
from scfm.report.tables.rating import rate, score_messages
from scfm.report.tables.totals import Limits

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

NAMELESS = Names()
#: what a sidecar lists at length; the messages are in ``warnings.json``
_LISTS = frozenset({"not_embedded", "warnings", "unused_tensors"})
#: what is published as JSON beside the tables
_OBJECTS = ("warnings", "datasets", "embeddings", "verdict")


def build_tables(
    found: Collected,
    metrics: "pd.DataFrame",
    params: dict[str, Any],
    *,
    names: Names = NAMELESS,
    trace: "pd.DataFrame | None" = None,
    strengths: Mapping[str, Strength] | None = None,
) -> dict[str, Any]:
    """Return the published tables by name (``warnings`` and ``verdict`` as plain objects).

    Parameters
    ----------
    found
        Everything the steps left.
    metrics
        ``assets/metrics.tsv``.
    params
        Parameters of the run; ``metrics_profile``, ``disagreement_gap``, those of
        :class:`scfm.report.tables.totals.Limits` and the switches of :data:`scfm.report.tables.status.SWITCHES` are
        read.
    names
        Titles for the messages.
    trace
        Nextflow's trace (``resources.read_trace``), if there is one.
    strengths
        ``assets/strengths.tsv``, for the elbow of a sweep.

    Points of a sweep are in ``sweep``, ``status``, ``resources`` and the tables of the steps; totals, messages and
    predicted cost are about everything else.
    """
    attempts = resources.last_attempts(trace) if trace is not None else {}
    steps_off = [step for step, switch in status.SWITCHES.items() if params.get(switch)]
    state = status.build_status(found, steps_off=steps_off, attempts=attempts)
    limits = Limits.of(params)
    measured = resources.build_resources(found, trace)
    tried = sweep.build_sweep(
        found, metrics, limits, status=state, strengths=strengths or {}, holding_out=names.holding_out
    )
    everything, found = found, sweep.without_points(found)
    scored, anchors, totals = rate(found, metrics, limits, names)
    told = checks.all_messages(
        found,
        {"status": state, "totals": totals},
        metrics,
        names,
        disagreement_gap=float(params.get("disagreement_gap") or checks.DISAGREEMENT_GAP),
        steps_off=steps_off,
    )
    costs = cost.build_cost(found, measured, params)
    told += [*score_messages(found, anchors, totals, names, limits), *cost.cost_messages(found, costs, names, params)]
    return {
        **everything.tables,
        **sweep.with_points(scored, everything),
        "sweep": tried,
        "totals": totals.sort_values(found.schemas.key("totals"), ignore_index=True),
        "status": state,
        "resources": measured,
        "cost": costs,
        "warnings": checks.sort_messages(told),
        "datasets": describe_datasets(found),
        "embeddings": describe_embeddings(everything),
        "verdict": status.verdict(state, status.failed_dataset_steps(found, steps_off)),
    }


def describe_datasets(found: Collected) -> list[dict[str, Any]]:
    """Return the samplesheet rows with what the preparation found (cells, genes, batches, labels, dropped cells), and
    where they come from.

    ``recipe`` is the report of the recipe that made the data set, ``download`` the record of the file where it was
    taken as it is.
    """
    described = []
    for row in found.datasets:
        facts = {k: v for k, v in found.facts.get(row["dataset"], {}).items() if k != "warnings"}
        described.append(
            {
                **row,
                "prepared": facts or None,
                "design": {k: v for k, v in found.designs.get(row["dataset"], {}).items() if k != "warnings"} or None,
                "recipe": found.recipes.get(row["dataset"]),
                "download": found.downloads.get(Path(row.get("h5ad", "")).stem),
            }
        )
    return described


def describe_embeddings(found: Collected) -> list[dict[str, Any]]:
    """Return the sidecars without their lists of cells, messages and tensors: settings, versions, genes, training,
    sorted by data set and embedding.
    """
    kept = [{k: v for k, v in s.items() if k not in _LISTS} for s in found.sidecars]
    return sorted(kept, key=lambda s: (s["dataset"], s["embedding"]))


def write_tables(tables: dict[str, Any], schemas: Schemas, outdir: Path) -> None:
    """Check every table against its schema, then write them all into ``outdir``."""
    outdir.mkdir(parents=True, exist_ok=True)
    for name in schemas.tables:
        schemas.check(tables[name], name)
    schemas.check_messages(tables["warnings"])
    for name in schemas.tables:
        write_table(tables[name], outdir / f"{name}.tsv")
    for name in _OBJECTS:
        write_json(outdir / f"{name}.json", tables[name])


def collect_results(
    *,
    plan: Path,
    datasets: Path,
    results: Iterable[Path],
    metrics_table: Path,
    methods_table: Path,
    params: dict[str, Any],
    outdir: Path,
    messages: Path | None = None,
    trace: Path | None = None,
) -> dict[str, int | str]:
    """Collect a run into tables; log every message once; return the verdict.

    The schemas are read from the folder of ``metrics_table``, where they are staged together.
    """
    found = collect(plan, datasets, results, schemas=Schemas(metrics_table.parent), messages=messages)
    metrics = read_metrics(metrics_table, params.get("metrics_profile", "standard"))
    tables = build_tables(
        found,
        metrics,
        params,
        names=Names.of(
            read_methods(methods_table, found.plan), metrics, found.plan, checks.random_models(found.sidecars)
        ),
        trace=resources.read_trace(trace) if trace else None,
        strengths=load_strengths(metrics_table.with_name("strengths.tsv")),
    )
    write_tables(tables, found.schemas, outdir)
    levels = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}
    for entry in tables["warnings"]:
        log.log(levels[entry["severity"]], "%s %s %s", entry["code"], entry["dataset"], entry["text"])
    return tables["verdict"]
