"""Messages that only the whole run can give: failures, missing cells, undefined metrics, disagreement, instability."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scfm.report.names import Names
from scfm.report.status import NO_RESULT
from scfm.tables import message
from scfm.text import listing, plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.load import Collected

SEVERITIES = ("error", "warning", "info")
#: W-MET-01: a method that is first by one batch metric and in this last share of the ranking by another
WORST_SHARE = 1 / 3
#: W-MET-01 needs this many embeddings, else every rank is extreme
MIN_RANKED = 3


def all_messages(found: "Collected", tables: dict[str, "pd.DataFrame"], metrics: "pd.DataFrame", names: Names) -> list[dict]:
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
        *failed_steps(tables["status"], names), *unplanned_results(found), *missing_cells(found.sidecars, names),
        *undefined_metrics(found.scores, names), *disagreeing_metrics(found.scores, metrics, names), *unstable_over_seeds(tables["totals"], names),
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
    """Return a message with every field of ``scfm.tables.message``, whatever its writer left out."""
    severity = entry.get("severity") if entry.get("severity") in SEVERITIES else "warning"
    code = str(entry.get("code") or "")
    if code[:2] not in {"E-", "W-", "I-"}:
        code = f"{severity[0].upper()}-{code or 'MSG'}"
    return message(
        code, severity, str(entry.get("text") or "A step left a message without text."), dataset=str(entry.get("dataset") or ""),
        method=str(entry.get("method") or ""), values=entry.get("values") or {}, threshold=entry.get("threshold"),
    )


def sort_messages(messages: Iterable[dict]) -> list[dict]:
    """Return messages without repeats: errors, warnings, information; then by code, data set, method and text."""
    unique = {(m["code"], m["dataset"], m["method"], m["text"]): m for m in messages}
    return sorted(unique.values(), key=lambda m: (SEVERITIES.index(m["severity"]), m["code"], m["dataset"], m["method"], m["text"]))


def failed_steps(status: "pd.DataFrame", names: Names) -> list[dict]:
    """E-RUN-01: a step failed with a reason. E-RUN-02: a planned result is missing without one. Seeds share a message."""
    found = []
    failed = status[status["status"] == "failed"]
    for (dataset, method, step, code, reason), rows in failed.groupby(["dataset", "method", "step", "reason_code", "reason"], sort=True):
        embeddings = sorted(rows["embedding"])
        unexplained = code == NO_RESULT
        found.append(message(
            "E-RUN-02" if unexplained else "E-RUN-01", "error",
            f"{names.method(method)} ({', '.join(embeddings)}): the step '{step}' {'left nothing' if unexplained else 'failed'}. {reason}"
            " What follows from it is missing too; everything else went on.",
            dataset=dataset, method=method, values={"embeddings": embeddings, "step": step, "reason_code": code},
        ))
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
    return [message(
        "E-RUN-03", "error", f"{plural(len(extra), 'embedding')} with results but not in the plan: {listing(extra)}."
        " They are left out of the status and stay in the scores. Were files of another run collected?", values={"embeddings": extra},
    )]


def missing_cells(sidecars: Iterable[dict[str, Any]], names: Names) -> list[dict]:
    """E-ID-01: an embedding has fewer cells than went in."""
    found = []
    for sidecar in sidecars:
        cells_in, cells_out = sidecar.get("cells_in"), sidecar.get("cells_out")
        if cells_in is None or cells_out is None or cells_out >= cells_in:
            continue
        reasons = sorted({str(c.get("reason", "")) for c in sidecar.get("not_embedded") or []} - {""})
        why = f" Reasons given: {listing(reasons)}." if reasons else " No reason was given."
        found.append(message(
            "E-ID-01", "error",
            f"{names.method(sidecar['method'], sidecar['variant'])} ({sidecar['embedding']}) has {cells_out:,} of {plural(cells_in, 'cell')}, {cells_in - cells_out:,} missing.{why}"
            " Its metrics are computed on the cells it has, so compare its numbers with care.",
            dataset=sidecar["dataset"], method=sidecar["method"],
            values={"embedding": sidecar["embedding"], "cells_in": cells_in, "cells_out": cells_out}, threshold=cells_in,
        ))
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
        found.append(message(
            "W-MET-02", "warning" if len(whole) or state == "failed" else "info",
            f"No value ({verb}, reason: {reason or 'none given'}) of {'; and of '.join(sentences)}."
            " A metric that is not defined in the whole data set is left out of the totals; an embedding that alone lacks one has no total.",
            dataset=dataset, values={
                "reason": reason, "metrics": sorted(set(rows["metric"])), "labels": sorted(set(parts["group"])),
                "embeddings": sorted(set(whole["embedding"])),
            },
        ))
    return found


def disagreeing_metrics(scores: "pd.DataFrame", metrics: "pd.DataFrame", names: Names) -> list[dict]:
    """W-MET-01: an embedding is first by one batch metric and in the worst third by another.

    Ranked per data set among the embeddings that are no controls, over the mean of the seeds; ties share the better rank.
    """
    judged = metrics.loc[(metrics["group"] == "batch") & metrics["in_total"], "name"]
    chosen = scores[
        scores["metric"].isin(judged) & (scores["group"] == "all") & (scores["status"] == "ok") & (scores["family"] != "control")
    ]
    found = []
    for dataset, rows in chosen.groupby("dataset", sort=True):
        signed = rows["value"].where(rows["higher_is_better"].astype(bool), -rows["value"])
        table = rows.assign(signed=signed).pivot_table(index=["method", "variant"], columns="metric", values="signed", aggfunc="mean")
        table = table.dropna(axis="columns")
        count = len(table)
        if count < MIN_RANKED or table.shape[1] < 2:
            continue
        ranks = table.rank(ascending=False, method="min").astype(int)
        for (method, variant), row in ranks.iterrows():
            worst = row.idxmax()
            if row.min() == 1 and row.max() > count * (1 - WORST_SHARE):
                best = row.idxmin()
                found.append(message(
                    "W-MET-01", "warning",
                    f"{names.method(method, variant)} ranks 1st of {count} by {names.metric(best)} and {_ordinal(row[worst])} by {names.metric(worst)}."
                    " These batch metrics see different things, so there is no single winner: read the Pareto plot and the heat map.",
                    dataset=dataset, method=method, values={"variant": variant, "ranks": row.to_dict()}, threshold=WORST_SHARE,
                ))
    return found


def unstable_over_seeds(totals: "pd.DataFrame", names: Names) -> list[dict]:
    """W-SEED-01: the total varies over seeds by more than the gap to the nearest other method.

    Parameters
    ----------
    totals
        ``totals.tsv``; the raw total with the default weights (``report.view.default_total``) is judged.
    """
    from scfm.report.view import default_total

    found = []
    frame = default_total(totals)
    frame = frame[frame["family"] != "control"].dropna(subset=["total"])
    for dataset, rows in frame.groupby("dataset", sort=True):
        table = rows.groupby(["method", "variant"])["total"].agg(["mean", "std", "count"])
        for key, row in table[table["count"] > 1].iterrows():
            gaps = (table["mean"].drop(index=[key]) - row["mean"]).abs()
            if gaps.empty or not row["std"] > gaps.min():
                continue
            near = names.method(*gaps.idxmin())
            found.append(message(
                "W-SEED-01", "warning",
                f"The total of {names.method(*key)} varies over {int(row['count'])} seeds with a standard deviation of {row['std']:.3f},"
                f" more than its gap of {gaps.min():.3f} to {near}. Their order is not settled; run more seeds before choosing.",
                dataset=dataset, method=key[0],
                values={"variant": key[1], "mean": row["mean"], "sd": row["std"], "seeds": int(row["count"]), "nearest": near},
                threshold=float(gaps.min()),
            ))
    return found


def _titles(rows: "pd.DataFrame", names: Names) -> str:
    return listing([names.metric(m) for m in sorted(set(rows["metric"]))], limit=8)


def _ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th ..."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
