"""Randomly initialised checkpoints in the official on-disk formats, for any list of genes: no download, weights drawn
from a seed.

A folder of such files holds ``RANDOM_WEIGHTS.txt``, so that sidecar and report say what they are. Every tensor is a
function of seed, model and tensor name only. The files serve the demo run, the tests and the benchmarks; an embedding
made with them is a random projection of the tokens.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.inputs.ensembl import is_ensembl, without_version
from scfm.text import plural

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GeneTable:
    """Genes of a vocabulary: unique symbols, and the Ensembl id of each."""

    symbols: tuple[str, ...]
    ensembl: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def by_id(self) -> dict[str, str]:
        """Ensembl id -> symbol, ids in lexical order (where two symbols share an id, the first one)."""
        pairs: dict[str, str] = {}
        for gene, symbol in zip(self.ensembl, self.symbols, strict=True):
            pairs.setdefault(gene, symbol)
        return dict(sorted(pairs.items()))


def invented_id(symbol: str) -> str:
    """Return an Ensembl-like id for a symbol: a function of the symbol alone, and longer than any real id.

    Examples
    --------
    >>> invented_id("ACTB") == invented_id("ACTB"), len(invented_id("ACTB"))
    (True, 19)
    """
    digest = int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "little")
    return f"ENSG9{digest % 10**14:014d}"


def gene_table(names: Iterable[str | tuple[str, str]]) -> GeneTable:
    """Build a gene table from symbols, Ensembl ids, or pairs (symbol, Ensembl id); repeated symbols count once.

    A symbol without an id gets an invented one (:func:`invented_id`); where only ids are given they are the symbols,
    too.
    """
    pairs: dict[str, str] = {}
    for name in names:
        symbol, gene = (name, "") if isinstance(name, str) else name
        symbol, gene = symbol.strip(), without_version(gene.strip())
        if not gene:
            gene = without_version(symbol) if is_ensembl(symbol) else invented_id(symbol)
        if symbol:
            pairs.setdefault(symbol, gene)
    if not pairs:
        raise ScfmError("The list of genes is empty; a model needs at least one gene.")
    return GeneTable(tuple(pairs), tuple(pairs.values()))


def read_genes(path: Path | str) -> GeneTable:
    """Read one gene a line: a symbol or an Ensembl id, or ``symbol<TAB>ensembl_id``; empty lines and lines with ``#``
    in front are left out.
    """
    path = Path(path)
    if not path.is_file():
        raise ScfmError(f"{path}: the file with the genes does not exist.")
    try:
        lines = [
            line.split("\t")
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip() and not line.startswith("#")
        ]
    except UnicodeDecodeError as error:
        raise ScfmError(f"{path}: not a text file; expected one gene a line, or symbol<TAB>ensembl_id.") from error
    if wide := [line for line in lines if len(line) > 2]:
        raise ScfmError(
            f"{path}: {plural(len(wide), 'line')} have more than two columns (such as '{' '.join(wide[0])[:60]}');"
            " expected one gene a line, or symbol<TAB>ensembl_id."
        )
    if lines and [part.strip().lower() for part in lines[0]] in (
        ["symbol", "ensembl_id"],
        ["symbol"],
        ["gene_symbol"],
        ["ensembl_id"],
    ):
        lines = lines[1:]
    return gene_table(line[0] if len(line) == 1 else (line[0], line[1]) for line in lines)


# ---- random tensors --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draw:
    """Seeded tensors by name: a tensor depends on seed, scope (the model) and its name only."""

    seed: int
    scope: str

    def rng(self, name: str) -> np.random.Generator:
        """Return the generator of a name."""
        key = hashlib.blake2b(f"{self.seed}\x1f{self.scope}\x1f{name}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))

    def normal(self, name: str, *shape: int, std: float = 0.5) -> "dict[str, torch.Tensor]":
        """Return ``{name: tensor}``, normal around 0."""
        import torch

        return {name: torch.from_numpy(self.rng(name).standard_normal(shape, dtype=np.float32)).mul_(std)}

    def linear(self, name: str, n_out: int, n_in: int, joint: str = ".") -> "dict[str, torch.Tensor]":
        """Return weight and bias of a linear layer that keeps the size of its input."""
        return self.normal(f"{name}{joint}weight", n_out, n_in, std=n_in**-0.5) | self.normal(
            f"{name}{joint}bias", n_out, std=0.1
        )

    def norm(self, name: str, size: int) -> "dict[str, torch.Tensor]":
        """Return gain (around 1) and shift of a norm."""
        gain = self.normal(f"{name}.weight", size, std=0.1)
        gain[f"{name}.weight"] += 1.0
        return gain | self.normal(f"{name}.bias", size, std=0.1)

    def medians(self, genes: Iterable[str]) -> dict[str, float]:
        """Return a positive number per gene, 0.5 to 4, rounded to six digits."""
        return {gene: round(0.5 + 3.5 * self.rng(f"median {gene}").random(), 6) for gene in genes}


def torch_layer(draw: Draw, prefix: str, width: int, inner: int, *, qkv: str = "in_proj_") -> "dict[str, torch.Tensor]":
    """Return a layer named as by ``torch.nn.TransformerEncoderLayer``; ``qkv`` may be ``Wqkv.``."""
    return (
        draw.linear(f"{prefix}self_attn.{qkv[:-1]}", 3 * width, width, qkv[-1])
        | draw.linear(f"{prefix}self_attn.out_proj", width, width)
        | draw.linear(f"{prefix}linear1", inner, width)
        | draw.linear(f"{prefix}linear2", width, inner)
        | draw.norm(f"{prefix}norm1", width)
        | draw.norm(f"{prefix}norm2", width)
    )


def dump(path: Path, content: Any, *, protocol: int = 4) -> None:
    """Pickle plain data; with protocol 2, NumPy scalars are named as NumPy 1 names them, as in files of those years."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = pickle.dumps(content, protocol=protocol)
    path.write_bytes(raw.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n") if protocol == 2 else raw)


# ---- sizes and recipes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Architecture of a checkpoint.

    Attributes
    ----------
    width, heads, layers, inner
        Hidden size, attention heads, layers, width of the feed-forward.
    max_length
        Positions (models without positions: nothing).
    """

    width: int = 32
    heads: int = 4
    layers: int = 2
    inner: int = 64
    max_length: int = 256

    def changed(self, changes: dict[str, int | None]) -> "Sizes":
        """Return these sizes with some replaced; None keeps one. Sizes that no model can have are an error."""
        new = replace(self, **{key: value for key, value in changes.items() if value is not None})
        if bad := [f.name for f in fields(new) if getattr(new, f.name) < 1]:
            raise ScfmError(f"{', '.join(bad)} must be at least 1.")
        if new.width % new.heads:
            raise ScfmError(f"width {new.width} is not a multiple of heads {new.heads}.")
        return new


@dataclass(frozen=True)
class Recipe:
    """How the files of a model are made.

    Attributes
    ----------
    write
        ``write(folder, genes, draw, sizes, release)``.
    releases
        File releases, the usual one first.
    tiny
        Sizes of a randomly initialised model.
    official
        Sizes of the released models by release; of ``releases[0]`` where the layout of the file makes no other model.
    """

    write: Callable[[Path, GeneTable, Draw, Sizes, str], None]
    releases: tuple[str, ...]
    tiny: Sizes
    official: dict[str, Sizes]
