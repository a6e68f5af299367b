"""Stochastic methods over their seeds: spread of the total, and whether ranks hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import table
from scfm.report.tables.totals import default_total
from scfm.report.view.seeds import MIN_SEEDS, Stability, rank_stability
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData


def seed_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return total and rank of every method over the seeds; nothing where no method has several."""
    rows = default_total(data.of("totals", dataset), data.params)
    rows = rows[(rows["family"] != "control") & ~rows["method"].isin(data.names.controls)].dropna(subset=["total"])
    found = rank_stability(rows) if len(rows) else None
    if found is None or not found.stochastic:
        return []
    body = []
    for key, ranks in found.ranks.sort_values(list(found.ranks.columns)).iterrows():
        totals = found.totals.loc[key].dropna()
        is_stochastic = key in found.stochastic
        body.append(
            [
                data.names.method(*key),
                str(len(totals)) if is_stochastic else "not stochastic",
                number(totals.mean(), 3),
                number(totals.std(ddof=1), 3) if is_stochastic else "–",
                _span(int(ranks.min()), int(ranks.max())),
            ]
        )
    head = ["Embedding", "Seeds", "Total, mean", "Standard deviation", "Rank over the seeds"]
    return [
        said_section(
            "seeds",
            "Do ranks hold over seeds?",
            seed_sentences(found),
            table(head, body),
            description=(
                "Stochastic methods run once per seed (--seeds), all others once. Ranks are by the total of each seed;"
                " an order that changes with the seed is not settled."
            ),
        )
    ]


def seed_sentences(found: Stability) -> list[str]:
    """Return how far the orders of the seeds agree, and whether there are enough seeds to say so."""
    n_seeds = found.ranks.shape[1]
    moved = int((found.ranks.max(axis=1) > found.ranks.min(axis=1)).sum())
    said = []
    if found.agreement is not None:
        said.append(
            f"Kendall's tau between the orders of two seeds is {found.agreement:z.2f} (mean; 1 is the same order)."
            f" {moved} of {plural(len(found.ranks), 'embedding')} {'changes' if moved == 1 else 'change'} rank."
        )
    if n_seeds < MIN_SEEDS:
        said.append(f"{plural(n_seeds, 'seed')}: fewer than {MIN_SEEDS}, too few to judge stability.")
    return said


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"
