"""Messages that only the whole run can give: failures, missing cells, undefined metrics, disagreement, instability."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scfm.io.tables import message
from scfm.report.tables.names import Names
from scfm.report.tables.status import NO_RESULT, NOT_PREPARED
from scfm.text import listing, ordinal, plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected

SEVERITIES = ("error", "warning", "info")
#: codes of the plan that nobody can mend by a setting or a file
NOT_MENDABLE = frozenset({"organism_not_supported"})
#: smallest cosine between a bf16 row and its fp32 row that passes without a warning
BF16_COSINE = 0.99
#: W-MET-01: a method that is first by one batch metric and in this last share of the ranking by another
WORST_SHARE = 1 / 3
#: W-MET-01 needs this many embeddings, else every rank is extreme
MIN_RANKED = 3


def all_messages(
    found: "Collected", tables: dict[str, "pd.DataFrame"], metrics: "pd.DataFrame", names: Names
) -> list[dict]:
    """Return every message of the run: the steps' own and those of this module; errors first, each once.

    Parameters
    ----------
    found
        What the steps left.
    tables
        ``status`` and ``totals``.
    metrics
        ``assets/metrics.tsv``.
    names
        Titles for the sentences.
    """
    own = [
        *failed_steps(tables["status"], names),
        *unplanned_results(found),
        *missing_cells(found.sidecars, names),
        *undefined_metrics(found.scores, names),
        *disagreeing_metrics(found.scores, metrics, names),
        *unstable_over_seeds(tables["totals"], names),
        *models_not_run(found.plan, names),
        *made_up_weights(found.sidecars, names),
        *bf16_drift(found.sidecars, names),
    ]
    told = [*found.messages]
    for facts in found.facts.values():
        told += facts.get("warnings", [])
    for part in [*found.sidecars, *found.statuses]:
        told += part.get("warnings") or []
    already = {(m.get("code"), m.get("dataset", ""), m.get("method", "")) for m in told if m.get("code") == "E-ID-01"}
    own = [m for m in own if (m["code"], m["dataset"], m["method"]) not in already]
    return sort_messages([*map(complete, told), *own])


def complete(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a message with every field of ``scfm.io.tables.message``, whatever its writer left out."""
    severity = entry.get("severity") if entry.get("severity") in SEVERITIES else "warning"
    code = str(entry.get("code") or "")
    if code[:2] not in {"E-", "W-", "I-"}:
        code = f"{severity[0].upper()}-{code or 'MSG'}"
    return message(
        code,
        severity,
        str(entry.get("text") or "A step left a message without text."),
        dataset=str(entry.get("dataset") or ""),
        method=str(entry.get("method") or ""),
        values=entry.get("values") or {},
        threshold=entry.get("threshold"),
    )


def sort_messages(messages: Iterable[dict]) -> list[dict]:
    """Return messages without repeats: errors, warnings, information; then by code, data set, method and text."""
    unique = {(m["code"], m["dataset"], m["method"], m["text"]): m for m in messages}
    return sorted(
        unique.values(),
        key=lambda m: (SEVERITIES.index(m["severity"]), m["code"], m["dataset"], m["method"], m["text"]),
    )


def failed_steps(status: "pd.DataFrame", names: Names) -> list[dict]:
    """E-RUN-01: a step failed with a reason. E-RUN-02: a planned result is missing without one. Seeds share a
    message.
    """
    failed = status[status["status"] == "failed"]
    unprepared = failed["reason_code"] == NOT_PREPARED
    found = [
        message(
            "E-RUN-01",
            "error",
            f"{reason} The other data sets went on.",
            dataset=dataset,
            values={"embeddings": sorted(rows["embedding"]), "step": "prepare", "reason_code": NOT_PREPARED},
        )
        for (dataset, reason), rows in failed[unprepared].groupby(["dataset", "reason"], sort=True)
    ]
    failed = failed[~unprepared]
    for (dataset, method, step, code, reason), rows in failed.groupby(
        ["dataset", "method", "step", "reason_code", "reason"], sort=True
    ):
        embeddings = sorted(rows["embedding"])
        unexplained = code == NO_RESULT
        found.append(
            message(
                "E-RUN-02" if unexplained else "E-RUN-01",
                "error",
                f"{names.method(method)} ({', '.join(embeddings)}): the step '{step}'"
                f" {'left nothing' if unexplained else 'failed'}. {reason} What follows from it is missing too;"
                " everything else went on.",
                dataset=dataset,
                method=method,
                values={"embeddings": embeddings, "step": step, "reason_code": code},
            )
        )
    return found


