"""Acceptance tests 4, 6, 7, 8 and 11 of the diagnosis: planted truth in simulated cells, found after correction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers_acceptance import Study
from helpers_diagnosis import EARLY
from helpers_metrics import blobs, make_inputs
from helpers_probing import pick, run_probe
from helpers_probing import study as probed
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.registry import Metric, load_metrics
from scfm.metrics.scoring import run_metric

TISSUES = {"tissue_key": "condition", "donor_key": "donor"}


def test_04_a_programme_of_two_donors_is_named_with_its_label_and_other_labels_are_silent(tmp_path: Path) -> None:
    activation = {"name": "activation", "genes": EARLY, "size": 1.5, "types": [1], "donors": [0, 1]}
    design = {"n_cells": 1000, "n_genes": 300, "n_types": 3, "n_donors": 5, "n_batches": 5, "nesting": "batch_is_donor"}
    design |= {"batch_effect": 0.0, "donor_effect": 0.0, "programmes": [activation]}
    study = Study(tmp_path, design, keys={"donor_key": "donor"}, n_hvg=300)
    name = study.embed("harmony", harmony_theta=0)
    study.diagnose(name)
    entries = study.told(name, "diagnose")["W-RES-01"]
    assert [m["values"]["label"] for m in entries] == ["type_1"]
    assert entries[0]["values"]["cause"] == "early_response"
    named = {g.strip("+-,()") for g in entries[0]["text"].split()} & set(EARLY)
    assert len(named) >= 4, entries[0]["text"]


@pytest.mark.parametrize(("kind", "hint"), [("tumour", "many genes of its own"), ("ambient", "ambient RNA")])
def test_06_a_cluster_of_one_donor_says_what_tells_it_apart(tmp_path: Path, kind: str, hint: str) -> None:
    """100 cells of donor 0 of type 0: with genes of their own as tumour cells have, or with ambient RNA."""
    design = {"n_cells": 800, "n_genes": 600, "n_types": 2, "n_donors": 4, "n_batches": 4, "nesting": "batch_is_donor"}
    design |= {"batch_effect": 0.0, "donor_effect": 0.0, "type_effect": 1.5}
    if kind == "tumour":
        design["programmes"] = [{"name": "tumour", "genes": 100, "size": 1.2, "types": [0], "donors": [0]}]
    else:
        design["ambient_shares"] = [0.4, 0, 0, 0]
    study = Study(tmp_path, design, keys={"donor_key": "donor"}, n_hvg=600)
    name = study.embed("pca")
    study.diagnose(name)
    entries = study.told(name, "diagnose")["W-CL-01"]
    assert {m["values"]["donor"] for m in entries} == {"donor_0"} and all(
        m["values"]["q_value"] < 0.05 for m in entries
    )
    assert hint in next(m["text"] for m in entries if m["values"]["label"] == "type_0")


def test_07_harmony_with_theta_50_on_two_tissues_is_over_correction(tmp_path: Path) -> None:
    design = {"n_cells": 800, "n_genes": 300, "n_types": 2, "n_conditions": 2, "n_donors": 2, "n_batches": 4}
    design |= {"nesting": "batch_in_condition", "condition_effect": 1.0, "condition_genes": 0.5, "type_effect": 0.5}
    study = Study(tmp_path, design, keys=TISSUES, n_hvg=300)
    name = study.embed("harmony", harmony_theta=50)
    study.diagnose(name)
    told = study.told(name, "diagnose")["W-CL-02"]
    said = ("Its tissues are mixed", "mixes tissues")
    assert any(words in m["text"] for m in told for words in said), [m["text"] for m in told]
    rows = study.table(name, "overcorrection")
    whole = rows[(rows["test"] == "biology_probe") & (rows["label"] == "all") & (rows["column"] == "tissue")].iloc[0]
    assert whole["before"] > 0.9 and whole["value"] > whole["limit"] and whole["failed"]


def test_08_a_rare_label_is_lost_under_strong_correction_and_kept_without(tmp_path: Path) -> None:
    """0.3 % of the cells, with markers, in one of two batches."""
    design = {"n_cells": 3500, "n_genes": 120, "n_types": 3, "n_batches": 2, "type_effect": 0.8, "batch_effect": 0.4}
    design |= {"composition": [[0.598, 0.398, 0.004], [0.6, 0.4, 0]], "depth": 800}
    design["programmes"] = [{"name": "rare", "genes": 30, "size": 2.5, "types": [2]}]
    study = Study(tmp_path, design, n_hvg=120, n_pcs=10, diagnose_permutations=100)
    plain, strong = study.embed("pca"), study.embed("harmony", harmony_theta=50)
    study.diagnose(plain, strong)
    assert "W-RARE-01" not in study.told(plain, "diagnose")
    (entry,) = study.told(strong, "diagnose")["W-RARE-01"]
    assert entry["values"]["label"] == "type_2" and entry["values"]["share"] < 0.006


#: what a perfect mixture and what full separation reach, by metric: the metric's own ends where it has no entry
OPTIMUM = {
    "ilisi": 0.8, "cilisi": 0.8, "kbet": 0.92, "batch_entropy": 0.95, "bras": 0.95, "batch_asw": 0.95,
    "graph_connectivity": 0.97, "pcr_comparison": 0.99,
}  # fmt: skip
WORST = {"graph_connectivity": 0.35, "graph_connectivity_undirected": 0.35}
BATCH_METRICS = [m for m in load_metrics().values() if m.group == "batch" and m.higher_is_better]


@pytest.fixture(scope="module")
def mixed() -> MetricInputs:
    """Random batches inside separated labels; the uncorrected embedding has them apart."""
    values, labels, _ = blobs(per_cell=300, n_batches=1, dims=8)
    batches = np.random.default_rng(1).choice(["b0", "b1", "b2"], len(labels))
    before = values + 50 * np.eye(8)[:3][np.unique(batches, return_inverse=True)[1]]
    return make_inputs(values, labels, batches, pca=before)


@pytest.fixture(scope="module")
def apart() -> MetricInputs:
    """Batches far from each other inside every label."""
    return make_inputs(*blobs(per_cell=100, batch_shift=1000, label_shift=100))


@pytest.mark.parametrize("metric", BATCH_METRICS, ids=lambda m: m.name)
def test_11_a_mixing_metric_reaches_both_ends_of_its_scale(
    metric: Metric, mixed: MetricInputs, apart: MetricInputs
) -> None:
    (good, best), (bad, worst) = (run_metric(metric, data) for data in (mixed, apart))
    assert good == bad == "ok"
    assert OPTIMUM.get(metric.name, 0.99) <= best.overall.value <= 1
    assert worst.overall.value == pytest.approx(WORST.get(metric.name, 0), abs=0.02)


def test_11_kbet_accepts_95_of_100_neighbourhoods_of_random_batches(mixed: MetricInputs) -> None:
    status, found = run_metric(load_metrics()["kbet"], mixed)
    assert status == "ok" and found.overall.value == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("classifier", ["knn", "logistic"])
def test_11_a_probe_reads_nothing_of_random_batches_and_all_of_separated_ones(classifier: str) -> None:
    read = {}
    for signal in (0, 20):
        rows = run_probe(*probed(n=300, batch_signal=signal), permutations=20)
        read[signal] = float(pick(rows, "batch", "kfold", classifier, metric="balanced_accuracy")["value"])
    assert read[0] == pytest.approx(1 / 3, abs=0.08) and read[20] == pytest.approx(1, abs=0.02)
