"""``assets/methods.tsv``: which methods and controls exist, and what the pipeline must know about each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scfm.errors import ScfmError
from scfm.registries.reader import ASSETS, read_registry


@dataclass(frozen=True, slots=True)
class Method:
    """One row of ``assets/methods.tsv``; the meaning of each field is written in ``assets/schema_methods.json``."""

    name: str
    title: str
    family: str
    output_type: str
    needs_labels: bool
    holds_out: bool
    starts_from: str
    stochastic: bool
    uses_gpu: bool
    is_control: bool
    reads: tuple[str, ...]
    packages: tuple[str, ...]
    r_packages: tuple[str, ...]
    reference: str
    citation: str
    description: str


def load_methods(path: Path | str | None = None, schema_path: Path | str | None = None) -> dict[str, Method]:
    """Load and check the methods table, ``assets/methods.tsv`` of this checkout by default; see
    :func:`read_registry`.
    """
    rows = read_registry(Path(path) if path else ASSETS / "methods.tsv", schema_path, kind="method")
    return {name: Method(**row) for name, row in rows.items()}


def get_method(name: str, path: Path | str | None = None) -> Method:
    """Return one method of the table.

    Raises
    ------
    ScfmError
        The name is not in the table; the sentence offers the nearest names.
    """
    from scfm.text import did_you_mean

    methods = load_methods(path)
    if name not in methods:
        raise ScfmError(f"Unknown method '{name}'.{did_you_mean(name, methods)} Known: {', '.join(methods)}.")
    return methods[name]
