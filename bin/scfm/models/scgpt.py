"""scGPT (Cui et al., Nature Methods 2024, doi:10.1038/s41592-024-02201-0): inference, written from ``docs/models/scgpt.md``.

A cell is ``<cls>`` followed by its expressed genes; a token is LayerNorm(gene embedding) + value embedding of the gene's expression
bin. There is no position, so the order of genes means nothing. The row of a cell is the last state of ``<cls>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from scfm.errors import ScfmError
from scfm.models import genes, tokens
from scfm.models.base import Batch, EmbeddingModel
from scfm.models.keyed import cell_keys, keyed_bits, keyed_uniform
from scfm.models.pickles import require_file
from scfm.models.settings import ModelSettings
from scfm.tables import read_json

if TYPE_CHECKING:
    import torch

    from scfm.models.checkpoint import Checkpoint
    from scfm.models.reader import Chunk

#: bins of the released models; the official collator has it hard-coded
N_BINS = 51
EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class ScGPTSettings(ModelSettings):
    """Settings of scGPT.

    Attributes
    ----------
    max_length
        Longest sequence with ``<cls>``; a longer cell keeps ``max_length - 1`` genes. None = never cut.
    ties
        Bin of values that several bin edges hit: ``random`` (uniform over these bins, as in training) or ``upper`` (the highest).
    sampling
        Genes a cut cell keeps: ``random``, or the ``first`` of the file.
    normalize
        Divide the row by its L2 norm, as the official embedding task does.
    """

    max_length: int | None = 1200
    ties: Literal["random", "upper"] = "random"
    sampling: Literal["random", "first"] = "random"
    normalize: bool = True


def bin_limits(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count, for every value, the quantile edges of its row that lie below it, and those that lie at or below it.

    The edges are the quantiles 0, 1/49 ... 1 of the row with linear interpolation, in float64 from float32 values, as NumPy
    computes them. An edge lies between two neighbours of the sorted row, so it is enough to know where a run of equal values
    starts and ends; nothing is searched.

    Parameters
    ----------
    values
        Positive values, shape (n_values,), float32.
    offsets
        Row limits; no row is empty of need, but may be.

    Returns
    -------
    ``below`` and ``up_to``, shape (n_values,), int64, 0 <= below <= up_to <= 50.
    """
    order, ordered = _sort_rows(values, offsets)
    lengths = np.diff(offsets)
    rows = np.flatnonzero(lengths)
    start, last = offsets[:-1][rows, None], (lengths[rows] - 1)[:, None]
    position = np.linspace(0.0, 1.0, N_BINS - 1)[None, :] * last
    floor = np.floor(position)
    t = position - floor
    left = start + floor.astype(np.int64)
    right = np.minimum(left + 1, start + last)
    a, b = ordered[left], ordered[right]
    step = b - a
    edges = np.where(t < 0.5, a + step * t, b - step * (1 - t))
    run_start, run_stop = _runs(ordered, offsets)
    at_right = edges == b
    on_value = at_right | (edges == a)
    anchor = np.where(at_right, right, left)
    first_at = np.where(on_value, run_start[anchor], left + 1)  # first value at or above the edge
    first_above = np.where(on_value, run_stop[anchor], left + 1)
    below, up_to = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
    up_to[order] = _running(first_at, offsets, len(values))
    below[order] = _running(first_above, offsets, len(values))
    return below, up_to


