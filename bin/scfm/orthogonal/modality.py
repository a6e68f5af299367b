"""A second modality, such as protein levels: does it tell a label from the others in every batch?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def label_auroc(values: "pd.Series", label: "pd.Series", batch: "pd.Series", *, min_cells: int) -> "pd.DataFrame":
    """Return how well a column tells each label from the others, batch by batch.

    Parameters
    ----------
    values, label, batch
        Of the same cells; cells with a missing value are left out.
    min_cells
        Fewest cells of the label, and of the others, in a batch.

    Returns
    -------
    ``label, batch, auroc, n_cells``: area under the ROC curve, 0 to 1, 0.5 says nothing, below 0.5 the column is lower
    in the label; one row per label and batch with enough cells.
    """
    import pandas as pd
    from sklearn.metrics import roc_auc_score

    table = pd.DataFrame({"value": values, "label": label, "batch": batch}).dropna()
    rows = []
    for name, part in table.groupby("batch", sort=True, observed=True):
        for level, n in part["label"].value_counts().sort_index().items():
            if min(n, len(part) - n) >= min_cells:
                score = float(roc_auc_score(part["label"] == level, part["value"].astype(float)))
                rows.append({"label": level, "batch": name, "auroc": score, "n_cells": len(part)})
    return pd.DataFrame(rows, columns=["label", "batch", "auroc", "n_cells"])
