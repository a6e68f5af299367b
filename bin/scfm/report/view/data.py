"""Everything the report is made of, read once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import PAIR_COLUMNS
from scfm.inputs.params import with_defaults
from scfm.io.tables import read_json
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed
from scfm.report.tables.load import read_metrics, read_plan, table_named
from scfm.report.tables.names import Names, read_methods
from scfm.report.tables.pairs import is_primary, primary_pairs
from scfm.report.tables.sweep import drop_points

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from scfm.registries.corrections import Correction
    from scfm.registries.datasets import Scenario
    from scfm.study.published import Published


#: behind the title of an embedding that lacks too many cells to be ranked
INCOMPLETE_MARK = " [incomplete]"
#: tables about embeddings that the report reads with the points of sweeps: a point that failed is reported
_OF_POINTS = frozenset({"status"})


@dataclass
class ReportData:
    """The published tables and the registries.

    Attributes
    ----------
    plan
        ``plan.tsv`` without the points of sweeps.
    tables
        The published tables by name; also attributes (``data.scores``). Those that have keys hold the rows of the
        primary keys only; ``other_totals`` are the totals of all other pairs of keys. Points of sweeps are in ``sweep``
        and ``status`` only.
    messages, datasets, embeddings, verdict
        ``warnings.json``, ``datasets.json``, ``embeddings.json`` and ``verdict.json``.
    metrics, methods
        The registries.
    params, versions
        Parameters of the run; ``{process: {tool: version}}``.
    citations, citation_uses
        ``{DOI: citation}``; ``{what is used: DOIs}`` for what is cited outside the registries.
    plots, histories
        Pictures and loss histories, sorted by name.
    names
        Titles.
    assets
        Folder with the registries, the schemas and the study's published numbers (``published/``).
    defaults
        Defaults of the parameters; empty where they are not known.
    """

    plan: "pd.DataFrame"
    tables: dict[str, "pd.DataFrame"]
    messages: list[dict[str, Any]]
    datasets: list[dict[str, Any]]
    embeddings: list[dict[str, Any]]
    verdict: dict[str, Any]
    metrics: "pd.DataFrame"
    methods: "pd.DataFrame"
    params: dict[str, Any]
    versions: dict[str, dict[str, str]]
    citations: dict[str, str]
    citation_uses: dict[str, list[str]]
    plots: list[Path] = field(default_factory=list)
    histories: list[Path] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    assets: Path = ASSETS
    defaults: dict[str, Any] = field(default_factory=dict)
    _made: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def remembered(self, name: str, dataset: str, make: "Callable[[], Any]") -> Any:
        """Return what was made for a data set, made when first asked for; the copy for other tables starts anew."""
        key = (name, dataset)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def __getattr__(self, name: str) -> "pd.DataFrame":
        return table_named(self, name)

    def with_tables(self, **tables: "pd.DataFrame") -> "ReportData":
        """Return the same run with other tables."""
        return replace(self, tables=self.tables | tables)

    @cached_property
    def published(self) -> "Published":
        """The study's published numbers, read when first asked for."""
        from scfm.study.published import load_published

        return load_published(self.assets / "published", self.assets)

    @cached_property
    def corrections(self) -> "dict[str, Correction]":
        """The corrections table, read when first asked for."""
        from scfm.registries.corrections import load_corrections

        return load_corrections(self.assets / "corrections.tsv")

    @cached_property
    def catalogue(self) -> "dict[str, Scenario]":
        """The study's scenarios, read when first asked for."""
        from scfm.registries.datasets import load_catalogue

        return load_catalogue(self.assets / "datasets.tsv")

    def of(self, table: str, dataset: str) -> "pd.DataFrame":
        """Return the rows of a table about one data set."""
        frame = self.plan if table == "plan" else self.tables[table]
        return frame[frame["dataset"] == dataset]

    @cached_property
    def incomplete(self) -> set[tuple[str, str, str]]:
        """Data set, method and correction of the embeddings that lack too many cells to be ranked."""
        rows = self.tables["totals"]
        rows = rows[rows["rank_reason"] == "incomplete"]
        return set(zip(rows["dataset"], rows["method"], rows["correction"], strict=True))

    def title(self, dataset: str, method: str, correction: str = "raw") -> str:
        """Return the title of a method and correction in a data set; incomplete embeddings are marked."""
        mark = INCOMPLETE_MARK if (dataset, method, correction) in self.incomplete else ""
        return self.names.method(method, correction) + mark

    def facts(self, dataset: str) -> dict[str, Any]:
        """Return what the preparation found in a data set; empty where it left nothing."""
        return next((d.get("prepared") or {} for d in self.datasets if d["dataset"] == dataset), {})

    def sidecar(self, dataset: str, embedding: str) -> dict[str, Any]:
        """Return what the maker of an embedding recorded; empty where it left nothing."""
        return next((e for e in self.embeddings if e["dataset"] == dataset and e["embedding"] == embedding), {})

    def row(self, dataset: str) -> dict[str, Any]:
        """Return the samplesheet row of a data set."""
        return next((d for d in self.datasets if d["dataset"] == dataset), {"dataset": dataset})

    def told(self, dataset: str, codes: str | tuple[str, ...]) -> list[dict[str, Any]]:
        """Return the messages about a data set whose codes begin with one of some texts, in their order."""
        return [m for m in self.messages if m["dataset"] == dataset and m["code"].startswith(codes)]

    def dataset_names(self) -> list[str]:
        """Return the data sets of the plan, and those mapped to a reference, in the order of the samplesheet."""
        planned = [*self.plan["dataset"].unique(), *(d["dataset"] for d in self.datasets if d.get("reference"))]
        listed = [d["dataset"] for d in self.datasets if d["dataset"] in planned]
        return [*listed, *sorted(set(planned) - set(listed))]


