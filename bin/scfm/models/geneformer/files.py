"""Where Geneformer's files lie: a clone of the model repository of any year, or a folder with one model in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scfm.errors import ScfmError
from scfm.models.core.bert import find_model_folder
from scfm.models.core.pickles import require_file
from scfm.models.core.ranks import check_vocabulary, read_token_dictionary
from scfm.text import listing

if TYPE_CHECKING:
    from scfm.models.core.bert import BertConfig

Generation = Literal["V1", "V2"]

#: sets of dictionaries by generation: sub-folder and ending of the file names; gc95M and gc104M hold the same
_SETS: tuple[tuple[Generation, str, str], ...] = (
    ("V2", "", "_gc104M"),
    ("V2", "", "_gc95M"),
    ("V1", "gene_dictionaries_30m", "_gc30M"),
    ("V1", "", "_gc30M"),
    ("V1", "", ""),
)
#: what a folder name says: Geneformer-V1-10M, gf-6L-30M-i2048, Geneformer-V2-316M, gf-12L-95M-i4096_CLcancer ...
_NAMES: tuple[tuple[Generation, str], ...] = (
    ("V1", r"V1|30M|i2048|12L-40M"),
    ("V2", r"V2|95M|104M|316M|i4096|12L-38M|20L-151M"),
)


@dataclass(frozen=True)
class DictionaryFiles:
    """One set of dictionaries; ``mapping`` is None for the code of 2023, which had none."""

    generation: Generation
    tokens: Path
    medians: Path
    mapping: Path | None


def find_model(weights: Path, release: str) -> Path:
    """Return the folder of the model below ``--weights``; see :func:`scfm.models.core.bert.find_model_folder`."""
    return find_model_folder(
        weights,
        release,
        "no Geneformer model (a folder with config.json and model.safetensors or pytorch_model.bin) is there. "
        "--weights must point at the clone of the model repository, or at the model's folder in it.",
    )


def generation_of(folder: Path) -> Generation | None:
    """Return what the name of a model's folder says about its generation; None where it says nothing."""
    name = folder.resolve().name
    said = {generation for generation, pattern in _NAMES if re.search(pattern, name, re.IGNORECASE)}
    return said.pop() if len(said) == 1 else None


def find_dictionaries(weights: Path, folder: Path, config: "BertConfig") -> tuple[DictionaryFiles, dict[str, int]]:
    """Return the dictionaries that fit a model, and the token dictionary.

    A clone holds the dictionaries of both generations, and the wrong ones give plausible garbage. They are checked
    against the vocabulary size of the model, the special tokens of their generation, and the generation in the folder's
    name.

    Raises
    ------
    ScfmError
        No dictionaries are there, or none fits; the sentence says why the likeliest does not.
    """
    sets = _existing_sets(weights, folder)
    if not sets:
        raise ScfmError(
            f"{weights}: no token dictionary is there. Expected geneformer/token_dictionary_gc104M.pkl (V2, older name"
            " gc95M) or geneformer/gene_dictionaries_30m/token_dictionary_gc30M.pkl (V1), as in a clone of the model"
            " repository (git lfs pull)."
        )
    said = generation_of(folder)
    candidates = [s for s in sets if s.generation == said] if said else sets
    if not candidates:
        raise ScfmError(
            f"{folder}: is a {said} model by its name, but only dictionaries of the other generation are there"
            f" ({listing(s.tokens for s in sets)})."
        )
    errors: list[ScfmError] = []
    for files in candidates:
        dictionary = read_token_dictionary(files.tokens)
        try:
            check_vocabulary(dictionary, files.tokens, config.vocab_size, config.path)
            _check_specials(dictionary, files)
        except ScfmError as error:
            errors.append(error)
            continue
        require_file(files.medians)
        return files, dictionary
    raise errors[0]


def _existing_sets(weights: Path, folder: Path) -> list[DictionaryFiles]:
    """List the sets of dictionaries around a model, newest generation first, each place once."""
    places = [p / sub for p in (weights, folder, *list(folder.resolve().parents)[:2]) for sub in ("geneformer", "")]
    found: dict[Path, DictionaryFiles] = {}
    for generation, sub, ending in _SETS:
        for place in places:
            base = place / sub
            token_file, mapping = base / f"token_dictionary{ending}.pkl", base / f"ensembl_mapping_dict{ending}.pkl"
            if token_file.is_file():
                has_mapping = (
                    generation == "V2" or mapping.is_file()
                )  # V1: the mapping is the identity, older clones lack it
                files = DictionaryFiles(
                    generation,
                    token_file,
                    base / f"gene_median_dictionary{ending}.pkl",
                    mapping if has_mapping else None,
                )
                found.setdefault(token_file.resolve(), files)
    return list(found.values())


def _check_specials(dictionary: dict[str, int], files: DictionaryFiles) -> None:
    """Refuse a dictionary whose special tokens are not those of its generation."""
    there = [token for token in ("<cls>", "<eos>") if token in dictionary]
    wanted = ["<cls>", "<eos>"] if files.generation == "V2" else []
    if there != wanted:
        raise ScfmError(
            f"{files.tokens}: has {' and '.join(there) or 'neither <cls> nor <eos>'}, but the file name is that of a"
            f" {files.generation} dictionary, which has {' and '.join(wanted) or 'neither'}. Were files of two"
            " generations mixed?"
        )
