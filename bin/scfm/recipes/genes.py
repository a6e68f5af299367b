"""Genes of one or several sources: restricted and renamed by a table of pairs, then joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.counts import var_of
from scfm.io.store import Store
from scfm.recipes.recipe import GeneMap, Table
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FEATURE_NAME = "feature_name"


@dataclass(frozen=True, slots=True)
class Genes:
    """Genes of a source, in the order of its counts.

    Attributes
    ----------
    ids
        Id that each gene gets, shape (n_genes,), unique; None for a gene that is left out.
    names
        Symbol per gene, shape (n_genes,); the id where the file has none.
    n_renamed_twins
        Genes that had the id of another and got a number behind it.
    """

    ids: "np.ndarray"
    names: "np.ndarray"
    n_renamed_twins: int = 0


def read_pairs(path: Path | str, spec: Table) -> tuple["pd.DataFrame", int]:
    """Read a table of gene pairs by the rule of the recipe.

    Rows that lack a required value are dropped, then all but the first row per value of ``first_per``.

    Returns
    -------
    The columns by their names in the recipe, text, missing as None; the number of rows in the file.

    Raises
    ------
    ScfmError
        The file does not exist, is cut short (the end mark is absent), lacks a column, or has a row of another length
        than the header.
    """
    import csv

    import pandas as pd

    path = Path(path)
    where = f"{path.name} (table '{spec.name}')"
    if not path.is_file():
        raise ScfmError(f"{where}: the file does not exist.")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise ScfmError(f"{where}: not text in UTF-8 ({error.reason} at byte {error.start}).") from error
    if spec.end_mark:
        if not lines or lines[-1].strip() != spec.end_mark:
            raise ScfmError(
                f"{where}: truncated: the last line is not '{spec.end_mark}' but '{lines[-1][:60] if lines else ''}'."
                " Fetch it again; if you exported it by hand and know that it is whole, write that line at its end."
            )
        lines = lines[:-1]
    header, *body = list(csv.reader(lines, delimiter=spec.separator)) or [[]]
    odd = [number for number, row in enumerate(body, start=2) if row and len(row) != len(header)]
    if odd:
        raise ScfmError(
            f"{where}: row {odd[0]} has {len(body[odd[0] - 2])} values, the header has {len(header)} columns; expected"
            f" a table separated by '{spec.separator}'."
        )
    frame = pd.DataFrame([row for row in body if row], columns=header, dtype=object)
    absent = [c for c in spec.columns.values() if c not in frame]
    if absent:
        raise ScfmError(
            f"{where}: there is no column {listing(absent)}.{did_you_mean(absent[0], frame.columns)} Columns: "
            f"{listing(frame.columns, limit=12)}."
        )
    twice = [c for c in spec.columns.values() if header.count(c) > 1]
    if twice:
        raise ScfmError(f"{where}: the column {listing(twice)} occurs more than once in the header.")
    pairs = pd.DataFrame({name: frame[column].str.strip() for name, column in spec.columns.items()})
    pairs = pairs.where(pairs != "", None)
    pairs = pairs.dropna(subset=list(spec.required)) if spec.required else pairs
    if spec.first_per:
        pairs = pairs.drop_duplicates(spec.first_per, keep="first")
    if pairs.empty:
        raise ScfmError(f"{where}: no row has a value in all of {listing(spec.required or spec.columns)}.")
    return pairs.reset_index(drop=True), len(frame)


def read_genes(store: Store, source: str) -> tuple["np.ndarray", "np.ndarray"]:
    """Return ids and symbols of the genes of a count matrix (``raw``, ``X`` or ``layers/<name>``), shape (n_genes,)
    each.

    Symbols are ``feature_name`` of the matrix's own frame, else of ``var`` by id, else the ids.
    """
    import numpy as np
    import pandas as pd

    ids = store.index(var_of(source))
    for frame in dict.fromkeys((var_of(source), "var")):
        if FEATURE_NAME in store.columns(frame):
            values = store.column(frame, FEATURE_NAME).astype(object).to_numpy()
            known = pd.Series(values, index=store.index(frame))
            known = known[~known.index.duplicated()].reindex(ids)
            return ids, np.where(known.isna(), ids, known.to_numpy(dtype=object)).astype(object)
    return ids, ids.copy()


def map_genes(
    ids: "np.ndarray", names: "np.ndarray", pairs: "pd.DataFrame | None", spec: GeneMap | None, *, name: str
) -> Genes:
    """Restrict and rename genes by a table of pairs, and make ids unique.

    A gene in several rows of the table takes the id of the last one. Where several genes end with one id,
    the first keeps it and the others get ``-1``, ``-2`` … behind it.

    Parameters
    ----------
    ids, names
        Ids and symbols, shape (n_genes,).
    pairs
        From :func:`read_pairs`; with ``spec``, or None for all genes as they are.
    spec
        Which columns.
    name
        How messages call the source.

    Raises
    ------
    ScfmError
        No gene is in the table.
    """
    import numpy as np

    if spec is None or pairs is None:
        new = np.asarray(ids, dtype=object)
    else:
        complete = pairs.dropna(subset=[spec.source, spec.target])
        partner = dict(zip(complete[spec.source], complete[spec.target], strict=True))
        new = np.asarray([partner.get(i) for i in ids], dtype=object)
        if not any(i is not None for i in new):
            raise ScfmError(
                f"{name}: none of the {plural(len(ids), 'gene')} ({listing(ids, limit=3)}) is in the column"
                f" '{spec.source}' of the table '{spec.table}' ({listing(complete[spec.source], limit=3)})."
            )
    unique, n_twins = _unique(new)
    return Genes(unique, np.asarray(names, dtype=object), n_twins)


def _unique(ids: "np.ndarray") -> tuple["np.ndarray", int]:
    """Return ids with a number behind every one that was there before, and how many got one; None stays."""
    import numpy as np

    taken = {i for i in ids if i is not None}
    seen: dict[str, int] = {}
    result = []
    for gene in ids:
        if gene is None or gene not in seen:
            seen.setdefault(gene, 0)
            result.append(gene)
            continue
        new = gene
        while new in taken:
            seen[gene] += 1
            new = f"{gene}-{seen[gene]}"
        taken.add(new)
        result.append(new)
    return np.asarray(result, dtype=object), sum(a is not b for a, b in zip(ids, result, strict=True))


def join_genes(genes: Mapping[str, Genes], how: str) -> "pd.DataFrame":
    """Return the genes of the result.

    Parameters
    ----------
    genes
        Per source, in the order of the recipe.
    how
        ``intersection`` or ``union``.

    Returns
    -------
    Frame with the ids as index and ``feature_name`` (from the first source that has the gene). Sorted by id where there
    are several sources, in the order of the file where there is one.

    Raises
    ------
    ScfmError
        No gene is left.
    """
    import pandas as pd

    frames = {source: _known(g) for source, g in genes.items()}
    first, *others = frames.values()
    if not others:
        ids: Sequence[str] = list(first.index)
    elif how == "union":
        ids = sorted(set().union(*(f.index for f in frames.values())))
    else:
        ids = sorted(set(first.index).intersection(*(f.index for f in others)))
    if not ids:
        shown = "; ".join(f"{source}: {listing(f.index, limit=3)}" for source, f in frames.items())
        raise ScfmError(
            f"The sources have no gene in common ({shown}). Give them ids of one kind, or map them by a table."
        )
    names = pd.concat(list(frames.values()))
    names = names[~names.index.duplicated(keep="first")].reindex(ids)
    return pd.DataFrame({FEATURE_NAME: names.to_numpy(dtype=object)}, index=pd.Index(ids, dtype=object))


def _known(genes: Genes) -> "pd.Series":
    """Return symbols by id of the genes that are not left out."""
    import pandas as pd

    keep = [i is not None for i in genes.ids]
    return pd.Series(genes.names[keep], index=pd.Index(genes.ids[keep], dtype=object), dtype=object)