def load_report_data(
    *,
    tables: Path,
    plan: Path,
    assets: Path,
    params: Path,
    versions: Path | None,
    plots: Path | None,
    histories: Path | None,
    schema: Path | None = None,
) -> ReportData:
    """Read the inputs of the report.

    Parameters
    ----------
    tables
        Folder written by ``collect_results.py``.
    plan
        ``plan.tsv``.
    assets
        Folder with ``metrics.tsv``, ``methods.tsv``, ``citations.tsv`` and the schemas; for a scenario of the study
        also ``datasets.tsv`` and ``published/``.
    params, versions
        JSON and YAML files.
    plots, histories
        Folders with ``*.png`` and ``*.history.csv``; None or empty where there are none.
    schema
        ``nextflow_schema.json``, for the defaults of the parameters.
    """
    import yaml

    schemas = Schemas(assets)
    messages = read_json(tables / "warnings.json")
    random_weights = {m["method"] for m in messages if m["code"] == "W-MOD-05"}
    chosen = read_json(params)
    planned = read_plan(plan)
    metrics = read_metrics(assets / "metrics.tsv", chosen.get("metrics_profile", "standard"))
    methods = read_methods(assets / "methods.tsv", planned)
    datasets = read_json(tables / "datasets.json")
    found = {name: read_typed(tables / f"{name}.tsv", name, schemas) for name in schemas.tables}
    found = {name: t if name in _OF_POINTS else drop_points(t, planned) for name, t in found.items()}
    return ReportData(
        plan=drop_points(planned, planned),
        tables=_of_primary_keys(found, datasets),
        messages=messages,
        datasets=datasets,
        embeddings=read_json(tables / "embeddings.json"),
        verdict=read_json(tables / "verdict.json"),
        metrics=metrics,
        methods=methods,
        params=chosen,
        versions=(yaml.safe_load(versions.read_text()) or {}) if versions else {},
        **read_citations(assets),
        plots=_files(plots, "*.png"),
        histories=_files(histories, "*.history.csv"),
        names=Names.of(methods, metrics, planned, random_weights),
        assets=assets,
        defaults=with_defaults({}, read_json(schema)) if schema else {},
    )


def _of_primary_keys(tables: "dict[str, pd.DataFrame]", datasets: list[dict[str, Any]]) -> "dict[str, pd.DataFrame]":
    """Return the tables with the rows of the primary keys, and the totals of the others as ``other_totals``."""
    primary = primary_pairs(datasets)
    first = {name: is_primary(t, primary) for name, t in tables.items() if set(PAIR_COLUMNS) <= set(t.columns)}
    kept = {name: t[first[name]].reset_index(drop=True) if name in first else t for name, t in tables.items()}
    return kept | {"other_totals": tables["totals"][~first["totals"]].reset_index(drop=True)}


def read_citations(assets: Path) -> dict[str, dict]:
    """Return ``citations`` (``{DOI: citation}``) and ``citation_uses`` (``{what is used: DOIs}``).

    Methods and models bring their own citations; ``citations.tsv`` has the rest.
    """
    import pandas as pd

    path = assets / "citations.tsv"
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    expected = ["doi", "citation", "used_by"]
    if list(frame.columns) != expected:
        raise ScfmError(f"{path}: expected the columns {', '.join(expected)}; found {', '.join(frame.columns)}.")
    uses: dict[str, list[str]] = {}
    for row in frame[frame["used_by"] != ""].itertuples():
        uses.setdefault(row.used_by, []).append(row.doi)
    own = [*load_methods(assets / "methods.tsv").values(), *load_model_table(assets / "models.tsv").values()]
    citations = {row.reference: row.citation for row in own if row.reference}
    return {"citations": citations | dict(zip(frame["doi"], frame["citation"], strict=True)), "citation_uses": uses}


def _files(folder: Path | None, pattern: str) -> list[Path]:
    return sorted(folder.rglob(pattern), key=lambda p: p.name) if folder is not None and folder.is_dir() else []
