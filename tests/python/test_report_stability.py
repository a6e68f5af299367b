"""Ranks over seeds, and training health, as the report shows them."""

from __future__ import annotations

import html
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from scfm.registries.messages import message
from scfm.report.sections.seeds import seed_sections, seed_sentences
from scfm.report.sections.training import fit_sections, training_sections
from scfm.report.tables.names import Names
from scfm.report.view.data import ReportData
from scfm.report.view.fits import verdicts_of
from scfm.report.view.seeds import rank_stability


def totals(values: dict[str, list[float | None]]) -> pd.DataFrame:
    rows = [
        {
            "dataset": "d",
            "method": m,
            "correction": "raw",
            "seed": s,
            "total": t,
            "family": "f",
            "scaling": "raw",
            "bio_weight": 0.6,
        }
        for m, found in values.items()
        for s, t in enumerate(found)
        if t is not None
    ]
    return pd.DataFrame(rows)


def text_of(section) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", section.data)))


VALUES = {"pca": [0.5], "scvi": [0.6, 0.4, 0.55], "random_twin": [0.3, 0.2, 0.45]}


def test_a_method_that_runs_once_has_its_total_with_every_seed():
    found = rank_stability(totals(VALUES))
    assert found.stochastic == (("random_twin", "raw"), ("scvi", "raw"))
    assert found.ranks.loc[("pca", "raw")].tolist() == [2, 1, 2]
    assert found.ranks.loc[("scvi", "raw")].tolist() == [1, 2, 1]
    columns = np.array([[0.5, 0.6, 0.3], [0.5, 0.4, 0.2], [0.5, 0.55, 0.45]])
    taus = [kendalltau(columns[a], columns[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.agreement == pytest.approx(np.mean(taus))


def test_a_seed_that_failed_has_no_rank():
    found = rank_stability(totals({"a": [0.1, None, 0.3], "b": [0.2, 0.2, 0.2]}))
    assert np.isnan(found.ranks.loc[("a", "raw"), 1])
    assert found.ranks.loc[("b", "raw")].tolist() == [1, 1, 2]


def test_the_section_says_what_moves_and_how_many_seeds_there_are():
    names = Names(methods={"pca": "PCA", "scvi": "scVI", "random_twin": "Twin"})
    data = SimpleNamespace(names=names, params={"total_weights": "0.6"}, of=lambda _table, _dataset: totals(VALUES))
    text = text_of(seed_sections(data, "d")[0])
    assert "2 of 3 embeddings change rank." in text
    assert "scVI 3 0.517 0.104 1 to 2" in text and "PCA not stochastic 0.500 – 1 to 2" in text
    assert "too few to judge" not in text
    two = rank_stability(totals({"a": [0.1, 0.2], "b": [0.3]}))
    assert seed_sentences(two)[-1] == "2 seeds: fewer than 3, too few to judge stability."
    once = SimpleNamespace(names=names, params={}, of=lambda _table, _dataset: totals({"pca": [0.5]}))
    assert seed_sections(once, "d") == []


def test_training_health_is_a_table_with_limits():
    sidecar = {
        "dataset": "d", "method": "scvi", "correction": "raw", "seed": 1,
        "settings": {"max_gap": 0.05, "max_rise": 0.01},
        "training": {
            "epochs_run": 60, "max_epochs": 400, "best_epoch": 45, "gap": 0.08, "rise": 0.0, "improvement": None,
            "cells_per_epoch": 2560, "n_train": 5400, "verdict": "overfit",
        },
    }  # fmt: skip
    values = {"limit": 20, "batch_size": 128, "seen": 2560, "n_train": 5400, "coverage": 2560 / 5400}
    told = message("W-TRN-03", dataset="d", method="scvi", seed=1, values=values)
    data = SimpleNamespace(names=Names(methods={"scvi": "scVI"}), embeddings=[sidecar, {**sidecar, "dataset": "e"}])
    data.messages = [told, {**told, "dataset": "e", "text": "of another data set"}]
    data.told = partial(ReportData.told, data)
    text = text_of(training_sections(data, "d")[0])
    assert "scVI, seed 1 60 of 400 45 +8.0% (limit 5.0%) +0.0% (limit 1.0%) – 2,560 of 5,400 overfit" in text
    assert "W-TRN-03: Seed 1: 20 minibatches of 128 cells" in text
    assert "of another data set" not in text
    untrained = {k: v for k, v in sidecar.items() if k != "training"}
    assert training_sections(SimpleNamespace(embeddings=[untrained]), "d") == []
    assert fit_sections(data, "d") == fit_sections(SimpleNamespace(embeddings=[untrained]), "d") == []


def test_how_other_fits_ended_is_a_table():
    facts = {
        "pca": {"n_dims": 50, "last_to_first": 0.0123},
        "harmony": {"settings": {"max_iter": 10}, "rounds": 4, "converged": True},
        "scanorama": {
            "settings": {"alpha": 0.1},
            "alignments": [{"batches": ["a", "b"], "score": 0.5}, {"batches": ["a", "c"], "score": 0.05}],
        },
        "combat": {"removed_variance": 0.071},
        "fastmnn": {
            "merges": [
                {"batch": "b", "pairs": 1495, "lost_variance": {"a": 0.02, "b": 0.01}},
                {"batch": "c", "pairs": 7, "lost_variance": {"a": 0.03, "b": 0.0, "c": 0.2}},
            ]
        },
        "bbknn": {"n_edges": 9000, "n_parts": 2},
        "seurat_cca": {
            "anchors": [{"anchors": 1102}, {"anchors": 9}],
            "anchor_merges": [{"joined": ["b"], "anchor_cells": 290}, {"joined": ["c", "d"], "anchor_cells": 8}],
        },
        "label_onehot": {},
    }
    told = [{"dataset": "d", "method": m, "correction": "raw", "seed": 0, **more} for m, more in facts.items()]
    data = SimpleNamespace(names=Names(methods={}), embeddings=[*told, {**told[0], "correction": "l2"}])
    text = text_of(fit_sections(data, "d")[0])
    for sentence in (
        "pca, seed 0 50 components; the last has 1.2% of the variance of the first",
        "harmony, seed 0 4 of at most 10 rounds, converged",
        "scanorama, seed 0 1 pair of batches aligned, with scores from 0.50 to 0.50",
        "combat, seed 0 computed in one step; 7.1% of the variance of the genes removed",
        "2 merges, the weakest (c) on 7 pairs of mutual neighbours; at most 20.0% of a batch's variance lost in a",
        "bbknn, seed 0 9,000 edges, 2 parts without an edge between them",
        "1,111 anchors between batches; 2 merges, the weakest (c + d) on 8 cells with an anchor",
    ):
        assert sentence in text, text
    assert "label_onehot" not in text and text.count("components") == 1
    none = {"settings": {"alpha": 0.6}, "alignments": facts["scanorama"]["alignments"]}
    assert verdicts_of(none) == ["no pair of batches aligned above 0.6: nothing was corrected"]
