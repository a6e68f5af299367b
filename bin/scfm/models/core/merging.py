"""Joining the shards of one embedding: one table, one sidecar, every cell once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scfm.embeddings.preparation import PREPARATION
from scfm.errors import ScfmError
from scfm.io.tables import join_embeddings, read_ids, read_json, write_json
from scfm.models.core.shards import NO_ROW, no_row_warning
from scfm.task.steps import step
from scfm.text import listing, plural

log = logging.getLogger(__name__)

#: fields of the sidecar that must be the same in every shard, else their rows can't be joined in one table
SAME = (
    "dataset",
    "embedding",
    "method",
    "model",
    "family",
    "correction",
    "seed",
    "settings",
    "precision",
    "n_dims",
    "weights_sha256",
    "dictionaries_sha256",
    "weights_random",
    PREPARATION,
)


def merge_shards(
    name: str,
    *,
    parts: Iterable[Path],
    sidecars: Iterable[Path],
    statuses: Iterable[Path],
    obs: Path | str,
    outdir: Path | str,
    on_error: str = "continue",
) -> None:
    """Join the shards of one embedding; write its table and sidecar, or a status that says why there are none.

    Parameters
    ----------
    name
        ``<dataset>.<method>.<correction>.<seed>``.
    parts, sidecars, statuses
        What the shards left, in any order; a failed shard has a status only.
    obs
        ``<dataset>.obs.parquet``: every cell must have been in a shard.
    outdir
        Where ``<id>.unchecked.parquet``, ``<id>.unchecked.json`` and ``<id>.embed.status.json`` are written.
    on_error
        See :func:`scfm.task.steps.step`.
    """
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    dataset, _, embedding = name.partition(".")
    found = [read_json(path) for path in sorted(statuses)]
    with step("embed", dataset=dataset, embedding=embedding, outdir=outdir, on_error=on_error) as status:
        status.update(_costs(found))
        bad = [s for s in found if s["status"] != "ok"]
        if bad:
            status.update(_verdict(bad, len(found)))
            if on_error == "stop" and status["status"] == "failed":
                raise ScfmError(status["reason"])
            return
        tables, notes = sorted(parts), [read_json(path) for path in sorted(sidecars)]
        if not len(tables) == len(notes) == len(found):
            raise ScfmError(
                f"{name}: {plural(len(found), 'shard')} ended well, but left {plural(len(tables), 'table')} and "
                f"{plural(len(notes), 'sidecar')}; expected one of each per shard."
            )
        merged = merge_sidecars(name, notes)
        _check_cells(name, tables, merged, obs)
        write_json(outdir / f"{name}.unchecked.json", merged)
        join_embeddings(tables, outdir / f"{name}.unchecked.parquet")


def _costs(statuses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return seconds (summed) and peaks of the shards."""
    return {"seconds": sum(s.get("seconds") or 0.0 for s in statuses), "shards": len(statuses)} | {
        key: max((s[key] for s in statuses if s.get(key) is not None), default=None)
        for key in ("peak_rss_mb", "peak_gpu_mb")
    }


def _verdict(bad: Sequence[Mapping[str, Any]], n_shards: int) -> dict[str, str]:
    """Return the status of an embedding of which shards have no result: the first failure, else the first reason."""
    failed = [s for s in bad if s["status"] == "failed"]
    first = (failed or bad)[0]
    count = (
        f"{len(failed or bad)} of {n_shards} shards {'failed' if failed else 'have no result'}; the first reason: "
        if n_shards > 1
        else ""
    )
    return {"status": first["status"], "reason": count + first["reason"], "reason_code": first["reason_code"]}


