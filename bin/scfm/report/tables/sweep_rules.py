"""What is read out of the points of a sweep: the front, the pick by rule, and the elbow over correction strength."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.report.tables.totals import tolerance

if TYPE_CHECKING:
    import pandas as pd

#: reasons without an elbow, in words
NO_ELBOW = {
    "no_strength": "no parameter of the sweep orders it by strength",
    "few_strengths": "fewer than three strengths",
    "no_scores": "a strength has no bio or batch score",
    "no_drop": "bio does not fall with the strength by more than the spread over seeds or --tie_tolerance",
    "no_gain": "batch does not rise with the strength",
    "no_elbow": "no strength lies above the chord by more than the spread over seeds or --tie_tolerance",
}
#: fewest strengths that can have an elbow
MIN_STRENGTHS = 3


@dataclass(frozen=True)
class Pick:
    """The setting that the rule picks.

    Attributes
    ----------
    index
        Place of the point; None where no point has both scores.
    eligible
        Places of the points whose batch score is within the tolerance of the best.
    alike
        Places of eligible points whose bio score can't be told apart from the picked one's.
    tolerance
        How far below the best batch score is near enough.
    source
        ``sd`` (of the setting with the best batch score over its seeds) or ``tie_tolerance`` (one seed).
    """

    index: int | None
    eligible: tuple[int, ...] = ()
    alike: tuple[int, ...] = ()
    tolerance: float = math.nan
    source: str = ""


def pick_setting(
    bio: Sequence[float], batch: Sequence[float], bio_sd: Sequence[float], batch_sd: Sequence[float], tie: float
) -> Pick:
    """Pick by rule: the highest bio score among settings whose batch score is near the best.

    Near is within one standard deviation over seeds of the setting with the best batch score. With one seed there is no
    standard deviation, and ``tie`` is the limit. Batch alone never decides: it only limits who is compared by bio.

    Parameters
    ----------
    bio, batch
        Scores of the settings, means over seeds, higher is better; NaN where undefined. Shape (n_settings,).
    bio_sd, batch_sd
        Standard deviations of ``bio`` and ``batch`` over seeds; NaN with one seed.
    tie
        ``--tie_tolerance``: what two scores must differ by to be told apart; two bio scores also by more than either's
        standard deviation over seeds.

    Examples
    --------
    >>> pick_setting([0.8, 0.7, 0.6], [0.5, 0.89, 0.9], [0.01, 0.01, 0.01], [0.01, 0.01, 0.02], 0.02).index
    1
    """
    known = [i for i, pair in enumerate(zip(bio, batch, strict=True)) if all(map(math.isfinite, pair))]
    if not known:
        return Pick(None)
    best = max(known, key=lambda i: (batch[i], bio[i], -i))
    has_sd = math.isfinite(batch_sd[best])
    limit = batch_sd[best] if has_sd else tie
    eligible = tuple(i for i in known if batch[i] >= batch[best] - limit)
    chosen = max(eligible, key=lambda i: (bio[i], batch[i], -i))
    noise = [tolerance(tie, bio_sd[chosen], sd) for sd in bio_sd]
    alike = tuple(i for i in eligible if i != chosen and bio[chosen] - bio[i] <= noise[i])
    return Pick(chosen, eligible, alike, limit, "sd" if has_sd else "tie_tolerance")


def find_elbow(bio: Sequence[float], batch: Sequence[float], noise: float) -> tuple[int | None, str]:
    """Find the elbow of bio against batch over correction strength: the strength furthest above the chord.

    The chord is the line between the weakest and the strongest correction in the plane of batch and bio. Beyond the
    elbow batch removal is paid for with more bio than before it.

    Parameters
    ----------
    bio, batch
        Scores in the order of the strength, weakest first, higher is better. Shape (n_strengths,).
    noise
        What bio must fall by from the weakest to the strongest, and the elbow must lie above the chord, to count.

    Returns
    -------
    Place of the elbow, or None with a key of :data:`NO_ELBOW`.

    Examples
    --------
    >>> find_elbow([0.8, 0.78, 0.5], [0.3, 0.7, 0.75], 0.02)
    (1, '')
    >>> find_elbow([0.8, 0.5], [0.3, 0.7], 0.02)
    (None, 'few_strengths')
    """
    if len(bio) < MIN_STRENGTHS:
        return None, "few_strengths"
    if not all(map(math.isfinite, (*bio, *batch))):
        return None, "no_scores"
    drop, gain = bio[0] - bio[-1], batch[-1] - batch[0]
    if drop <= noise:
        return None, "no_drop"
    if gain <= 0:
        return None, "no_gain"
    length = math.hypot(drop, gain)
    above = [((x - batch[0]) * drop + (y - bio[0]) * gain) / length for x, y in zip(batch, bio, strict=True)]
    place = max(range(1, len(above) - 1), key=lambda i: above[i])
    return (place, "") if above[place] > noise else (None, "no_elbow")


def pareto_front(bio: "pd.Series", batch: "pd.Series") -> "pd.Series":
    """Return which rows no other row beats: at least as good in both scores and better in one (higher is better).

    Rows without both scores are not on the front.
    """
    import numpy as np
    import pandas as pd

    points = np.column_stack([bio.to_numpy(dtype=float), batch.to_numpy(dtype=float)])
    known = np.isfinite(points).all(axis=1)
    front = known.copy()
    for i in np.flatnonzero(known):
        no_worse = (points[known] >= points[i]).all(axis=1)
        better = (points[known] > points[i]).any(axis=1)
        front[i] = not (no_worse & better).any()
    return pd.Series(front, index=bio.index)
