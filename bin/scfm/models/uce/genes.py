"""UCE's gene tables: the token of every symbol of a species, and its place in the genome; written from
``docs/models/uce.md``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core.pickles import load_dict, require_file
from scfm.models.core.tensors import read_tensors
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import pandas as pd

#: protein files of the species that the official release ships, in the folder ``protein_embeddings``
PROTEIN_FILES = {
    "human": "Homo_sapiens.GRCh38",
    "mouse": "Mus_musculus.GRCm39",
    "frog": "Xenopus_tropicalis.Xenopus_tropicalis_v9.1",
    "zebrafish": "Danio_rerio.GRCz11",
    "mouse_lemur": "Microcebus_murinus.Mmur_3.0",
    "pig": "Sus_scrofa.Sscrofa11.1",
    "macaca_fascicularis": "Macaca_fascicularis.Macaca_fascicularis_6.0",
    "macaca_mulatta": "Macaca_mulatta.Mmul_10",
}
#: texts that a CSV reader takes as "no value"; a gene may be called NA, a chromosome may not
_MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"]


def find_file(top: Path, name: str) -> Path:
    """Return a file below the weights folder: in ``model_files/``, or directly in it (where --weights names
    ``model_files`` itself).
    """
    inside = top / "model_files" / name
    return inside if inside.exists() or not (top / name).exists() else top / name


def read_gene_tokens(top: Path, species: str) -> dict[str, int]:
    """Return the token of every gene symbol (upper case) of a species.

    A token is the species' offset plus the place of the symbol among the keys of its protein file; keys that differ by
    case only count once, which shifts the ones behind them.
    """
    path = find_file(top, "species_offsets.pkl")
    first = {str(key): value for key, value in load_dict(path).items()}
    if species not in first:
        raise ScfmError(
            f"uce: species '{species}' is not in {path}.{did_you_mean(species, first)} Its species are"
            f" {listing(first, limit=20)}."
        )
    try:
        offset = operator.index(first[species])
    except TypeError as error:
        raise ScfmError(
            f"{path}: the first token of species '{species}' is {first[species]!r}; expected a whole number."
        ) from error
    protein = _protein_file(top, species)
    vectors = read_tensors(protein)
    if not isinstance(vectors, dict) or not vectors:
        raise ScfmError(
            f"{protein}: expected a dictionary gene symbol -> protein vector, found {type(vectors).__name__}."
        )
    symbols = dict.fromkeys(str(key).upper() for key in vectors)
    return {symbol: offset + place for place, symbol in enumerate(symbols)}


def _read_table(path: Path, **how: Any) -> "pd.DataFrame":
    """Read a CSV table as texts; what can't be read is a sentence."""
    import pandas as pd

    try:
        return pd.read_csv(require_file(path), dtype=str, **how)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise ScfmError(
            f"{path}: not readable as a CSV table ({' '.join(str(error).split())[:120]}). Get the file again."
        ) from error


def _protein_file(top: Path, species: str) -> Path:
    """Return the protein file of a species: listed by the user for a new species, else one of the shipped ones."""
    listed = find_file(top, "new_species_protein_embeddings.csv")
    if listed.is_file():
        table = _read_table(listed)
        if not {"species", "path"} <= set(table.columns):
            raise ScfmError(f"{listed}: needs the columns species and path; it has {listing(table.columns) or 'none'}.")
        rows = table.loc[table["species"] == species, "path"]
        if len(rows):
            written = Path(rows.iloc[-1])
            places = [top / written, find_file(top, str(written)), find_file(top, f"protein_embeddings/{written.name}")]
            return require_file(next((p for p in places if p.is_file()), places[0]))
    if species not in PROTEIN_FILES:
        raise ScfmError(
            f"uce: no protein file is known for species '{species}'. A new species needs a row (species, path) in"
            f" {listed}. Shipped: {', '.join(PROTEIN_FILES)}."
        )
    return require_file(find_file(top, f"protein_embeddings/{PROTEIN_FILES[species]}.gene_symbol_to_embedding_ESM2.pt"))


@dataclass(frozen=True)
class Positions:
    """Places of one species' genes in its genome.

    Attributes
    ----------
    place
        Symbol (upper case, as in the file) -> (chromosome code, start).
    names
        Label of every chromosome code, of all species.
    errors
        Symbol -> what is wrong with its row (listed twice, no chromosome).
    path
        The file.
    """

    place: dict[str, tuple[int, int]]
    names: list[str]
    errors: dict[str, str]
    path: Path

    def check(self, symbols: Iterable[str], species: str) -> None:
        """Refuse symbols (upper case) that have no place, or two."""
        errors = {s: self.errors.get(s, "is not in it") for s in symbols if s in self.errors or s not in self.place}
        if errors:
            name, what = next(iter(errors.items()))
            raise ScfmError(
                f"{self.path}: {plural(len(errors), 'gene')} of {species} that the data has cannot be placed in the"
                f" genome (such as '{name}', which {what}). The table must hold every gene of the protein file once,"
                " with chromosome and start."
            )


def read_positions(top: Path, species: str) -> Positions:
    """Read ``species_chrom.csv``. A chromosome's code is its rank among the labels ``species_chromosome`` of the whole
    file.
    """
    import pandas as pd

    path = require_file(find_file(top, "species_chrom.csv"))
    empty = {"chromosome": _MISSING, "start": _MISSING}
    table = _read_table(path, keep_default_na=False, na_values=empty)
    lacking = [c for c in ("gene_symbol", "chromosome", "start", "species") if c not in table.columns]
    if lacking:
        raise ScfmError(f"{path}: the columns {listing(lacking)} are missing; it has {listing(table.columns)}.")
    table["label"] = table["species"] + "_" + table["chromosome"]
    names = sorted(table["label"].dropna().unique())
    own = table[table["species"] == species]
    if own.empty:
        raise ScfmError(
            f"{path}: has no gene of species '{species}'; it has {listing(table['species'].unique(), limit=20)}."
        )
    start = pd.to_numeric(own["start"], errors="coerce")
    bad = own.index[start.isna() | own["label"].isna()]
    errors = dict.fromkeys(own.loc[bad, "gene_symbol"], "has no chromosome or no whole number as start")
    errors |= dict.fromkeys(own.loc[own["gene_symbol"].duplicated(), "gene_symbol"], "is listed more than once")
    good = own.drop(index=bad)
    if good.empty:
        raise ScfmError(f"{path}: no gene of species '{species}' has a chromosome and a whole number as start.")
    codes = good["label"].map({name: code for code, name in enumerate(names)})
    starts = start.drop(index=bad).astype(np.int64)
    place = dict(zip(good["gene_symbol"], zip(codes.tolist(), starts.tolist(), strict=True), strict=True))
    return Positions(place, names, errors, path)
