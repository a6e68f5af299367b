"""scFoundation (Hao et al., Nature Methods 2024, doi:10.1038/s41592-024-02305-7): inference, written from
``docs/models/scfoundation.md``.

A cell is its expressed genes in the order of a fixed list, followed by two tokens for read depth: T (the depth the
model should aim at) and S (the depth of the cell). A value becomes a vector through soft bins; post-norm layers read
the cell, and the row of a cell joins S, T, the maximum and the mean over its genes. The decoder is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core import genes, tokens
from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.checkpoint import ANY
from scfm.models.core.config import check_depth
from scfm.models.core.pickles import require_file
from scfm.models.scfoundation.files import find, flat_config, read_gene_list
from scfm.models.scfoundation.settings import ScFoundationSettings
from scfm.models.scfoundation.values import added, check_totals, parse_resolution, without_last_two

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_matrix

    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.reader import Chunk, Counts

EPS = 1e-5
#: counts are scaled to this total per cell
TARGET_SUM = 1e4
#: entry of the checkpoint by setting ``version``
ENTRIES = {"ce": "cell", "rde": "rde"}
#: reason of a cell without a token between the two that ``pooling=all`` takes as T and S
TOO_SHORT = (
    "fewer than three tokens are left (a total of 1 or less drops the depth tokens), and pooling=all needs one gene and"
    " two more"
)


class ScFoundation(EmbeddingModel):
    """scFoundation's encoder as cell embedder."""

    name = "scfoundation"
    Settings = ScFoundationSettings
    gene_ids = "symbol"
    fractional = "warn"  # a published benchmark feeds log-normalised values as if they were counts
    ignored_tensors = ("decoder.", "decoder_embed.", "norm.", "to_final.", "token_emb.emb_mask.", "token_emb.emb_pad.")

    def load(self) -> None:
        """Read the gene list and the encoder of one entry of ``models.ckpt``; the other entries stay on disk."""
        self.resolution = parse_resolution(self.settings.resolution)
        if self.settings.pre_normalized != "F":
            self.fractional = "expected"
        list_path = find(self.weights, "OS_scRNA_gene_index.19264.tsv", ("", "model"))
        self.table = read_gene_list(list_path)
        path = require_file(find(self.weights, "models.ckpt", ("", "models", "model/models")))
        entry, found = ENTRIES[self.settings.version], {}

        def pick(content: Mapping) -> Mapping:
            found["config"] = content[entry]["config"]
            return content[entry]["state_dict"]

        checkpoint = self.open(path, select=pick, rename=lambda name: name.split("model.", 1)[-1])
        self._read_config(found["config"], f"{path}, entry '{entry}'")
        if self.seq_len != len(self.table) + 2:
            raise ScfmError(
                f"{list_path}: lists {len(self.table):,} genes, but {path} (entry '{entry}') has seq_len"
                f" {self.seq_len:,}, which is genes + 2. Gene list and weights are not of the same model."
            )
        self._read_tensors(checkpoint, path)

    def _read_config(self, config: Any, where: str) -> None:
        """Take what tensor shapes do not tell from the entry's configuration."""
        flat = flat_config(config, where)
        encoder = flat.get("encoder")
        numbers = encoder if isinstance(encoder, Mapping) else {}
        self.heads, self.depth, self.seq_len = numbers.get("heads"), numbers.get("depth"), flat.get("seq_len")
        bad = [
            key
            for key, value in (("encoder.heads", self.heads), ("encoder.depth", self.depth), ("seq_len", self.seq_len))
            if type(value) is not int or value < 1
        ]
        if bad:
            raise ScfmError(f"{where}: the configuration needs whole numbers of at least 1 for {', '.join(bad)}.")
        kind = numbers.get("module_type", "transformer")
        if kind != "transformer":
            raise ScfmError(f"{where}: the encoder's module_type is '{kind}'; only transformer can be computed here.")
        try:
            self.bin_alpha = float(flat["bin_alpha"])
        except (KeyError, TypeError, ValueError) as error:
            raise ScfmError(
                f"{where}: the configuration needs a number bin_alpha ({type(error).__name__}: {error})."
            ) from error

    def _read_tensors(self, checkpoint: "Checkpoint", path: Path) -> None:
        """Read value embedding, positions, layers and the final norm."""
        from scfm.models.core.blocks import TORCH_NAMES, read_layer
        from scfm.models.core.linear import Linear, Norm

        table = checkpoint.take("token_emb.emb.weight", ANY, ANY, init=1.0)
        bins, width = table.shape
        if width % self.heads:
            raise ScfmError(
                f"{path}: the width {width} of 'token_emb.emb.weight' is not a multiple of encoder.heads {self.heads}."
            )
        take = checkpoint.take
        self.first = Linear(
            *(
                self.place(take(f"token_emb.mlp.{part}", bins, *size), is_norm=True)
                for part, size in (("weight", (1,)), ("bias", ()))
            )
        )
        self.second = Linear(
            *(
                self.place(take(f"token_emb.mlp2.{part}", bins, *size), is_norm=True)
                for part, size in (("weight", (bins,)), ("bias", ()))
            )
        )
        self.bins = self.place(table.T, is_norm=True)
        # a row behind genes, T and S is that of padding
        self.positions = self.place(
            take("pos_emb.weight", self.seq_len + 1, width, init=1.0)[: self.seq_len], is_norm=True
        )
        check_depth(checkpoint, "encoder.transformer_encoder.", self.depth, f"{path}, encoder.depth of the entry,")
        self.layers = [
            read_layer(
                checkpoint,
                f"encoder.transformer_encoder.{i}.",
                TORCH_NAMES,
                width=width,
                inner=4 * width,
                eps=EPS,
                place=self.place,
            )
            for i in range(self.depth)
        ]
        self.norm = Norm(
            *(self.place(take(f"encoder.norm.{part}", width), is_norm=True) for part in ("weight", "bias")), EPS
        )
        self.n_dims = 4 * width if self.settings.pooling == "all" else width

    def facts(self) -> dict[str, Any]:
        """Return the entry of the checkpoint that was used."""
        return super().facts() | {
            "checkpoint_entry": ENTRIES[self.settings.version],
            "resolution": self.settings.resolution,
        }

    # ---- genes -------------------------------------------------------------------------------------------------------

    def gene_column(self, counts: "Counts") -> str:
        """Return ``gene_name`` where ``var`` has it and nothing else was asked for."""
        if self.settings.gene_column != "auto":
            return self.settings.gene_column
        return "gene_name" if "gene_name" in counts.var.columns else "index"

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Match symbols exactly; with ``pre_normalized=A`` the last column is the total and no gene."""
        names = names[: len(names) - (self.settings.pre_normalized == "A")]
        found = genes.look_up(names, self.table, strip_version=self.settings.strip_version)
        known = np.flatnonzero(found.known)
        found.extra["columns"] = known[np.argsort(found.ids[known], kind="stable")]  # in the order of the list
        found.ids = np.append(found.ids, -np.ones(len(cells_per_gene) - len(names), np.int64))
        return found

    def prepare(self, counts: "Counts") -> None:
        """Say what looks odd: repeated symbols, counts where normalised values were announced; refuse totals that are
        none.
        """
        if n := self.genes.report["genes_repeated"]:
            self.warn("W-MOD-20", values={"n": n})
        if self.settings.pre_normalized == "F":
            return
        scan = counts.scan()
        if not scan.facts.n_fractional:
            self.warn("W-MOD-21", pre_normalized=self.settings.pre_normalized)
        if self.settings.pre_normalized == "A":
            check_totals(counts)

    # ---- tokens ------------------------------------------------------------------------------------------------------

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Normalise each cell over the genes of the list, put them in its order, and T and S behind them where they are
        positive.
        """
        rows = self._listed(chunk.counts)
        mode = self.settings.pre_normalized
        values, cell, n_cells = rows.values, rows.cell, len(rows.lengths)
        if mode == "A":
            total = np.asarray(chunk.counts[:, [-1]].toarray(), dtype=np.float64).ravel()
        else:  # sums one value after the other: the same whatever else is in the chunk
            total = np.bincount(cell, weights=values, minlength=n_cells)
        if mode == "F":
            values = np.log1p(values / total[cell] * TARGET_SUM)
        depth = self._depth_tokens(total)
        everything = np.stack([np.zeros(n_cells), *depth], axis=1).astype(np.float32)[:, 1:]
        offsets = tokens.surrounded_offsets(rows.offsets, 2)
        flat, ids = np.empty(offsets[-1], np.float32), np.empty(offsets[-1], np.int32)
        place = np.arange(len(values)) + 2 * cell
        flat[place], ids[place] = values, rows.columns
        for j in (0, 1):
            flat[offsets[1:] - 2 + j], ids[offsets[1:] - 2 + j] = everything[:, j], len(self.table) + j
        keep = (flat > 0) & np.repeat(rows.lengths > 0, np.diff(offsets))
        running = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
        found = tokens.Tokens(running[offsets], {"ids": ids[keep], "values": flat[keep]}, rows.lengths)
        if self.settings.pooling == "all":
            found.skipped = {int(i): TOO_SHORT for i in np.flatnonzero((found.n_genes > 0) & (found.lengths < 3))}
        return found

    def _depth_tokens(self, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return T and S of every cell; -inf where there is no total."""
        kind, number = self.resolution
        with np.errstate(divide="ignore"):
            depth = np.log10(total)
            target = {
                "f": lambda: np.log10(total * number),
                "a": lambda: depth + number,
                "t": lambda: np.full(len(total), number),
            }[kind]()
        return target, depth

    def _listed(self, counts: "csr_matrix") -> tokens.Rows:
        """Return detected genes of the list as float64, ``columns`` being their place in it, ascending; repeated ones
        are added.
        """
        order = self.genes.extra["columns"]
        # sorting every cell through CSC takes linear time
        rows = tokens.detected(counts.tocsc()[:, order].tocsr(), np.ones(len(order), bool))
        rows = tokens.Rows(self.genes.ids[order][rows.columns], rows.values.astype(np.float64), rows.offsets)
        return added(rows, as_logs=self.settings.pre_normalized != "F") if self.genes.report["genes_repeated"] else rows

    # ---- rows --------------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the pooled rows; maximum and mean are taken in float32."""
        import torch

        from scfm.models.core.blocks import post_norm_layer

        segments = batch.segments
        x = (self.embed_values(batch.fields["values"]) + self.positions[batch.fields["ids"]]).to(self.dtype)
        for layer in self.layers:
            x = post_norm_layer(x, layer, segments, heads=self.heads)
        x = self.norm(x.float())
        if self.settings.pooling == "max":
            return segments.max(x)
        body = without_last_two(segments)
        inner = x[body.index]
        last = segments.offsets[1:].long() - 1
        return torch.cat([x[last], x[last - 1], body.segments.max(inner), body.segments.mean(inner)], dim=1)

    def embed_values(self, values: "torch.Tensor") -> "torch.Tensor":
        """Turn values into vectors: soft weights over bins, from a small network, times the bins' vectors."""
        import torch.nn.functional as F

        from scfm.models.core.linear import linear

        hidden = F.leaky_relu_(values[:, None] * self.first.weight[:, 0] + self.first.bias, 0.1)
        weights = self.second(hidden).add_(hidden, alpha=self.bin_alpha).softmax(dim=1)
        return linear(weights, self.bins, None)


MODEL = ScFoundation
