"""Correct one validated embedding and hand the result to the validation gate as an embedding of its own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import align, labels_of, read_cells
from scfm.embeddings.preparation import PREPARATION, preparation_of
from scfm.embeddings.sidecar import EmbeddingFiles, make_sidecar, write_unchecked
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding
from scfm.task.resources import Stopwatch
from scfm.text import did_you_mean

if TYPE_CHECKING:
    import numpy as np


def find_correction(name: str) -> Callable[..., "np.ndarray"]:
    """Return the function of a correction by its name in the corrections table.

    Raises
    ------
    ScfmError
        There is no file ``scfm/corrections/<name>.py``, or it is no correction.
    """
    known = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in {"__init__", "core", "run"})
    if name not in known:
        raise ScfmError(f"Unknown correction '{name}'.{did_you_mean(name, known)} Known: {', '.join(known)}.")
    module = importlib.import_module(f"scfm.corrections.{name}")
    if not hasattr(module, "correct"):
        raise ScfmError(f"bin/scfm/corrections/{name}.py is no correction: it does not define correct.")
    return module.correct


def settings_of(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a correction: its keyword arguments, overridden by the parameters of that name."""
    arguments = inspect.signature(function).parameters.values()
    defaults = {a.name: a.default for a in arguments if a.kind is inspect.Parameter.KEYWORD_ONLY}
    return {name: params.get(name, default) for name, default in defaults.items()}


def correct_embedding(
    table: Path, parent: dict, obs_path: Path, *, correction: str, params: dict[str, Any], outdir: Path
) -> dict:
    """Write ``<dataset>.<method>.<correction>.<seed>.unchecked.parquet`` and ``.json``.

    Parameters
    ----------
    table, parent
        A validated, raw embedding and its sidecar.
    obs_path
        ``<dataset>.obs.parquet``: batches, labels, and the row order that the sample of
        :func:`~scfm.corrections.core.center` refers to.
    correction
        Name of the correction.
    params
        Parameters of the run; those that the correction names are read.

    Returns
    -------
    The sidecar of the corrected embedding. ``seconds`` is the correction alone.
    """
    if parent["correction"] != "raw":
        raise ScfmError(f"{parent['embedding']} is corrected already; corrections start from a raw embedding.")
    cells = read_cells(obs_path)
    ids, values = read_embedding(table)
    cells = cells[cells.index.isin(ids)]
    values = values[align(ids, cells.index.to_numpy(dtype=object), table)]
    if cells["batch"].isna().any():
        raise ScfmError(
            f"{obs_path}: {int(cells['batch'].isna().sum())} cells have no batch and can't be centred. Preparation"
            " drops such cells; prepare the data set again."
        )
    correct = find_correction(correction)
    settings = settings_of(correct, params)
    watch = Stopwatch()
    corrected = correct(values, cells["batch"].astype(str).to_numpy(dtype=object), labels_of(cells), **settings)
    sidecar = make_sidecar(
        dataset=parent["dataset"],
        method=parent["method"],
        family=parent["family"],
        correction=correction,
        seed=parent["seed"],
        is_control=parent["is_control"],
        output_type=parent["output_type"],
        settings=settings,
        packages=["numpy", "scipy"],
        device="cpu",
        seconds=watch.seconds,
        cells_in=parent["cells_in"],
        n_cells=len(corrected),
        n_dims=corrected.shape[1],
        details={
            "corrected_from": parent["embedding"],
            PREPARATION: preparation_of(obs_path),
            "not_embedded": parent.get("not_embedded", []),
            **({"labels_seen": True} if parent.get("labels_seen") else {}),
        },
    )
    write_unchecked(EmbeddingFiles.of(outdir, sidecar), cells.index.to_numpy(dtype=object), corrected, sidecar)
    return sidecar
