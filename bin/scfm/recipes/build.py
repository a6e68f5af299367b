"""Make one AnnData file from files by a recipe.

Only obs columns and the counts of chosen rows are read; the counts go from file to file piece by piece, so that memory
grows neither with the files nor, but for obs, with the selection.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import level_counts
from scfm.io.columns import writable
from scfm.io.counts import tidy, var_of
from scfm.io.csr import CsrWriter
from scfm.io.facts import MatrixFacts, tally
from scfm.io.hdf5 import put_anndata, writing_hdf5
from scfm.io.matrix import Matrix
from scfm.io.store import Store, open_store
from scfm.io.tables import read_json, write_json
from scfm.recipes.counts import counts_errors, matrix_of
from scfm.recipes.frames import finish_obs, join_obs, read_obs
from scfm.recipes.genes import Genes, join_genes, map_genes, read_genes, read_pairs
from scfm.recipes.labels import apply_rules
from scfm.recipes.recipe import Recipe, Source
from scfm.recipes.rows import apply_filters, levels
from scfm.registries.messages import message
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Opened:
    """A source while it is worked on: its file, the rows that are left, their obs, its genes and where its counts
    are.
    """

    spec: Source
    store: Store
    rows: "np.ndarray"
    obs: "pd.DataFrame"
    genes: Genes
    matrix: Matrix
    report: dict[str, Any]


def build(
    recipe: Recipe,
    dataset: str,
    files: Mapping[str, Path],
    outdir: Path,
    *,
    tables: Mapping[str, Path] | None = None,
    records: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Write ``<dataset>.recipe.h5ad`` and ``<dataset>.recipe.json``.

    Parameters
    ----------
    recipe
        From :func:`scfm.recipes.recipe.load_recipe`.
    dataset
        Name of the data set.
    files, tables
        Local path of every source and table, by name. One with ``file:`` in the recipe may be left out.
    outdir
        Folder to write to; it must exist.
    records
        Records of downloads (``*.source.json``) of sources and tables by name; for the report.

    Returns
    -------
    The content of the JSON file.

    Raises
    ------
    ScfmError
        A file, column, gene or count is not what the recipe says.
    """
    records = records or {}
    files, tables = (
        _located(recipe.sources, files, recipe, "source"),
        _located(recipe.tables, tables or {}, recipe, "table"),
    )
    _known(records, [*recipe.sources, *recipe.tables], "record", recipe)
    pairs = {name: read_pairs(tables[name], spec) for name, spec in recipe.tables.items()}
    warnings: list[dict[str, Any]] = []
    with ExitStack() as stack:
        opened = [
            _open(
                spec,
                stack.enter_context(open_store(files[name], Path(files[name]).name)),
                {n: p for n, (p, _) in pairs.items()},
                warnings,
            )
            for name, spec in recipe.sources.items()
        ]
        for source in opened:
            source.report["record"] = _record(records, source.spec.name)
        obs, labels, filters = _choose(recipe, opened, warnings)
        var = join_genes({s.spec.name: s.genes for s in opened}, recipe.genes)
        order = [s.spec.name for s in opened for _ in range(len(s.rows))]
        obs, dropped = finish_obs(obs, recipe, order)
        _write(outdir / f"{dataset}.recipe.h5ad", obs, var, opened)
    report = {
        "dataset": dataset,
        "recipe": recipe.name,
        "description": recipe.description,
        "sources": [s.report for s in opened],
        "tables": [
            {"name": n, "file": Path(tables[n]).name, "rows": rows, "pairs": len(p), "record": _record(records, n)}
            for n, (p, rows) in pairs.items()
        ],
        "filters": filters,
        "labels": labels,
        "n_cells": len(obs),
        "n_genes": len(var),
        "dropped_columns": dropped,
        "warnings": [w | {"dataset": dataset} for w in warnings],
    }
    write_json(outdir / f"{dataset}.recipe.json", report)
    return report


def _known(given: Mapping[str, Path], names: Sequence[str], what: str, recipe: Recipe) -> None:
    """Refuse a path for something the recipe does not name."""
    for name in given:
        if name not in names:
            raise ScfmError(
                f"{recipe.path.name}: --{what} {name}=…: the recipe has none of that name.{did_you_mean(name, names)}"
                f" It has {listing(names) or 'none'}."
            )


def _located(specs: Mapping[str, Any], given: Mapping[str, Path], recipe: Recipe, what: str) -> dict[str, Path]:
    """Return the local path of every source or table."""
    _known(given, list(specs), what, recipe)
    paths = {
        name: given[name] if name in given else recipe.path.parent / spec.file
        for name, spec in specs.items()
        if name in given or spec.file
    }
    lacking = [name for name in specs if name not in paths]
    if lacking:
        raise ScfmError(
            f"{recipe.path.name}: no file is given for {what} {listing(lacking)}; give --{what} {lacking[0]}=path."
        )
    return paths


def _record(records: Mapping[str, Path], name: str) -> Any:
    return read_json(records[name]) if name in records else None