def unplanned_results(found: "Collected") -> list[dict]:
    """E-RUN-03: results of embeddings that are not in the plan, a sign of files from another run."""
    planned = {(r.dataset, r.embedding) for r in found.plan.itertuples()}
    seen = {(s["dataset"], s["embedding"]) for s in [*found.statuses, *found.sidecars]}
    for table in (found.scores, found.probing):
        seen |= set(zip(table["dataset"], table["embedding"], strict=True))
    extra = sorted(f"{d}.{e}" for d, e in seen - planned)
    if not extra:
        return []
    return [
        message(
            "E-RUN-03",
            "error",
            f"{plural(len(extra), 'embedding')} with results but not in the plan: {listing(extra)}."
            " They are left out of the status and stay in the scores. Were files of another run collected?",
            values={"embeddings": extra},
        )
    ]


def missing_cells(sidecars: Iterable[dict[str, Any]], names: Names) -> list[dict]:
    """E-ID-01: an embedding has fewer cells than went in."""
    found = []
    for sidecar in sidecars:
        cells_in, cells_out = sidecar.get("cells_in"), sidecar.get("cells_out")
        if cells_in is None or cells_out is None or cells_out >= cells_in:
            continue
        reasons = sorted({str(c.get("reason", "")) for c in sidecar.get("not_embedded") or []} - {""})
        why = f" Reasons given: {listing(reasons)}." if reasons else " No reason was given."
        found.append(
            message(
                "E-ID-01",
                "error",
                f"{names.method(sidecar['method'], sidecar['correction'])} ({sidecar['embedding']}) has {cells_out:,}"
                f" of {plural(cells_in, 'cell')}, {cells_in - cells_out:,} missing.{why} Its metrics are computed on"
                " the cells it has, so compare its numbers with care.",
                dataset=sidecar["dataset"],
                method=sidecar["method"],
                values={"embedding": sidecar["embedding"], "cells_in": cells_in, "cells_out": cells_out},
                threshold=cells_in,
            )
        )
    return found


def undefined_metrics(scores: "pd.DataFrame", names: Names) -> list[dict]:
    """W-MET-02: metrics without a value, one message per data set and reason."""
    found = []
    gone = scores[scores["status"] != "ok"]
    for (dataset, state, reason), rows in gone.groupby(["dataset", "status", "reason"], sort=True):
        whole = rows[rows["group"] == "all"]
        parts = rows[rows["group"] != "all"]
        sentences = []
        if len(whole):
            sentences.append(f"{_titles(whole, names)} for {plural(whole['embedding'].nunique(), 'embedding')}")
        if len(parts):
            sentences.append(
                f"the parts of {_titles(parts, names)} for the {plural(parts['group'].nunique(), 'label')}"
                f" {listing(sorted(set(parts['group'])))}"
            )
        verb = "could not be computed" if state == "failed" else "is not defined"
        found.append(
            message(
                "W-MET-02",
                "warning" if len(whole) or state == "failed" else "info",
                f"No value ({verb}, reason: {reason or 'none given'}) of {'; and of '.join(sentences)}. A metric that"
                " is not defined in the whole data set is left out of the totals; an embedding that alone lacks one"
                " has no total.",
                dataset=dataset,
                values={
                    "reason": reason,
                    "metrics": sorted(set(rows["metric"])),
                    "labels": sorted(set(parts["group"])),
                    "embeddings": sorted(set(whole["embedding"])),
                },
            )
        )
    return found


def disagreeing_metrics(scores: "pd.DataFrame", metrics: "pd.DataFrame", names: Names) -> list[dict]:
    """W-MET-01: an embedding is first by one batch metric and in the worst third by another.

    Ranked per data set among the embeddings that are no controls, over the mean of the seeds; ties share the better
    rank.
    """
    judged = metrics.loc[(metrics["group"] == "batch") & metrics["in_total"], "name"]
    chosen = scores[
        scores["metric"].isin(judged)
        & (scores["group"] == "all")
        & (scores["status"] == "ok")
        & (scores["family"] != "control")
        & ~scores["method"].isin(names.controls)
    ]
    found = []
    for dataset, rows in chosen.groupby("dataset", sort=True):
        signed = rows["value"].where(rows["higher_is_better"].astype(bool), -rows["value"])
        table = rows.assign(signed=signed).pivot_table(
            index=["method", "correction"], columns="metric", values="signed", aggfunc="mean"
        )
        table = table.dropna(axis="columns")
        count = len(table)
        if count < MIN_RANKED or table.shape[1] < 2:
            continue
        ranks = table.rank(ascending=False, method="min").astype(int)
        for (method, correction), row in ranks.iterrows():
            worst = row.idxmax()
            if row.min() == 1 and row.max() > count * (1 - WORST_SHARE):
                best = row.idxmin()
                found.append(
                    message(
                        "W-MET-01",
                        "warning",
                        f"{names.method(method, correction)} ranks 1st of {count} by {names.metric(best)} and"
                        f" {ordinal(row[worst])} by {names.metric(worst)}. These batch metrics see different things, so"
                        " there is no single winner: read the Pareto plot and the heat map.",
                        dataset=dataset,
                        method=method,
                        values={"correction": correction, "ranks": row.to_dict()},
                        threshold=WORST_SHARE,
                    )
                )
    return found


