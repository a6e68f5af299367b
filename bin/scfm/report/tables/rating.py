"""From collected scores to totals, ranks and the messages about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.report.tables import score_checks
from scfm.report.tables.common_pass import common_messages, datasets_scored_again
from scfm.report.tables.names import Names
from scfm.report.tables.over_correction import over_correction
from scfm.report.tables.pairs import is_primary
from scfm.report.tables.totals import Limits, default_total

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected

NAMELESS = Names()


def roles_of(found: "Collected") -> dict[str, str]:
    """Return the declared role of the batches of every data set; empty where none is declared."""
    declared = {row["dataset"]: str(row.get("batch_role") or "") for row in found.datasets}
    return declared | {d: str(f["batch_role"]) for d, f in found.facts.items() if f.get("batch_role")}


def rate(
    found: "Collected", metrics: "pd.DataFrame", limits: Limits, names: Names = NAMELESS
) -> "tuple[dict[str, pd.DataFrame], pd.DataFrame, pd.DataFrame]":
    """Return scores with their scaled values, the anchors, and totals with ranks.

    Parameters
    ----------
    found
        Everything the steps left.
    metrics
        ``assets/metrics.tsv`` for the profile of the run.
    limits
        Parameters of the run.
    names
        Which methods and corrections read the labels.

    Returns
    -------
    The tables ``scores``, ``scores_common`` and ``scores_held_out``, with ``scaled`` filled, and ``totals_held_out``;
    anchors of ``scores`` (:func:`scfm.metrics.anchors.find_anchors`) with ``batch_control``: whether the high end is
    the control that shuffles cells within labels; totals of ``scores``, their ranks from ``scores_common`` where these
    count.
    """
    from scfm.metrics.ranking import add_ranks, coverage_of
    from scfm.metrics.totals import TotalRules, compute_totals

    rules = TotalRules(limits.min_span, roles_of(found), found.primary)
    tables, anchors, totals = {}, {}, {}
    for name in ("scores", "scores_common", "scores_held_out"):
        tables[name], anchors[name] = _scaled(found.tables[name], found, metrics, limits)
        totals[name] = compute_totals(found.tables[name], metrics, limits.bio_weights, limits.profile, rules)
    own = totals["scores"]
    n_scored = {name: int(facts.get("n_scored") or 0) for name, facts in found.facts.items()}
    ranked = add_ranks(
        own,
        coverage_of(found.scores[is_primary(found.scores, found.primary)], n_scored),
        totals["scores_common"],
        limits.min_coverage,
        scored_again=datasets_scored_again(found),
        controls=names.controls,
        other_keys=~is_primary(own, found.primary),
        reads_labels=[names.reads_labels(m, v) for m, v in zip(own["method"], own["correction"], strict=True)],
    )
    held_out = totals["scores_held_out"]
    trained = names.with_held_out_labels()
    tables["totals_held_out"] = add_ranks(
        held_out,
        coverage_of(found.scores_held_out, {name: int(facts["n_scored"]) for name, facts in found.held_out.items()}),
        min_coverage=limits.min_coverage,
        controls=names.controls,
        reads_labels=[
            trained.reads_labels(m, v) for m, v in zip(held_out["method"], held_out["correction"], strict=True)
        ],
    ).sort_values(found.schemas.key("totals"), ignore_index=True)
    return tables, anchors["scores"], ranked


def _scaled(
    scores: "pd.DataFrame", found: "Collected", metrics: "pd.DataFrame", limits: Limits
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return scores with ``scaled`` filled, and the anchors behind it, of the primary keys."""
    from scfm.metrics.anchors import find_anchors, scaled_values
    from scfm.metrics.totals import metrics_in_total

    first = scores[is_primary(scores, found.primary)]
    chosen = metrics_in_total(metrics, limits.profile)
    anchors = find_anchors(first, chosen, limits.min_span)
    anchors["batch_control"] = anchors["metric"].map(chosen["anchor_high"]) == "shuffled_within_label"
    return scores.assign(scaled=scaled_values(first, anchors).reindex(scores.index)), anchors


def score_messages(
    found: "Collected", anchors: "pd.DataFrame", totals: "pd.DataFrame", names: Names, limits: Limits
) -> list[dict[str, Any]]:
    """Return the messages about scores, about the primary keys."""
    scores, totals = (t[is_primary(t, found.primary)] for t in (found.scores, totals))
    return [
        *over_correction(scores, anchors, found.tables["overcorrection"], names, limits.tie),
        *score_checks.one_batch(scores),
        *score_checks.close_anchors(anchors, names, limits.min_span),
        *score_checks.not_ranked(totals, names, limits.min_coverage),
        *common_messages(found, totals, names),
        *score_checks.same_embeddings(found.statuses, found.plan, names),
        *score_checks.little_batch_effect(scores),
        *score_checks.unit_length_gains(default_total(totals), names, limits.tie),
    ]
