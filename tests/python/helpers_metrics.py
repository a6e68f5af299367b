"""Small worlds with a known truth, for the tests of neighbours and metrics."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from scfm.metrics.inputs import Groups, MetricInputs
from scfm.neighbors.search import find_neighbors

BIN = Path(__file__).resolve().parents[2] / "bin"
SIDECAR = {
    "dataset": "d",
    "embedding": "m.raw.0",
    "method": "m",
    "family": "imported",
    "correction": "raw",
    "seed": 0,
    "is_control": False,
    "output_type": "embedding",
    "settings": {},
    "versions": {},
    "device": "cpu",
    "seconds": 1.0,
    "cells_in": 1,
    "warnings": [],
}


def main_of(name: str) -> Callable[[list[str]], None]:
    """Return the ``main`` of an executable, to be called in this process."""
    spec = importlib.util.spec_from_file_location(name, BIN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def make_inputs(values, labels, batches, *, ids=None, pca=None, k=90) -> MetricInputs:
    """Sort cells by id, search neighbours, and pack what metrics read, as load_inputs does with files."""
    n = len(labels)
    ids = np.array([f"c{i:05d}" for i in range(n)] if ids is None else ids, dtype=object)
    order = np.argsort(ids.astype(str), kind="stable")
    values = None if values is None else np.asarray(values, dtype=np.float32)[order]
    return MetricInputs(
        ids[order],
        Groups.of(np.asarray(labels, dtype=object)[order]),
        Groups.of(np.asarray(batches, dtype=object)[order]),
        values,
        None if values is None else find_neighbors(values, ids[order], k=k),
        values if pca is None else np.asarray(pca, dtype=np.float32)[order],
    )


def blobs(*, per_cell=100, n_batches=3, n_labels=2, batch_shift=0.0, label_shift=100.0, seed=0, dims=8):
    """Gaussian clouds: every label has its own place, every batch moves its cells along an axis of its own.

    Returns
    -------
    Values, labels, batches; ``per_cell`` cells per batch and label.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_labels), n_batches * per_cell)
    batches = np.tile(np.repeat(np.arange(n_batches), per_cell), n_labels)
    values = rng.standard_normal((len(labels), dims))
    values[np.arange(len(labels)), labels] += label_shift
    values[np.arange(len(labels)), n_labels + batches] += batch_shift
    return values.astype(np.float32), np.array([f"type {x}" for x in labels]), np.array([f"b{x}" for x in batches])


def uneven(seed: int = 0, n: int = 330, dims: int = 12, shift: float = 1.0):
    """Overlapping labels of unequal size in unequal batches: values in the middle of every scale."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["alpha", "beta", "gamma"], n, p=[0.5, 0.3, 0.2])
    batches = rng.choice(["one", "three", "two"], n, p=[0.5, 0.3, 0.2])
    centers, moves = rng.standard_normal((3, dims)) * 1.2, rng.standard_normal((3, dims)) * shift
    values = rng.standard_normal((n, dims)) + centers[np.unique(labels, return_inverse=True)[1]]
    values += moves[np.unique(batches, return_inverse=True)[1]]
    return values.astype(np.float32), labels, batches


def with_codes(data: MetricInputs, *, labels=None, batches=None) -> MetricInputs:
    """Return a copy with other names of labels or batches, without anything computed before."""
    changed = {
        key: Groups.of(np.asarray(v, dtype=object))
        for key, v in (("labels", labels), ("batches", batches))
        if v is not None
    }
    return replace(data, _kept={}, **changed)
