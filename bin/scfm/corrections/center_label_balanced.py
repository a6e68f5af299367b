"""Label-balanced batch centring, then unit length. It uses the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.corrections import core

if TYPE_CHECKING:
    import numpy as np


def correct(values: "np.ndarray", batches: "np.ndarray", labels: "np.ndarray") -> "np.ndarray":
    """Subtract the mean of each batch's label means, then scale every cell to length 1.

    See :func:`scfm.corrections.core.center_label_balanced`.
    """
    return core.l2_normalize(core.center_label_balanced(values, batches, labels))
