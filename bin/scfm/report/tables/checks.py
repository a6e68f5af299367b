"""Messages that only the whole run can give: failures, missing cells, undefined metrics, disagreement, instability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import PAIR_COLUMNS
from scfm.registries.messages import SEVERITIES, message
from scfm.report.tables.names import Names
from scfm.report.tables.pairs import is_primary
from scfm.report.tables.preparations import other_preparations
from scfm.report.tables.rank_checks import DISAGREEMENT_GAP, circular_scores, disagreeing_metrics
from scfm.report.tables.status import NO_RESULT, NOT_PREPARED, failed_dataset_steps
from scfm.text import listing, plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected

#: reason codes of the plan that no setting and no file changes
FINAL = frozenset({"organism_not_supported"})
#: smallest cosine between a bf16 row and its fp32 row that passes without a warning
BF16_COSINE = 0.99


def all_messages(
    found: "Collected",
    tables: dict[str, "pd.DataFrame"],
    metrics: "pd.DataFrame",
    names: Names,
    *,
    disagreement_gap: float = DISAGREEMENT_GAP,
    steps_off: Iterable[str] = (),
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
    disagreement_gap
        See :func:`disagreeing_metrics`.
    steps_off
        Steps that the run was asked to leave out.
    """
    scores, totals = (t[is_primary(t, found.primary)] for t in (found.scores, tables["totals"]))
    own = [
        *failed_steps(tables["status"], names),
        *told_of_dataset_steps(found, steps_off),
        *unplanned_results(found),
        *other_preparations(found.facts, found.sidecars, names),
        *undefined_metrics(found.scores, names, found.primary),
        *disagreeing_metrics(scores, metrics, names, disagreement_gap),
        *circular_scores(found.plan, names, found.held_out),
        *unstable_over_seeds(totals, names),
        *models_not_run(found.plan, names),
        *random_weights(found.sidecars, names),
        *bf16_drift(found.sidecars, names),
    ]
    told = [*found.messages]
    for facts in found.facts.values():
        told += facts.get("warnings", [])
    for part in [*found.sidecars, *found.statuses, *found.dataset_statuses]:
        told += [m | {"dataset": m["dataset"] or part["dataset"]} for m in part.get("warnings") or []]
    return sort_messages([*told, *own])


def sort_messages(messages: Iterable[dict]) -> list[dict]:
    """Return messages without repeats: errors, warnings, information; then by code, data set, method, embedding
    and text.
    """
    keys = ("code", "dataset", "method", "embedding", "text")
    unique = {tuple(m[k] for k in keys): m for m in messages}
    return sorted(unique.values(), key=lambda m: (SEVERITIES.index(m["severity"]), *(m[k] for k in keys)))


