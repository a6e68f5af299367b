"""Tiny weights of UCE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scfm.testing.tiny_common import Draw, GeneTable, Sizes, dump
from scfm.testing.tiny_files import save, torch_layers

if TYPE_CHECKING:
    import torch

#: the first gene's token, the first chromosome's, and the rows of the official token table
_FIRST_GENE, _CHROMOSOMES, _ROWS = 4, 143574, 145469


_UCE_FILES = {"4layer": "4layer_model.torch", "33layer": "33l_8ep_1024t_1280.torch"}


def write_uce(folder: Path, genes: GeneTable, draw: Draw, sizes: Sizes, release: str) -> None:
    """Write ``model_files/``: checkpoint, protein file of human, places in the genome, offsets; token numbers are the
    official ones.
    """
    import torch

    top = folder / "model_files"
    symbols = list(dict.fromkeys(symbol.upper() for symbol in genes.symbols))
    rng = draw.rng("genome")
    chromosomes = [*map(str, range(1, 23)), "X"]
    places = zip(
        symbols,
        rng.integers(0, len(chromosomes), len(symbols)).tolist(),
        rng.permutation(10 * len(symbols)).tolist(),
        strict=False,
    )
    top.mkdir(parents=True)
    rows = "".join(f"{symbol},{chromosomes[c]},{10_000 + start},human\n" for symbol, c, start in places)
    (top / "species_chrom.csv").write_text(f"gene_symbol,chromosome,start,species\n{rows}")
    (top / "new_species_protein_embeddings.csv").write_text("species,path\n")
    dump(top / "species_offsets.pkl", {"human": _FIRST_GENE})
    vector = 4 * sizes.width if sizes.width > 100 else 8
    protein = torch.zeros(1).expand(vector)  # only the order of the names is ever read
    save(
        top / "protein_embeddings" / "Homo_sapiens.GRCh38.gene_symbol_to_embedding_ESM2.pt",
        dict.fromkeys(symbols, protein),
    )
    d, out = sizes.width, sizes.width
    inner = 1024 if sizes.width > 100 else 48
    state = (
        {"pos_encoder.pe": _sine_positions(1536, d)} | draw.linear("encoder.0", d, vector) | draw.norm("encoder.2", d)
    )
    state |= torch_layers(draw, "transformer_encoder.layers.", sizes)
    for i, (n_out, n_in) in enumerate(((inner, d), (out, inner), (out, out))):
        state |= draw.linear(f"decoder.{i}.0", n_out, n_in) | draw.norm(f"decoder.{i}.1", n_out)
    state |= (
        draw.linear("decoder.3", out, out)
        | draw.linear("gene_embedding_layer.0", d, vector)
        | draw.norm("gene_embedding_layer.2", d)
    )
    save(top / _UCE_FILES[release], state | draw.normal("pe_embedding.weight", _ROWS, vector, std=1.0))


def _sine_positions(length: int, width: int) -> "torch.Tensor":
    import torch

    angle = np.arange(length)[:, None] * np.exp(np.arange(0, width, 2) * (-np.log(10_000.0) / width))
    table = np.empty((length, 1, width), dtype=np.float32)
    table[:, 0, 0::2], table[:, 0, 1::2] = np.sin(angle), np.cos(angle)[:, : width // 2]
    return torch.from_numpy(table)
