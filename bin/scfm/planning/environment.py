"""Which packages a run lacks, where all steps share one environment: found before the first computation."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from scfm.errors import ScfmError
from scfm.task.programs import require_r
from scfm.task.versions import PACKAGES
from scfm.text import listing, plural

#: distributions that every run requires, whatever its methods and models
CORE = (
    "anndata",
    "h5py",
    "igraph",
    "jinja2",
    "jsonschema",
    "matplotlib",
    "multiqc",
    "numpy",
    "pandas",
    "pyarrow",
    "pyyaml",
    "scanpy",
    "scikit-learn",
    "scipy",
    "umap-learn",
    "zarr",
)
_IMPORTS = {distribution: module for module, distribution in PACKAGES.items()}


def required_packages(required: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return distribution -> titles that require it; the core packages are required by every run.

    Parameters
    ----------
    required
        Title of a method or model -> its distributions (column ``packages`` of its table).
    """
    found: dict[str, list[str]] = {name: ["every run"] for name in CORE}
    for title, packages in required.items():
        for name in packages:
            found.setdefault(name, []).append(title)
    return found


def require_packages(required: Mapping[str, Iterable[str]], has_module: Callable[[str], object] = find_spec) -> None:
    """Raise one sentence with every package that is missing.

    It is an error of the task, not one of the inputs: a task that succeeds is cached, and ``-resume`` would repeat the
    sentence after the packages were installed.

    Parameters
    ----------
    required
        As in :func:`required_packages`.
    has_module
        Whether a top-level module can be imported.

    Raises
    ------
    ScfmError
        A package is missing, and the environment is not a conda environment of this step alone.
    """
    packages = required_packages(required)
    missing = {name: who for name, who in packages.items() if not has_module(_IMPORTS.get(name, name))}
    if not missing or _is_conda():
        return
    users = dict.fromkeys(title for who in missing.values() for title in who)
    raise ScfmError(
        f"The Python environment of this run ({sys.executable}, Python {platform.python_version()}) lacks"
        f" {plural(len(missing), 'package')}: {listing(missing, limit=12)}, required by {', '.join(users)}."
        " Run `make setup` in the pipeline's folder and `. ./env.sh` in this shell, or choose a profile that brings the"
        " software (docker, singularity, conda ...; docs/usage.md)."
    )


def require_r_packages(required: Mapping[str, Iterable[str]]) -> None:
    """Raise one sentence where R, or a package of it, is missing.

    Parameters
    ----------
    required
        Title of a planned method -> packages of R that it calls (column ``r_packages`` of its table).

    Raises
    ------
    SoftwareError
        As :func:`scfm.task.programs.require_r`, unless the environment is a conda environment of this step alone.
    """
    if required and not _is_conda():
        require_r(dict.fromkeys(name for names in required.values() for name in names), " and ".join(required))


def _is_conda() -> bool:
    """Tell whether this is a conda environment, which is made for one step: what others need is not in it."""
    return (Path(sys.prefix) / "conda-meta").is_dir()
