"""Read a query: its cells, and their expression of the reference's variable genes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.contract_genes import read_var
from scfm.inputs.genes import find_names
from scfm.inputs.keys import build_key, placeholders_of, primary_pair, split_key
from scfm.io.counts import find_counts
from scfm.io.matrix import open_matrix
from scfm.io.store import Store, open_store
from scfm.preparation.normalize import log_cp10k
from scfm.query.reference import GeneNames, ReferenceGenes
from scfm.text import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from scipy import sparse

    from scfm.io.facts import MatrixFacts


@dataclass(frozen=True)
class Query:
    """New cells, sorted by id.

    Attributes
    ----------
    cell_ids, batches
        Shape (n_cells,), text.
    labels
        Shape (n_cells,), text, None where a cell has none.
    expression
        log1p of counts per 10,000 of the genes that reference and query have, or counts, for the reference's variable
        genes, shape (n_cells, n_genes); a gene that the query lacks is a column of zeros.
    found
        Which of these genes the query has, shape (n_genes,), bool.
    """

    cell_ids: "np.ndarray"
    batches: "np.ndarray"
    labels: "np.ndarray"
    expression: "sparse.csr_matrix"
    found: "np.ndarray"

    @property
    def overlap(self) -> float:
        """Share of the reference's variable genes that the query has, 0 to 1."""
        return float(self.found.mean())


def match_genes(reference: "ReferenceGenes | GeneNames", var: "pd.DataFrame", row: Mapping[str, Any]) -> "np.ndarray":
    """Return the column of the query of every gene of the reference, shape (n_genes,), -1 where there is none.

    Genes are matched by Ensembl id, else by symbol, else by the name in the index; a name that query or reference have
    twice matches nothing. A column is one gene only: that which matches it by the better name.
    """
    import numpy as np

    found = find_names(var, symbol_column=row.get("gene_symbol_column"), id_column=row.get("gene_id_column"))
    index = var.index.astype(str).to_numpy(dtype=object)
    columns = np.full(len(reference.names), -1)
    for wanted, known in ((reference.ids, found.ids), (reference.symbols, found.symbols), (reference.names, index)):
        if known is not None:
            place = _places(known)
            once = _places(np.where(columns < 0, wanted, ""))
            taken = set(columns[columns >= 0].tolist())
            for name, gene in once.items():
                column = place.get(name, -1)
                columns[gene] = -1 if column in taken else column
    return columns


def _places(names: "np.ndarray") -> dict[str, int]:
    """Return the position of every name that occurs once."""
    seen: dict[str, int] = {}
    twice = set()
    for position, name in enumerate(names):
        if name in seen:
            twice.add(name)
        seen[name] = position
    return {name: position for name, position in seen.items() if name and name not in twice}


def read_query(
    path: Path, row: Mapping[str, Any], genes: ReferenceGenes, params: Mapping[str, Any], *, raw: bool = False
) -> Query:
    """Read a query for a reference.

    Parameters
    ----------
    path
        Its h5ad file or zarr folder, with counts.
    row
        Row of the samplesheet: keys, layer of the counts and columns of gene names are those of the reference.
    genes
        The reference's variable genes.
    params
        ``round_counts`` and ``missing_values``.
    raw
        Whether counts are read in place of log data.

    Raises
    ------
    ScfmError
        A column is missing, a cell has no batch, an id is a duplicate, or there are no counts.
    """
    import numpy as np

    with open_store(path, Path(row["query"]).name) as store:
        ids, batches, labels, facts = _cells(store, row, params)
        var, _ = read_var(store, facts.source)
        columns = match_genes(genes, var, row)
        counted = None if raw else _counted(columns, genes, var, row)
        matrix = _expression(store, facts.source, columns, counted, is_rounded=bool(facts.n_fractional))
    order = np.argsort(ids, kind="stable")
    return Query(ids[order].astype(object), batches[order], labels[order], matrix[order], columns >= 0)


def check_query(
    path: Path, row: Mapping[str, Any], params: Mapping[str, Any], genes: ReferenceGenes | None = None
) -> int:
    """Check ids, keys and counts of a query before anything is computed, and its genes where those of the reference are
    known; return its number of cells. See :func:`read_query` for the errors.
    """
    with open_store(path, Path(row["query"]).name) as store:
        ids, _, _, facts = _cells(store, row, params)
        if genes is not None:
            var, _ = read_var(store, facts.source)
            require_genes(match_genes(genes, var, row) >= 0, params["query_min_genes"], store.name)
    return len(ids)


