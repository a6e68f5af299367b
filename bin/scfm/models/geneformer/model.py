"""Geneformer V1 and V2 (Theodoris et al., Nature 2023, doi:10.1038/s41586-023-06139-9), written from
``docs/models/geneformer.md``.

A cell is the list of its genes from the highest to the lowest rank value; V2 puts ``<cls>`` in front and ``<eos>``
behind. A BERT encoder reads the list, and the row of a cell is the state of ``<cls>`` or the mean over its genes,
usually one layer below the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core import genes, ranks, tokens
from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.bert import longest_sequence, read_bert_config, read_embeddings, read_encoder, weights_file
from scfm.models.core.pickles import load_dict
from scfm.models.core.settings import ModelSettings
from scfm.models.geneformer.files import find_dictionaries, find_model
from scfm.models.geneformer.totals import check_totals, row_sums, total_counts

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_matrix

    from scfm.models.core.reader import Chunk, Counts
    from scfm.models.core.segments import Segments, Some

#: reason of a cell that has no gene left to average
TOO_SHORT = "fewer than three genes are detected, and the mean of this setting leaves out the first and the last one"


@dataclass(frozen=True, kw_only=True)
class GeneformerSettings(ModelSettings):
    """Settings of Geneformer.

    Attributes
    ----------
    gene_column
        ``auto``: column ``ensembl_id`` of ``var`` where there is one (the official name), else ``var_names``.
    max_length
        Longest sequence, specials included; lower-ranked genes are cut. None = the positions of the model (V1 2048, V2
        4096).
    special_tokens
        Whether ``<cls>`` and ``<eos>`` surround a cell; ``auto`` = where the token dictionary has them (V2).
    pooling
        ``cls`` = state of ``<cls>``, ``cell`` = mean over the genes. A model without ``<cls>`` (V1) always takes
        ``cell``.
    layer
        -1 = second to last layer (the authors' advice), 0 = last layer.
    n_counts_column
        Column of ``obs`` with the total count per cell; empty = ``n_counts`` where there is one, else the sum over all
        genes.
    release
        Folder of the model below ``--weights``, where there are several.
    """

    gene_column: str = "auto"
    max_length: int | None = None
    special_tokens: Literal["auto", "true", "false"] = "auto"
    pooling: Literal["cls", "cell"] = "cls"
    layer: Literal[-1, 0] = -1
    n_counts_column: str = ""
    release: str = ""


class Geneformer(EmbeddingModel):
    """Geneformer in its zero-shot use."""

    name = "geneformer"
    Settings = GeneformerSettings
    gene_ids = "ensembl"
    ignored_tensors = ("cls.predictions.", "classifier.", "bert.pooler.", "bert.embeddings.position_ids")

    def load(self) -> None:
        """Read the model folder and the dictionaries that belong to it."""
        folder = find_model(self.weights, self.settings.release)
        config = read_bert_config(folder / "config.json")
        files, self.dictionary = find_dictionaries(self.weights, folder, config)
        self.folder, self.files = folder, files
        table = ranks.gene_tokens(self.dictionary)
        self.inverse_medians = ranks.read_inverse_medians(files.medians, table)
        # ids that are known under another name; a name whose current id is no token is lost, as officially
        current = load_dict(files.mapping) if files.mapping else {gene: gene for gene in table}
        texts = {name: gene for name, gene in current.items() if isinstance(name, str) and isinstance(gene, str)}
        self.table = {name: table[gene] for name, gene in texts.items() if gene in table}
        self._settle(config.n_positions)
        depth = config.n_layers + self.settings.layer
        self.ignored_tensors = (
            *type(self).ignored_tensors,
            *(f"bert.encoder.layer.{i}." for i in range(depth, config.n_layers)),
        )
        checkpoint = self.open(weights_file(folder))
        self.embeddings = read_embeddings(checkpoint, config, self.place, constants=[("token_type_embeddings", 2)])
        self.encoder = read_encoder(checkpoint, config, self.place, self.dtype, depth=depth)
        self.n_dims = config.width

    def _settle(self, n_positions: int) -> None:
        """Work out what the settings mean for this model: specials, pooling, longest sequence."""
        has_cls = "<cls>" in self.dictionary
        asked = self.settings.special_tokens
        self.special = has_cls if asked == "auto" else asked == "true"
        if self.special and not has_cls:
            raise ScfmError(
                f"{self.files.tokens}: has no '<cls>' (a V1 dictionary), so special_tokens=true is not possible; use"
                " special_tokens=auto."
            )
        self.pooling = self.settings.pooling if has_cls else "cell"
        if self.pooling == "cls" and not self.special:
            raise ScfmError(
                "geneformer: pooling=cls reads the state of <cls>, which special_tokens=false leaves out. Use"
                " pooling=cell, or special_tokens=auto."
            )
        #: the official mean leaves out the first and last place wherever the DICTIONARY has specials
        self.n_outer = 1 if has_cls and self.pooling == "cell" else 0
        self.max_length = longest_sequence(self, self.settings.max_length, n_positions, shortest=3 if has_cls else 1)

    def facts(self) -> dict[str, Any]:
        """Return which model and dictionaries were found and what the settings came to."""
        return super().facts() | {
            "model_release": self.folder.resolve().name,
            "token_dictionary": self.files.tokens.name,
            "gene_mapping": self.files.mapping.name if self.files.mapping else "identity",
            "pooling": self.pooling,
            "special_tokens": self.special,
            "max_length": self.max_length,
        }

    # ---- genes -------------------------------------------------------------------------------------------------------

    def gene_column(self, counts: "Counts") -> str:
        """Return ``ensembl_id`` where ``var`` has it and nothing else was asked for."""
        if self.settings.gene_column != "auto":
            return self.settings.gene_column
        return "ensembl_id" if "ensembl_id" in counts.var.columns else "index"

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Match Ensembl ids in upper case, retired ones through the mapping; columns of one gene will be summed
        (``slot``).
        """
        upper = np.array([name.upper() for name in names], dtype=object)
        found = genes.look_up(upper, self.table, strip_version=self.settings.strip_version)
        found.extra["slot"] = summing_slots(found.ids)
        return found

    def prepare(self, counts: "Counts") -> None:
        """Find the total counts; say where an official filter is not applied."""
        self.n_counts_column = self.settings.n_counts_column or ("n_counts" if "n_counts" in counts.obs.columns else "")
        if self.n_counts_column:
            missing = check_totals(counts, self.n_counts_column)
            if missing:
                self.warn("W-MOD-24", column=self.n_counts_column, values={"n": missing})
        if "filter_pass" in counts.obs.columns and (n := int((counts.obs["filter_pass"] != 1).sum())):
            self.warn("W-MOD-19", values={"n": n})

    def _totals(self, chunk: "Chunk") -> np.ndarray:
        """Return the total count of each cell: the column's value, the sum of its counts where there is none."""
        if not self.n_counts_column:
            return row_sums(chunk.counts)
        totals = total_counts(chunk.obs[self.n_counts_column])
        if totals.dtype.kind == "f" and (missing := np.isnan(totals)).any():
            totals = np.where(missing, row_sums(chunk.counts).astype(totals.dtype), totals)
        return totals

    # ---- tokens ------------------------------------------------------------------------------------------------------

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Sort the genes of each cell by count / total * 10,000 / median, cut, and put specials around."""
        rows, ids = self._detected(chunk.counts)
        totals = self._totals(chunk)
        with np.errstate(divide="ignore"):  # an empty cell may have total 0
            per_count = np.true_divide(1.0, totals)
        # the official code rounds these products to the type of counts and totals; the median is applied in float64
        values = ranks.scaled(
            rows, (per_count, ranks.TARGET_SUM), np.result_type(chunk.counts.dtype, per_count.dtype, np.float32)
        )
        ids = ids[rows.columns]
        order, offsets = ranks.ranked(
            values * self.inverse_medians[ids], rows.offsets, self.max_length - 2 * self.special
        )
        ids = ids[order]
        if self.special:
            ids = tokens.surround(ids, offsets, before=self.dictionary["<cls>"], after=self.dictionary["<eos>"])
            offsets = tokens.surrounded_offsets(offsets, 2)
        found = tokens.Tokens(offsets, {"ids": ids}, rows.lengths)
        if self.n_outer:
            short = (found.n_genes > 0) & (found.lengths <= 2 * self.n_outer)
            found.skipped = {int(i): TOO_SHORT for i in np.flatnonzero(short)}
        return found

    def _detected(self, counts: "csr_matrix") -> tuple[tokens.Rows, np.ndarray]:
        """Return the detected genes, columns of one gene summed, and the token of every column that the result refers
        to.
        """
        ids, slot = self.genes.ids, self.genes.extra["slot"]
        known = np.flatnonzero(slot >= 0)
        n_slots = int(slot.max(initial=-1)) + 1
        if n_slots == len(known):
            return tokens.detected(counts, self.genes.known), ids
        from scipy import sparse

        dtype = np.result_type(counts.dtype, np.float32)  # a sum must not run over a small integer type
        to_slot = sparse.csr_matrix(
            (np.ones(len(known), dtype), (known, slot[known])), shape=(counts.shape[1], n_slots)
        )
        slot_ids = np.empty(n_slots, np.int64)
        slot_ids[slot[known]] = ids[known]
        return tokens.detected(sparse.csr_matrix(counts.astype(dtype) @ to_slot), np.ones(n_slots, bool)), slot_ids

    # ---- rows --------------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the state of ``<cls>`` or the mean over genes; the last layer that runs is computed for what is
        read.
        """
        from scfm.models.core.segments import first_rows

        segments = batch.segments
        x = self.embeddings(batch.fields["ids"], segments.positions)
        if self.pooling == "cls":
            return self.encoder(x, segments, read=first_rows(segments))
        if not self.n_outer:
            return segments.mean(self.encoder(x, segments))
        inner = inner_rows(segments)
        return inner.segments.mean(self.encoder(x, segments, read=inner))


def summing_slots(ids: np.ndarray) -> np.ndarray:
    """Number the genes as the official code orders its columns: single ones in file order, then the summed ones by
    first column.

    Parameters
    ----------
    ids
        Token per column, -1 = unknown, shape (n_genes,).

    Returns
    -------
    Slot per column, the same for columns of one gene, -1 = unknown, shape (n_genes,), int64.
    """
    known = np.flatnonzero(ids >= 0)
    _, first, inverse, count = np.unique(ids[known], return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, count > 1))
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    slot = np.full(len(ids), -1, np.int64)
    slot[known] = number[inverse]
    return slot


def inner_rows(segments: "Segments") -> "Some":
    """Return all tokens but the first and the last of every cell."""
    import torch

    from scfm.models.core.segments import Segments, Some

    inner = Segments([length - 2 for length in segments.lengths], segments.device)
    return Some(torch.arange(inner.total, device=segments.device) + 2 * inner.cell + 1, inner)


MODEL = Geneformer