def _open(spec: Source, store: Store, pairs: Mapping[str, "pd.DataFrame"], warnings: list[dict[str, Any]]) -> _Opened:
    """Filter the rows of a source, read their obs, and map its genes."""
    where = f"{store.name} (source '{spec.name}')"
    matrix = matrix_of(store, spec.counts, where=where)
    n_cells, n_genes = matrix.shape
    _check_lengths(store, matrix, where)
    rows, filters, said = apply_filters(n_cells, spec.keep, lambda column: store.column("obs", column), name=where)
    warnings += said
    genes = map_genes(
        *read_genes(store, matrix.source), pairs.get(spec.genes.table) if spec.genes else None, spec.genes, name=where
    )
    if genes.n_renamed_twins:
        warnings.append(message("W-REC-03", where=where, values={"n_genes": genes.n_renamed_twins}))
    report = {
        "name": spec.name,
        "file": store.name,
        "counts": matrix.source,
        "cells_in": n_cells,
        "cells_kept": len(rows),
        "genes_in": n_genes,
        "filters": filters,
    }
    obs, left_out = read_obs(store, spec, rows)
    if left_out:
        reasons = " ".join(left_out.values())
        warnings.append(message("W-REC-04", where=where, reasons=reasons, values={"columns": list(left_out)}))
    return _Opened(spec, store, rows, obs, genes, matrix, report)


def _check_lengths(store: Store, matrix: Matrix, where: str) -> None:
    """Raise where obs or var has another length than the matrix of counts."""
    for size, frame, what in zip(matrix.shape, ("obs", var_of(matrix.source)), ("rows", "columns"), strict=True):
        found = len(store.index(frame))
        if found != size:
            raise ScfmError(
                f"{where}: '{matrix.source}' has {size:,} {what} and {frame} has {found:,}; the file is damaged."
            )


def _choose(
    recipe: Recipe, opened: Sequence[_Opened], warnings: list[dict[str, Any]]
) -> tuple["pd.DataFrame", dict[str, Any] | None, list[dict[str, Any]]]:
    """Label and filter the joined cells; take what is dropped out of every source's rows.

    Returns
    -------
    obs; the report on labels; the report on filters.
    """
    import numpy as np

    obs = join_obs({s.spec.name: s.obs for s in opened})
    source = np.repeat(np.arange(len(opened)), [len(s.rows) for s in opened])
    place = np.concatenate([s.rows for s in opened])
    labels = None
    if recipe.labels:
        labelled = apply_rules(obs, recipe.labels, name=recipe.path.name)
        warnings += labelled.warnings
        obs[recipe.labels.column] = labelled.labels
        labels = {"column": recipe.labels.column, "unmapped": labelled.unmapped}
        if recipe.labels.unmapped == "drop":
            kept = np.flatnonzero(labelled.labels.codes >= 0)
            obs, source, place = obs.iloc[kept], source[kept], place[kept]
    kept, filters, said = apply_filters(
        len(obs), recipe.keep, lambda column: _column(obs, column, recipe), name=f"{recipe.path.name}: joined cells"
    )
    warnings += said
    obs, source, place = obs.iloc[kept].copy(), source[kept], place[kept]
    for number, item in enumerate(opened):
        item.rows = place[source == number]
        item.report["cells_out"] = len(item.rows)
    if labels and recipe.labels:
        codes, names = levels(obs[recipe.labels.column])
        labels["classes"] = level_counts(_texts(codes, names))
    return obs, labels, filters


def _texts(codes: "np.ndarray", names: Sequence[str]) -> "pd.Series":
    import pandas as pd

    return pd.Series([names[i] for i in codes if i >= 0], dtype=object)


def _column(obs: "pd.DataFrame", column: str, recipe: Recipe) -> "pd.Series":
    """Return a column of the joined cells."""
    if column not in obs:
        raise ScfmError(
            f"{recipe.path.name}: keep: there is no column '{column}'.{did_you_mean(column, obs.columns)} Columns: "
            f"{listing(obs.columns, limit=12)}."
        )
    return obs[column].reset_index(drop=True)


def _write(path: Path, obs: "pd.DataFrame", var: "pd.DataFrame", opened: Sequence[_Opened]) -> None:
    """Write the h5ad: frames at once, counts source by source and piece by piece; the file gets its name when it is
    whole.
    """
    import anndata as ad
    import pandas as pd

    frame = pd.DataFrame({c: writable(obs[c]) for c in obs.columns}, index=obs.index)
    with writing_hdf5(path) as file:
        put_anndata(file, ad.AnnData(obs=frame, var=var), compression="gzip")
        writer = CsrWriter(file, len(var))
        for source in opened:
            _append(writer, source, var)
        writer.close()


def _append(writer: CsrWriter, source: _Opened, var: "pd.DataFrame") -> None:
    """Append the counts of one source, and check that they are counts."""
    import numpy as np

    ids = np.asarray([i if i is not None else "" for i in source.genes.ids], dtype=object)
    columns = var.index.get_indexer(ids)
    columns[ids == ""] = -1
    kept = int((columns >= 0).sum())
    source.report["genes_kept"] = kept
    facts = MatrixFacts.of(source.matrix)
    for rows in source.matrix.take(source.rows, columns, len(var)):
        facts = tally(facts, rows.data)
        writer.append(tidy(rows))
    where = f"{source.store.name} (source '{source.spec.name}')"
    errors = counts_errors(facts, where=where) if len(source.rows) else []
    if errors:
        raise ScfmError("\n".join(errors))
    log.info("%s: %d of %d cells, %d of %d genes", where, len(source.rows), facts.shape[0], kept, facts.shape[1])
