"""What the whole data set would cost, from its pilots: ``cost.tsv`` and I-COST-01.

Own code: no library fits so few points. The model is ``start + factor x cells ** exponent``; three points leave no room
for three free numbers, so the exponent is 1 unless the points contradict a straight line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.planning.memory import bytes_of
from scfm.registries.messages import message
from scfm.report.tables.resources import parse_duration
from scfm.report.tables.status import STEPS

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected
    from scfm.report.tables.names import Names

#: exponents that are tried besides 1
EXPONENTS = tuple(round(0.05 * i, 2) for i in range(10, 51) if i != 20)
#: largest relative error of a point with which a straight line is taken and no curve that flattens: of a task that
#: is run again, time varies by a tenth, peak memory by a hundredth
TOLERANCES = {"seconds": 0.1, "memory_mb": 0.01}
#: the same instead of a curve that steepens, which soon leads far off
STEEPER = 0.1
#: step -> part of the cost: what is done to an embedding after it was made is its scoring
PARTS = {"prepare": "preparation", **dict.fromkeys(STEPS, "scoring"), "embed": "making"}
#: parameter -> quantity that it limits
LIMITS = {"--max_time": "seconds", "--max_memory": "memory_mb"}
QUANTITIES = ("seconds", "memory_mb")


@dataclass(frozen=True, slots=True)
class Fit:
    """``start + factor x cells ** exponent``."""

    start: float
    factor: float
    exponent: float

    def at(self, cells: float) -> float:
        """Return the value for a number of cells."""
        return self.start + self.factor * cells**self.exponent


def fit_cost(cells: Sequence[float], values: Sequence[float], *, tolerance: float = TOLERANCES["seconds"]) -> Fit:
    """Fit time or memory to the number of cells.

    Start and factor are at least 0 and minimise the squared relative errors. The exponent is 1 if a straight line
    misses no point by more than ``tolerance``, else the one of 0.5 to 2.5 with the smallest largest error; one above 1
    only if the line misses a point by more than :data:`STEEPER`.

    Parameters
    ----------
    cells
        Shape (n_sizes,), at least 2.
    values
        Seconds or MiB, above 0, shape (n_sizes,).
    tolerance
        Largest relative error, see :data:`TOLERANCES`.

    Examples
    --------
    >>> fit_cost([100, 200, 400], [15.0, 20.0, 30.0]).exponent
    1.0
    >>> round(fit_cost([100, 200, 400], [1.0, 4.0, 16.0]).at(800) / 64, 1)
    1.0
    """
    import numpy as np
    from scipy.optimize import nnls

    n, y = np.asarray(cells, dtype=float), np.asarray(values, dtype=float)

    def fitted(exponent: float) -> tuple[float, Fit]:
        scale = n.max() ** exponent
        (start, factor), _ = nnls(np.column_stack([1 / y, n**exponent / scale / y]), np.ones(len(y)))
        fit = Fit(float(start), float(factor / scale), exponent)
        return float(np.abs(fit.at(n) / y - 1).max()), fit

    of_line, line = fitted(1.0)
    if of_line <= tolerance:
        return line
    steepest = max(EXPONENTS) if of_line > STEEPER else 1.0
    curves = [fitted(exponent) for exponent in EXPONENTS if exponent <= steepest]
    return min([(of_line, line), *curves], key=lambda found: found[0])[1]


def build_cost(found: "Collected", resources: "pd.DataFrame", params: Mapping[str, Any]) -> "pd.DataFrame":
    """Return ``cost.tsv``: what was measured at every size of a pilot, and what is predicted for all cells.

    A row per data set, method, part, quantity and number of cells. Seconds are means over seeds, memory is the largest
    of any seed and task. Parts: the preparation of the data set, the making of an embedding (uncorrected), its scoring.
    Seconds in which packages are imported are taken off the scoring, where a group of embeddings has them once.

    Parameters
    ----------
    resources
        ``resources.tsv``.
    params
        ``max_memory`` and ``max_time`` are read.
    """
    import pandas as pd

    pilots: dict[str, list[Mapping[str, Any]]] = {}
    for row in found.datasets:
        if row.get("pilot_of"):
            pilots.setdefault(row["pilot_of"], []).append(row)
    limits = _limits(params)
    rows: list[dict[str, Any]] = []
    for name, parts in pilots.items():
        measured = pd.concat([_of_pilot(found, resources, part) for part in parts], ignore_index=True)
        for (method, part, quantity), points in measured.groupby(["method", "part", "quantity"], sort=True):
            about = {"dataset": name, "method": method, "part": part, "quantity": quantity}
            rows += _rows(about, points, _kept_cells(found, parts), limits[quantity])
    table = pd.DataFrame(rows, columns=found.schemas.columns("cost"))
    return table.sort_values(found.schemas.key("cost"), ignore_index=True)


def _kept_cells(found: "Collected", pilots: Sequence[Mapping[str, Any]]) -> int:
    """Return the cells of a data set that its filters keep: those that a pilot drew and those that it did not; all
    cells of the file where no pilot was prepared.
    """
    for pilot in pilots:
        facts = found.facts.get(pilot["dataset"])
        if facts:
            return int(facts["n_cells"]) + int(facts["dropped"].get("not_in_pilot", 0))
    return int(pilots[0]["full_cells"])


def _limits(params: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the limit of every quantity, None where there is none."""
    memory, time = params.get("max_memory"), params.get("max_time")
    return {
        "seconds": parse_duration(str(time)) if time else None,
        "memory_mb": bytes_of(str(memory)) / 2**20 if memory else None,
    }