def _sort_rows(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each row ascending: flat order and sorted values. Positive float32 sort like their bits, so bits and place go into one key."""
    keys = values.view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(len(values), dtype=np.uint64)
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        keys[begin:end].sort()
    order = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return order, (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)


def _runs(ordered: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return start and end of the run of equal values that each place of the sorted rows belongs to."""
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    new[offsets[:-1][offsets[:-1] < len(ordered)]] = True
    starts = np.flatnonzero(new)
    stops = np.append(starts[1:], len(ordered))
    run = np.cumsum(new) - 1
    return starts[run], stops[run]


def _running(first: np.ndarray, offsets: np.ndarray, n_values: int) -> np.ndarray:
    """Count the edges whose first place is at or before each place of its row."""
    count = np.cumsum(np.bincount(first.ravel(), minlength=n_values + 1)[:n_values])
    # edges whose first place is past the end of their row fall on the next row's start and must not count there
    rows = np.flatnonzero(np.diff(offsets))
    per_row = np.zeros(len(offsets) - 1, np.int64)
    per_row[rows] = (first < offsets[1:][rows, None]).sum(1)
    spilled = np.zeros(n_values + 1, np.int64)
    np.add.at(spilled, offsets[1:][rows], first.shape[1] - per_row[rows])
    before = np.concatenate([[0], np.cumsum(per_row)[:-1]]) if len(per_row) else per_row
    return count - np.cumsum(spilled[:n_values]) - np.repeat(before, np.diff(offsets))


def digits(below: np.ndarray, up_to: np.ndarray, draws: np.ndarray | None) -> np.ndarray:
    """Return the bin of every value, 1 to 50: the highest that its edges allow, or uniform over all that they allow.

    Parameters
    ----------
    below, up_to
        From :func:`bin_limits`.
    draws
        Uniform in [0, 1), shape (n_values,); None = the highest bin.
    """
    if draws is None:
        return up_to
    return np.ceil(draws * (below - up_to) + up_to).astype(np.int64)


class ScGPT(EmbeddingModel):
    """scGPT in its zero-shot use: binned values, ``<cls>`` of the last layer, unit length."""

    name = "scgpt"
    Settings = ScGPTSettings
    gene_ids = "symbol"
    fractional = "warn"  # bins are ranks: counts and log-normalised values give the same ones
    ignored_tensors = (
        "decoder.", "mvc_decoder.", "cls_decoder.", "flag_encoder.", "bn.", "dsbn.", "batch_encoder.", "grad_reverse_discriminator.", "sim.",
    )

    def load(self) -> None:
        """Read ``vocab.json``, ``args.json`` and ``best_model.pt``."""
        self.vocabulary = read_vocabulary(self.weights / "vocab.json")
        args = read_json(require_file(self.weights / "args.json"))
        self._read_args(args)
        checkpoint = self.open(self.weights / "best_model.pt", rename=_plain_name)
        self.n_dims = self.width
        self._build_tables(checkpoint, float(args.get("pad_value", -2)))
        from scfm.models.blocks import TORCH_NAMES, read_layer

        self.layers = [
            read_layer(
                checkpoint, f"transformer_encoder.layers.{i}.", TORCH_NAMES, width=self.width, inner=self.inner, eps=EPS, place=self.place
            )
            for i in range(self.n_layers)
        ]

    def _read_args(self, args: dict) -> None:
        """Take the architecture from ``args.json`` and refuse what this code does not compute."""
        path = self.weights / "args.json"
        try:
            self.width, self.heads, self.inner, self.n_layers = (int(args[k]) for k in ("embsize", "nheads", "d_hid", "nlayers"))
        except (KeyError, TypeError, ValueError) as error:
            raise ScfmError(f"{path}: needs whole numbers embsize, nheads, d_hid and nlayers ({type(error).__name__}: {error}).") from error
        if self.width % self.heads:
            raise ScfmError(f"{path}: embsize {self.width} is not a multiple of nheads {self.heads}.")
        if args.get("input_emb_style", "continuous") != "continuous":
            raise ScfmError(f"{path}: input_emb_style is '{args['input_emb_style']}'; only 'continuous' is supported, which the released models use.")
        if int(args.get("n_bins", N_BINS)) != N_BINS:
            self.warn("W-EMB-11", f"{path}: n_bins is {args['n_bins']}; the official embedding task always bins into {N_BINS - 1}, and so does this code.")
        pad = args.get("pad_token", "<pad>")
        for token in ("<cls>", pad):
            if token not in self.vocabulary:
                raise ScfmError(f"{self.weights / 'vocab.json'}: has no token '{token}'. The vocabulary is not the one of this checkpoint.")
        if self.settings.max_length is not None and self.settings.max_length < 2:
            raise ScfmError(f"scgpt: setting max_length={self.settings.max_length} leaves no room for a gene; expected at least 2.")

    def _build_tables(self, checkpoint: "Checkpoint", cls_value: float) -> None:
        """Compute once what is the same in every cell: the normed embedding of each gene and the embedding of each bin."""
        import torch
        import torch.nn.functional as F

        d = self.width

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            return F.layer_norm(x, (d,), checkpoint.take(f"{name}.weight", d), checkpoint.take(f"{name}.bias", d), EPS)

        embedding = checkpoint.take("encoder.embedding.weight", len(self.vocabulary), d, init=0.06)
        self.gene_table = self.place(norm(embedding, "encoder.enc_norm"))
        values = torch.arange(N_BINS, dtype=torch.float32)
        values[0] = cls_value  # row 0: <cls> carries the value of padding; bin 0 never occurs
        hidden = F.relu(F.linear(values[:, None], checkpoint.take("value_encoder.linear1.weight", d, 1), checkpoint.take("value_encoder.linear1.bias", d)))
        hidden = F.linear(hidden, checkpoint.take("value_encoder.linear2.weight", d, d), checkpoint.take("value_encoder.linear2.bias", d))
        self.value_table = self.place(norm(hidden, "value_encoder.norm"))

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Match symbols exactly; two columns of one symbol both stay, as in the official code."""
        special = {"<pad>", "<cls>", "<eoc>"}
        table = {token: i for token, i in self.vocabulary.items() if token not in special}
        found = genes.look_up(names, table, strip_version=self.settings.strip_version)
        # a draw belongs to cell and gene; a repeated gene gets draws of its own
        found.extra["counter"] = found.ids + genes.occurrence(found.ids) * len(self.vocabulary)
        return found

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Bin the expressed genes of each cell, cut long cells, put ``<cls>`` in front (``bins`` 0 = the value of ``<cls>``)."""
        rows = tokens.detected(chunk.counts, self.genes.known)
        n_genes = rows.lengths
        below, up_to = bin_limits(rows.values.astype(np.float32, copy=False), rows.offsets)
        bins = digits(below, up_to, self.tie_draws(chunk, rows) if self.settings.ties == "random" else None)
        ids, offsets = self.genes.ids[rows.columns], rows.offsets
        if self.settings.max_length is not None and len(n_genes) and n_genes.max() > self.settings.max_length - 1:
            kept, offsets = self._cut(chunk, rows, self.settings.max_length - 1)
            ids, bins = ids[kept], bins[kept]
        return tokens.Tokens(
            tokens.surrounded_offsets(offsets, 1),
            {"ids": tokens.surround(ids, offsets, before=self.vocabulary["<cls>"]), "bins": tokens.surround(bins, offsets, before=0)}, n_genes,
        )

    def tie_draws(self, chunk: "Chunk", rows: tokens.Rows) -> np.ndarray:
        """Return a uniform draw per value, a function of seed, cell id and gene only."""
        keys = cell_keys(self.seed, chunk.cell_ids, stream="scgpt.ties")
        return keyed_uniform(np.repeat(keys, rows.lengths), self.genes.extra["counter"][rows.columns])

    def choose(self, chunk: "Chunk", rows: tokens.Rows, cell: int, keep: int) -> np.ndarray:
        """Return flat positions of the ``keep`` genes that a long cell keeps: a random subset keyed by cell and gene, in file order."""
        start, stop = rows.offsets[cell], rows.offsets[cell + 1]
        key = cell_keys(self.seed, [chunk.cell_ids[cell]], stream="scgpt.subset")
        priority = keyed_bits(key, self.genes.extra["counter"][rows.columns[start:stop]])
        return start + np.sort(np.argpartition(priority, keep)[:keep])

    def _cut(self, chunk: "Chunk", rows: tokens.Rows, keep: int) -> tuple[np.ndarray, np.ndarray]:
        """Return flat positions of the values that stay when cells keep at most ``keep`` genes, and the new offsets."""
        kept, offsets = tokens.take_rows(rows.offsets, np.arange(len(rows.lengths)), np.full(len(rows.lengths), keep))
        if self.settings.sampling == "random":
            for cell in np.flatnonzero(rows.lengths > keep):
                kept[offsets[cell] : offsets[cell + 1]] = self.choose(chunk, rows, cell, keep)
        return kept, offsets

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the last state of ``<cls>``, of unit length with ``normalize``."""
        from scfm.models.blocks import first_rows, post_norm_layer

        x = self.gene_table[batch.fields["ids"]] + self.value_table[batch.fields["bins"]]
        for layer in self.layers[:-1]:
            x = post_norm_layer(x, layer, batch.segments, heads=self.heads)
        x = post_norm_layer(x, self.layers[-1], batch.segments, heads=self.heads, read=first_rows(batch.segments)).float()
        return x / x.norm(dim=1, keepdim=True) if self.settings.normalize else x


def read_vocabulary(path: "object") -> dict[str, int]:
    """Read ``vocab.json``: token -> id, the ids being 0, 1, 2 ... without gaps."""
    content = read_json(require_file(path))
    if not isinstance(content, dict) or sorted(content.values(), key=str) != sorted(range(len(content)), key=str):
        raise ScfmError(f"{path}: expected one flat object token -> id whose ids are 0 to {max(0, len(content) - 1)}, each once. The file is not a scGPT vocabulary.")
    return content


def _plain_name(name: str) -> str:
    """Map the three official spellings of the attention projections to one; the tensors are laid out alike."""
    name = name.removeprefix("module.").replace("self_attn._impl.", "self_attn.")
    return name.replace("self_attn.Wqkv.", "self_attn.in_proj_")


MODEL = ScGPT