def failed_steps(status: "pd.DataFrame", names: Names) -> list[dict]:
    """E-RUN-01: a step failed with a reason. E-RUN-02: a planned result is missing without one. Seeds share a
    message.
    """
    failed = status[status["status"] == "failed"]
    unprepared = failed["reason_code"] == NOT_PREPARED
    found = [
        message(
            "E-RUN-01/not_prepared",
            reason=reason,
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
        found.append(
            message(
                "E-RUN-02" if code == NO_RESULT else "E-RUN-01",
                title=names.method(method),
                embedding_names=", ".join(embeddings),
                reason=reason,
                dataset=dataset,
                method=method,
                values={"embeddings": embeddings, "step": step, "reason_code": code},
            )
        )
    return found


def told_of_dataset_steps(found: "Collected", steps_off: Iterable[str] = ()) -> list[dict]:
    """E-RUN-01, E-RUN-02: a step about a whole data set failed, or left nothing. I-RUN-01: it does not apply."""
    idle = [s for s in found.dataset_statuses if s["status"] == "not_applicable"]
    told = [message("I-RUN-01", dataset=s["dataset"], reason=s["reason"], values={"step": s["step"]}) for s in idle]
    return told + [
        message(
            "E-RUN-02/dataset" if s["reason_code"] == NO_RESULT else "E-RUN-01/dataset",
            dataset=s["dataset"],
            reason=s["reason"],
            values={"step": s["step"], "reason_code": s["reason_code"]},
        )
        for s in failed_dataset_steps(found, steps_off)
    ]


def unplanned_results(found: "Collected") -> list[dict]:
    """E-RUN-03: results of embeddings that are not in the plan, a sign of files from another run."""
    planned = {(r.dataset, r.embedding) for r in found.plan.itertuples()}
    seen = {(s["dataset"], s["embedding"]) for s in [*found.statuses, *found.sidecars]}
    for table in (t for t in found.tables.values() if "embedding" in t):
        seen |= set(zip(table["dataset"], table["embedding"], strict=True))
    extra = sorted(f"{d}.{e}" for d, e in seen - planned)
    if not extra:
        return []
    return [message("E-RUN-03", n_embeddings=len(extra), values={"embeddings": extra})]


def undefined_metrics(
    scores: "pd.DataFrame", names: Names, primary: Mapping[str, tuple[str, str]] | None = None
) -> list[dict]:
    """W-MET-02: metrics without a value, one message per data set, pair of keys and reason; other than the primary
    keys are named. What W-MET-03 says (``labels_seen``) is left to it.
    """
    found = []
    gone = scores[(scores["status"] != "ok") & (scores["reason"] != "labels_seen")]
    for (dataset, *pair, state, reason), rows in gone.groupby(
        ["dataset", *PAIR_COLUMNS, "status", "reason"], sort=True
    ):
        others = tuple(pair) != (primary or {}).get(dataset, tuple(pair))
        where = f" with '{pair[0]}' and '{pair[1]}'" if others else ""
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
        found.append(
            message(
                "W-MET-02" if len(whole) or state == "failed" else "W-MET-02/labels",
                state="could not be computed" if state == "failed" else "not defined",
                reason=reason or "none given",
                metrics="; and of ".join(sentences),
                keys=where,
                dataset=dataset,
                values={
                    "reason": reason,
                    **dict(zip(PAIR_COLUMNS, pair, strict=True)),
                    "metrics": sorted(set(rows["metric"])),
                    "labels": sorted(set(parts["group"])),
                    "embeddings": sorted(set(whole["embedding"])),
                },
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
                    title=names.method(*key),
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
    """W-MOD-04: a model was asked for and can't run until something is changed. I-MOD-01: it does not apply to the
    data set.
    """
    found = []
    idle = plan[(plan["status"] == "not_applicable") & (plan["correction"] == "raw") & ~plan["is_control"]]
    for (method, code, reason), rows in idle.groupby(["method", "reason_code", "reason"], sort=True):
        datasets = sorted(set(rows["dataset"]))
        where = f" on {listing(datasets)}" if len(datasets) > 1 else ""
        found.append(
            message(
                "I-MOD-01" if code in FINAL else "W-MOD-04",
                model=names.method(method),
                where=where,
                reason=reason,
                dataset=datasets[0] if len(datasets) == 1 else "",
                method=method,
                values={"reason_code": code, "datasets": datasets},
            )
        )
    return found


def random_models(sidecars: Iterable[dict[str, Any]]) -> set[str]:
    """Return the models that ran with randomly initialised weights, and not as a control."""
    return {s["method"] for s in sidecars if s.get("weights_random") and not s.get("is_control")}


def random_weights(sidecars: Iterable[dict[str, Any]], names: Names) -> list[dict]:
    """W-MOD-05: a model ran with randomly initialised weights (``bin/make_tiny_weights.py``), as in a demo."""
    return [
        message("W-MOD-05", model=names.methods.get(method, method), method=method)
        for method in sorted(random_models(sidecars))
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
                model=names.method(sidecar["method"]),
                dataset=sidecar["dataset"],
                method=sidecar["method"],
                embedding=sidecar["embedding"],
                seed=sidecar["seed"],
                values=drift,
                threshold=BF16_COSINE,
            )
        )
    return found


def _titles(rows: "pd.DataFrame", names: Names) -> str:
    return listing([names.metric(m) for m in sorted(set(rows["metric"]))], limit=8)
