"""Time and memory: what the tasks measured of themselves, and what Nextflow's trace says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.registries.instances import base_of

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected

#: process -> step of one embedding (``docs/architecture.md``); methods and models have processes of their own names
STEP_OF_PROCESS = {
    "CONTROL": "embed",
    "IMPORT_EMBEDDING": "embed",
    "CORRECT_EMBEDDING": "correct",
    "VALIDATE_EMBEDDING": "validate",
    "VALIDATE_UNCORRECTED": "validate",
    "VALIDATE_CORRECTED": "validate",
    "FIND_NEIGHBORS": "neighbors",
    "SCORE_EMBEDDING": "score",
    "SCORE_COMMON": "score_common",
    "SCORE_HELD_OUT": "score_held_out",
    "PROBE_EMBEDDING": "probe",
    "DRAW_UMAPS": "umap",
    "DIAGNOSE_EMBEDDING": "diagnose",
}
#: end of the name of a process that runs again, alone, what a group of embeddings left nothing of
ALONE = "_ALONE"
_DURATION_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"B": 1 / 1024**2, "KB": 1 / 1024, "MB": 1.0, "GB": 1024.0, "TB": 1024.0**2}


def build_resources(found: "Collected", trace: "pd.DataFrame | None" = None) -> "pd.DataFrame":
    """Return ``resources.tsv``.

    The embedding step is taken from the sidecar (it has cells per second and the device; its imports are in the status
    file), every other step from its status file, and every row of the trace as Nextflow measured it, marked by the
    column ``source``.
    """
    import pandas as pd

    imports = {(s["dataset"], s["embedding"], s["step"]): s.get("import_seconds") for s in found.statuses}
    rows = [_from_sidecar(s, imports) for s in _newest(found.sidecars)]
    measured = {(r["dataset"], r["embedding"], r["step"]) for r in rows}
    rows += [
        _from_status(s)
        for s in (*found.preparations.values(), *found.statuses)
        if s.get("seconds") is not None and (s["dataset"], s["embedding"], s["step"]) not in measured
    ]
    if trace is not None:
        rows += _from_trace(trace, found)
    table = pd.DataFrame(rows, columns=found.schemas.columns("resources"))
    for column in ("seconds", "import_seconds", "peak_rss_mb", "peak_gpu_mb", "cells_per_second", "recall"):
        table[column] = pd.to_numeric(table[column])
    table = table.drop_duplicates(["source", "task"], keep="last")
    return table.sort_values(["source", "dataset", "embedding", "step", "task"], ignore_index=True)


def _newest(sidecars: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one sidecar per embedding: the steps after the first hand it on, with more in it."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for sidecar in sidecars:
        key = (sidecar["dataset"], sidecar["embedding"])
        if key not in best or len(sidecar) > len(best[key]):
            best[key] = sidecar
    return list(best.values())


def _from_sidecar(sidecar: dict[str, Any], imports: dict[tuple[str, str, str], float | None]) -> dict[str, Any]:
    step = "embed" if sidecar.get("correction", "raw") == "raw" else "correct"
    return {
        "task": f"{step} {sidecar['dataset']}.{sidecar['embedding']}",
        "dataset": sidecar["dataset"],
        "embedding": sidecar["embedding"],
        "step": step,
        "seconds": sidecar.get("seconds"),
        "import_seconds": imports.get((sidecar["dataset"], sidecar["embedding"], step)),
        "peak_rss_mb": sidecar.get("peak_rss_mb"),
        "peak_gpu_mb": sidecar.get("peak_gpu_mb"),
        "cells_per_second": sidecar.get("cells_per_second"),
        "device": sidecar.get("device") or "",
        "source": "sidecar",
    }


def _from_status(status: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": f"{status['step']} {status['dataset']}.{status['embedding']}".removesuffix("."),
        "dataset": status["dataset"],
        "embedding": status["embedding"],
        "step": status["step"],
        "seconds": status["seconds"],
        "import_seconds": status.get("import_seconds"),
        "peak_rss_mb": status.get("peak_rss_mb"),
        "peak_gpu_mb": status.get("peak_gpu_mb"),
        "cells_per_second": None,
        "recall": status.get("recall"),
        "device": status.get("device") or "",
        "source": "status",
    }


def step_of(process: str, tag: str) -> str | None:
    """Return the step of one embedding that a task was, None for a task about something else.

    Parameters
    ----------
    process
        Last part of the process's name.
    tag
        Tag of the task: the embedding's id, for a model with the shard's name behind it; the name of a group of
        embeddings.

    Examples
    --------
    >>> step_of("HARMONY", "pbmc.harmony.raw.0"), step_of("UCE", "pbmc.uce_random.raw.0 shard_000")
    ('embed', 'embed')
    >>> step_of("HARMONY", "pbmc.harmony-theta8.raw.0")
    'embed'
    >>> step_of("PROBE_EMBEDDING_ALONE", "pbmc.harmony.raw.0")
    'probe'
    >>> step_of("MULTIQC", "report") is None
    True
    """
    process = process.removesuffix(ALONE)
    if process in STEP_OF_PROCESS:
        return STEP_OF_PROCESS[process]
    method = next(iter(tag.split(".")[1:]), "")
    return "embed" if process.lower() in {base_of(method), method.removesuffix("_random")} else None


def read_trace(path: Path | str) -> "pd.DataFrame":
    """Read Nextflow's trace (raw or formatted) into seconds and MiB.

    Returns
    -------
    Columns ``process`` (last part of the name), ``tag``, ``status``, ``exit``, ``attempt``, ``memory`` (asked for, as
    text), ``seconds``, ``peak_rss_mb``. A user's ``trace.fields`` may leave out the last four: they are 1, empty, and
    None then.
    """
    import pandas as pd

    raw = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = [c for c in ("name", "status", "exit") if c not in raw.columns]
    if missing:
        raise ScfmError(f"{path}: columns missing: {', '.join(missing)}. Expected Nextflow's execution trace.")
    names = raw["name"].str.extract(r"^(?:.*:)?(?P<process>[A-Za-z0-9_]+)(?: \((?P<tag>.*)\))?$").fillna("")
    return pd.DataFrame(
        {
            "process": names["process"],
            "tag": names["tag"],
            "status": raw["status"],
            "exit": raw["exit"],
            "attempt": pd.to_numeric(raw["attempt"], errors="coerce") if "attempt" in raw else 1,
            "memory": raw["memory"].where(raw["memory"] != "-", "") if "memory" in raw else "",
            "seconds": raw["realtime"].map(parse_duration) if "realtime" in raw else None,
            "peak_rss_mb": raw["peak_rss"].map(parse_size) if "peak_rss" in raw else None,
        }
    )


def parse_duration(text: str) -> float | None:
    """Return seconds of a trace duration: milliseconds as a number, or text such as ``1m 3s``; None for ``-``.

    Examples
    --------
    >>> parse_duration("1m 3s"), parse_duration("250"), parse_duration("-")
    (63.0, 0.25, None)
    """
    if re.fullmatch(r"[0-9.]+", text):
        return float(text) / 1000
    parts = re.findall(r"([0-9.]+) ?(ms|s|m|h|d)", text)
    return sum(float(n) * _DURATION_UNITS[unit] for n, unit in parts) if parts else None


def parse_size(text: str) -> float | None:
    """Return MiB of a trace size: bytes as a number, or text such as ``1.5 GB``; None for ``-``.

    Examples
    --------
    >>> parse_size("1.5 GB"), parse_size("1048576"), parse_size("-")
    (1536.0, 1.0, None)
    """
    match = re.fullmatch(r"([0-9.]+) ?([KMGT]?B)?", text)
    return float(match[1]) * _SIZE_UNITS[match[2] or "B"] if match else None


def last_attempts(trace: "pd.DataFrame") -> dict[tuple[str, str], str]:
    """Return ``{(step, embedding id): sentence about the last attempt}`` for tasks of the trace that did not complete.

    The tag of a task is the embedding's id, and for a model the shard's name behind it: the first shard that is gone
    counts for all. A group of embeddings that did not complete is followed by a task for each of them alone. The
    sentence names the memory of every attempt, so that a lack of it can be told from another cause.
    """
    sentences: dict[tuple[str, str], str] = {}
    asked: dict[tuple[str, str], list[str]] = {}
    for row in trace.itertuples():
        step = step_of(row.process, row.tag)
        if step is None:
            continue
        if row.status in {"COMPLETED", "CACHED"}:
            sentences.pop((step, row.tag), None)
        else:
            sizes = asked.setdefault((step, row.tag), [])
            if row.memory:
                sizes.append(row.memory)
            memory = f", with {', then '.join(sizes)} of memory asked for" if sizes else ""
            outcome = f"{row.status.lower()} with exit status {row.exit} in attempt {row.attempt:.0f}"
            sentences[step, row.tag] = f"The trace says: {outcome}{memory}."
    found: dict[tuple[str, str], str] = {}
    for (step, tag), sentence in sorted(sentences.items()):
        name, _, shard = tag.partition(" ")
        found.setdefault((step, name), f"{shard}: {sentence}" if shard else sentence)
    return found


def _from_trace(trace: "pd.DataFrame", found: "Collected") -> list[dict[str, Any]]:
    """Return the rows of the trace; the tag is split into data set and embedding by the plan, not by its dots."""
    ids = {f"{r.dataset}.{r.embedding}": (r.dataset, r.embedding) for r in found.plan.itertuples()}
    datasets = {d["dataset"] for d in found.datasets}
    rows = []
    for row in trace.itertuples():
        name = row.tag.partition(".")[0]  # of a data set, or of a group of its embeddings
        dataset, embedding = ids.get(row.tag.partition(" ")[0], (name if name in datasets else "", ""))
        attempt = f" attempt {row.attempt:.0f}" if row.attempt and row.attempt > 1 else ""
        rows.append(
            {
                "task": f"{row.process} ({row.tag}){attempt}" if row.tag else f"{row.process}{attempt}",
                "dataset": dataset,
                "embedding": embedding,
                "step": (step_of(row.process, row.tag) or "") if embedding else "",
                "seconds": row.seconds,
                "import_seconds": None,
                "peak_rss_mb": row.peak_rss_mb,
                "peak_gpu_mb": None,
                "cells_per_second": None,
                "device": "",
                "source": "trace",
            }
        )
    return rows
