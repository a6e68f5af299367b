#!/usr/bin/env python3
"""Write the section "Large data" of ``docs/performance.md``, and its plot, from the JSON files of ``bench.py``.

``python benchmarks/bench_page.py``: everything between the two markers of the page is replaced.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
PROJECT = HERE.parent
BEGIN, END = "<!-- made by benchmarks/bench_page.py: begin -->", "<!-- made by benchmarks/bench_page.py: end -->"
PLOT = "images/performance_large.svg"
#: steps beside the neighbours that the table of sizes names; all others are summed up
NAMED = {
    "leiden_nmi": "Leiden",
    "kmeans_nmi": "k-means",
    "silhouette_label": "silhouettes",
    "kbet": "kBET",
    "clisi": "LISI",
}

Result = dict[str, Any]


def read_results(folder: Path) -> list[Result]:
    """Return the results, sorted by kind, cells and dimensions."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda r: (r["case"]["what"], r["case"]["dims"], r["case"]["cells"]))


def of_kind(results: Iterable[Result], what: str) -> list[Result]:
    """Return the results of one kind of case that were completed or stopped at the limit."""
    return [r for r in results if r["case"]["what"] == what and not r.get("failed") and not r.get("missing")]


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def seconds(value: float) -> str:
    """Return seconds with two digits, three where there are as many before the point."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return the slope between two points (cells, cost) on logarithmic axes."""
    return math.log(second[1] / first[1]) / math.log(second[0] / first[0])


def sizes_table(results: list[Result]) -> str:
    """Return the table of our steps by size, one embedding each."""
    rows = []
    for r in of_kind(results, "ours"):
        if r["case"]["embeddings"] > 1:
            continue
        cpu = {name: step["cpu_s"] for name, step in r["steps"].items()}
        rest = sum(cpu.values()) - cpu["neighbours"] - sum(cpu.get(name, 0.0) for name in NAMED)
        errors = [v[2] for v in r.get("values", {}).values() if v[2] is not None]
        rows.append(
            [
                f"{r['case']['cells']:,} x {r['case']['dims']}"
                + (f", {r['case']['cpus']} threads: {r['wall_s'] / 60:.0f} min" if r["case"]["cpus"] > 1 else ""),
                seconds(cpu["neighbours"]),
                *(seconds(cpu.get(name, float("nan"))) for name in NAMED),
                seconds(rest),
                f"**{seconds(r['cpu_s'])}**" + (" (stopped)" if "stopped_after_s" in r else ""),
                f"{max(s['peak_mb'] for s in r['steps'].values()):,.0f}",
                f"{r['recall']:.4f}" if "recall" in r else "",
                f"{max(errors):.4f}" if errors else "none",
            ]
        )
    header = ["cells x dims", "neighbours", *NAMED.values(), "all others", "sum with imports", "peak MB", "recall"]
    return table([*header, "largest stderr"], rows)


def slopes_line(results: list[Result]) -> str:
    """Return the sentence about the slopes from 10,000 to 100,000 cells at 50 dimensions; empty without both."""
    by_cells = {
        r["case"]["cells"]: r
        for r in of_kind(results, "ours")
        if r["case"]["dims"] == 50 and r["case"]["embeddings"] == 1 and "stopped_after_s" not in r
    }
    if not {10_000, 100_000} <= by_cells.keys():
        return ""
    low, high = by_cells[10_000], by_cells[100_000]
    parts = {"the sum": slope((1e4, low["cpu_s"]), (1e5, high["cpu_s"]))}
    for name, title in {"neighbours": "neighbours", **NAMED}.items():
        parts[title] = slope((1e4, low["steps"][name]["cpu_s"]), (1e5, high["steps"][name]["cpu_s"]))
    memory = slope((1e4, low["peak_mb"]), (1e5, high["peak_mb"]))
    listed = ", ".join(f"{title} {value:.2f}" for title, value in parts.items())
    what = "Slopes of the CPU time from 10,000 to 100,000 cells x 50 (1 is linear)"
    return f"{what}: {listed}; of the peak memory: {memory:.2f}."


def peers_table(results: list[Result]) -> str:
    """Return our time beside those of scib-metrics and scib on the same embeddings; empty where none was run."""
    ours = {
        (r["case"]["cells"], r["case"]["embeddings"]): r for r in of_kind(results, "ours") if r["case"]["dims"] == 50
    }
    rows = []
    for what, title in (("benchmarker", "scib-metrics"), ("scib", "scib")):
        for r in of_kind(results, what):
            key = (r["case"]["cells"], r["case"]["embeddings"])
            if key in ours:
                stopped = "more than " if "stopped_after_s" in r else ""
                rows.append(
                    [
                        f"{key[1]} x {key[0]:,} x 50",
                        f"{title} {r.get('versions', {}).get(what.replace('benchmarker', 'scib-metrics'), '')}".strip(),
                        seconds(ours[key]["cpu_s"]),
                        stopped + seconds(r["cpu_s"]),
                        f"**{stopped}{r['cpu_s'] / ours[key]['cpu_s']:.1f}**",
                    ]
                )
    if not rows:
        return ""
    head = ["embeddings x cells x dims", "peer", "scfmbench", "peer's time", "ratio"]
    text = (
        "scib-metrics' Benchmarker with its default metrics; `scib.metrics.metrics` in an environment of its own,"
        " without kBET, which it has from a package of R. A peer is stopped after 20 minutes of CPU."
    )
    return f"### Beside scib-metrics and scib\n\n{text}\n\n{table(head, rows)}"