def _of_pilot(found: "Collected", resources: "pd.DataFrame", pilot: Mapping[str, Any]) -> "pd.DataFrame":
    """Return ``method, part, quantity, n_cells, value`` of one pilot."""
    n_cells = found.facts.get(pilot["dataset"], {}).get("n_cells", pilot["pilot_cells"])
    return cost_of_dataset(found.plan, resources, pilot["dataset"]).assign(n_cells=n_cells)


def cost_of_dataset(plan: "pd.DataFrame", resources: "pd.DataFrame", dataset: str) -> "pd.DataFrame":
    """Return ``method, part, quantity, value`` of one data set as it was run: seconds as means over seeds, memory in
    MiB as the largest of any seed and task.

    Parameters
    ----------
    plan
        ``plan.tsv``.
    resources
        ``resources.tsv``.
    dataset
        Name of the data set.
    """
    import pandas as pd

    rows = resources[(resources["dataset"] == dataset) & (resources["source"] != "trace")]
    plan = plan[(plan["dataset"] == dataset) & (plan["correction"] == "raw")]
    methods = plan.set_index("embedding")["method"]
    rows = rows[rows["embedding"].isin(methods.index) | (rows["step"] == "prepare")]
    part = rows["step"].map(PARTS)
    seconds = rows["seconds"].where(
        rows["step"] == "embed", (rows["seconds"] - rows["import_seconds"].fillna(0)).clip(lower=0)
    )
    rows = rows.assign(part=part, seconds=seconds, method=rows["embedding"].map(methods).fillna("")).dropna(
        subset=["part"]
    )
    each = rows.groupby(["method", "part", "embedding"], as_index=False).agg(
        seconds=("seconds", "sum"), memory_mb=("peak_rss_mb", "max")
    )
    whole = each.groupby(["method", "part"], as_index=False).agg(
        seconds=("seconds", "mean"), memory_mb=("memory_mb", "max")
    )
    tidy = whole.melt(["method", "part"], list(QUANTITIES), var_name="quantity", value_name="value")
    return pd.DataFrame(tidy).dropna(subset=["value"])


def _rows(about: Mapping[str, Any], points: "pd.DataFrame", n_full: int, limit: float | None) -> list[dict[str, Any]]:
    """Return the measured rows and the predicted one of one quantity: NA with the reason where nothing is predicted."""
    common = {**about, "limit": limit}
    none: dict[str, Any] = {"start": None, "factor": None, "exponent": None, "fits": None, "status": "ok", "reason": ""}
    rows = [
        {**common, **none, "kind": "measured", "n_cells": int(p.n_cells), "value": float(p.value)}
        for p in points.sort_values("n_cells").itertuples()
    ]
    last = {**common, **none, "kind": "predicted", "n_cells": n_full, "value": None}
    usable = points[points["value"] > 0]
    if usable["n_cells"].nunique() < len(rows) or len(rows) < 3:
        reason = f"measured at {usable['n_cells'].nunique()} of 3 sizes: too few to predict"
        return [*rows, {**last, "status": "not_applicable", "reason": reason}]
    tolerance = TOLERANCES[about["quantity"]]
    fit = fit_cost(usable["n_cells"].tolist(), usable["value"].tolist(), tolerance=tolerance)
    value = fit.at(n_full)
    fits = None if limit is None else value <= limit
    last |= {"value": value, "start": fit.start, "factor": fit.factor, "exponent": fit.exponent, "fits": fits}
    return [*rows, last]


def cost_messages(
    found: "Collected", cost: "pd.DataFrame", names: "Names", params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """I-COST-01: measured and predicted cost of every method that is no control, with the limits that it exceeds.

    A message is about the largest pilot: the whole data set is none of this run.
    """
    told = []
    largest_of = {row["pilot_of"]: row["dataset"] for row in found.datasets if row.get("pilot_of")}
    predicted = cost[(cost["kind"] == "predicted") & (cost["method"] != "") & (cost["status"] == "ok")]
    for (dataset, method), rows in predicted.groupby(["dataset", "method"], sort=True):
        largest = cost[(cost["dataset"] == dataset) & (cost["method"] == method) & (cost["kind"] == "measured")]
        largest = largest[largest["n_cells"] == largest["n_cells"].max()]
        if method in names.controls or set(rows["quantity"]) != set(QUANTITIES):
            continue
        over = [f"{option} ({params[option.strip('-')]})" for option, q in LIMITS.items() if _exceeds(rows, q)]
        n_pilot, n_cells = int(largest["n_cells"].max()), int(rows["n_cells"].iloc[0])
        values = {"n_pilot": n_pilot, "n_cells": n_cells} | {
            f"{when}_{quantity}": _total(part, quantity)
            for when, part in (("pilot", largest), ("full", rows))
            for quantity in QUANTITIES
        }
        told.append(
            message(
                "I-COST-01",
                dataset=largest_of[dataset],
                method=method,
                title=names.method(method),
                took=duration(values["pilot_seconds"]),
                will_take=duration(values["full_seconds"]),
                used=f"{values['pilot_memory_mb'] / 1024:.1f}",
                will_use=f"{values['full_memory_mb'] / 1024:.1f}",
                verdict=f": exceeds {' and '.join(over)}" if over else "",
                values=values,
            )
        )
    return told


def _exceeds(rows: "pd.DataFrame", quantity: str) -> bool:
    return bool((rows.loc[rows["quantity"] == quantity, "fits"] == False).any())  # noqa: E712 - None is no limit


def _total(rows: "pd.DataFrame", quantity: str) -> float:
    """Return the seconds of all parts together, or the largest memory of any."""
    values = rows.loc[rows["quantity"] == quantity, "value"].astype(float)
    return float(values.sum() if quantity == "seconds" else values.max())


def duration(seconds: float) -> str:
    """Return seconds in the unit in which they are read.

    Examples
    --------
    >>> duration(8.2), duration(190), duration(9000)
    ('8.2 s', '3.2 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