def unstable_over_seeds(totals: "pd.DataFrame", names: Names) -> list[dict]:
    """W-SEED-01: the total varies over seeds by more than the gap to the nearest other method.

    Parameters
    ----------
    totals
        ``totals.tsv``; the raw total with the default weights (``report.view.default_total``) is judged.
    """
    from scfm.report.tables.totals import default_total

    found = []
    frame = default_total(totals)
    frame = frame[(frame["family"] != "control") & ~frame["method"].isin(names.controls)].dropna(subset=["total"])
    for dataset, rows in frame.groupby("dataset", sort=True):
        table = rows.groupby(["method", "correction"])["total"].agg(["mean", "std", "count"])
        for key, row in table[table["count"] > 1].iterrows():
            gaps = (table["mean"].drop(index=[key]) - row["mean"]).abs()
            if gaps.empty or not row["std"] > gaps.min():
                continue
            near = names.method(*gaps.idxmin())
            found.append(
                message(
                    "W-SEED-01",
                    "warning",
                    f"The total of {names.method(*key)} varies over {int(row['count'])} seeds with a standard deviation"
                    f" of {row['std']:.3f}, more than its gap of {gaps.min():.3f} to {near}. Their order is not"
                    " settled; run more seeds before choosing.",
                    dataset=dataset,
                    method=key[0],
                    values={
                        "correction": key[1],
                        "mean": row["mean"],
                        "sd": row["std"],
                        "seeds": int(row["count"]),
                        "nearest": near,
                    },
                    threshold=float(gaps.min()),
                )
            )
    return found


def models_not_run(plan: "pd.DataFrame", names: Names) -> list[dict]:
    """W-MOD-04: a model was asked for and can't run until something is mended. I-MOD-01: it does not apply to the data
    set.
    """
    found = []
    idle = plan[(plan["status"] == "not_applicable") & (plan["correction"] == "raw") & ~plan["is_control"]]
    for (method, code, reason), rows in idle.groupby(["method", "reason_code", "reason"], sort=True):
        datasets = sorted(set(rows["dataset"]))
        severity = "info" if code in NOT_MENDABLE else "warning"
        where = f" on {listing(datasets)}" if len(datasets) > 1 else ""
        found.append(
            message(
                "I-MOD-01" if severity == "info" else "W-MOD-04",
                severity,
                f"{names.method(method)} did not run{where}. {reason}",
                dataset=datasets[0] if len(datasets) == 1 else "",
                method=method,
                values={"reason_code": code, "datasets": datasets},
            )
        )
    return found


def made_up_models(sidecars: Iterable[dict[str, Any]]) -> set[str]:
    """Return the models that ran with a made-up checkpoint, and not as a control."""
    return {s["method"] for s in sidecars if s.get("weights_random") and not s.get("is_control")}


def made_up_weights(sidecars: Iterable[dict[str, Any]], names: Names) -> list[dict]:
    """W-MOD-05: a model ran with a made-up checkpoint (``bin/make_tiny_weights.py``), as in a demo."""
    return [
        message(
            "W-MOD-05",
            "warning",
            f"{names.methods.get(method, method)} ran with made-up random weights, not the published ones: its numbers"
            " show that the pipeline works and say nothing about the model. Get the real ones with"
            " bin/fetch_weights.py.",
            method=method,
        )
        for method in sorted(made_up_models(sidecars))
    ]


def bf16_drift(sidecars: Iterable[dict[str, Any]], names: Names) -> list[dict]:
    """I-MOD-02: how far bf16 rows are from fp32 ones. W-MOD-06: too far."""
    found = []
    for sidecar in sidecars:
        drift = sidecar.get("bf16_drift") or {}
        if "cosine_min" not in drift or sidecar["correction"] != "raw":
            continue
        far = drift["cosine_min"] < BF16_COSINE
        found.append(
            message(
                "W-MOD-06" if far else "I-MOD-02",
                "warning" if far else "info",
                f"{names.method(sidecar['method'])} ran in bf16. On {plural(drift['cells'], 'cell')} its rows have a"
                f" cosine of {drift['cosine_median']:.5f} (median) and {drift['cosine_min']:.5f} (lowest) with those of"
                f" fp32.{' Use --precision fp32 for numbers you will publish.' if far else ''}",
                dataset=sidecar["dataset"],
                method=sidecar["method"],
                values={"seed": sidecar["seed"], **drift},
                threshold=BF16_COSINE,
            )
        )
    return found


def _titles(rows: "pd.DataFrame", names: Names) -> str:
    return listing([names.metric(m) for m in sorted(set(rows["metric"]))], limit=8)
