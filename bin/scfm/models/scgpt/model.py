"""scGPT (Cui et al., Nature Methods 2024, doi:10.1038/s41592-024-02201-0): inference, written from
``docs/models/scgpt.md``.

A cell is ``<cls>`` followed by its expressed genes; a token is LayerNorm(gene embedding) + value embedding of the
gene's expression bin. There is no position, so the order of genes means nothing. The row of a cell is the last state of
``<cls>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.keyed import bits_at, cell_keys, states_of
from scfm.models.core import genes, tokens
from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.config import check_depth, finite_number, whole_numbers
from scfm.models.core.pickles import require_file
from scfm.models.core.settings import ModelSettings
from scfm.models.scgpt.bins import N_BINS, bin_limits, digits

if TYPE_CHECKING:
    import torch

    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.reader import Chunk

EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class ScGPTSettings(ModelSettings):
    """Settings of scGPT.

    Attributes
    ----------
    max_length
        Longest sequence with ``<cls>``; a longer cell keeps ``max_length - 1`` genes. None = never cut.
    ties
        Bin of values that several bin edges hit: ``random`` (uniform over these bins, as in training) or ``upper`` (the
        highest).
    sampling
        Genes a cut cell keeps: ``random``, or the ``first`` of the file.
    normalize
        Divide the row by its L2 norm, as the official embedding task does.
    """

    max_length: int | None = 1200
    ties: Literal["random", "upper"] = "random"
    sampling: Literal["random", "first"] = "random"
    normalize: bool = True


class ScGPT(EmbeddingModel):
    """scGPT in its zero-shot use: binned values, ``<cls>`` of the last layer, unit length."""

    name = "scgpt"
    Settings = ScGPTSettings
    gene_ids = "symbol"
    fractional = "warn"  # bins are ranks: counts and log-normalised values give the same ones
    ignored_tensors = (
        "decoder.",
        "mvc_decoder.",
        "cls_decoder.",
        "flag_encoder.",
        "bn.",
        "dsbn.",
        "batch_encoder.",
        "grad_reverse_discriminator.",
        "sim.",
    )

    def load(self) -> None:
        """Read ``vocab.json``, ``args.json`` and ``best_model.pt``."""
        self.vocabulary = read_vocabulary(self.weights / "vocab.json")
        args = read_json(require_file(self.weights / "args.json"))
        self._read_args(args)
        checkpoint = self.open(self.weights / "best_model.pt", rename=_plain_name)
        self.n_dims = self.width
        self._build_tables(checkpoint, finite_number(args, "pad_value", self.weights / "args.json", usual=-2.0))
        from scfm.models.core.blocks import TORCH_NAMES, read_layer

        check_depth(checkpoint, "transformer_encoder.layers.", self.n_layers, self.weights / "args.json")
        self.layers = [
            read_layer(
                checkpoint,
                f"transformer_encoder.layers.{i}.",
                TORCH_NAMES,
                width=self.width,
                inner=self.inner,
                eps=EPS,
                place=self.place,
            )
            for i in range(self.n_layers)
        ]

    def _read_args(self, args: dict) -> None:
        """Take the architecture from ``args.json`` and refuse what this code does not compute."""
        path = self.weights / "args.json"
        self.width, self.heads, self.inner, self.n_layers, n_bins = whole_numbers(
            args, dict.fromkeys(("embsize", "nheads", "d_hid", "nlayers", "n_bins"), 1), path, usual={"n_bins": N_BINS}
        )
        if self.width % self.heads:
            raise ScfmError(f"{path}: embsize {self.width} is not a multiple of nheads {self.heads}.")
        if args.get("input_emb_style", "continuous") != "continuous":
            raise ScfmError(
                f"{path}: input_emb_style is '{args['input_emb_style']}'; only 'continuous' is supported, which the"
                " released models use."
            )
        if n_bins != N_BINS:
            self.warn("W-MOD-11", path=path, n_bins=n_bins, used=N_BINS - 1)
        pad = str(args.get("pad_token", "<pad>"))
        for token in ("<cls>", pad):
            if token not in self.vocabulary:
                raise ScfmError(
                    f"{self.weights / 'vocab.json'}: has no token '{token}'. The vocabulary is not the one of this"
                    " checkpoint."
                )
        if self.settings.max_length is not None and self.settings.max_length < 2:
            raise ScfmError(
                f"scgpt: setting max_length={self.settings.max_length} leaves no room for a gene; expected at least 2."
            )

    def _build_tables(self, checkpoint: "Checkpoint", cls_value: float) -> None:
        """Compute once what is the same in every cell: the normed embedding of each gene and the embedding of each
        bin.
        """
        import torch
        import torch.nn.functional as F

        d = self.width

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            return F.layer_norm(x, (d,), checkpoint.take(f"{name}.weight", d), checkpoint.take(f"{name}.bias", d), EPS)

        embedding = checkpoint.take("encoder.embedding.weight", len(self.vocabulary), d, init=0.06)
        self.gene_table = self.place(norm(embedding, "encoder.enc_norm"))
        values = torch.arange(N_BINS, dtype=torch.float32)
        values[0] = cls_value  # row 0: <cls> carries the value of padding; bin 0 never occurs
        hidden = F.relu(
            F.linear(
                values[:, None],
                checkpoint.take("value_encoder.linear1.weight", d, 1),
                checkpoint.take("value_encoder.linear1.bias", d),
            )
        )
        hidden = F.linear(
            hidden,
            checkpoint.take("value_encoder.linear2.weight", d, d),
            checkpoint.take("value_encoder.linear2.bias", d),
        )
        self.value_table = self.place(norm(hidden, "value_encoder.norm"))

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Match symbols exactly; two columns of one symbol both stay, as in the official code."""
        special = {"<pad>", "<cls>", "<eoc>"}
        table = {token: i for token, i in self.vocabulary.items() if token not in special}
        found = genes.look_up(names, table, strip_version=self.settings.strip_version)
        # a draw belongs to cell and gene; a repeated gene gets draws of its own
        found.extra["states"] = states_of(found.ids + genes.occurrence(found.ids) * len(self.vocabulary))
        return found

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Bin the expressed genes of each cell, cut long cells, put ``<cls>`` in front (``bins`` 0 = the value of
        ``<cls>``).
        """
        rows = tokens.detected(chunk.counts, self.genes.known)
        # 64 random bits per value, a function of seed, cell id and gene: the upper half cuts, the lower one breaks ties
        keys = np.repeat(cell_keys(self.seed, chunk.cell_ids, stream="scgpt"), rows.lengths)
        bits = bits_at(keys, self.genes.extra["states"].take(rows.columns))
        kept, offsets = self._cut(rows, bits)
        below, up_to = bin_limits(rows.values.astype(np.float32, copy=False), rows.offsets, kept)
        bins = digits(below, up_to, self.tie_draws(rows, bits, kept) if self.settings.ties == "random" else None)
        ids = self.genes.ids.take(rows.columns.take(kept))
        return tokens.Tokens(
            tokens.surrounded_offsets(offsets, 1),
            {
                "ids": tokens.surround(ids, offsets, before=self.vocabulary["<cls>"]),
                "bins": tokens.surround(bins, offsets, before=0),
            },
            rows.lengths,
        )

    def _cut(self, rows: tokens.Rows, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return flat positions of the values that stay when cells keep at most ``max_length - 1`` genes, and the new
        offsets.
        """
        keep = len(rows.columns) if self.settings.max_length is None else self.settings.max_length - 1
        if (rows.lengths <= keep).all():
            return np.arange(len(rows.columns)), rows.offsets
        if self.settings.sampling == "random":
            return self.choose(rows, bits, keep), tokens.offsets_of(np.minimum(rows.lengths, keep))
        return tokens.take_rows(rows.offsets, np.arange(len(rows.lengths)), np.full(len(rows.lengths), keep))

    def choose(self, rows: tokens.Rows, bits: np.ndarray, keep: int) -> np.ndarray:
        """Return flat positions of the genes that cells keep: those with the smallest draws."""
        return np.flatnonzero(tokens.smallest((bits >> np.uint64(32)).astype(np.uint32), rows.offsets, keep))

    def tie_draws(self, rows: tokens.Rows, bits: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Return a uniform draw in [0, 1) per kept value."""
        return bits.take(kept).astype(np.uint32) * 2.0**-32

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the last state of ``<cls>``, of unit length with ``normalize``."""
        from scfm.models.core.blocks import post_norm_layer
        from scfm.models.core.segments import first_rows

        x = self.gene_table[batch.fields["ids"]] + self.value_table[batch.fields["bins"]]
        for layer in self.layers[:-1]:
            x = post_norm_layer(x, layer, batch.segments, heads=self.heads)
        x = post_norm_layer(
            x, self.layers[-1], batch.segments, heads=self.heads, read=first_rows(batch.segments), fold=True
        ).float()
        return x / x.norm(dim=1, keepdim=True) if self.settings.normalize else x


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read ``vocab.json``: token -> id, the ids being 0, 1, 2 ... without gaps."""
    content = read_json(require_file(path))
    ids = list(content.values()) if isinstance(content, dict) else []
    if not ids or not all(type(i) is int for i in ids) or sorted(ids) != list(range(len(ids))):
        raise ScfmError(
            f"{path}: expected one flat object token -> id whose ids are 0, 1, 2 ... without gaps, each once. The file"
            " is not a scGPT vocabulary."
        )
    return content


def _plain_name(name: str) -> str:
    """Map the three official spellings of the attention projections to one; the tensors are laid out alike."""
    name = name.removeprefix("module.").replace("self_attn._impl.", "self_attn.")
    return name.replace("self_attn.Wqkv.", "self_attn.in_proj_")


MODEL = ScGPT