def require_genes(found: "np.ndarray", least: float, name: str) -> None:
    """Raise :class:`ScfmError` where a query has a smaller share of the reference's variable genes than ``least``."""
    n_found, share = int(found.sum()), float(found.mean())
    if share < least:
        raise ScfmError(
            f"{name} has {n_found:,} of the {len(found):,} variable genes of the reference ({share:.0%}); at least"
            f" {least:.0%} are required (--query_min_genes). Are the gene names of the same kind (symbols,"
            " Ensembl ids) and organism? gene_symbol_column and gene_id_column of the samplesheet name their columns."
        )


def _cells(
    store: Store, row: Mapping[str, Any], params: Mapping[str, Any]
) -> "tuple[np.ndarray, np.ndarray, np.ndarray, MatrixFacts]":
    """Return ids, batches and labels of the cells of a query, and where its counts are."""
    ids = store.index("obs").astype(str)
    twice = len(ids) - len(set(ids))
    if twice:
        raise ScfmError(f"{store.name}: {twice} cell ids occur more than once; every cell needs an id of its own.")
    batch_key, label_key = primary_pair(row)
    gone = placeholders_of(params.get("missing_values"))
    batches = _key(store, batch_key, "batch_key", gone, required=True)
    labels = _key(store, label_key, "label_key", gone, required=False)
    rounding = bool(params.get("round_counts"))
    facts = find_counts(store, row.get("counts_layer"), round_counts=rounding)
    if not facts.is_usable(round_counts=rounding):
        raise ScfmError(
            f"{store.name}: {facts.source} holds no raw counts. New cells are normalised as the reference was, so their"
            " file must hold counts; name the layer in counts_layer."
        )
    return ids, batches, labels, facts


def _key(store: Store, key: str, column: str, gone: frozenset[str], *, required: bool) -> "np.ndarray":
    """Return a key as text per cell, None where it is missing; all None where an optional key has no column."""
    import numpy as np

    known = store.columns("obs")
    parts = split_key(key, known)
    absent = [part for part in parts if part not in known]
    if absent and not required:
        return np.full(store.n_rows("obs"), None, dtype=object)
    if absent:
        raise ScfmError(
            f"{store.name}: obs has no column '{absent[0]}' ({column} of the samplesheet)."
            f"{did_you_mean(absent[0], known)} A query has the batch column of its reference."
        )
    values: np.ndarray = build_key([store.column("obs", part) for part in parts], gone).to_numpy(dtype=object)
    empty = sum(value is None for value in values)
    if required and empty:
        raise ScfmError(
            f"{store.name}: {empty} of {len(values)} cells have no '{key}' ({column}); a cell without a batch can't be"
            " mapped. Remove these cells or give them a batch."
        )
    return values


def _counted(columns: "np.ndarray", genes: ReferenceGenes, var: "pd.DataFrame", row: Mapping[str, Any]) -> "np.ndarray":
    """Return the columns of the query that are genes of the reference, variable (``columns``) or not, ascending.

    The reference's counts per 10,000 are of its genes, without those that its filters dropped or that its file lacks.
    Over all genes of a query, the same cell would lie elsewhere.
    """
    import numpy as np

    others = np.empty(0, dtype=int) if genes.others is None else match_genes(genes.others, var, row)
    both = np.concatenate([columns, others])
    return np.unique(both[both >= 0])


def _expression(
    store: Store, source: str, columns: "np.ndarray", counted: "np.ndarray | None", *, is_rounded: bool
) -> "sparse.csr_matrix":
    """Return the matched columns as log1p of counts per 10,000 of the columns ``counted``, or as counts where these are
    None; cells as in the file.
    """
    import numpy as np
    from scipy import sparse

    matrix, parts = open_matrix(store, source), []
    found = np.flatnonzero(columns >= 0)
    for piece in matrix.take(np.arange(matrix.shape[0])):
        counts = sparse.csr_matrix(piece, dtype=np.float64)
        if is_rounded:
            counts.data = np.rint(counts.data)
        if counted is None:
            parts.append(counts[:, columns[found]])
        else:
            parts.append(log_cp10k(counts[:, counted])[:, np.searchsorted(counted, columns[found])])
    whole = sparse.vstack(parts, format="csc")
    placed = sparse.csc_matrix((matrix.shape[0], len(columns)))
    if len(found):
        pick = sparse.csc_matrix(
            (np.ones(len(found)), (np.arange(len(found)), found)), shape=(len(found), len(columns))
        )
        placed = whole @ pick
    return placed.tocsr()
