"""The check of a run with ``--reference``: every row of the samplesheet is new cells, and only these are mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scfm.errors import ScfmError
from scfm.inputs.samplesheet import Located
from scfm.query.reading import check_query
from scfm.query.reference import Reference

#: columns that a row may leave out: they are those of the reference
FROM_REFERENCE = ("batch_key", "label_key")
#: columns that ask for what such a run does not do
_NOT_HERE = ("query", "embeddings")


def without_keys(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the samplesheet with the columns of :data:`FROM_REFERENCE` not required."""
    items = dict(schema["items"])
    items["required"] = [name for name in items["required"] if name not in FROM_REFERENCE]
    return {**schema, "items": items}


def mapped_rows(
    rows: Sequence[Mapping[str, str]], params: Mapping[str, Any], located: Located, name: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Check a reference and the new cells of every row.

    Parameters
    ----------
    rows
        From :func:`scfm.inputs.samplesheet.read_samplesheet`.
    params
        All parameters, with defaults; ``reference`` is given.
    located
        Where files lie.
    name
        How messages call the samplesheet.

    Returns
    -------
    Rows of ``datasets.json``, with ``query``, the file of the new cells, and ``reference``; sentences about errors.
    """
    folder = located.find(params["reference"])
    if folder is None:
        return [], [
            f"Parameter --reference: the folder '{params['reference']}' does not exist. Expected"
            " <outdir>/<dataset>/reference of a run with --save_reference."
        ]
    try:
        reference = Reference.open(folder)
    except ScfmError as error:
        return [], [f"Parameter --reference: {error}"]
    found, errors = [], []
    for number, given in enumerate(rows, start=2):
        where = f"{name}: row {number}"
        errors += [
            f"{where}: the column '{column}' has no meaning with --reference: every row is a file of new cells."
            for column in _NOT_HERE
            if column in given
        ]
        row: dict[str, Any] = {key: reference.about[key] for key in FROM_REFERENCE} | dict(given)
        row |= {"query": given.get("h5ad", ""), "reference": params["reference"], "batch_role": "", "embeddings": {}}
        path = located.find(row["query"]) if row["query"] else None
        if path is None:
            errors += [located.not_found(where, "h5ad", row["query"])] if row["query"] else []
            continue
        try:
            row["n_cells"] = check_query(path, row, params, reference.genes)
        except ScfmError as error:
            errors.append(f"{where}, column 'h5ad': {error}")
            continue
        row["n_genes"] = len(reference.genes.names)
        found.append(row)
    return found, errors
