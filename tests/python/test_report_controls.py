"""Controls in the report: what is known in advance, and what is said when it does not hold."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from scfm.report.sections.controls import expectations

SCORES = {
    "pca": (0.60, 0.30),
    "harmony": (0.70, 0.80),
    "random": (0.10, 0.95),
    "shuffled": (0.12, 0.95),
    "shuffled_within_batch": (0.15, 0.28),
    "shuffled_within_label": (0.65, 0.90),
    "label_onehot": (1.00, 0.95),
}
CONTROLS = [name for name in SCORES if name not in {"pca", "harmony"}]


def met(**changed: tuple[float, float]) -> dict[str, bool | None]:
    rows = [
        {"method": name, "correction": "raw", "is_control": name in CONTROLS, "bio": bio, "batch": batch}
        for name, (bio, batch) in (SCORES | changed).items()
    ]
    corrected = {"method": "pca", "correction": "l2", "is_control": False, "bio": 0.5, "batch": 0.0}
    return {name: holds for name, (_, holds) in expectations(pd.DataFrame([*rows, corrected]), 0.02).items()}


def test_controls_where_they_must_be() -> None:
    assert met() == dict.fromkeys(CONTROLS, True)


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("random", (0.69, 0.95)),  # within the tolerance of the best method
        ("shuffled", (0.90, 0.95)),
        ("label_onehot", (0.60, 0.95)),
        ("shuffled_within_label", (0.65, 0.25)),
    ],
)
def test_a_control_elsewhere_is_found(name, scores) -> None:
    assert met(**{name: scores}) == dict.fromkeys(CONTROLS, True) | {name: False}


def test_nothing_is_judged_without_a_value() -> None:
    assert met(shuffled_within_label=(0.65, math.nan))["shuffled_within_label"] is None
    assert met(label_onehot=(math.nan, 0.95))["label_onehot"] is None