def merge_sidecars(name: str, sidecars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one sidecar for all shards: costs and cells added up, peaks the largest, each warning once.

    Parameters
    ----------
    name
        ``<dataset>.<embedding>``, which every sidecar must be about.
    sidecars
        At least one, in the order of the shards.

    Raises
    ------
    ScfmError
        Shards are of another embedding, or were computed with other settings, weights or precision.
    """
    first = sidecars[0]
    if f"{first['dataset']}.{first['embedding']}" != name:
        raise ScfmError(
            f"{name}: a shard is of '{first['dataset']}.{first['embedding']}'. Were results of another task collected?"
        )
    for key in SAME:
        if any(s.get(key) != first.get(key) for s in sidecars):
            raise ScfmError(
                f"{name}: the shards differ in '{key}', so their rows do not belong in one table. Compute all of them"
                " anew."
            )
    merged = _other_facts(sidecars)
    out = sum(s["cells_out"] for s in sidecars)
    seconds = sum(s["seconds"] for s in sidecars)
    lacking = sorted((entry for s in sidecars for entry in s.get("not_embedded") or []), key=lambda e: e["cell_id"])
    if not out:
        raise ScfmError(
            f"{name}: none of {plural(sum(s['cells_in'] for s in sidecars), 'cell')} could be embedded: "
            f"{lacking[0]['reason'] if lacking else 'no cells'}."
        )
    merged |= {
        "cells_in": sum(s["cells_in"] for s in sidecars),
        "cells_out": out,
        "seconds": round(seconds, 3),
        "cells_per_second": round(out / seconds, 3) if seconds else None,
        "not_embedded": lacking,
        "shards": len(sidecars),
        "device": ",".join(sorted({s["device"] for s in sidecars})),
        "warnings": _warnings(sidecars, lacking),
    }
    for key in ("peak_rss_mb", "peak_gpu_mb"):
        merged[key] = max((s[key] for s in sidecars if s.get(key) is not None), default=None)
    drifts = [s["bf16_drift"] for s in sidecars if "cosine_min" in (s.get("bf16_drift") or {})]
    if drifts:
        merged["bf16_drift"] = {
            "cells": sum(d["cells"] for d in drifts),
            "cosine_min": min(d["cosine_min"] for d in drifts),
            "cosine_median": _weighted([d["cosine_median"] for d in drifts], [d["cells"] for d in drifts]),
        }
    return merged


def _other_facts(sidecars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields that need no rule of their own: equal ones as they are, differing numbers as means over the
    cells.
    """
    cells, facts = [s["cells_out"] for s in sidecars], {}
    for key, value in sidecars[0].items():
        values = [s.get(key) for s in sidecars]
        if all(v == value for v in values):
            facts[key] = value
        elif key == "batch_tokens":
            facts[key] = min(values)
        elif all(isinstance(v, float) for v in values):
            facts[key] = round(_weighted(values, cells), 6)
        else:
            log.info("'%s' differs between the shards: that of the first is kept", key)
            facts[key] = value
    return facts


def _weighted(values: Sequence[float], weights: Sequence[int]) -> float:
    """Return the mean, by number of cells."""
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total else float(values[0])


def _warnings(sidecars: Sequence[Mapping[str, Any]], lacking: Sequence[Mapping[str, str]]) -> list[dict]:
    """Return the warnings of all shards, each once; the one about cells without a row counts all of them."""
    unique = {(w["code"], w["text"]): w for s in sidecars for w in s.get("warnings") or [] if w["code"] != NO_ROW}
    found = list(unique.values())
    if lacking:
        found.append(
            no_row_warning([(entry["cell_id"], entry["reason"]) for entry in lacking], method=str(sidecars[0]["model"]))
        )
    return found


def _check_cells(name: str, tables: Sequence[Path], merged: Mapping[str, Any], obs: Path | str) -> None:
    """Check that every cell of the data set was in exactly one shard."""
    embedded = [c for path in tables for c in read_ids(path)]
    seen = embedded + [entry["cell_id"] for entry in merged["not_embedded"]]
    twice = sorted(cell for cell, n in Counter(seen).items() if n > 1)
    if twice:
        raise ScfmError(
            f"{name}: {plural(len(twice), 'cell')} in more than one shard ({listing(twice)}). Compute all shards anew."
        )
    expected = set(read_ids(obs))
    missing = sorted(expected.difference(seen))
    if missing:
        raise ScfmError(
            f"{name}: {plural(len(missing), 'cell')} of {len(expected):,} were in no shard ({listing(missing)}). "
            "Was a shard killed, or its result lost? Run again with -resume."
        )
