"""GeneCompass's dictionaries and prior knowledge: where they lie, and the tables that a checkpoint may lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from scfm.errors import ScfmError
from scfm.inputs.ensembl import prefix_of
from scfm.models.core.bert import find_model_folder
from scfm.models.core.pickles import load_dict, load_pickle, require_file
from scfm.models.core.ranks import check_vocabulary, gene_tokens, read_token_dictionary
from scfm.text import listing, plural

if TYPE_CHECKING:
    from scfm.models.core.bert import BertConfig

Species = Literal["human", "mouse"]

TOKENS = ("human_mouse_tokens.pickle", "h&m_token1000W.pickle")
SYMBOLS = "Gene_id_name_dict1.pickle"
GENE_LIST = "gene_id_hpromoter.pickle"
MEDIANS = "{}_gene_median_after_filter.pickle"
NAMES = "Gene_id_name_dict_human_mouse.pickle"
HOMOLOGUES = "homologous_hm_token.pickle"
#: folders that hold dictionaries: the fixture's and the repository's, and the ``public`` of third parties
_FOLDERS = ("dict", "public", "prior_knowledge", "prior_knowledge/gene_list", "")
#: knowledge in the order in which the embedding joins it: name in the checkpoint -> folder of the pickles
KNOWLEDGE = {
    "promoter": "promoter_emb",
    "co_exp": "gene_co_express_emb",
    "gene_family": "gene_family",
    "peca_grn": "PECA2vec",
}


def find_model(weights: Path, release: str) -> Path:
    """Return the folder of the model below ``--weights``; see :func:`scfm.models.core.bert.find_model_folder`."""
    return find_model_folder(
        weights,
        release,
        "no GeneCompass model (a folder such as GeneCompass_Base with config.json and pytorch_model.bin) is there. "
        "--weights must point at the folder that holds it, with dict/ and prior_knowledge/ beside it.",
    )


def species_of_id(gene: str) -> Species | None:
    """Return the species of an Ensembl gene id; None for any other text."""
    prefix = prefix_of(gene)
    return None if prefix is None else {"": "human", "MUS": "mouse"}.get(prefix)


@dataclass(frozen=True)
class Dictionaries:
    """What turns gene names and counts into tokens and values.

    Attributes
    ----------
    tokens
        Token dictionary, specials included.
    table
        Ensembl id or symbol -> token, for the genes that the chosen species may use.
    medians
        Median by token, 1 where the gene has none, shape (vocab_size,), float64.
    files
        Name of the file by what it is for, for the sidecar.
    absent
        Names of files that are not there and can be done without, each with what that means.
    mouse_tokens
        Whether a token is a mouse gene, shape (vocab_size,).
    mouse_medians
        File with the medians of mouse genes; not there if it does not exist.
    """

    tokens: dict[str, int]
    table: dict[str, int]
    medians: np.ndarray
    files: dict[str, str]
    absent: list[str]
    mouse_tokens: np.ndarray
    mouse_medians: Path


def find(tops: tuple[Path, ...], *names: str) -> Path:
    """Return the first of some files that lies in one of the known folders, else where it is expected."""
    for name in names:
        for top in tops:
            for folder in _FOLDERS:
                if (path := top / folder / name).is_file():
                    return path
    return tops[0] / ("prior_knowledge" if names[0] in (*TOKENS, HOMOLOGUES) else "dict") / names[0]


def read_dictionaries(tops: tuple[Path, ...], config: "BertConfig", species: Species) -> Dictionaries:
    """Read the dictionaries for one species.

    Human: human genes of the gene list. Mouse: mouse genes, and human ones of the gene list (mouse genes brought to
    human ids).
    """
    path = find(tops, *TOKENS)
    dictionary = read_token_dictionary(path)
    check_vocabulary(dictionary, path, config.vocab_size, config.path)
    if dictionary["<pad>"] != 0:
        raise ScfmError(
            f"{path}: the token of <pad> is {dictionary['<pad>']}, expected 0, with which the model was trained."
        )
    files, absent = {"token_dictionary": path.name}, []
    listed = _gene_list(find(tops, GENE_LIST), absent)
    with_list = {species_of_id(gene) for gene in listed or ()}
    usable = {
        gene: token
        for gene, token in gene_tokens(dictionary).items()
        if (kind := species_of_id(gene))
        and (kind == "human" or species == "mouse")
        and (kind not in with_list or gene in listed)
    }
    table = _symbols(tops, usable, species, absent) | usable
    own = find(tops, MEDIANS.format(species))
    medians = _medians(tops, own, species, dictionary, config.vocab_size)
    mouse = np.zeros(config.vocab_size, bool)
    mouse[[token for gene, token in usable.items() if species_of_id(gene) == "mouse"]] = True
    return Dictionaries(
        dictionary, table, medians, files | {"medians": own.name}, absent, mouse, find(tops, MEDIANS.format("mouse"))
    )


def _gene_list(path: Path, absent: list[str]) -> set | None:
    """Read the genes that preprocessing keeps: a list, a set, or the keys of a dictionary; None where the file is
    absent.
    """
    if not path.exists():
        absent.append(f"{path.name} (without it every gene of the token dictionary is used)")
        return None
    content = load_pickle(path)
    content = np.ravel(content) if isinstance(content, np.ndarray) else content  # one of no axis has no length
    if not isinstance(content, (dict, list, tuple, set, frozenset, np.ndarray)) or not len(content):
        raise ScfmError(f"{path}: holds a {type(content).__name__}, expected a collection of Ensembl ids.")
    genes = {str(gene) for gene in content}
    if not any(species_of_id(gene) for gene in genes):
        raise ScfmError(
            f"{path}: none of its {plural(len(genes), 'entry', 'entries')} is an Ensembl id of human or mouse (such as"
            f" '{next(iter(genes))}')."
        )
    return genes


def _symbols(tops: tuple[Path, ...], usable: Mapping[str, int], species: Species, absent: list[str]) -> dict[str, int]:
    """Return symbol -> token, by the official dictionary; mouse symbols also by the names of the prior knowledge."""
    path, names = find(tops, SYMBOLS), find(tops, NAMES)
    table: dict[str, int] = {}
    if path.exists():
        table = {
            symbol: usable[gene]
            for symbol, gene in load_dict(path).items()
            if isinstance(symbol, str) and isinstance(gene, str) and gene in usable
        }
    elif names.exists():
        absent.append(f"{path.name} (symbols are looked up in {names.name})")
    else:
        absent.append(f"{path.name} (only Ensembl ids can be matched)")
    if names.exists() and (species == "mouse" or not path.exists()):
        for gene, symbol in load_dict(names).items():
            if gene in usable and isinstance(symbol, str) and (species_of_id(gene) == species or not path.exists()):
                table.setdefault(symbol, usable[gene])
    return table


def _medians(
    tops: tuple[Path, ...], own: Path, species: Species, dictionary: Mapping[str, int], size: int
) -> np.ndarray:
    """Return medians by token: those of the species, then those of the other one for genes that it does not list, then
    1.
    """
    other = find(tops, MEDIANS.format("human" if species == "mouse" else "mouse"))
    if not own.exists() and (species == "human" or not other.exists()):
        require_file(own)  # says so
    found = np.ones(size)
    for path in (other, own):
        if not path.exists() or (path is other and species == "human"):
            continue
        content = load_dict(path)
        pairs = [(token, content[gene]) for gene, token in dictionary.items() if gene in content]
        try:
            values = np.array([value for _, value in pairs], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ScfmError(f"{path}: expected Ensembl id -> number ({error}).") from error
        if not pairs or values.ndim != 1 or not ((values > 0) & np.isfinite(values)).all():
            raise ScfmError(
                f"{path}: expected a positive median for genes of the token dictionary;"
                f" {'none is there' if not pairs else 'some are not'}."
            )
        found[[token for token, _ in pairs]] = values
    return found


# ---- what a checkpoint may lack --------------------------------------------------------------------------------------


def read_homologues(path: Path, size: int) -> np.ndarray:
    """Return the token whose knowledge each token uses, shape (vocab_size,), int64, from pairs k -> p[k]: identity, but
    k at p[k].
    """
    pairs = load_dict(path)
    index = np.arange(size)
    try:
        keys, values = (np.array(list(x), dtype=np.int64) for x in (pairs.keys(), pairs.values()))
    except (TypeError, ValueError) as error:
        raise ScfmError(f"{path}: expected token -> token ({error}).") from error
    if min(keys.min(), values.min()) < 0 or max(keys.max(), values.max()) >= size:
        raise ScfmError(
            f"{path}: refers to tokens outside the vocabulary of {size:,}. It belongs to another version of the model."
        )
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):  # later pairs win
        index[value] = key
    return index


def read_knowledge(tops: tuple[Path, ...], kind: str, dictionary: Mapping[str, int], rows: np.ndarray) -> np.ndarray:
    """Build rows of a knowledge table from the pickles symbol -> vector of both species.

    Parameters
    ----------
    tops
        Folders that may hold ``prior_knowledge``.
    kind
        Key of :data:`KNOWLEDGE`.
    dictionary
        Gene -> token.
    rows
        Tokens, shape (n,).

    Returns
    -------
    Shape (n, dimension of the vectors), float32; zeros for special tokens.
    """
    by_token = {token: gene for gene, token in gene_tokens(dictionary).items()}
    symbols = load_dict(require_file(find(tops, NAMES)))
    genes = [by_token.get(int(token)) for token in rows]
    needed = sorted({species_of_id(gene) or "human" for gene in genes if gene})
    vectors = {species: _knowledge_pickle(tops, kind, species) for species in needed}
    found: np.ndarray | None = None
    for row, gene in enumerate(genes):
        if gene is None:
            continue
        path, content = vectors[species_of_id(gene) or "human"]
        if gene not in symbols or symbols[gene] not in content:
            raise ScfmError(
                f"{path}: has no vector for gene '{gene}' (symbol '{symbols.get(gene, 'unknown')}'), which the token"
                " dictionary holds."
            )
        vector = np.asarray(content[symbols[gene]], dtype=np.float32)
        if found is None:
            found = np.zeros((len(rows), vector.size), np.float32)
        if vector.shape != (found.shape[1],) or not np.isfinite(vector).all():
            raise ScfmError(
                f"{path}: the vector of '{symbols[gene]}' has shape {vector.shape} or is not finite; expected"
                f" {found.shape[1]} finite numbers."
            )
        found[row] = vector
    if found is None:
        raise ScfmError(f"{tops[0]}: no gene of the token dictionary can be used, so the {kind} table cannot be built.")
    return found


def _knowledge_pickle(tops: tuple[Path, ...], kind: str, species: str) -> tuple[Path, dict]:
    """Read the pickle of one kind of knowledge and one species; the rest of its name says the number of genes and may
    differ.
    """
    pattern = f"[{species[0].upper()}{species[0]}]{species[1:]}*.pickle"
    for top in tops:
        folder = top / "prior_knowledge" / KNOWLEDGE[kind]
        paths = sorted(folder.glob(pattern))
        if len(paths) > 1:
            raise ScfmError(
                f"{folder}: holds several files for {species} ({listing(p.name for p in paths)}); expected one."
            )
        if paths:
            return paths[0], load_dict(paths[0])
    raise ScfmError(
        f"{tops[0] / 'prior_knowledge' / KNOWLEDGE[kind]}: the checkpoint has no table '{kind}_knowledge', and there is"
        f" no file {species}*.pickle to build it from. Official checkpoints hold the tables; get the whole file, or the"
        " prior knowledge."
    )
