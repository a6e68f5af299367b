"""Randomly initialised checkpoints in the official on-disk formats, for any list of genes: no download, weights drawn
from a seed.

A folder of such files holds ``RANDOM_WEIGHTS.txt``, so that sidecar and report say what they are. Every tensor is a
function of seed, model and tensor name only. The files serve the demo run, the tests and the benchmarks; an embedding
made with them is a random projection of the tokens.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from scfm.errors import ScfmError
from scfm.testing.tiny_common import Draw, GeneTable, Recipe
from scfm.text import did_you_mean, listing
from scfm.weights.check import RANDOM_MARK

MARK_TEXT = """These weights are random: made by bin/make_tiny_weights.py, not trained on any data.
Embeddings made with them say nothing about the model of this name.
model: {model}
release: {release}
seed: {seed}
genes: {n_genes}
"""


def recipes() -> dict[str, Recipe]:
    """Return the recipe of every model."""
    from scfm.testing import tiny_bert, tiny_torch

    return {**tiny_torch.RECIPES, **tiny_bert.RECIPES}


def make_tiny(
    model: str,
    genes: GeneTable,
    dest: Path | str,
    *,
    seed: int = 0,
    release: str = "",
    official: bool = False,
    **sizes: int | None,
) -> Path:
    """Write randomly initialised weights of a model.

    Parameters
    ----------
    model
        Name, such as ``scgpt``.
    genes
        Vocabulary; see :func:`gene_table` and :func:`read_genes`.
    dest
        The model's folder. It must be new, empty, or hold randomly initialised weights (these are replaced).
    seed
        Seed of all weights.
    release
        One of the recipe's releases; empty = the first.
    official
        Sizes of the released model instead of tiny ones.
    sizes
        Single sizes by name; see :class:`Sizes`.

    Returns
    -------
    The folder.

    Raises
    ------
    ScfmError
        Unknown model or release, impossible sizes, or a folder with other files, which are never overwritten.
    """
    known = recipes()
    if model not in known:
        raise ScfmError(f"Unknown model '{model}'.{did_you_mean(model, known)} Known: {', '.join(known)}.")
    recipe = known[model]
    release = release or recipe.releases[0]
    if release not in recipe.releases:
        raise ScfmError(
            f"{model} has no release '{release}'.{did_you_mean(release, recipe.releases)} It has"
            f" {', '.join(recipe.releases)}."
        )
    base = recipe.official.get(release, recipe.official[recipe.releases[0]]) if official else recipe.tiny
    dest = Path(dest)
    _check_free(dest)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}.") as scratch:
        folder = Path(scratch) / "files"
        folder.mkdir()
        (folder / RANDOM_MARK).write_text(MARK_TEXT.format(model=model, release=release, seed=seed, n_genes=len(genes)))
        recipe.write(folder, genes, Draw(seed, model), base.changed(sizes), release)
        if dest.exists():
            os.replace(dest, Path(scratch) / "old")
        os.replace(folder, dest)
    return dest


def _check_free(dest: Path) -> None:
    """Refuse a folder that holds anything but randomly initialised weights."""
    if dest.exists() and not dest.is_dir():
        raise ScfmError(f"{dest}: is a file; the weights of a model are a folder.")
    if dest.is_dir() and not (dest / RANDOM_MARK).is_file() and (there := sorted(p.name for p in dest.iterdir())):
        raise ScfmError(
            f"{dest}: holds {listing(there)} and no {RANDOM_MARK}. Randomly initialised weights never replace other"
            " files; name another folder."
        )
