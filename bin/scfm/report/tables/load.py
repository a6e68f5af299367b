"""Read what the steps left, whatever folder it was staged in, and sort it by what it is."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.tables import IDENTITY, read_json, read_texts
from scfm.registries.schemas import Schemas
from scfm.registries.typed import as_type, read_typed_parts
from scfm.report.tables.maps import read_places, with_places
from scfm.report.tables.pairs import primary_pairs

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

PLAN_COLUMNS = (
    *IDENTITY,
    "base_method",
    "instance",
    "settings",
    "is_control",
    "output_type",
    "model",
    "status",
    "reason_code",
    "reason",
)


@dataclass
class Collected:
    """Everything the steps left, parsed.

    Attributes
    ----------
    plan
        One row per embedding the run should have made (``PLAN_COLUMNS``).
    datasets
        The samplesheet rows as CHECK_INPUTS resolved them.
    schemas
        The schemas of the tables.
    statuses, sidecars
        The parsed JSON files, sorted by file name.
    tables
        The joined tables of the steps by name, in the columns of their schemas; also attributes (``found.scores``).
    facts
        ``{data set: facts}`` from PREPARE_DATASET.
    preparations
        ``{data set: status}`` of PREPARE_DATASET; one that failed has no facts.
    dataset_statuses
        Statuses of other steps about a whole data set.
    designs
        ``{data set: content of <dataset>.design.json}``.
    common
        ``{data set: content of <dataset>.common.json}``: cells that all ranked embeddings have, where some lack cells.
    held_out
        ``{data set: content of <dataset>.held_out.json}``: held-out cells, where a method was given the other labels.
    chosen
        ``{data set: content of <dataset>.chosen.json}``: which embeddings are diagnosed.
    recipes, downloads
        ``{data set: report}`` of APPLY_RECIPE, ``{key: record}`` of FETCH_DATASET.
    messages
        Messages found in files of messages (``*warnings.json``).
    """

    plan: "pd.DataFrame"
    datasets: list[dict[str, Any]]
    schemas: Schemas = field(default_factory=Schemas)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    sidecars: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, "pd.DataFrame"] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    preparations: dict[str, dict[str, Any]] = field(default_factory=dict)
    dataset_statuses: list[dict[str, Any]] = field(default_factory=list)
    designs: dict[str, dict[str, Any]] = field(default_factory=dict)
    common: dict[str, dict[str, Any]] = field(default_factory=dict)
    held_out: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    downloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def primary(self) -> dict[str, tuple[str, str]]:
        """The primary batch key and label key per data set."""
        return primary_pairs(self.datasets)

    def __getattr__(self, name: str) -> "pd.DataFrame":
        return table_named(self, name)


def table_named(holder: Any, name: str) -> "pd.DataFrame":
    """Return a table of ``holder.tables``, for an object that gives its tables as attributes."""
    tables = vars(holder).get("tables", {})
    if name not in tables:
        raise AttributeError(f"{type(holder).__name__} has no attribute and no table '{name}'; tables: {list(tables)}")
    return tables[name]


def read_plan(path: Path | str) -> "pd.DataFrame":
    """Read ``plan.tsv``; raise :class:`ScfmError` if columns are missing or an embedding is planned twice."""
    plan = read_texts(path)
    missing = [c for c in PLAN_COLUMNS if c not in plan.columns]
    if missing:
        raise ScfmError(f"{path}: columns missing: {', '.join(missing)}. CHECK_INPUTS writes the plan.")
    plan["seed"] = as_type(plan["seed"], "integer", f"{path}, column 'seed'")
    plan["is_control"] = as_type(plan["is_control"], "boolean", f"{path}, column 'is_control'")
    twice = plan[plan.duplicated(["dataset", "embedding"])]
    if len(twice):
        first = twice.iloc[0]
        raise ScfmError(
            f"{path}: {len(twice)} embeddings are planned twice, first: {first['dataset']}.{first['embedding']}."
        )
    return plan[list(PLAN_COLUMNS)]


def find_files(paths: Iterable[Path | str]) -> list[Path]:
    """Return all files in the given files and folders (searched in depth), sorted by name, then by path."""
    found: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise ScfmError(f"{path} does not exist; --results takes the files and folders that the steps left.")
        found |= {p for p in path.rglob("*") if p.is_file()} if path.is_dir() else {path}
    return sorted(found, key=lambda p: (p.name, str(p)))


def collect(
    plan: Path | str,
    datasets: Path | str,
    results: Iterable[Path | str],
    *,
    schemas: Schemas | None = None,
    messages: Path | str | None = None,
) -> Collected:
    """Read and sort everything the steps left."""
    schemas = schemas or Schemas()
    found = Collected(plan=read_plan(plan), datasets=read_json(datasets), schemas=schemas)
    if messages is not None:
        found.messages += read_json(messages)
    parts: dict[str, list[Path]] = {name: [] for name, table in schemas.tables.items() if table.pattern}
    places: list["pd.DataFrame"] = []
    for path in find_files(results):
        kind = next((name for name in parts if schemas.tables[name].matches(path.name)), None)
        if kind:
            parts[kind].append(path)
        elif path.name.endswith(".centroid_maps.tsv"):
            places.append(read_places(path, schemas))
        elif path.suffix == ".json":
            _sort_json(path, found)
    for name, paths in parts.items():
        found.tables[name], damaged = _join(paths, name, schemas)
        for path, error in damaged:
            _fail_step(path, schemas.tables[name].step, error, found)
    found.tables["centroids"] = with_places(found.tables["centroids"], places, schemas)
    log.info(
        "%d status files, %d sidecars and %s for %d planned embeddings",
        len(found.statuses),
        len(found.sidecars),
        ", ".join(f"{len(table)} rows of {name}" for name, table in found.tables.items()),
        len(found.plan),
    )
    return found


def _fail_step(path: Path, step: str, error: ScfmError, found: Collected) -> None:
    """Mark the step that wrote a table which can't be read as failed, so that the others are published.

    Raises
    ------
    ScfmError
        ``error`` itself, where no step of the run can have written the table.
    """
    owners = [
        status
        for status in (*found.statuses, *found.dataset_statuses)
        if status["step"] == step
        and path.name.startswith(".".join(filter(None, (status["dataset"], status["embedding"]))) + ".")
    ]
    if not owners:
        raise error
    for status in owners:
        status.update(status="failed", reason=str(error), reason_code="unreadable")
        log.error("%s", error)


def _sort_json(path: Path, found: Collected) -> None:
    """Put one JSON file where it belongs; files that are none of ours are left alone."""
    content = read_json(path)
    if path.name.endswith(".status.json"):
        if content["step"] == "prepare":
            found.preparations[content["dataset"]] = content
        elif not content["embedding"]:
            found.dataset_statuses.append(content)
        else:
            found.statuses.append(content)
    elif path.name.endswith(".facts.json"):
        found.facts[path.name.removesuffix(".facts.json")] = content
    elif path.name.endswith(".design.json"):
        found.designs[content["dataset"]] = content
        found.messages += content["warnings"]
    elif path.name.endswith(".common.json"):
        found.common[content["dataset"]] = content
    elif path.name.endswith(".held_out.json"):
        found.held_out[content["dataset"]] = content
    elif path.name.endswith(".chosen.json"):
        found.chosen[content["dataset"]] = content
        found.messages += content["warnings"]
    elif path.name.endswith(".recipe.json"):
        found.recipes[content["dataset"]] = content
        found.messages += content["warnings"]
    elif path.name.endswith(".source.json"):
        found.downloads[content["key"]] = content
    elif path.name.endswith("warnings.json"):
        found.messages += content
    elif isinstance(content, dict) and {"dataset", "embedding", "cells_out"} <= set(content):
        found.sidecars.append(content)
    else:
        log.debug("%s is not a result of a step", path)


def _join(paths: list[Path], name: str, schemas: Schemas) -> "tuple[pd.DataFrame, list[tuple[Path, ScfmError]]]":
    """Join the parts of a table, sorted by key, and return the files that can't be read with what is wrong; the same
    file staged twice counts once.
    """
    joined, damaged = read_typed_parts(paths, name, schemas)
    return joined.drop_duplicates().sort_values(schemas.key(name), kind="stable", ignore_index=True), damaged


def read_metrics(path: Path | str, profile: str = "standard") -> "pd.DataFrame":
    """Read ``assets/metrics.tsv``, one row per metric.

    ``higher_is_better`` becomes a boolean; so does ``in_total``: whether the metric is in the totals of the profile.
    """
    import pandas as pd

    metrics = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    needed = (
        "name",
        "title",
        "group",
        "higher_is_better",
        "range",
        "in_total",
        "reference",
        "definition",
        "limitations",
    )
    missing = [c for c in needed if c not in metrics.columns]
    if missing:
        raise ScfmError(f"{path}: columns missing: {', '.join(missing)}. Expected the table of metrics.")
    metrics["higher_is_better"] = as_type(metrics["higher_is_better"], "boolean", f"{path}, column 'higher_is_better'")
    metrics["in_total"] = [profile in [p.strip() for p in text.split(",")] for text in metrics["in_total"]]
    return metrics
