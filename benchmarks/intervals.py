#!/usr/bin/env python3
"""How often the 95 % intervals of sampled metrics cover the value of all cells.

``python benchmarks/intervals.py --cells 50000 --draws 100``: one simulated embedding, its metrics once from all cells
and then from samples drawn with other seeds. What a cell's own value is does not depend on the draw, so silhouettes,
LISI weights and kBET's tests are computed once for all cells, on the way that sampled data take; draws, summaries and
standard errors are those of the pipeline.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bin")]

#: metrics that evaluate a sample
SAMPLED = ("silhouette_label", "isolated_labels", "batch_asw", "ilisi", "clisi", "kbet")


class Once:
    """A function of all cells whose values are looked up where a draw asks for some of them.

    Parameters
    ----------
    function
        Returns a value per cell, or a tuple that begins with them.
    rows
        Name of its argument with the positions that are asked for.
    place
        Number of that argument where it is given by position.
    """

    def __init__(self, function: Callable[..., Any], rows: str, place: int) -> None:
        self._function, self._rows, self._place = function, rows, place
        self._known: dict[tuple[int, bytes], Any] = {}

    def __call__(self, *args: Any, **options: Any) -> Any:
        import numpy as np

        given = list(args)
        rows = given.pop(self._place) if len(given) > self._place else options.pop(self._rows)
        n = given[0].shape[0]
        key = n, np.ascontiguousarray(given[1]).tobytes()  # codes of the cells: of labels, or of a label's batches
        if key not in self._known:
            self._known[key] = self._function(*given, **options, **{self._rows: np.arange(n)})
        found = self._known[key]
        if isinstance(found, tuple):
            return (found[0][rows], *found[1:])
        return found[rows]


def intervals(n_cells: int, n_draws: int) -> dict[str, dict[str, float]]:
    """Return for every sampled metric the exact value, the share of covering intervals and the largest error.

    Parameters
    ----------
    n_cells
        Simulated cells, 50 dimensions.
    n_draws
        Samples, seeds 0 to ``n_draws - 1``.
    """
    import numpy as np
    from bench_case import make_embedding

    from scfm.metrics import kbet, lisi, silhouette
    from scfm.metrics.inputs import Groups, MetricInputs
    from scfm.metrics.registry import load_metrics
    from scfm.metrics.scoring import run_metric
    from scfm.neighbors.search import find_neighbors

    values, labels, batches = make_embedding(n_cells, 50, 0)
    ids = np.array([f"cell_{i:07d}" for i in range(n_cells)], dtype=object)
    groups = Groups.of(labels), Groups.of(batches)
    near = find_neighbors(values, ids)
    metrics = [metric for name, metric in load_metrics().items() if name in SAMPLED]
    exact_inputs = MetricInputs(ids, *groups, values, near, values, sample_above=n_cells, light_above=n_cells)
    exact = {m.name: run_metric(m, exact_inputs)[1].overall.value for m in metrics}
    found: dict[str, list[tuple[float, float]]] = {m.name: [] for m in metrics}
    every_weight = lisi.neighbor_weights(near.distances, near.indices == np.arange(n_cells)[:, None], near.k // 3)
    with (
        mock.patch.object(silhouette, "silhouette_samples", Once(silhouette.silhouette_samples, "rows", 2)),
        mock.patch.object(kbet, "label_acceptance", Once(kbet.label_acceptance, "rows", 4)),
    ):
        for seed in range(n_draws):
            data = MetricInputs(ids, *groups, values, near, values, sample_above=n_cells - 1, seed=seed)
            rows = data.sample.rows  # type: ignore[union-attr]
            data.keep("lisi", lambda rows=rows: every_weight[rows], of=("labels",))
            for metric in metrics:
                overall = run_metric(metric, data)[1].overall
                found[metric.name].append((overall.value, overall.stderr))
    table = {}
    for name, pairs in found.items():
        error = np.array([value - exact[name] for value, _ in pairs])
        stderr = np.array([s for _, s in pairs])
        table[name] = {
            "exact": exact[name],
            "covered": float(np.mean(np.abs(error) <= 1.96 * stderr)),
            "largest_error": float(np.abs(error).max()),
            "largest_stderr": float(stderr.max()),
        }
    return table


def main() -> None:
    """Print the table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--draws", type=int, default=100)
    args = parser.parse_args()
    print(json.dumps(intervals(args.cells, args.draws), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
