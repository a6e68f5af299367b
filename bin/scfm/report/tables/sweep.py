"""``sweep.tsv``: the points of every sweep with their scores, the front, the pick by rule and the elbow.

Points are not methods of the run: they have no rank and no place in the verdict. All other tables about the whole run
are made of :func:`without_points`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scfm.metrics.totals import TotalRules, compute_totals
from scfm.registries.instances import SWEEP, settings_in_words
from scfm.registries.strengths import Strength
from scfm.report.tables.pairs import is_primary
from scfm.report.tables.rating import roles_of
from scfm.report.tables.sweep_rules import find_elbow, pareto_front, pick_setting
from scfm.report.tables.totals import Limits, tolerance

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected

#: metric of the label whose batches mix worst, and the cells that such a label has at least
LABEL_METRIC, MIN_LABEL_CELLS = "bras", 20
KEY = ["dataset", "embedding"]


def points_of(plan: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of a plan that are points of a sweep."""
    return plan[plan["instance"] == SWEEP]


def drop_points(table: "pd.DataFrame", plan: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table without the rows about points of a sweep; one that is not about embeddings as it is."""
    import pandas as pd

    if not set(KEY) <= set(table.columns):
        return table
    keys = set(points_of(plan)[KEY].itertuples(index=False, name=None))
    if not keys:
        return table
    is_point = pd.Series(
        [key in keys for key in table[KEY].itertuples(index=False, name=None)], table.index, dtype=bool
    )
    return table[~is_point].reset_index(drop=True)


def without_points(found: "Collected") -> "Collected":
    """Return what the steps left of everything but the points of sweeps."""
    keys = set(points_of(found.plan)[KEY].itertuples(index=False, name=None))
    if not keys:
        return found
    return replace(
        found,
        plan=drop_points(found.plan, found.plan),
        statuses=[s for s in found.statuses if (s["dataset"], s["embedding"]) not in keys],
        sidecars=[s for s in found.sidecars if (s["dataset"], s["embedding"]) not in keys],
        tables={name: drop_points(table, found.plan) for name, table in found.tables.items()},
    )


def with_points(scored: "Mapping[str, pd.DataFrame]", found: "Collected") -> "dict[str, pd.DataFrame]":
    """Return tables that were made without the points, with the rows of the points as the steps left them."""
    import pandas as pd

    keys = points_of(found.plan)[KEY]
    if keys.empty:
        return dict(scored)
    left = {name: found.tables[name].merge(keys, on=KEY) for name in scored if name in found.tables}
    return {
        name: pd.concat([table, left[name]], ignore_index=True) if name in left and len(left[name]) else table
        for name, table in scored.items()
    }


def build_sweep(
    found: "Collected",
    metrics: "pd.DataFrame",
    limits: Limits,
    *,
    status: "pd.DataFrame",
    strengths: Mapping[str, Strength],
    holding_out: frozenset[str] = frozenset(),
) -> "pd.DataFrame":
    """Return ``sweep.tsv``: a row per data set and setting, with means over seeds.

    Parameters
    ----------
    found
        Everything the steps left, points included.
    metrics
        ``assets/metrics.tsv`` for the profile of the run.
    limits
        Parameters of the run; the first weight of bio decides which total the scores are the parts of.
    status
        ``status.tsv``.
    strengths
        ``assets/strengths.tsv``.
    holding_out
        Methods that learn from the labels of all but the held-out cells: their points are scored on those.
    """
    import pandas as pd

    planned = points_of(found.plan)
    if planned.empty:
        return pd.DataFrame(columns=found.schemas.columns("sweep"))
    seeds = planned.merge(_scores(found, planned, metrics, limits, holding_out), how="left", on=KEY)
    rows = []
    for _, points in seeds.groupby(["dataset", "base_method"], sort=True):
        table = pd.DataFrame(
            [_point(found, part, status, strengths) for _, part in points.groupby("method", sort=False)]
        )
        rows.append(_judged(table, limits))
    table = pd.concat(rows, ignore_index=True)[found.schemas.columns("sweep")]
    return table.sort_values(found.schemas.key("sweep"), ignore_index=True)


def _scores(
    found: "Collected", planned: "pd.DataFrame", metrics: "pd.DataFrame", limits: Limits, holding_out: frozenset[str]
) -> "pd.DataFrame":
    """Return ``dataset, embedding, bio, batch`` of every point: the parts of the raw total with the primary keys."""
    import pandas as pd

    rules = TotalRules(limits.min_span, roles_of(found), found.primary)
    parts = []
    for name, holds in (("scores", False), ("scores_held_out", True)):
        wanted = planned[planned["base_method"].isin(list(holding_out)) == holds]
        table = found.tables[name]
        rows = table[is_primary(table, found.primary)].merge(wanted[KEY], on=KEY)
        totals = compute_totals(rows, metrics, limits.bio_weights[:1], limits.profile, rules)
        parts.append(totals.loc[totals["scaling"] == "raw", [*KEY, "bio", "batch"]])
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _point(
    found: "Collected", seeds: "pd.DataFrame", status: "pd.DataFrame", strengths: Mapping[str, Strength]
) -> dict[str, Any]:
    """Return what is known of one setting over its seeds."""
    first = seeds.iloc[0]
    settings = json.loads(first["settings"])
    strength = next((name for name in settings if name in strengths), "")
    names = set(seeds["embedding"])
    sidecars = [s for s in found.sidecars if s["dataset"] == first["dataset"] and s["embedding"] in names]
    verdicts = [s["training"]["verdict"] for s in sidecars if "training" in s]
    about = status[(status["dataset"] == first["dataset"]) & status["embedding"].isin(names)]
    state, reason = _outcome(seeds, about)
    label, value = _worst_label(found, first["dataset"], names)
    others = {name: setting for name, setting in settings.items() if name != strength}
    return {
        "dataset": first["dataset"],
        "method": first["base_method"],
        "point": first["method"],
        "settings": settings_in_words(settings, first["base_method"]),
        "series": settings_in_words(others, first["base_method"]),
        "strength_name": strength.removeprefix(f"{first['base_method']}_"),
        "strength": settings.get(strength),
        "order": -settings[strength]
        if strength and strengths[strength].stronger == "lower"
        else settings.get(strength),
        "n_seeds": len(seeds),
        "bio": seeds["bio"].mean(skipna=False),
        "bio_sd": seeds["bio"].std(skipna=False),
        "batch": seeds["batch"].mean(skipna=False),
        "batch_sd": seeds["batch"].std(skipna=False),
        "sd_reason": "one_seed" if len(seeds) < 2 else "",
        "worst_label": label,
        "worst_label_bras": value,
        "overfit": ("overfit" in verdicts) if verdicts else None,
        "warnings": ",".join(sorted({w["code"] for s in sidecars for w in s.get("warnings") or []})),
        "seconds": _mean([s.get("seconds") for s in sidecars]),
        "memory_mb": max((s["peak_rss_mb"] for s in sidecars if s.get("peak_rss_mb")), default=None),
        "status": state,
        "reason": reason,
    }


def _outcome(seeds: "pd.DataFrame", about: "pd.DataFrame") -> tuple[str, str]:
    """Return status and reason of a setting: what failed in any seed first, then what has no score."""
    failed = about[about["status"] == "failed"]
    if len(failed):
        row = failed.iloc[0]
        return "failed", f"{row['embedding']}: {row['step']}: {row['reason']}"
    if seeds[["bio", "batch"]].isna().any(axis=None):
        idle = about[about["status"] == "not_applicable"]
        return "not_applicable", str(idle.iloc[0]["reason"]) if len(idle) else "no bio or batch score"
    return "ok", ""


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _worst_label(found: "Collected", dataset: str, names: set[str]) -> tuple[str, float | None]:
    """Return the label whose batches mix worst, and its BRAS, mean over seeds; nothing with fewer than two labels."""
    scores = found.tables["scores"]
    rows = scores[(scores["dataset"] == dataset) & scores["embedding"].isin(names) & is_primary(scores, found.primary)]
    rows = rows[(rows["metric"] == LABEL_METRIC) & (rows["group"] != "all") & (rows["status"] == "ok")]
    rows = rows[rows["n_cells"] >= MIN_LABEL_CELLS]
    means = rows.astype({"value": float}).groupby("group")["value"].mean()
    return (str(means.idxmin()), float(means.min())) if len(means) > 1 else ("", None)


def _judged(table: "pd.DataFrame", limits: Limits) -> "pd.DataFrame":
    """Return the points of one method on one data set with ``front``, the pick by rule and the elbow."""
    bio, batch = table["bio"].astype(float), table["batch"].astype(float)
    bio_sd, batch_sd = (table[name].astype(float).tolist() for name in ("bio_sd", "batch_sd"))
    pick = pick_setting(bio.tolist(), batch.tolist(), bio_sd, batch_sd, limits.tie)
    table["front"] = pareto_front(bio, batch)
    table["eligible"] = table.index.isin(pick.eligible)
    table["alike"] = table.index.isin(pick.alike)
    table["picked"] = table.index == (-1 if pick.index is None else pick.index)
    table["tolerance"] = None if math.isnan(pick.tolerance) else pick.tolerance
    table["tolerance_from"] = pick.source
    table["elbow"], table["elbow_reason"] = False, "no_strength"
    table["strength_rank"] = table["order"].astype(float).rank(method="dense")
    for _, line in table[table["strength"].notna()].sort_values("order").groupby("series", sort=False):
        noise = tolerance(limits.tie, *line["bio_sd"])
        place, reason = find_elbow(line["bio"].tolist(), line["batch"].tolist(), noise)
        table.loc[line.index, "elbow_reason"] = reason
        if place is not None:
            table.loc[line.index[place], "elbow"] = True
    return table
