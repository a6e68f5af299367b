"""The answer for one data set in sentences: who can be told apart, and against what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.report.page.html import esc, number
from scfm.report.tables.score_checks import datasets_of_one_batch
from scfm.report.tables.totals import Limits, tolerance
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: embeddings that a sentence names
_NAMED = 6
BIOLOGICAL = "biological"


def role_of(data: "ReportData", dataset: str) -> str:
    """Return the declared role of the batches; empty where none is declared."""
    return str(data.facts(dataset).get("batch_role") or data.row(dataset).get("batch_role") or "")


def verdict(data: "ReportData", dataset: str, table: "pd.DataFrame") -> list[str]:
    """Return the sentences of the answer, as HTML.

    Parameters
    ----------
    data
        The tables of the run.
    dataset
        Data set.
    table
        Its rows of :func:`scfm.report.view.summary.summarise`.
    """
    limits = Limits.of(data.params)
    if datasets_of_one_batch(data.of("scores", dataset)):
        return [
            "<b>All scored cells are of one batch</b> (<code>one_batch</code>): there is no batch score and no total."
            f" {_by_bio(table, limits)}"
        ]
    if role_of(data, dataset) == BIOLOGICAL:
        return [_biological(), _by_bio(table, limits)]
    points = [leaders(table, limits) + _common(data, dataset), front(table), baseline(table, limits), scale(table)]
    return [p for p in [*points, _left_out(table, limits)] if p]


def _common(data: "ReportData", dataset: str) -> str:
    """Return on which cells the ranked totals are where that is not all of them, as in the overview."""
    n = common_cells(data, dataset)
    if not n:
        return ""
    return (
        f" <span class='scfm-muted'>These numbers are on the {n:,} cells that all ranked embeddings have, those of the"
        " overview on the cells of each.</span>"
    )


def common_cells(data: "ReportData", dataset: str) -> int:
    """Return how many cells all ranked embeddings have; 0 where embeddings do not differ in theirs."""
    common = data.of("scores_common", dataset)
    return 0 if common.empty else int(common.loc[common["group"] == "all", "n_cells"].max())


def tied(values: "pd.Series", tolerance: float) -> "pd.Series":
    """Return the values at most ``tolerance`` below the highest one, which can't be told from it; highest first."""
    known = values.dropna().sort_values(ascending=False, kind="stable")
    return known[known >= known.iloc[0] - tolerance] if len(known) else known


