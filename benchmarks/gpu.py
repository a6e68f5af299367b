#!/usr/bin/env python3
"""Time neighbours, silhouettes and logistic probes on a GPU beside the processor of the same machine.

``python benchmarks/gpu.py --cpus 16`` takes up to eight minutes. All is measured on the GPU first, then on the CPU,
small cases first, as long as there is time. Both results are compared: neighbours cell by cell, silhouettes and losses
by their largest difference. Writes JSON after every case and prints a table at the end. Needs PyTorch with CUDA; of the
pipeline's packages NumPy, SciPy, scikit-learn and threadpoolctl.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))

from scfm.task.resources import limit_threads, versions_of

# ruff: noqa: T201

#: rows of a million cells that are compared with the exact search of the processor
COMPARED = 1000
#: rows that silhouettes of large data are computed for, as the metrics do (scfm.metrics.evaluated)
EVALUATED, ALL_UP_TO = 20_000, 100_000
N_CLASSES, N_BATCHES = 20, 5
#: spread of the classes in the features of logistic fits, so that they overlap
WEAK = 0.08


def clouds(n: int, dims: int, signal: float = 1.5) -> tuple[Any, Any]:
    """Return coordinates whose spread falls from dimension to dimension, one cell in 200 doubled, and labels."""
    import numpy as np

    rng = np.random.default_rng(n + dims)
    labels, batches = rng.integers(0, N_CLASSES, n), rng.integers(0, N_BATCHES, n)
    spread = (1 / np.sqrt(1 + np.arange(dims))).astype(np.float32)
    values = rng.standard_normal((n, dims), dtype=np.float32)
    values += signal * rng.standard_normal((N_CLASSES, dims), dtype=np.float32)[labels]
    values += 0.5 * rng.standard_normal((N_BATCHES, dims), dtype=np.float32)[batches]
    values[1:n:200] = values[0 : n - 1 : 200]
    return values * spread, labels


class Bench:
    """Cases with their seconds on both sides.

    Parameters
    ----------
    args
        The arguments of the command.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.start = args, time.perf_counter()
        self.cases: list[dict[str, Any]] = []
        self.kept: dict[str, Any] = {}

    def case(self, name: str) -> dict[str, Any]:
        """Return what is known of a case."""
        return next(case for case in self.cases if case["case"] == name)

    def on_device(self, name: str, work: Callable[[str], Any], *, again: bool) -> None:
        """Measure a case on the device, the second of two runs where it is short."""
        import torch

        case: dict[str, Any] = {"case": name, "cpu_s": None, "difference": ""}
        is_cuda = self.args.device.startswith("cuda")
        for _ in range(2 if again else 1):
            if is_cuda:
                torch.cuda.reset_peak_memory_stats()
            begin = time.perf_counter()
            self.kept[name] = work(self.args.device)
            case["device_s"] = time.perf_counter() - begin
            case["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20 if is_cuda else None
        self.cases.append(case)
        self.tell(f"{name}: {case['device_s']:.2f} s on the device")

    def on_processor(self, name: str, work: Callable[[], Any], compare: Callable[[Any, Any], str]) -> None:
        """Measure a case on the processor while there is time, and compare."""
        case = self.case(name)
        if time.perf_counter() - self.start > self.args.limit_s:
            case["difference"] = "not measured: no time left"
            return
        begin = time.perf_counter()
        found = work()
        case["cpu_s"] = time.perf_counter() - begin
        case["difference"] = compare(self.kept.pop(name), found)
        self.tell(f"{name}: {case['cpu_s']:.2f} s on the processor; {case['difference']}")

    def tell(self, sentence: str) -> None:
        """Print progress and write what is known."""
        print(f"[{time.perf_counter() - self.start:6.1f} s] {sentence}", flush=True)
        self.args.json.write_text(json.dumps({**about(self.args), "cases": self.cases}, indent=1) + "\n")


def about(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures depend on."""
    import torch

    card = torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.processor()
    packages = versions_of(["numpy", "scipy", "scikit-learn", "torch"])
    return {"device": args.device, "card": card, "cpus": args.cpus, "versions": packages}


def neighbor_cases(bench: Bench) -> list[Callable[[], None]]:
    """Measure the search for 90 neighbours on the device; return what is to be done on the processor."""
    import numpy as np

    from scfm.neighbors.exact import by_hash, nearest
    from scfm.neighbors.search import find_neighbors

    later = []
    for n in bench.args.neighbors:
        values, _ = clouds(n, bench.args.dims)
        ids = np.array([f"cell{i:08d}" for i in range(n)], dtype=object)
        name = f"neighbours, {n:,} x {bench.args.dims}"
        bench.on_device(name, lambda d, v=values, i=ids: find_neighbors(v, i, device=d), again=n <= ALL_UP_TO)
        if n <= ALL_UP_TO:

            def whole(name: str = name, values: Any = values, ids: Any = ids) -> None:
                bench.on_processor(
                    name, lambda: find_neighbors(values, ids, exact_max_cells=len(ids)), _compare_neighbors
                )

            later.append(whole)
        else:

            def some(name: str = name, values: Any = values, ids: Any = ids) -> None:
                rows = np.sort(np.random.default_rng(0).choice(len(ids), COMPARED, replace=False))
                found = bench.kept[name]
                bench.kept[name] = type(found)(found.cell_ids[rows], found.indices[rows], found.distances[rows])
                bench.on_processor(
                    name,
                    lambda: nearest(values, 90, ties=by_hash(ids), rows=rows),
                    lambda mine, theirs: f"{COMPARED:,} rows alone: {_compare_neighbors(mine, theirs)}",
                )
                case = bench.case(name)  # seconds of some rows are no measure of all
                case["cpu_some_rows_s"], case["cpu_s"] = case["cpu_s"], None

            later.append(some)
    return later


def list_cases(bench: Bench) -> list[Callable[[], None]]:
    """Return what is to be done on the processor alone: its approximate search, where the pipeline takes it."""
    import numpy as np

    from scfm.neighbors.search import EXACT_MAX_CELLS, find_neighbors

    later = []
    for n in (n for n in bench.args.neighbors if EXACT_MAX_CELLS < n <= ALL_UP_TO):
        name = f"neighbours, {n:,} x {bench.args.dims}, lists"

        def work(name: str = name, n: int = n) -> None:
            values, _ = clouds(n, bench.args.dims)
            ids = np.array([f"cell{i:08d}" for i in range(n)], dtype=object)
            bench.cases.append({"case": name, "device_s": None, "cpu_s": None, "difference": ""})
            bench.kept[name] = None
            bench.on_processor(
                name,
                lambda: find_neighbors(values, ids),
                lambda _, found: f"the approximate search, recall {found.search.recall:.4f}",
            )

        later.append(work)
    return later


def _compare_neighbors(found: Any, expected: Any) -> str:
    """Return how many rows have other neighbours, and the largest relative difference of a distance."""
    import numpy as np

    indices, distances = expected if isinstance(expected, tuple) else (expected.indices, expected.distances)
    other = int((found.indices != indices).any(axis=1).sum())
    distances = distances.astype(np.float32)
    far = np.abs(found.distances - distances) / np.maximum(distances, 1e-30)
    return f"{other} rows differ, distances by {far.max():.1e}"


def silhouette_cases(bench: Bench) -> list[Callable[[], None]]:
    """Measure silhouettes on the device; return what is to be done on the processor."""
    import numpy as np

    from scfm.metrics.silhouette import silhouette_samples

    def compare(found: Any, expected: Any) -> str:
        return f"largest difference {np.abs(found - expected).max():.1e}"

    later = []
    for n in bench.args.silhouettes:
        values, labels = clouds(n, bench.args.dims)
        rows = None
        if n > ALL_UP_TO:
            rows = np.sort(np.random.default_rng(1).choice(n, EVALUATED, replace=False))
        name = f"silhouettes, {n:,} x {bench.args.dims}" + ("" if rows is None else f", {EVALUATED:,} rows")

        def work(device: str, values: Any = values, labels: Any = labels, rows: Any = rows) -> Any:
            return silhouette_samples(values, labels, rows, device=device)

        bench.on_device(name, work, again=True)
        later.append(lambda name=name, work=work: bench.on_processor(name, lambda: work("cpu"), compare))
    return later


def logistic_cases(bench: Bench) -> list[Callable[[], None]]:
    """Measure fits of the logistic regression, features standardised, on the device; return the processor's part."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from threadpoolctl import threadpool_limits

    from scfm.probing.softmax import fit_softmax
    from scfm.probing.softmax_device import DeviceLoss, features_on
    from scfm.probing.softmax_loss import centre_and_scale, in_blocks

    later = []
    for n in bench.args.logistic:
        values, classes = clouds(n, bench.args.features, WEAK)
        options = {"c": 1.0, "cell_weights": np.ones(n), "max_iter": 1000}
        name = f"logistic fit, {n:,} x {bench.args.features}, {N_CLASSES} classes"

        def work(device: str, values: Any = values, classes: Any = classes, options: Any = options) -> Any:
            features = features_on(values, *centre_and_scale(values), device)
            return fit_softmax(features, classes, N_CLASSES, **options, kind=DeviceLoss)

        def there(values: Any = values, classes: Any = classes, options: Any = options) -> Any:
            blocks = in_blocks(values, *centre_and_scale(values))
            with threadpool_limits(1), ThreadPoolExecutor(bench.args.cpus) as pool:
                return fit_softmax(blocks, classes, N_CLASSES, **options, each=pool.map)

        def compare(found: Any, expected: Any) -> str:
            change = found.loss / expected.loss - 1
            return f"loss {change:+.1e} of {expected.loss:.4f}; {found.n_iter} and {expected.n_iter} iterations"

        bench.on_device(name, work, again=True)
        later.append(lambda name=name, there=there, compare=compare: bench.on_processor(name, there, compare))
    return later


def probe_cases(bench: Bench) -> list[Callable[[], None]]:
    """Measure the whole probe of an embedding, neighbours known, on the device; return the processor's part."""
    import numpy as np
    import pandas as pd
    from threadpoolctl import threadpool_limits

    from scfm.neighbors.search import find_neighbors
    from scfm.probing.probe import ProbeSettings, probe
    from scfm.probing.splits import make_splits, scored_cells

    later = []
    for n in bench.args.probe:
        values, labels = clouds(n, bench.args.features, WEAK)
        ids = np.array([f"cell{i:08d}" for i in range(n)], dtype=object)
        known = find_neighbors(values, ids, device=bench.args.device)
        batches = np.random.default_rng(2).integers(0, N_BATCHES, n)
        obs = pd.DataFrame({"cell_id": ids, "batch": batches, "label": labels, "scored": True})
        obs = obs.astype({"batch": str, "label": str})
        splits = make_splits(obs, n_folds=5, seed=123)
        name = f"whole probe, {n:,} x {bench.args.features}"

        def work(device: str, obs: Any = obs, values: Any = values, splits: Any = splits, known: Any = known) -> Any:
            options = {"known": known, "n_threads": bench.args.cpus, "device": device}
            with threadpool_limits(bench.args.cpus):
                table, _ = probe(scored_cells(obs), values, splits, ProbeSettings(), **options)
            return table[(table["fold"] == "mean") & (table["status"] == "ok")]

        def compare(found: Any, expected: Any) -> str:
            apart = np.abs(found["value"].to_numpy() - expected["value"].to_numpy())
            votes = (found["classifier"] == "knn").to_numpy()
            return f"means of folds: logistic by {apart[~votes].max():.1e}, k-NN by {apart[votes].max():.1e}"

        bench.on_device(name, work, again=False)
        later.append(
            lambda name=name, work=work, compare=compare: bench.on_processor(name, lambda: work("cpu"), compare)
        )
    return later


def show(cases: list[dict[str, Any]]) -> None:
    """Print the table."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    print(f"{'case':46}{'device s':>10}{'CPU s':>9}{'ratio':>8}{'GPU MB':>9}  difference")
    for case in cases:
        device_s, cpu_s = case.get("device_s"), case.get("cpu_s")
        ratio = cpu_s / device_s if device_s and cpu_s else None
        print(
            f"{case['case']:46}{number(device_s, '10.2f'):>10}{number(cpu_s, '9.2f'):>9}{number(ratio, '8.1f'):>8}"
            f"{number(case.get('peak_gpu_mb'), '9.0f'):>9}  {case['difference']}"
        )


def main() -> None:
    """Measure on the device, then on the processor."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="PyTorch's name of a device (cpu:0 tries the script)")
    parser.add_argument("--neighbors", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="cells")
    parser.add_argument("--silhouettes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="cells")
    parser.add_argument("--logistic", type=int, nargs="*", default=[30_000, 200_000], help="cells")
    parser.add_argument("--probe", type=int, nargs="*", default=[30_000], help="cells of a whole probe")
    parser.add_argument("--dims", type=int, default=50, help="of neighbours and silhouettes")
    parser.add_argument("--features", type=int, default=512, help="of logistic fits and probes")
    parser.add_argument("--cpus", type=int, default=1, help="threads")
    parser.add_argument("--limit_s", type=float, default=330, help="no case is started on the processor after this")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    limit_threads(args.cpus)

    from scfm.task.device import need_device

    need_device(args.device)
    bench = Bench(args)
    begin = time.perf_counter()
    import torch

    (
        torch.ones(64, 64, dtype=torch.float64, device=args.device) @ torch.ones(64, 64, device=args.device).double()
    ).sum()
    bench.tell(f"start of PyTorch and {args.device}: {time.perf_counter() - begin:.1f} s")
    families = (neighbor_cases, logistic_cases, silhouette_cases, list_cases, probe_cases)
    later = [work for cases in families for work in cases(bench)]
    for work in later:
        work()
    bench.tell("done")
    show(bench.cases)


if __name__ == "__main__":
    main()
