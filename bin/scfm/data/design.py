"""Cheap warnings about the design of a data set: balance of the batches, role of the batch, labels in one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.tables import message
from scfm.text import listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: defaults of practitioners' section 3.2; printed beside the value they judge
MAX_SIZE_RATIO = 10.0
MIN_EFFECTIVE = 0.5
MAX_JS = 0.5


def effective_share(counts: "np.ndarray") -> float:
    """Return exp(entropy) of the counts divided by their number: 1 = all equal, 1/n = one holds everything."""
    import numpy as np

    counts = np.asarray(counts, dtype=float)
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()) / len(counts))


def composition_distance(table: "np.ndarray") -> float:
    """Return the mean pairwise Jensen-Shannon distance (base 2, 0 to 1) of the rows' proportions; 0 = same composition.

    Parameters
    ----------
    table
        Cells per batch (rows) and label (columns); rows without cells are left out.
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    table = np.asarray(table, dtype=float)
    shares = table[table.sum(axis=1) > 0]
    shares = shares / shares.sum(axis=1, keepdims=True)
    pairs = [jensenshannon(shares[i], shares[j], base=2) for i in range(len(shares)) for j in range(i)]
    return float(np.nan_to_num(pairs).mean()) if pairs else 0.0


def design_warnings(batch: "pd.Series", label: "pd.Series", *, batch_role: str, batch_key: str) -> list[dict]:
    """Return warnings about balance (W-BAL-01), role (W-CONF-03) and labels in one batch (W-MET-02).

    Parameters
    ----------
    batch, label
        Of the scored cells, no missing values.
    batch_role
        ``technical``, ``biological`` or ``mixed``, as the samplesheet says.
    batch_key
        Name of the key, for the text.
    """
    import pandas as pd

    found: list[dict] = []
    if batch_role != "technical":
        found.append(message(
            "W-CONF-03", "warning",
            f"'{batch_key}' is used as batch and declared {batch_role}. A perfect batch score would mean that the "
            "biological differences between its levels are gone.",
            values={"batch_role": batch_role},
        ))
    if batch.empty:
        return found
    table = pd.crosstab(batch.astype(str), label.astype(str))
    if len(table) > 1:
        found += _balance(table)
        single = [str(name) for name in table.columns if int((table[name] > 0).sum()) == 1]
        if single:
            found.append(message(
                "W-MET-02", "warning", f"{plural(len(single), 'label occurs', 'labels occur')} in one batch only and "
                f"{'is' if len(single) == 1 else 'are'} left out of batch metrics: {listing(single, limit=20)}.",
                values={"labels": single},
            ))
    return found


def _balance(table: "pd.DataFrame") -> list[dict]:
    """Return W-BAL-01 if batch sizes or compositions are unbalanced."""
    sizes = table.sum(axis=1)
    ratio, effective, distance = float(sizes.max() / sizes.min()), effective_share(sizes.to_numpy()), composition_distance(table.to_numpy())
    reasons = []
    if ratio > MAX_SIZE_RATIO:
        reasons.append(f"batch sizes differ {ratio:.3g}-fold (limit {MAX_SIZE_RATIO:.3g})")
    if effective < MIN_EFFECTIVE:
        reasons.append(f"the effective number of batches is {effective:.2f} of {len(table)} (limit {MIN_EFFECTIVE})")
    if distance > MAX_JS:
        reasons.append(f"label proportions differ between batches (Jensen-Shannon distance {distance:.2f}, limit {MAX_JS})")
    if not reasons:
        return []
    absent = (table == 0).sum(axis=1)
    worst = str(absent.idxmax())
    missing = f" {int(absent.max())} of {table.shape[1]} labels are missing in '{worst}'." if absent.max() else ""
    text = "; ".join(reasons)
    return [message(
        "W-BAL-01", "warning", f"{text[0].upper()}{text[1:]}.{missing} Mixing scores favour large batches: "
        "read them per label.",
        values={
            "size_ratio": ratio, "effective_share": effective, "js_distance": distance,
            "labels_missing": {str(k): int(v) for k, v in absent.items()},
        },
        threshold={"size_ratio": MAX_SIZE_RATIO, "effective_share": MIN_EFFECTIVE, "js_distance": MAX_JS},
    )]
