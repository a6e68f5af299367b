"""Batch metrics on balanced cells: what is drawn, what is computed again, and when it is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from helpers_diagnosis import cells_of, embed, embedded, simulate
from scfm.diagnosis.balanced import COLUMNS, DRAWS, balance_messages, balanced_draws, balanced_rows
from scfm.diagnosis.data import Cells
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.errors import NotApplicable
from scfm.io.tables import IDENTITY
from scfm.metrics.registry import load_metrics
from scfm.metrics.scoring import run_metric
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas

SETTINGS = DiagnosisSettings()
METRICS = [m for m in load_metrics().values() if m.name in ("ilisi", "kbet", "bras")]
ABOUT = {"dataset": "sim", "method": "harmony", "embedding": "harmony.raw.0", "seed": 0}


@pytest.fixture(scope="module")
def uneven() -> Cells:
    """Random batches of 450 and 150 cells; the first label is in the large batch only, up to a few cells."""
    counts, obs = simulate(0, n_cells=600, n_batches=2, batch_shares=[0.75, 0.25])
    first = sorted(obs["label"].unique())[0]
    large = obs["batch"].value_counts().index[0]
    kept = ((obs["label"] != first) | (obs["batch"] == large) | (obs.groupby("label").cumcount() % 5 == 0)).to_numpy()
    return cells_of(counts[kept], obs[kept].drop(columns="donor"))


def test_every_batch_gives_as_many_cells_of_the_labels_that_all_have(uneven: Cells) -> None:
    rows = np.arange(len(uneven.obs))
    draws = balanced_draws(uneven, rows, SETTINGS)
    first = uneven.labels.names[0]
    counts = pd.crosstab(uneven.obs["label"], uneven.obs["batch"])
    common = counts[(counts >= SETTINGS.min_cells).all(axis=1)]
    assert len(draws) == DRAWS and first not in common.index
    for draw in draws:
        assert (np.diff(draw) > 0).all()
        part = uneven.obs.iloc[draw]
        assert set(part["label"]) == set(common.index)
        assert set(part["batch"].value_counts()) == {int(common.sum().min())}
    assert any((a != b).any() for a, b in pairwise(draws))
    np.testing.assert_array_equal(draws[0], balanced_draws(uneven, rows, SETTINGS)[0])


def test_values_are_those_of_the_metric_on_the_drawn_cells(uneven: Cells) -> None:
    near = embed(uneven)
    found = {m.name: run_metric(m, near.metric_inputs(uneven))[1].overall.value for m in METRICS}
    scores = pd.DataFrame({"metric": list(found), "group": "all", "status": "ok", "value": list(found.values())})
    table = balanced_rows(near, near, uneven, SETTINGS, scores=scores, metrics=METRICS).set_index("metric")
    assert Schemas(ASSETS).columns("balanced") == [*IDENTITY, *COLUMNS] and set(table.index) == set(found)
    again = []
    for draw in balanced_draws(uneven, near.rows, SETTINGS):
        part = replace(uneven, obs=uneven.obs.iloc[draw], logged=uneven.logged[draw])
        again.append(
            run_metric(METRICS[0], embedded(part, near.coordinates[draw]).metric_inputs(part))[1].overall.value
        )
    row = table.loc[METRICS[0].name]
    assert row["balanced"] == pytest.approx(np.mean(again)) and row["spread"] == pytest.approx(np.ptp(again))
    assert row["change"] == pytest.approx(row["balanced"] - found[METRICS[0].name])


def test_a_large_change_is_a_message_and_a_small_one_is_none() -> None:
    rows = {"metric": ["ilisi", "kbet"], "n_cells": 600, "n_balanced": 200, "n_labels": 2, "value": [0.9, 0.8]}
    table = pd.DataFrame(rows | {"balanced": [0.7, 0.6], "change": [-0.2, -0.2], "status": "ok"})
    (entry,) = balance_messages(table, METRICS, SETTINGS, ABOUT)
    assert entry["code"] == "W-BAL-03" and "2 batch metrics is 0.85 on all 600 cells and 0.65" in entry["text"]
    assert "limit of the change 0.1" in entry["text"]
    assert balance_messages(table.assign(change=0.05), METRICS, SETTINGS, ABOUT) == []
    assert balance_messages(table.assign(status="not_applicable"), METRICS, SETTINGS, ABOUT) == []


def test_where_nothing_is_common_the_rows_have_a_reason(uneven: Cells) -> None:
    labels = uneven.obs["label"] + "_" + uneven.obs["batch"]
    apart = replace(uneven, obs=uneven.obs.assign(label=labels))
    with pytest.raises(NotApplicable) as error:
        balanced_draws(apart, np.arange(len(labels)), SETTINGS)
    assert error.value.code == "no_common_label"
    scores = pd.DataFrame({"metric": ["ilisi"], "group": "all", "status": "ok", "value": [0.5]})
    near = embed(apart)
    (row,) = balanced_rows(near, near, apart, SETTINGS, scores=scores, metrics=METRICS).to_dict("records")
    assert (row["status"], row["reason"], row["value"]) == ("not_applicable", "no_common_label", 0.5)
    assert balanced_rows(near, near, apart, SETTINGS, scores=None, metrics=METRICS).empty
