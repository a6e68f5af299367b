"""What kind of gene ids a data set has, and both symbols and Ensembl ids where they are known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.inputs.ensembl import canonical, is_ensembl, organism_of, organism_with, prefix_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import pandas as pd

ENSEMBL, SYMBOL, UNKNOWN = "ensembl", "symbol", "unknown"
ORGANISM_ALIASES = {
    "homo sapiens": "human",
    "hs": "human",
    "9606": "human",
    "ncbitaxon:9606": "human",
    "mus musculus": "mouse",
    "mm": "mouse",
    "10090": "mouse",
    "ncbitaxon:10090": "mouse",
    "rattus norvegicus": "rat",
    "danio rerio": "zebrafish",
    "sus scrofa": "pig",
    "macaca mulatta": "macaque",
}
SYMBOL_COLUMNS = (
    "gene_symbol",
    "gene_symbols",
    "feature_name",
    "gene_name",
    "gene_names",
    "symbol",
    "symbols",
    "gene_short_name",
    "hgnc_symbol",
    "gene",
)
ID_COLUMNS = ("gene_id", "gene_ids", "ensembl_id", "ensembl_ids", "ensembl", "feature_id", "ensembl_gene_id", "ensg")
#: a column is taken for what it claims to be when this share of its non-empty values looks so
MIN_SHARE = 0.5
#: below this share of genes with a usable id a data set can't be mapped at all
MIN_MAPPED = 0.1

#: at this share of genes a second species is no accident
MIN_SPECIES = 0.05

# things that look like a word but name no gene: counters, probes, peaks, transcripts of arrays
_NOT_A_GENE = re.compile(
    r"^(gene|feature|var|g|x|v|row|col|index|probe|transcript|unnamed)[ _.:-]?\d+$"
    r"|^peak[ _.:-]\d+$|^ILMN_\d+$|^\d.*_at$|^chr[\dXYMT]+[:_-]\d+|^(nan|none|null|na)$",
    re.IGNORECASE,
)
#: reference genomes that Cell Ranger puts before gene names of mixed samples
_GENOME = re.compile(r"^(GRCh3[78]|hg19|hg38|GRCm3[89]|mm9|mm10|mm39|Rnor6|rn[67]|GRCz1[01])[_-]+(?=.)", re.IGNORECASE)
_GENOMES = {"grch": "human", "hg": "human", "grcm": "mouse", "mm": "mouse", "rn": "rat", "grcz": "zebrafish"}
_SYMBOL = re.compile(r"^(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9._@/:()+-]{0,39}$")


def classify_id(text: str) -> str:
    """Return ``ensembl``, ``symbol`` or ``unknown`` for one id.

    Examples
    --------
    >>> [classify_id(t) for t in ("ENSG00000010610.9", "ENSMUSG00000023274", "CD4", "HLA-DRA", "gene_12", "1017", "")]
    ['ensembl', 'ensembl', 'symbol', 'symbol', 'unknown', 'unknown', 'unknown']
    """
    text = str(text).strip()
    if is_ensembl(text):
        return ENSEMBL
    if _NOT_A_GENE.match(text) or not _SYMBOL.match(text):
        return UNKNOWN
    return SYMBOL


def classify_ids(ids: "Iterable[str]") -> "np.ndarray":
    """Return the kind of every id, as :func:`classify_id` does, shape (n_genes,)."""
    import numpy as np

    return np.asarray([classify_id(i) for i in ids], dtype=object)


def normal_organism(text: str | None) -> str:
    """Return the common name of an organism in lower case; unknown ones come back as given."""
    name = (text or "").strip().lower().replace("_", " ")
    return ORGANISM_ALIASES.get(name, name)


def species_shares(names: "Iterable[str]") -> dict[str, float]:
    """Return the share of genes of every species that prefixes or Ensembl ids tell, largest first.

    Examples
    --------
    >>> species_shares(["GRCh38_CD4", "mm10___Cd4", "CD8A", "ENSMUSG00000023274"])
    {'mouse': 0.5, 'human': 0.25}
    """
    counts: dict[str, int] = {}
    n = 0
    for n, name in enumerate(names, start=1):  # noqa: B007  # the number of names is used below
        text = str(name).strip()
        genome = _GENOME.match(text)
        if genome:
            start = genome.group(1).casefold()
            species = next(s for prefix, s in _GENOMES.items() if start.startswith(prefix))
        elif is_ensembl(text):
            species = organism_with(prefix_of(text) or "")
        else:
            continue
        counts[species] = counts.get(species, 0) + 1
    order = sorted((s for s in counts if s), key=lambda s: (-counts[s], s))
    return {s: counts[s] / n for s in order}


@dataclass(frozen=True, slots=True)
class GeneNames:
    """Symbols and Ensembl ids of the genes of a data set.

    Attributes
    ----------
    symbols, ids
        Shape (n_genes,), empty text where a gene has none; None where the data set has none at all.
    symbols_from, ids_from
        ``var index``, the name of a column, or empty.
    n_mapped
        Genes with a symbol or an id.
    organism
        Organism by the Ensembl prefix, or empty.
    """

    symbols: "np.ndarray | None"
    ids: "np.ndarray | None"
    symbols_from: str
    ids_from: str
    n_mapped: int
    organism: str


def _clean(values: "pd.Series | np.ndarray") -> "np.ndarray":
    """Return values as stripped text, empty for missing."""
    import numpy as np
    import pandas as pd

    series = pd.Series(np.asarray(values, dtype=object))
    text = series.where(series.notna(), "").astype(str).str.strip()
    return text.where(~text.isin(["nan", "None", "<NA>", "NA"]), "").to_numpy(dtype=object)


def _share(values: "np.ndarray", kinds: tuple[str, ...]) -> float:
    """Return the share of non-empty values that are of one of the kinds; 0 where all are empty."""
    filled = [v for v in values if v]
    return sum(classify_id(v) in kinds for v in filled) / len(filled) if filled else 0.0


def _pick(var: "pd.DataFrame", named: str | None, usual: tuple[str, ...], kind: str) -> tuple[str, "np.ndarray | None"]:
    """Return name and values of the column of one kind: the named one, else the index, else one with a usual name."""
    if named:
        if named not in var.columns:
            raise ScfmError(f"var has no column '{named}'.")
        return named, _clean(var[named])
    index = _clean(var.index)
    if _share(index, (kind,)) >= MIN_SHARE:
        return "var index", index
    lower = {str(c).lower(): c for c in var.columns}
    for name in usual:
        if name in lower:
            values = _clean(var[lower[name]])
            if _share(values, (kind,) if kind == ENSEMBL else (SYMBOL, ENSEMBL)) >= MIN_SHARE:
                return str(lower[name]), values
    return "", None


def symbols_or_names(var: "pd.DataFrame") -> "np.ndarray":
    """Return the symbol of every gene of a prepared data set, its name where it has none, shape (n_genes,), text."""
    names = var.index.to_series()
    symbols = var["gene_symbol"].astype(object) if "gene_symbol" in var else names
    found: "np.ndarray" = symbols.where(symbols.notna() & (symbols != ""), names).astype(str).to_numpy(dtype=object)
    return found


def find_names(var: "pd.DataFrame", *, symbol_column: str | None = None, id_column: str | None = None) -> GeneNames:
    """Find symbols and Ensembl ids of the genes.

    Parameters
    ----------
    var
        Frame of the genes; its index is looked at first, then columns with usual names.
    symbol_column, id_column
        Columns named by the user; they are taken whatever their values look like.

    Raises
    ------
    ScfmError
        A named column does not exist.
    """
    import numpy as np

    symbols_from, symbols = _pick(var, symbol_column, SYMBOL_COLUMNS, SYMBOL)
    ids_from, ids = _pick(var, id_column, ID_COLUMNS, ENSEMBL)
    if symbols is not None:
        symbols = np.asarray(
            [s if classify_id(s) == SYMBOL or (s and symbol_column) else "" for s in symbols], dtype=object
        )
    if ids is not None:
        ids = np.asarray([canonical(i) if is_ensembl(i) or (i and id_column) else "" for i in ids], dtype=object)
    usable = np.zeros(len(var), dtype=bool)
    for values in (symbols, ids):
        if values is not None:
            usable |= classify_ids(values) != UNKNOWN
    organism = organism_of(ids if ids is not None else ())
    return GeneNames(symbols, ids, symbols_from, ids_from, int(usable.sum()), organism)