def search_table(results: list[Result]) -> str:
    """Return the libraries of neighbour searches side by side."""
    rows = []
    found = of_kind(results, "search")
    for r in found:
        case = r["case"]
        if case["cpus"] != 1 or "recall" not in r:
            continue
        twin = [o for o in found if o["case"] == case | {"cpus": 2} and "checksum" in o]
        same = "not measured" if not twin else "the same" if twin[0]["checksum"] == r["checksum"] else "**another**"
        step = r["steps"]["search"]
        rows.append(
            [
                f"{case['cells']:,} x {case['dims']}",
                {"exact": "**exact, scfmbench**", "scfmbench": "**inverted file, scfmbench**"}.get(
                    case["library"], case["library"]
                ),
                f"{r['recall']:.4f}",
                seconds(step["cpu_s"]),
                f"{step['peak_mb']:,.0f}",
                same,
            ]
        )
    return table(["cells x dims", "search", "recall@90", "CPU s", "peak MB", "result with two threads"], rows)


def probing_table(results: list[Result]) -> str:
    """Return whole probes beside scikit-learn's loop; empty without any."""
    found = of_kind(results, "probing")
    rows = []
    for r in found:
        case = r["case"]
        if case["peer"]:
            continue
        twin = [o["steps"]["probing"] for o in found if o["case"] == case | {"peer": True}]
        step = r["steps"]["probing"]  # the process also fits the models that the losses are compared of
        search = r["steps"].get("neighbours", {}).get("cpu_s")
        loss = r["loss_ours"] - r["loss_sklearn"] if "loss_ours" in r else None
        rows.append(
            [
                f"{case['cells']:,} x {case['dims']}" + (", separable" if case.get("separable") else ""),
                str(case["cpus"]),
                seconds(step["cpu_s"]),
                seconds(step["wall_s"]),
                "in it" if search is None else seconds(search),
                f"{step['peak_mb']:,.0f}",
                seconds(twin[0]["cpu_s"]) if twin else "not run",
                f"**{twin[0]['cpu_s'] / step['cpu_s']:.1f}**" if twin else "",
                f"{twin[0]['cpu_s'] / (step['cpu_s'] + (search or 0.0)):.1f}" if twin else "",
                "not computed" if loss is None else f"{loss:+.1e}",
            ]
        )
    if not rows:
        return ""
    head = ["cells x dims", "threads", "CPU s", "wall s", "search, CPU s", "peak MB", "scikit-learn, CPU s", "ratio"]
    head += ["with the search", "difference of losses"]
    text = (
        "Label and batch, five folds and batches left out, logistic regression and 15-NN, the null by permutations;"
        " scikit-learn's loop over the same folds fits each classifier to the true and once to permuted classes. The"
        " difference of the losses (ours minus scikit-learn's) is of one fold. Seconds are of the probe and the loop,"
        " without imports and data. In the pipeline the neighbours are those that the metrics have searched already,"
        " so their search is a column of its own; the last ratio counts it."
    )
    return f"### Probing\n\n{text}\n\n{table(head, rows)}"


