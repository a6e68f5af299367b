"""The metrics table: which metrics exist, in which profiles they run, and which function computes each."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scfm.errors import ScfmError
from scfm.metrics.inputs import MetricInputs, MetricResult
from scfm.tables import read_json

ASSETS = Path(__file__).resolve().parents[3] / "assets"
PROFILES = ("paper", "standard", "full")


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of ``assets/metrics.tsv``; the meaning of each field is written in ``assets/schema_metrics.json``."""

    name: str
    title: str
    group: str
    profile: tuple[str, ...]
    higher_is_better: bool
    range: str
    in_total: bool
    clusters_or_tests: bool
    needs: tuple[str, ...]
    anchor_low: str
    anchor_high: str
    code: str
    reference: str
    definition: str
    misses: str

    def function(self) -> Callable[[MetricInputs], MetricResult]:
        """Import and return the function of the column ``code``."""
        module, name = self.code.split(".")
        return getattr(importlib.import_module(f"scfm.metrics.{module}"), name)


def _typed(text: str, kind: str) -> bool | str | tuple[str, ...]:
    """Turn the text of a cell into what the schema asks for; what can't be turned stays text, for the schema to refuse."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "array":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def load_metrics(path: Path | str | None = None) -> dict[str, Metric]:
    """Load the metrics table and check it against its schema.

    Parameters
    ----------
    path
        TSV table; ``assets/metrics.tsv`` of this checkout by default. Its schema is ``schema_metrics.json`` beside it (a
        task sees the two files that were staged for it), else the one in ``assets/``.

    Returns
    -------
    Metrics by name, in the order of the table.

    Raises
    ------
    ScfmError
        Names row and column of the first fault.
    """
    from jsonschema import Draft202012Validator

    path = Path(path) if path else ASSETS / "metrics.tsv"
    if not path.is_file():
        raise ScfmError(f"{path}: the metrics table does not exist.")
    beside = path.with_name("schema_metrics.json")
    schema = read_json(beside if beside.is_file() else ASSETS / "schema_metrics.json")
    kinds = {name: rule["type"] for name, rule in schema["items"]["properties"].items()}
    with path.open(newline="", encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = [{c: _typed(v, kinds.get(c, "string")) for c, v in line.items() if v is not None} for line in lines]
    plain = [{c: list(v) if isinstance(v, tuple) else v for c, v in row.items()} for row in rows]
    faults = sorted(Draft202012Validator(schema).iter_errors(plain), key=lambda e: [str(p) for p in e.absolute_path])
    if faults:
        place = list(faults[0].absolute_path)
        where = f": row {int(place[0]) + 2}" if place else ""
        column = f", column '{place[1]}'" if len(place) > 1 else ""
        raise ScfmError(f"{path}{where}{column}: {faults[0].message}. The columns are described in assets/schema_metrics.json.")
    names = [row["name"] for row in rows]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ScfmError(f"{path}: {', '.join(twice)} stands twice; names must be unique.")
    return {row["name"]: Metric(**row) for row in rows}


def metrics_of(metrics: dict[str, Metric], profile: str) -> list[Metric]:
    """Return the metrics of a profile, in the order of the table; raise :class:`ScfmError` for an unknown profile."""
    if profile not in PROFILES:
        raise ScfmError(f"Unknown metrics profile '{profile}'. Known: {', '.join(PROFILES)}.")
    return [m for m in metrics.values() if profile in m.profile]
