"""Training health: what the loss history of every trained model says, with its limits; how other fits ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import table
from scfm.report.view.fits import verdicts_of

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

_VERDICTS = {
    "fine": "converged, not overfit",
    "overfit": "overfit",
    "not_converged": "not converged",
    "unknown": "unknown: no cells were held out",
}
_HEAD = [
    "Embedding",
    "Epochs",
    "Best epoch",
    "Gap",
    "Rise after the best",
    "Fall per epoch at the end",
    "Cells per epoch",
]


def training_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the table of trained models; nothing where none was trained."""
    trained = [e for e in data.embeddings if e["dataset"] == dataset and e["correction"] == "raw" and e.get("training")]
    if not trained:
        return []
    body = [[_title(data, e), *_numbers(e["training"], e.get("settings") or {})] for e in trained]
    said = [f"{m['code']}: {m['text']} {m['advice']}".rstrip() for m in data.told(dataset, "W-TRN")]
    return [
        said_section(
            "training",
            "Were models trained well?",
            said,
            table([*_HEAD, "Verdict"], body),
            description=(
                "From the ELBOs on training and held-out cells (lower is better). Gap: held-out over training loss"
                " at the best epoch; slightly negative is normal. The curves, with the best epoch marked, are in the"
                " method cards; limits are in brackets."
            ),
        )
    ]


def fit_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return how the fits of the methods ended that train no model; nothing where no sidecar says it."""
    fits = [
        (e, verdicts_of(e))
        for e in data.embeddings
        if e["dataset"] == dataset and e["correction"] == "raw" and not e.get("training")
    ]
    body = [[_title(data, e), "; ".join(said)] for e, said in fits if said]
    if not body:
        return []
    return [
        Section(
            "fits",
            "How did the other methods end?",
            "html",
            table(["Embedding", "How the fit ended"], body),
            description="Facts of the sidecars (`embeddings/*.json`); warnings about them are among the messages.",
        )
    ]


def _title(data: "ReportData", sidecar: Mapping[str, Any]) -> str:
    return f"{data.names.method(sidecar['method'])}, seed {sidecar['seed']}"


def _numbers(training: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return the cells of a row behind its name."""
    seen, n_train = training.get("cells_per_epoch"), training.get("n_train")
    return [
        f"{training.get('epochs_run', '–')} of {training.get('max_epochs', '–')}",
        str(training.get("best_epoch") or "–"),
        _judged(training.get("gap"), _limit(settings, "max_gap")),
        _judged(training.get("rise"), _limit(settings, "max_rise")),
        _judged(training.get("improvement"), _limit(settings, "min_improvement"), digits=2),
        f"{seen:,} of {n_train:,}" if seen is not None and n_train is not None else "–",
        _VERDICTS.get(training.get("verdict", ""), "–"),
    ]


def _limit(settings: Mapping[str, Any], name: str) -> float | None:
    """Return a limit of a method; one that continues another's model is judged by the other's (``scvi_max_gap``)."""
    return settings.get(name, next((v for key, v in settings.items() if key.endswith(f"_{name}")), None))


def _judged(value: float | None, limit: float | None, *, digits: int = 1) -> str:
    """Return a share with the limit that it is judged by."""
    if value is None:
        return "–"
    return f"{value:+.{digits}%}" + (f" (limit {limit:.{digits}%})" if limit is not None else "")
