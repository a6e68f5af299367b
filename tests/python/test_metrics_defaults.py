"""``docs/methods/metrics.md`` compares our settings with the libraries': both sides are read from the code here."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from scfm.io.tables import read_json
from scfm.metrics import connectivity, kbet, kmeans, leiden, lisi
from scfm.umap import draw

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "methods" / "metrics.md").read_text()

#: function -> parameters whose default the page names
LIBRARIES: dict[str, dict[str, Any]] = {
    "igraph:Graph.community_leiden": {"objective_function": "CPM", "n_iterations": 2, "beta": 0.01},
    "scanpy.tl:leiden": {"n_iterations": -1},
    "scanpy.tl:umap": {"min_dist": 0.5, "spread": 1.0},
    "umap:UMAP": {
        "n_neighbors": 15,
        "min_dist": 0.1,
        "spread": 1.0,
        "learning_rate": 1.0,
        "negative_sample_rate": 5,
        "init": "spectral",
        "n_epochs": None,
    },
    "sklearn.metrics:normalized_mutual_info_score": {"average_method": "arithmetic"},
    "sklearn.metrics:silhouette_samples": {"metric": "euclidean"},
    "sklearn.cluster:KMeans": {"n_clusters": 8, "init": "k-means++", "n_init": "auto", "max_iter": 300, "tol": 1e-4},
    "sklearn.linear_model:LogisticRegression": {"C": 1.0, "max_iter": 100, "solver": "lbfgs", "class_weight": None},
    "sklearn.neighbors:KNeighborsClassifier": {"n_neighbors": 5, "weights": "uniform"},
    "sklearn.model_selection:StratifiedKFold": {"n_splits": 5},
}
SCIB_METRICS: dict[str, dict[str, Any]] = {
    "scib_metrics:nmi_ari_cluster_labels_leiden": {"optimize_resolution": True, "seed": 42},
    "scib_metrics.utils:KMeans": {"init": "k-means++", "n_init": 1, "max_iter": 300, "tol": 1e-4, "seed": 0},
    "scib_metrics:silhouette_label": {"metric": "euclidean"},
    "scib_metrics:bras": {"metric": "cosine", "between_cluster_distances": "mean_other"},
    "scib_metrics:silhouette_batch": {"metric": "euclidean", "between_cluster_distances": "nearest"},
    "scib_metrics:isolated_labels": {"iso_threshold": None},
    "scib_metrics:ilisi_knn": {"perplexity": None, "scale": True},
    "scib_metrics:kbet_per_label": {"alpha": 0.05, "diffusion_n_comps": 100},
}


def check(name: str, expected: dict[str, Any]) -> None:
    """Compare the defaults of a function or class with those expected."""
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    parameters = inspect.signature(found).parameters
    assert {key: parameters[key].default for key in expected} == expected


@pytest.mark.parametrize("name", LIBRARIES)
def test_defaults_of_the_libraries_are_those_of_the_page(name: str) -> None:
    check(name, LIBRARIES[name])


@pytest.mark.slow  # imports JAX
@pytest.mark.parametrize("name", SCIB_METRICS)
def test_defaults_of_scib_metrics_are_those_of_the_page(name: str) -> None:
    check(name, SCIB_METRICS[name])


def test_our_settings_are_those_of_the_page() -> None:
    ours = {row[0]: row[1] for row in re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", PAGE, re.MULTILINE)}
    schema = read_json(PROJECT / "nextflow_schema.json")
    defaults = {n: p.get("default") for g in schema["$defs"].values() for n, p in g["properties"].items()}
    named = {m[1]: v for row, v in ours.items() if (m := re.search(r"`--(\w+)`", row)) and "up to" not in row}
    assert named and {n: float(v.replace(",", "")) for n, v in named.items()} == {n: defaults[n] for n in named}
    assert f"{defaults['exact_neighbors_max_cells']:,}" in next(row for row in ours if "up to `--exact" in row)
    assert (
        ours["resolutions"].startswith("0.2, 0.4 ... 2.0")
        and leiden.RESOLUTIONS[:2] == (0.2, 0.4)
        and len(leiden.RESOLUTIONS) == 10
    )
    assert (leiden.K, connectivity.K, kbet.K, lisi.K, draw.N_NEIGHBORS) == (15, 15, 50, 90, 15)
    assert ours["LISI: perplexity"] == str(lisi.K // 3) and ours["kBET: significance"] == str(kbet.ALPHA)
    assert ours["kBET: diffusion components"] == str(kbet.N_COMPONENTS)
    assert ours["k-means: rounds, tolerance"].startswith(f"{kmeans._MAX_ROUNDS},")
    assert ours["folds, seed"] == f"{defaults['probe_folds']}, {defaults['probe_seed']}"
