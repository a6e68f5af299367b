"""Pictures: UMAPs, and the loss curves of trained models."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.report.page.html import esc
from scfm.report.page.mqc import Section

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

#: all pictures of a report together, in bytes before base64 (a report must stay easy to mail)
PICTURE_BUDGET = 750_000
_WIDTHS = (1600, 1300, 1000, 800, 600, 450, 320)
#: from nothing corrected to controls
_FAMILIES = ("none", "linear", "neighbor_graph", "generative", "foundation_model", "imported", "control")
_CAUTION = (
    "A UMAP is a picture, not evidence: distances between groups and their sizes mean little, and two embeddings with"
    " the same scores can look different. Use it to find what to look at, and the metrics to judge it."
)


def umap_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the UMAPs of one data set: galleries per family where there are some, else one picture per embedding.

    All data sets share ``PICTURE_BUDGET``: pictures are made smaller until they fit.
    """
    chosen = choose_plots(data, dataset)
    if not chosen:
        return []
    pictures = shrink([path for path, _ in chosen], PICTURE_BUDGET // max(1, len(data.dataset_names())))
    figures: dict[bool, list[str]] = {True: [], False: []}
    for (path, title), picture in zip(chosen, pictures, strict=True):
        figures["gallery" in path.name].append(
            f"<figure class='scfm-figure'><figcaption><b>{esc(title)}</b></figcaption><img alt='UMAP of {esc(title)}'"
            f" src='data:image/webp;base64,{base64.b64encode(picture).decode()}'></figure>"
        )
    content = "".join(figures[True]) + (
        f"<div class='scfm-grid'>{''.join(figures[False])}</div>" if figures[False] else ""
    )
    return [Section("umaps", "UMAPs by batch and label", "html", content, description=_CAUTION)]


def choose_plots(data: "ReportData", dataset: str) -> list[tuple[Path, str]]:
    """Return the pictures of a data set to show, each with its title.

    A picture whose name starts with the id of a planned embedding is of that embedding; one that starts with the data
    set and a family is a gallery of that family. Galleries win, embeddings that no gallery's family covers are added.
    """
    ids = {f"{dataset}.{r.embedding}": r for r in data.plan[data.plan["dataset"] == dataset].itertuples()}
    others = [d for d in data.dataset_names() if d.startswith(f"{dataset}.")]
    seeds = data.plan[data.plan["dataset"] == dataset].groupby(["method", "correction"])["seed"].nunique()
    single, gallery, families = [], [], set()
    for path in data.plots:
        name = path.name
        if not name.startswith(f"{dataset}.") or any(name.startswith(f"{o}.") for o in others):
            continue
        row = next((ids[i] for i in sorted(ids, key=len, reverse=True) if name.startswith(f"{i}.")), None)
        if row is not None:
            title = data.names.embedding(row.method, row.correction, row.seed, seeds=seeds[row.method, row.correction])
            by = next((f", by {k}" for k in ("batch", "label") if f".umap_{k}." in name), "")
            single.append((path, title + by, row.family, row.is_control))
            continue
        family = next(
            (
                f
                for f in sorted(data.plan["family"].unique(), key=len, reverse=True)
                if name.startswith(f"{dataset}.{f}.")
            ),
            "",
        )
        families.add(family)
        title = family.replace("_", " ").replace("none", "uncorrected") or name.removesuffix(".png").removeprefix(
            f"{dataset}."
        )
        gallery.append((path, title, _FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)))
    shown = [(p, t) for p, t, _ in sorted(gallery, key=lambda g: (g[2], g[1]))]
    return shown + [(p, t) for p, t, family, _ in sorted(single, key=lambda s: (s[3], s[1])) if family not in families]


def shrink(paths: list[Path], budget: int) -> list[bytes]:
    """Return pictures as WebP, all at the largest width whose bytes fit the budget together.

    Raises
    ------
    ScfmError
        A file is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    pictures = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                pictures.append(picture.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise ScfmError(f"{path} is not a picture that can be read: {error}.") from error
    encoded: list[bytes] = []
    for width in _WIDTHS:
        encoded = [_encode(picture, width) for picture in pictures]
        if sum(map(len, encoded)) <= budget:
            break
    return encoded


def _encode(picture: Any, width: int) -> bytes:
    from PIL import Image

    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=78, method=4)
    return buffer.getvalue()


def training_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the loss curves of the models trained on one data set, the best epoch marked."""
    import pandas as pd

    sets, labels, marks = [], [], []
    planned = data.plan[data.plan["dataset"] == dataset]
    seeds = planned.groupby(["method", "correction"])["seed"].nunique()
    for row in planned.itertuples():
        path = next((p for p in data.histories if p.name == f"{dataset}.{row.embedding}.history.csv"), None)
        if path is None:
            continue
        history = pd.read_csv(path)
        curves = training_curves(history)
        if not curves:
            continue
        title = data.names.embedding(row.method, row.correction, row.seed, seeds=seeds[row.method, row.correction])
        sets.append(curves)
        marks.append(_best_epoch(history))
        labels.append({"name": title, "ylab": "ELBO (loss)", "xlab": "Epoch"})
    if not sets:
        return []
    options: dict[str, Any] = {
        "xlab": "Epoch",
        "ylab": "ELBO (loss)",
        "data_labels": labels if len(labels) > 1 else [],
        "tt_decimals": 1,
        "colors": {"Training": "#6baed6", "Validation": "#d95f0e"},
        "style": "lines",
        "smooth_points": None,
        "showlegend": True,
    }
    if all(marks):
        options["extra_series"] = [[m] for m in marks]
    return [
        Section(
            "training",
            "Training curves",
            "linegraph",
            sets,
            options=options,
            description=(
                "ELBO as a loss, lower is better. The black dot is the best epoch by validation. Validation that rises"
                " while training falls is overfitting; a gap that stays small is healthy. Without a validation curve"
                " overfitting can't be seen."
            ),
        )
    ]


def training_curves(history: Any) -> dict[str, list[list[float]]]:
    """Return the curves of a loss history as pairs of epoch and loss."""
    curves = {}
    for column, name in (("elbo_train", "Training"), ("elbo_validation", "Validation")):
        if column in history and history[column].notna().any():
            known = history.dropna(subset=[column])
            curves[name] = [[float(e), round(float(v), 3)] for e, v in zip(known["epoch"], known[column], strict=True)]
    return curves


def _best_epoch(history: Any) -> dict[str, Any] | None:
    """Return a marked point at the lowest validation loss, None without validation."""
    if "elbo_validation" not in history or history["elbo_validation"].isna().all():
        return None
    best = history.loc[history["elbo_validation"].idxmin()]
    return {
        "name": f"Best epoch ({best['epoch']:.0f})",
        "pairs": [[float(best["epoch"]), float(best["elbo_validation"])]],
        "color": "#000000",
        "marker": {"symbol": "circle", "color": "#000000"},
        "showlegend": True,
    }
