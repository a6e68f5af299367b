"""Removal of the first principal component, then unit length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.corrections import core

if TYPE_CHECKING:
    import numpy as np


def correct(values: "np.ndarray", batches: "np.ndarray", labels: "np.ndarray") -> "np.ndarray":
    """Remove the first principal component, then scale every cell to length 1.

    See :func:`scfm.corrections.core.drop_first_component`.
    """
    return core.l2_normalize(core.drop_first_component(values))
