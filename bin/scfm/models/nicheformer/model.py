"""Nicheformer (Tejada-Lapuerta et al., Nature Methods 2025, doi:10.1038/s41592-025-02814-z): inference, written from
``docs/models/nicheformer.md``.

A cell is organism, assay and modality, followed by its genes from the highest to the lowest count relative to the
gene's mean on that technology, and by padding up to a fixed length. The row of a cell is the mean over all positions
behind the context, padding included.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.models.core import genes, tokens
from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.bert import weights_file
from scfm.models.core.checkpoint import ANY, Checkpoint
from scfm.models.core.config import check_depth
from scfm.models.core.pickles import require_file
from scfm.models.core.tensors import read_tensors
from scfm.models.nicheformer import parts
from scfm.models.nicheformer.parts import N_SPECIAL, PAD, sine_positions
from scfm.models.nicheformer.settings import NicheformerSettings
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from scfm.models.core.reader import Chunk, Counts

EPS = 1e-12
#: counts of a cell are scaled to this sum over the genes of the model
TARGET_SUM = 10_000
#: positions left out of the mean, also where the model has no context tokens (official)
N_LEFT_OUT = 3
_SIZES = ("dim_model", "nheads", "nlayers", "context_length", "n_tokens")
_FLAGS = ("learnable_pe", "specie", "assay", "modality")


class Nicheformer(EmbeddingModel):
    """Nicheformer: mean of the last layer over genes and padding."""

    name = "nicheformer"
    Settings = NicheformerSettings
    gene_ids = "ensembl"
    ignored_tensors = ("encoder_layer.", "classifier_head.", "pooler_head.", "cls_head.", "pos")

    def load(self) -> None:
        """Read ``model.h5ad``, the means, and the checkpoint in either layout."""
        checkpoint = self._open_checkpoint()
        order = self._beside("model.h5ad")
        names = parts.read_gene_order(order)
        if len(names) + N_SPECIAL != self.sizes["n_tokens"]:
            raise ScfmError(
                f"{order}: has {plural(len(names), 'gene')}, but the checkpoint has n_tokens"
                f" {self.sizes['n_tokens']:,}, that is {self.sizes['n_tokens'] - N_SPECIAL:,} genes of its vocabulary."
                " The files are not of one version of the model."
            )
        self.table = {name: i for i, name in enumerate(names)}
        setting = self.settings
        means, missing = parts.read_means(
            parts.find_means(self.weights, setting.technology_mean, setting.modality), len(names), setting.nan_means
        )
        self.means, self.has_mean = means, ~missing
        self.always = np.flatnonzero(missing) if setting.nan_means == "official" else np.zeros(0, np.int64)
        self.default_assay = parts.parse_token(setting.default_assay, parts.ASSAY, "default_assay")
        self.default_organism = parts.parse_token(setting.default_organism, parts.ORGANISM, "default_organism")
        self.n_context = sum(self.flags[key] for key in ("specie", "assay", "modality"))
        self._limit_length()
        self._read_tensors(checkpoint)
        self._counted = np.zeros(3, dtype=np.int64)

    def _open_checkpoint(self) -> Checkpoint:
        """Open the Lightning file or the hub's folder; take the architecture from what it says."""
        path = self.weights / self.settings.checkpoint
        if self.settings.checkpoint == "auto":
            places = [self.weights / "nicheformer.ckpt", self.weights, self.weights / "hf"]
            path = next((p for p in places if p.is_file() or (p / "config.json").is_file()), places[0])
        if path.is_dir():
            self._read_architecture(read_json(require_file(path / "config.json")), path / "config.json")
            self.file = weights_file(path)
        else:
            self.file = path
            content = read_tensors(path)
            found = content.get("hyper_parameters") if isinstance(content, dict) else None
            self._read_architecture(found, f"{path}: hyper_parameters")
        return self.open(
            self.file,
            select=None if path.is_dir() else lambda c: c["state_dict"],
            rename=lambda n: n.removeprefix("nicheformer."),
        )

    def _read_architecture(self, found: Any, where: Path | str) -> None:
        if not isinstance(found, dict):
            raise ScfmError(
                f"{where}: expected the settings of the training by name, found a {type(found).__name__}. Is it a"
                " checkpoint of Nicheformer?"
            )
        bad = [key for key in _SIZES if type(found.get(key)) is not int or found[key] < 1]
        bad += [key for key in _FLAGS if not isinstance(found.get(key), bool)]
        if bad:
            raise ScfmError(
                f"{where}: needs whole numbers for {', '.join(_SIZES)} and true or false for {', '.join(_FLAGS)}; wrong"
                f" or missing: {', '.join(bad)}."
            )
        self.sizes = {key: found[key] for key in _SIZES}
        self.flags = {key: found[key] for key in _FLAGS}
        if self.sizes["dim_model"] % self.sizes["nheads"]:
            raise ScfmError(
                f"{where}: dim_model {self.sizes['dim_model']} is not a multiple of nheads {self.sizes['nheads']}."
            )

    def _beside(self, name: str) -> Path:
        """Return a file in the top folder, else beside the checkpoint."""
        top = self.weights / name
        return top if top.is_file() or not (self.file.parent / name).is_file() else self.file.parent / name

    def _limit_length(self) -> None:
        """Set the positions of the model and the number of genes that a cell keeps."""
        self.length = self.sizes["context_length"]
        room, asked = self.length - self.n_context, self.settings.max_length
        if room < 1 or self.length <= N_LEFT_OUT:
            raise ScfmError(f"{self.file}: context_length {self.length} leaves no room for a gene.")
        if asked is not None and asked < 1:
            raise ScfmError(f"nicheformer: setting max_length={asked} leaves no room for a gene; expected at least 1.")
        if asked is not None and asked > self.length:
            self.warn("W-MOD-15", n_positions=self.length, values={"max_length": asked})
        self.keep = room if asked is None else min(asked, room)
        n_layers, layer = self.sizes["nlayers"], self.settings.layer
        self.depth = layer if layer >= 0 else n_layers + 1 + layer
        if not 0 <= self.depth <= n_layers:
            raise ScfmError(
                f"nicheformer: setting layer={layer} is outside the model, which has {plural(n_layers, 'layer')} (-1 ="
                " the last)."
            )

    def _read_tensors(self, checkpoint: Checkpoint) -> None:
        """Read the tables and the layers up to the one that is read."""
        import torch

        from scfm.models.core.blocks import TORCH_NAMES, read_layer

        width, n_tokens = self.sizes["dim_model"], self.sizes["n_tokens"]
        name = "embeddings.weight"
        rows = checkpoint.shape(name)[0] if name in checkpoint else ANY
        if rows != ANY and rows < n_tokens:
            raise ScfmError(
                f"{self.file}: the tensor '{name}' has {plural(rows, 'row')}, fewer than the {n_tokens:,} tokens of the"
                " vocabulary."
            )
        embedding = checkpoint.take(name, rows, width, init=1.0)
        if checkpoint.is_random:
            embedding[PAD] = 0.0
        positions = sine_positions(self.length, width)
        if self.flags["learnable_pe"]:
            positions = checkpoint.take("positional_embedding.weight", self.length, width, init=1.0)
        self.embedding, self.positions = (self.place(t, is_norm=True) for t in (embedding, torch.as_tensor(positions)))
        check_depth(checkpoint, "encoder.layers.", self.sizes["nlayers"], "nlayers of the configuration")
        inner = checkpoint.shape("encoder.layers.0.linear1.weight")[0]
        self.layers = [
            read_layer(
                checkpoint, f"encoder.layers.{i}.", TORCH_NAMES, width=width, inner=inner, eps=EPS, place=self.place
            )
            for i in range(self.depth)
        ]
        for i in range(self.depth, self.sizes["nlayers"]):  # known, and not needed
            checkpoint.used |= {n for n in checkpoint.names if n.startswith(f"encoder.layers.{i}.")}
        self.n_dims = width

    def facts(self) -> dict[str, Any]:
        """Return what the settings came to, and what share of the averaged positions are not detected genes."""
        positions, padding, without_mean = (int(n) for n in self._counted)
        shares = {"share_padding": padding, "share_genes_without_mean": without_mean} if positions else {}
        found = {
            "checkpoint": self.file.name,
            "genes_per_cell_kept": self.keep,
            "genes_without_mean": int((~self.has_mean).sum()),
        }
        return super().facts() | found | {key: round(n / positions, 4) for key, n in shares.items()}

    # ---- genes and context -------------------------------------------------------------------------------------------

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Look Ensembl ids up in the order of the model; columns of one gene are added up by :meth:`tokenize`."""
        return genes.look_up(names, self.table, strip_version=self.settings.strip_version)

    def prepare(self, counts: "Counts") -> None:
        """Read organism and assay of every cell of the file."""
        self._counted[:] = 0
        n = len(counts.obs)
        organism = self._column(counts, "organism", ("specie", "organism")) if self.flags["specie"] else None
        assay = self._column(counts, "assay", ("assay",)) if self.flags["assay"] else None
        found = {}
        for key, column, table, default in (
            ("specie", organism, parts.ORGANISM, self.default_organism),
            ("assay", assay, parts.ASSAY, self.default_assay),
        ):
            found[key], unknown = parts.context_tokens(column, table, default, n)
            if unknown:
                name = next(k for k, v in table.items() if v == default)
                self.warn(
                    "W-MOD-12",
                    unknown=list(unknown),
                    column=column.name,
                    default=name,
                    values={"n_cells": sum(unknown.values())},
                )
        found["modality"] = np.full(n, parts.MODALITY[self.settings.modality], dtype=np.int64)
        self.context = (
            np.stack([found[key] for key in ("specie", "assay", "modality") if self.flags[key]], axis=1)
            if self.n_context
            else np.zeros((n, 0), np.int64)
        )

    def _column(self, counts: "Counts", key: str, usual: tuple[str, ...]) -> "pd.Series | None":
        """Return a column of ``obs``: as set, or the first usual one; None (with a warning) where ``auto`` finds
        none.
        """
        column = getattr(self.settings, f"{key}_column")
        if not column:
            return None
        if column != "auto":
            return counts.obs_column(column)
        present = next((c for c in usual if c in counts.obs.columns), None)
        if present is not None:
            return counts.obs_column(present)
        default = getattr(self.settings, f"default_{key}")
        self.warn("W-MOD-13", usual=" or ".join(usual), default=default)
        return None

    # ---- tokens and rows ---------------------------------------------------------------------------------------------

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Rank the genes of each cell by count / total of the model's genes * 10,000 / mean; add context and
        padding.
        """
        from scipy import sparse

        rows = tokens.detected(chunk.counts, self.genes.known)
        n = len(rows.lengths)
        counts = sparse.csr_matrix(
            (np.asarray(rows.values, dtype=np.float64), self.genes.ids[rows.columns], rows.offsets),
            shape=(n, len(self.means)),
        )
        counts.sum_duplicates()  # columns of one gene are added, genes ascend
        n_genes = np.diff(counts.indptr)
        total = np.bincount(np.repeat(np.arange(n), n_genes), counts.data, minlength=n)
        scaled = counts.data * np.repeat(TARGET_SUM / np.where(total == 0, 1.0, total), n_genes)
        use = self.has_mean[counts.indices]
        offsets = np.concatenate([[0], np.cumsum(use, dtype=np.int64)])[counts.indptr]
        found = np.full((n, self.keep), PAD - N_SPECIAL, dtype=np.int64)
        indices = counts.indices[use].astype(np.int64)
        parts.rank_cells(indices, scaled[use] / self.means[indices], offsets, self.always, found)
        ids = np.full((n, self.length), PAD, dtype=np.int64)
        ids[:, : self.n_context] = self.context[chunk.rows]
        ids[:, self.n_context : self.n_context + self.keep] = found + N_SPECIAL
        real = (ids != PAD).sum(axis=1)
        self._count(found, n_genes)
        whole = tokens.offsets_of(np.full(n, self.length))
        return tokens.Tokens(whole, {"ids": ids.ravel()}, n_genes, {"real": real})

    def _count(self, found: np.ndarray, n_genes: np.ndarray) -> None:
        """Count positions behind the context, padding, and tokens of genes without a mean, over the cells that get a
        row.
        """
        found = found[n_genes > 0]
        there = found >= 0
        n_positions = len(found) * (self.length - self.n_context)
        n_without = int((~self.has_mean[found[there]]).sum())
        self._counted += np.array([n_positions, n_positions - int(there.sum()), n_without])

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the mean over the positions; padding is computed and read, but nothing attends to it."""
        from scfm.models.core.blocks import post_norm_layer
        from scfm.models.core.segments import Segments, Some

        ids, n = batch.fields["ids"], len(batch.segments)
        keys = Some((ids != PAD).nonzero().squeeze(1), Segments(batch.cells["real"].tolist(), ids.device))
        x = (self.embedding[ids].view(n, self.length, -1) + self.positions).flatten(0, 1).to(self.dtype)
        for layer in self.layers:
            x = post_norm_layer(x, layer, batch.segments, heads=self.sizes["nheads"], keys=keys)
        x = x.view(n, self.length, -1)
        return (x if self.settings.with_context else x[:, N_LEFT_OUT:]).float().mean(dim=1)


MODEL = Nicheformer
