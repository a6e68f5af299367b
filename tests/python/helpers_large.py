"""A large seeded run, for the size of the report: three data sets of thirty embeddings each."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import helpers_report
from helpers_report import Run, write_plot, write_run

_LABELS = ("B", "CD4 T", "CD8 T", "NK", "Mono", "DC", "pDC", "Platelet", "HSC", "Plasma", "Treg", "MAIT")
_MODELS = ("scgpt", "geneformer", "uce", "scfoundation", "cellplm", "sccello", "nicheformer")


def large_datasets() -> dict[str, dict[str, dict[str, int]]]:
    """Return three data sets of six batches and twelve labels."""
    return {
        name: {
            "batches": {f"donor {i}": 400 + 10 * i for i in range(6)},
            "labels": {label: 40 + 35 * i for i, label in enumerate(_LABELS)},
        }
        for name in ("lung atlas", "pbmc", "ifnb")
    }


def large_methods() -> dict[str, tuple[str, bool, float, float]]:
    """Return seventeen methods, raw and corrected but for the four controls: thirty embeddings of one seed."""
    models = {name: ("foundation_model", False, 0.5 + 0.03 * i, 0.4) for i, name in enumerate(_MODELS)}
    return {**helpers_report.METHODS, **models}


def write_large_run(root: Path) -> Run:
    """Write the run; pictures are galleries of the first data set and one per embedding of the others, all copies of
    one that is drawn once.
    """
    picture = root.parent / "picture.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_plot(picture, 600, 300)
    with (
        patch.object(helpers_report, "write_plot", lambda path, *_: shutil.copyfile(picture, path)),
        patch.dict(helpers_report.DATASETS, large_datasets(), clear=True),
        patch.dict(helpers_report.METHODS, large_methods(), clear=True),
        patch.dict(helpers_report.PILOTS, clear=True),
        patch.dict(helpers_report.POINTS, clear=True),
        patch.object(helpers_report, "SEEDS", (0,)),
    ):
        return write_run(root, datasets=tuple(large_datasets()), methods=tuple(large_methods()))