def intervals_table(results: list[Result]) -> str:
    """Return how often intervals cover the exact value; empty without a result."""
    parts = []
    for r in of_kind(results, "intervals"):
        rows = [
            [
                f"`{name}`",
                f"{m['exact']:.4f}",
                f"{m['covered']:.0%}",
                f"{m['largest_error']:.4f}",
                f"{m['largest_stderr']:.4f}",
            ]
            for name, m in r["metrics"].items()
        ]
        head = ["metric", "of all cells", "intervals that cover it", "largest error", "largest stderr"]
        title = f"### Intervals of sampled metrics, {r['case']['draws']} draws from {r['case']['cells']:,} cells"
        parts.append(f"{title}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def preparation_table(results: list[Result]) -> str:
    """Return time and memory of check and preparation; empty without a result."""
    rows = [
        [
            f"{r['n_cells']:,}",
            f"{r['n_values'] / 1e6:,.0f} million, {r['file_mb']:,.0f} MB",
            *(
                f"{seconds(r[step]['cpu_seconds'])} s, {r[step]['peak_rss_mb']:,.0f} MB" if step in r else "not run"
                for step in ("check", "prepare", "scanpy")
            ),
        ]
        for r in sorted(of_kind(results, "preparation"), key=lambda r: r["n_cells"])
    ]
    if not rows:
        return ""
    head = ["cells x 20,000 genes", "stored counts, file", "check", "preparation", "scanpy, file in memory"]
    return f"### Check and preparation, CPU seconds and peak memory\n\n{table(head, rows)}"


def atlas_table(folder: Path) -> str:
    """Return time and memory of every step of a whole run; empty without a result of ``atlas.py``."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        rows = [
            [
                f"`{name}`",
                f"{p['tasks']:.0f}",
                seconds(p["cpu_s"]),
                seconds(p["longest_s"]),
                f"{p['peak_mb']:,.0f}",
            ]
            for name, p in found["processes"].items()
        ]
        text = (
            f"`benchmarks/atlas.py`, 2 cores and 16 GB, load before it {found['load_before']:.1f}:"
            f" {found['wall_s'] / 60:.0f} minutes from the command to its end, a report of {found['report_mb']:.1f} MB."
            " PCA, Harmony and an imported embedding of 64 dimensions, all three also centred, and two controls."
        )
        head = ["process", "tasks", "CPU s of all", "longest task, s", "largest memory, MB"]
        parts.append(f"### A whole run of {found['cells']:,} cells\n\n{text}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def memory_table(folder: Path) -> str:
    """Return what every step asks for and uses, by size; empty without results of ``resources.py``."""
    from resources import asked_mb

    found = sorted((json.loads(path.read_text()) for path in folder.glob("*.json")), key=lambda r: r["case"]["cells"])
    found = [r for r in found if r["case"]["genes"] == 20_000]
    if not found:
        return ""
    rows = []
    for process in dict.fromkeys(name for r in found for name in r["steps"]):
        cells = [f"`{process}`"]
        for r in found:
            used = r["steps"].get(process)
            asked = f"{asked_mb(process, r['case']):,.0f}"
            cells.append(f"{asked} / {used['peak_rss_mb']:,.0f}, {seconds(used['cpu_seconds'])} s" if used else asked)
        rows.append(cells)
    head = ["process", *(f"{r['case']['cells']:,} cells" for r in found)]
    genes = ", ".join(f"{r['median_genes']:,.0f}" for r in found)
    text = (
        "`benchmarks/resources.py`: MB asked for at the first try / MB used, and CPU seconds on one core; 20,000 genes,"
        f" a median of {genes} of them in a cell, 50 dimensions. A number alone was not measured. scVI trains for 200"
        " batches. Asked is the larger of the process's own value and what `assets/resources.tsv` says; its"
        " coefficients are estimates, those of ComBat and Scanorama half as much again as the growth seen here."
    )
    return f"### Memory asked and used\n\n{text}\n\n{table(head, rows)}"


def plot(results: list[Result], path: Path) -> None:
    """Draw CPU time and memory against the number of cells, both axes logarithmic; the same numbers, the same file."""
    from matplotlib import rcParams
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    chosen = [r for r in of_kind(results, "ours") if r["case"]["embeddings"] == 1 and "stopped_after_s" not in r]
    rcParams["svg.hashsalt"] = path.name  # ids of the elements are random without it
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasSVG(figure)
    for axes, (title, cost) in zip(
        figure.subplots(1, 2), {"CPU seconds": "cpu_s", "peak memory, MB": "peak_mb"}.items(), strict=True
    ):
        for dims in sorted({r["case"]["dims"] for r in chosen}):
            points = [(r["case"]["cells"], r[cost]) for r in chosen if r["case"]["dims"] == dims]
            axes.loglog(*zip(*points, strict=True), marker="o", label=f"{dims} dimensions")
        axes.set(xlabel="cells", ylabel=title)
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def section(results: list[Result], folder: Path) -> str:
    """Return the text between the markers; those of ``atlas.py`` and ``resources.py`` have folders of their own."""
    loads = [r["load"] for r in results]
    versions = results[0]["versions"] if results and "versions" in results[0] else {}
    about = ", ".join(f"{name} {value}" for name, value in versions.items() if value != "absent")
    parts = [
        "`make bench`, one thread where nothing else is said, CPU seconds of whole processes, imports included. Load of"
        f" the machine with two cores while the cases ran: {min(loads):.0f} to {max(loads):.0f}. On a busy machine CPU"
        f" seconds are longer; ratios change less. Versions: {about}.",
        "### Neighbours and the profile `standard`, per embedding",
        sizes_table(results),
        slopes_line(results),
        f"![CPU time and memory by cells]({PLOT})",
        peers_table(results),
        intervals_table(results),
        probing_table(results),
        preparation_table(results),
        "### Searches for 90 neighbours",
        search_table(results),
        "The inverted file reads as many lists as a recall of 0.99 requires; the settings of the others are in"
        " `benchmarks/bench_case.py`.",
        atlas_table(folder / "atlas"),
        memory_table(folder / "resources"),
    ]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    """Replace the section and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    parser.add_argument("--page", type=Path, default=PROJECT / "docs" / "performance.md", help="page to write into")
    args = parser.parse_args()
    results = read_results(args.results)
    if not results:
        raise SystemExit(f"{args.results} has no JSON file: run benchmarks/bench.py first.")
    text = args.page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{args.page} must have the lines '{BEGIN}' and '{END}' once each.")
    before, rest = text.split(BEGIN)
    args.page.write_text(f"{before}{BEGIN}\n\n{section(results, args.results)}\n\n{END}{rest.split(END)[1]}")
    plot(results, args.page.parent / PLOT)


if __name__ == "__main__":
    main()
