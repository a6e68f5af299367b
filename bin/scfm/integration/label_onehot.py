"""Control: the label itself. The ceiling of every label metric; it has no batch signal inside a label."""

from __future__ import annotations

from scfm.errors import NotApplicable
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.controls import codes_of_labels

DEFAULTS: dict = {}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Write each label as its own axis (labels by name); a cell without a label lies at the origin."""
    import numpy as np

    codes, names = codes_of_labels(inputs.labels)
    if len(names) < 2:
        raise NotApplicable(f"label_onehot needs two labels; {inputs.dataset} has {len(names)}.", "one_label")
    values = np.zeros((len(codes), len(names)), dtype=np.float32)
    labelled = np.flatnonzero(codes >= 0)
    values[labelled, codes[labelled]] = 1
    return MethodOutput(values, details={"labels": names})
