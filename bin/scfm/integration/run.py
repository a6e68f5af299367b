"""Run one method on one data set and write its unchecked embedding."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.graph import CellGraph
from scfm.embeddings.preparation import PREPARATION
from scfm.embeddings.sidecar import EmbeddingFiles, make_sidecar, write_unchecked
from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs
from scfm.io.tables import write_json
from scfm.task.programs import require_r
from scfm.task.resources import Stopwatch
from scfm.task.settings import pick_settings
from scfm.task.versions import add_versions

if TYPE_CHECKING:
    from types import ModuleType

    from scfm.registries.methods import Method


def load_method(name: str) -> "ModuleType":
    """Import the code of a method by its name in the methods table.

    Raises
    ------
    ScfmError
        There is no file ``scfm/integration/<name>.py``, or it is no method.
    """
    try:
        module = importlib.import_module(f"scfm.integration.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"scfm.integration.{name}":
            raise
        raise ScfmError(
            f"Method '{name}' is in the methods table but has no file bin/scfm/integration/{name}.py."
        ) from None
    absent = [part for part in ("integrate", "DEFAULTS") if not hasattr(module, part)]
    if absent:
        raise ScfmError(f"bin/scfm/integration/{name}.py is no method: it does not define {' and '.join(absent)}.")
    return module


def settings_of(method: "Method", params: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a method; those of the method that it starts from follow with its name in front."""
    module = load_method(method.name)
    settings = pick_settings(method.name, module.DEFAULTS, params)
    of_instances = getattr(module, "OF_INSTANCES", {})
    if any(f"{method.name}_{name}" in params for name in of_instances):
        settings |= pick_settings(method.name, of_instances, params)
    first = method.starts_from
    if not first:
        return settings
    before = pick_settings(first, load_method(first).DEFAULTS, params)
    return settings | {f"{first}_{name}": value for name, value in before.items()}


def run_method(
    method: "Method", inputs: MethodInputs, params: dict[str, Any], seed: int, outdir: Path, *, name: str = ""
) -> dict:
    """Run a method and write ``<id>.unchecked.parquet`` (``.graph.npz`` of a graph), ``.json`` and its extras.

    Parameters
    ----------
    method
        Row of the methods table.
    inputs
        The data set.
    params
        All parameters of the run; the method's own are picked from them.
    seed
        Seed of the run.
    outdir
        Where the files are written.
    name
        Name of a configured instance of the method; the method's own by default.

    Returns
    -------
    The sidecar.
    """
    module = load_method(method.name)
    settings = settings_of(method, params)
    preparation = inputs.preparation
    if method.r_packages:
        require_r(method.r_packages, method.title)
    watch = Stopwatch()
    output = module.integrate(inputs, settings, seed)
    seconds = watch.seconds
    add_versions(output.versions)
    details = {**output.details, PREPARATION: preparation}
    if method.holds_out:
        details["labels_seen"] = True
    name = name or method.name
    sidecar = make_sidecar(
        dataset=inputs.dataset,
        method=name,
        family=method.family,
        correction="raw",
        seed=seed,
        is_control=method.is_control,
        output_type=method.output_type,
        settings=settings,
        packages=method.packages,
        device=details.pop("device", "cpu"),
        seconds=seconds,
        cells_in=len(inputs.cell_ids),
        n_cells=len(inputs.cell_ids) if output.values is None else output.values.shape[0],
        n_dims=output.values.shape[1] if output.values is not None and output.values.ndim == 2 else 0,
        warnings=[w | {"method": name} if w["method"] == method.name else w for w in output.warnings],
        details=details,
    )
    sidecar["versions"] |= output.versions
    files = EmbeddingFiles.of(outdir, sidecar)
    for ending, path in output.extras.items():
        target = outdir / f"{files.id}.{ending}"
        if target.is_dir():
            shutil.rmtree(target)
        shutil.move(path, target)
    if output.graph is not None:
        write_json(files.unchecked_sidecar, sidecar)
        CellGraph(inputs.cell_ids, output.graph).write(files.unchecked_graph)
    else:
        write_unchecked(files, inputs.cell_ids, output.values, sidecar)
    return sidecar
