"""What a method card says of a method: its embeddings, settings, training, cost and licence."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table
from scfm.report.page.html import seconds_text
from scfm.report.plots.training import Training

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: fields of every sidecar that a card shows elsewhere, or not at all
_COMMON = {
    *("dataset", "embedding", "method", "model", "family", "correction", "corrected_from", "seed", "is_control"),
    *("output_type", "settings", "versions", "training", "weights_sha256", "status", "reason", "extra_cells"),
    "dictionaries_sha256",
    *("device", "seconds", "peak_rss_mb", "peak_gpu_mb", "cells_in", "cells_out", "cells_per_second", "n_dims"),
}
_LONGEST = 160


def settings_of(sidecar: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the settings of an embedding, then what else its maker recorded (Harmony's rounds, genes matched)."""
    found = [(name, shorten(value)) for name, value in sorted((sidecar.get("settings") or {}).items())]
    return found + [(name, shorten(v)) for name, v in sorted(sidecar.items()) if name not in _COMMON]


def shorten(value: Any) -> str:
    """Return a value for people: a number or word as it is, anything longer than 160 characters cut with a mark."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… (the rest is in embeddings.json)"


def training_of(data: "ReportData", dataset: str, embedding: str) -> Training | None:
    """Return the loss history of an embedding; None where it was not trained or left none.

    ``elbo_train`` and ``elbo_validation`` are the columns read; the best epoch is that of the lowest validation loss.
    """
    import pandas as pd

    path = next((p for p in data.histories if p.name == f"{dataset}.{embedding}.history.csv"), None)
    if path is None:
        return None
    history = pd.read_csv(path)
    curves = {
        title: list(_points(history, column))
        for column, title in (("elbo_train", "Training"), ("elbo_validation", "Validation"))
        if column in history and history[column].notna().any()
    }
    best = min(curves["Validation"], key=lambda p: p[1]) if "Validation" in curves else None
    return Training(curves, best) if curves else None


def _points(history: "pd.DataFrame", column: str) -> Iterable[tuple[float, float]]:
    known = history.dropna(subset=[column])
    return ((float(e), float(v)) for e, v in zip(known["epoch"], known[column], strict=True))


def costs_of(data: "ReportData", dataset: str, embeddings: Iterable[str]) -> list[tuple[str, str]]:
    """Return time and peak memory of making some embeddings, over all of them; empty where nothing was recorded."""
    resources = data.of("resources", dataset)
    rows = resources[(resources["step"] == "embed") & resources["embedding"].isin(list(embeddings))]
    seconds, memory, gpu = (rows[c].dropna().astype(float) for c in ("seconds", "peak_rss_mb", "peak_gpu_mb"))
    found = []
    if len(seconds):
        several = f" (mean of {len(seconds)})" if len(seconds) > 1 else ""
        found.append(("Time", f"{seconds_text(seconds.mean())} s{several}"))
    if len(memory):
        found.append(("Peak memory", f"{memory.max():,.0f} MiB"))
    if len(gpu):
        found.append(("Peak GPU memory", f"{gpu.max():,.0f} MiB"))
    devices = sorted(set(rows["device"].dropna().astype(str)) - {""})
    return [*found, ("Device", ", ".join(devices))] if devices else found


def about_of(data: "ReportData") -> dict[str, list[tuple[str, str]]]:
    """Return ``{method: what the registries say}``: description, licence and reference."""
    found = {
        name: [("What it is", m.description), ("Reference", _reference(m))]
        for name, m in load_methods(data.assets / "methods.tsv").items()
    }
    for name, model in load_model_table(data.assets / "models.tsv").items():
        found[name] = [
            ("What it is", model.description),
            ("Trained on", model.trained_on),
            ("Licence", model.licence),
            ("Reference", _reference(model)),
        ]
    return {name: [(k, v) for k, v in rows if v] for name, rows in found.items()}


def _reference(row: Any) -> str:
    return f"{row.citation} doi:{row.reference}" if row.reference else row.citation