def candidates(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the embeddings that may be chosen: no controls, bio above the floor, made without the labels."""
    return table[~table["is_control"] & ~table["at_floor"] & ~table["reads_labels"]]


def leaders(table: "pd.DataFrame", limits: Limits) -> str:
    """Return who is highest by total, bio and batch, as groups within the tolerance, and how many seeds were run."""
    rows = candidates(table).dropna(subset=["rank_bio", "rank_batch"])
    rows = rows.set_index("title")
    if rows.empty and table["bio"].isna().all():
        return (
            "No bio metric has a value in this data set (<code>tables/scores.tsv</code> has the reason of each), so"
            " there is no total and nothing to compare."
        )
    if rows.empty:
        return "No embedding that keeps the labels better than chance can be ranked, so there is nothing to compare."
    if len(rows) == 1:
        only = rows.iloc[0]
        return (
            f"Only {esc(rows.index[0])} can be ranked (bio {number(only['rank_bio'])}, batch"
            f" {number(only['rank_batch'])}): there is nothing to compare it with."
        )
    tolerances = {score: tolerance_of(rows, limits, score) for score in ("total", "bio", "batch")}
    groups = [_group(score, rows[f"rank_{score}"], tolerance) for score, tolerance in tolerances.items()]
    return f"{' '.join(groups)} {_seeds(rows, tolerances)}"


def tolerance_of(rows: "pd.DataFrame", limits: Limits, score: str) -> float:
    """Return the difference of a score (``total``, ``bio``, ``batch``) that is none: the parameter, or the largest
    spread of that score over seeds where that is more.
    """
    return tolerance(limits.tie, *rows[f"{score}_sd"])


def _group(what: str, values: "pd.Series", tolerance: float) -> str:
    """Return one sentence on the highest values of a score."""
    best = tied(values, tolerance)
    rest = values.drop(best.index).dropna()
    if len(best) > 1:
        return (
            f"By {what}, {_names(best.index)} can't be told apart ({number(best.iloc[0], 3)} to"
            f" {number(best.iloc[-1], 3)})."
        )
    second = rest.idxmax()
    return (
        f"By {what}, <b>{esc(best.index[0])}</b> is highest: {number(best.iloc[0], 3)}, then {esc(second)} with"
        f" {number(rest[second], 3)}."
    )


def _names(titles: "pd.Index") -> str:
    """Return titles in bold, the first ones by name and the rest by number."""
    named = [f"<b>{esc(t)}</b>" for t in titles[:_NAMED]]
    if len(titles) > _NAMED:
        named.append(f"{len(titles) - _NAMED} more")
    return " and ".join([", ".join(named[:-1]), named[-1]])


def _seeds(rows: "pd.DataFrame", tolerances: dict[str, float]) -> str:
    """Return what the tolerances are and how many seeds were run."""
    most = int(rows["n_seeds"].max())
    seeds = (
        "One seed was run of each embedding, so nothing is known about how these numbers vary."
        if most == 1
        else f"Up to {most} seeds were run."
    )
    return (
        f"<span class='scfm-muted'>Differences up to {_limits(tolerances, 3)} are called no difference. {seeds}</span>"
    )


def _limits(tolerances: dict[str, float], digits: int) -> str:
    """Return tolerances as text: one number where they do not differ, else each with its score."""
    shown = {score: number(value, digits) for score, value in tolerances.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{value} ({score})" for score, value in shown.items())


def front(table: "pd.DataFrame") -> str:
    """Return the best trade-offs: ranked embeddings above the floor that no other one beats in both scores."""
    rows = table[table["front"]]
    if len(rows) < 2:
        return ""
    named = rows.head(_NAMED).sort_values("rank_bio", ascending=False)
    names = "; ".join(f"{esc(r.title)} ({number(r.rank_bio)} / {number(r.rank_batch)})" for r in named.itertuples())
    more = f"; and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"Best trade-offs (bio / batch; nothing is higher in both): {names}{more}."


def baseline(table: "pd.DataFrame", limits: Limits) -> str:
    """Return how the others compare with the uncorrected PCA."""
    pca = table[(table["method"] == "pca") & (table["correction"] == "raw")].dropna(subset=["rank_bio", "rank_batch"])
    rows = table[~table["is_control"] & ~table.index.isin(pca.index)].dropna(subset=["rank_bio", "rank_batch"])
    if pca.empty or rows.empty:
        return ""
    base, ties = pca.iloc[0], {score: tolerance_of(rows, limits, score) for score in ("batch", "bio")}
    mixed = int((rows["rank_batch"] > base["rank_batch"] + ties["batch"]).sum())
    kept = int((rows["rank_bio"] >= base["rank_bio"] - ties["bio"]).sum())
    return (
        f"Against uncorrected PCA (bio {number(base['rank_bio'])}, batch {number(base['rank_batch'])}): {mixed} of"
        f" {plural(len(rows), 'embedding')} mix batches better, {kept} of {len(rows)} agree with the cell-type labels"
        f" at least as well (differences over {_limits(ties, 2)} count)."
    )


def scale(table: "pd.DataFrame") -> str:
    """Return the range of both scores."""
    rows = table[table["is_control"]].dropna(subset=["bio", "batch"])
    if rows.empty:
        return ""
    low, high = rows.loc[rows["bio"].idxmin()], rows.loc[rows["bio"].idxmax()]
    bio = f"bio of the control {esc(low['title'])} is {number(low['bio'])}"
    if len(rows) > 1:
        bio = (
            f"bio of the controls runs from {number(low['bio'])} ({esc(low['title'])}) to {number(high['bio'])}"
            f" ({esc(high['title'])})"
        )
    return (
        f"Scale: {bio}; batch from {number(table['batch'].min())} to {number(table['batch'].max())} over all embeddings"
        " here."
    )


def _left_out(table: "pd.DataFrame", limits: Limits) -> str:
    """Return which embeddings are scored and not candidates: incomplete ones, those at the floor, readers of labels."""
    rows = table[~table["is_control"]]
    short, floor = rows[rows["coverage"] < limits.min_coverage], rows[rows["at_floor"]]
    parts = []
    if len(short):
        parts.append(f"{_list(short)} with fewer than {limits.min_coverage:.0%} of the scored cells")
    if len(floor):
        parts.append(f"{_list(floor)} with labels kept no better than by chance")
    readers = rows[rows["reads_labels"] & rows["bio"].notna()]
    if len(readers):
        parts.append(f"{_list(readers)} made with the labels that score it")
    return f"Scored, but no candidates: {'; '.join(parts)}." if parts else ""


def _list(rows: "pd.DataFrame") -> str:
    return ", ".join(esc(t) for t in rows["title"])


def _biological() -> str:
    return (
        "<b>The batch is declared biological</b> (<code>batch_is_biology</code>): mixing its levels would remove the"
        " difference that is studied, so there is no batch mean, no total and no rank. The batch metrics are in the"
        " tables; high values mean loss."
    )


def _by_bio(table: "pd.DataFrame", limits: Limits) -> str:
    """Return who agrees best with the cell-type labels, where that is all that can be compared."""
    rows = candidates(table)
    rows = rows[rows["coverage"] >= limits.min_coverage]
    values = rows.dropna(subset=["bio"]).set_index("title")["bio"]
    if len(values) < 2:
        return ""
    best = _group("bio", values, tolerance_of(rows, limits, "bio"))
    return (
        f"Agreement with the cell-type labels alone: {best} It does not say whether differences inside cell types are"
        " kept."
    )
