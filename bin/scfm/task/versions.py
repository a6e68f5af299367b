"""``versions.yml``: the packages that did a task's work, with their versions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from scfm.task.resources import versions_of

#: name of an import -> name of its distribution; every package that computes, reads, writes or draws in a task
PACKAGES = {
    "anndata": "anndata",
    "annoy": "annoy",
    "bbknn": "bbknn",
    "decoupler": "decoupler",
    "h5py": "h5py",
    "harmonypy": "harmonypy",
    "igraph": "igraph",
    "jinja2": "jinja2",
    "jsonschema": "jsonschema",
    "lightning": "lightning",
    "matplotlib": "matplotlib",
    "multiqc": "multiqc",
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "pydeseq2": "pydeseq2",
    "pynndescent": "pynndescent",
    "safetensors": "safetensors",
    "scanorama": "scanorama",
    "scanpy": "scanpy",
    "scipy": "scipy",
    "scvi": "scvi-tools",
    "skmisc": "scikit-misc",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "umap": "umap-learn",
    "urllib3": "urllib3",
    "yaml": "pyyaml",
    "zarr": "zarr",
}

_LOADED_BY_CHILDREN: set[str] = set()
_OUTSIDE: dict[str, str] = {}


def loaded_packages(modules: Iterable[str] | None = None) -> list[str]:
    """Return the distributions of :data:`PACKAGES` that this process has imported, sorted.

    Heavy packages are imported inside the functions that need them (``docs/architecture.md``), so what is imported at
    the end of a task is what took part in it.

    Parameters
    ----------
    modules
        Names of imported modules; those of the running process and its children where not given.
    """
    names = set(sys.modules if modules is None else modules)
    found = {distribution for module, distribution in PACKAGES.items() if module in names}
    return sorted(found | _LOADED_BY_CHILDREN if modules is None else found)


def add_loaded(packages: Iterable[str]) -> None:
    """Add the distributions that a child process has imported to those of this process."""
    _LOADED_BY_CHILDREN.update(packages)


def add_versions(versions: Mapping[str, str]) -> None:
    """Add software outside of Python that took part in the task, with its versions."""
    _OUTSIDE.update(versions)


def write_versions(path: Path | str, process: str, packages: Iterable[str]) -> None:
    """Write the versions of packages in nf-core's form: process, package, version.

    Parameters
    ----------
    path
        File to write, ``versions.yml`` in the pipeline.
    process
        Name of the Nextflow process.
    packages
        Names of distributions; Python itself is added, and the software of :func:`add_versions`.
    """
    lines = [f"{json.dumps(process)}:"]
    versions = versions_of(packages) | _OUTSIDE
    lines += [f"    {name}: {json.dumps(version)}" for name, version in sorted(versions.items())]
    Path(path).write_text("\n".join(lines) + "\n")
