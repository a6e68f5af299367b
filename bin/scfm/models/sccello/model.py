"""scCello (Yuan et al., NeurIPS 2024, arXiv:2408.12373): inference, written from ``docs/models/sccello.md``.

A cell is ``<cls>`` followed by its genes from the highest to the lowest rank value. A BERT encoder reads the list, and
the row of a cell is the last state of ``<cls>``. The cell ontology took part in training only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scfm.errors import ScfmError
from scfm.inputs.ensembl import prefix_of
from scfm.models.core import genes, ranks, tokens
from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.bert import (
    BertConfig,
    longest_sequence,
    read_bert_config,
    read_embeddings,
    read_encoder,
    weights_file,
)
from scfm.models.core.pickles import require_file
from scfm.models.core.settings import ModelSettings

if TYPE_CHECKING:
    import torch

    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.reader import Chunk, Counts

#: tables that give every token the same vector: relics of the training objectives
_CONSTANTS = [("tf_class_embeddings", 1), ("tf_superclass_embeddings", 1), ("expbin_embeddings", 1)]


@dataclass(frozen=True, kw_only=True)
class ScCelloSettings(ModelSettings):
    """Settings of scCello.

    Attributes
    ----------
    gene_column
        ``auto``: column ``ensembl_ids`` of ``var`` where there is one (the official name), else ``var_names``. Ensembl
        ids or symbols.
    max_length
        Longest sequence with ``<cls>``; lower-ranked genes are cut. None = the positions of the model (2048).
    pooling
        ``cls`` = last state of ``<cls>``, ``cell_cls`` = this state through the projection head of that name.
    normalize
        Divide the row by its L2 norm.
    """

    gene_column: str = "auto"
    max_length: int | None = None
    pooling: Literal["cls", "cell_cls"] = "cls"
    normalize: bool = False


class ScCello(EmbeddingModel):
    """scCello in its zero-shot use."""

    name = "sccello"
    Settings = ScCelloSettings
    gene_ids = "ensembl"
    reads_symbols = True
    ignored_tensors = (
        "bert.embeddings.position_ids",
        "cls.predictions.",
        "cell_cls.predictions.",
        "learned_centroid.",
        "affine_projection.",
        "binary_ce_loss_transform_",
        "cell_type_ancestor_mask",
        "ctgraph_sim",
    )

    def load(self) -> None:
        """Read ``config.json``, ``pytorch_model.bin`` and ``token_vocabulary/``."""
        config = read_bert_config(self.weights / "config.json")
        self.vocabulary_folder = find_vocabulary(self.weights)
        path = self.vocabulary_folder / "token_dictionary.pkl"
        dictionary = ranks.read_token_dictionary(path)
        #: the file does not hold <cls>: the official loader appends it
        self.cls = dictionary.setdefault("<cls>", len(dictionary))
        ranks.check_vocabulary(dictionary, path, config.vocab_size, config.path)
        self.table = ranks.gene_tokens(dictionary)
        self.inverse_medians = ranks.read_inverse_medians(
            self.vocabulary_folder / "gene_median_dictionary.pkl", self.table
        )
        names = self.vocabulary_folder / "vocab_id2name.csv"
        self.symbols = read_symbols(names, self.table) if names.is_file() else {}
        self.max_length = longest_sequence(self, self.settings.max_length, config.n_positions, shortest=2)
        checkpoint = self.open(weights_file(self.weights, "pytorch_model.bin"))
        self.embeddings = read_embeddings(checkpoint, config, self.place, constants=_CONSTANTS)
        self.encoder = read_encoder(checkpoint, config, self.place, self.dtype)
        self.head = self._read_head(checkpoint, config) if self.settings.pooling == "cell_cls" else None
        self.n_dims = config.width

    def _read_head(self, checkpoint: "Checkpoint", config: BertConfig) -> Any:
        """Read the projection head ``cell_cls`` (its further ``bias`` is an alias of ``dense_2.bias``)."""
        import torch.nn.functional as F

        from scfm.models.core.linear import Linear, Norm

        d, prefix = config.width, "cell_cls.predictions."

        def linear(name: str) -> Linear:
            weight = checkpoint.take(f"{prefix}{name}.weight", d, d, init=config.init)
            return Linear(self.place(weight), self.place(checkpoint.take(f"{prefix}{name}.bias", d)))

        first, last = linear("dense_1"), linear("dense_2")
        norm = Norm(
            *(
                self.place(checkpoint.take(f"{prefix}layer_norm.{part}", d), is_norm=True)
                for part in ("weight", "bias")
            ),
            config.eps,
        )
        return lambda x: last(F.relu(norm(first(x))))

    def facts(self) -> dict[str, Any]:
        """Return what the settings came to."""
        return super().facts() | {"max_length": self.max_length}

    # ---- genes -------------------------------------------------------------------------------------------------------

    def gene_column(self, counts: "Counts") -> str:
        """Return ``ensembl_ids`` where ``var`` has it and nothing else was asked for; symbols need the file of
        names.
        """
        column = self.settings.gene_column
        if column == "auto":
            column = "ensembl_ids" if "ensembl_ids" in counts.var.columns else "index"
        if not self.symbols and not genes.looks_ensembl(names := counts.gene_names(column)):
            require_file(self.vocabulary_folder / "vocab_id2name.csv")
            raise ScfmError(
                f"{self.vocabulary_folder / 'vocab_id2name.csv'}: names no gene of the vocabulary, and '{names[0]}' is"
                " no Ensembl id."
            )
        return column

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Read names as Ensembl ids or as symbols: as the first one looks (official), unless the other reading matches
        more.
        """
        as_ids = genes.look_up(names, self.table, strip_version=self.settings.strip_version)
        as_symbols = genes.look_up(names, self.symbols, strip_version="false")
        readings = {"ensembl": as_ids, "symbol": as_symbols}
        official, other = ("ensembl", "symbol") if len(names) and prefix_of(names[0]) == "" else ("symbol", "ensembl")
        chosen = other if readings[other].known.sum() > readings[official].known.sum() else official
        readings[chosen].report["gene_names_read_as"] = chosen
        return readings[chosen]

    # ---- tokens and rows ---------------------------------------------------------------------------------------------

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Sort the genes of each cell by count / kept total * 10,000 / median, cut, and put ``<cls>`` in front."""
        rows = tokens.detected(chunk.counts, self.genes.known)
        ids = self.genes.ids[rows.columns]
        order, offsets = ranks.ranked(self.scale(rows) * self.inverse_medians[ids], rows.offsets, self.max_length - 1)
        ids = tokens.surround(ids[order], offsets, before=self.cls)
        return tokens.Tokens(tokens.surrounded_offsets(offsets, 1), {"ids": ids}, rows.lengths)

    def scale(self, rows: tokens.Rows) -> np.ndarray:
        """Scale each cell to 10,000 counts over the genes of the vocabulary, in the type of the matrix as
        officially.
        """
        dtype = rows.values.dtype
        totals = np.bincount(rows.cell, rows.values, minlength=len(rows.lengths)).astype(dtype)
        totals[totals == 0] = 1
        return ranks.scaled(rows, (dtype.type(ranks.TARGET_SUM) / totals,), dtype)

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the last state of ``<cls>``, projected or normed where asked for."""
        from scfm.models.core.segments import first_rows

        x = self.embeddings(batch.fields["ids"], batch.segments.positions)
        x = self.encoder(x, batch.segments, read=first_rows(batch.segments))
        if self.head is not None:
            x = self.head(x)
        x = x.float()
        return x / x.norm(dim=1, keepdim=True) if self.settings.normalize else x


def find_vocabulary(weights: Path) -> Path:
    """Return the folder of dictionaries: ``token_vocabulary``, or ``data/token_vocabulary`` as in the code
    repository.
    """
    places = [weights / "token_vocabulary", weights / "data" / "token_vocabulary"]
    return next((p for p in places if p.is_dir()), places[0])


def read_symbols(path: Path, table: dict[str, int]) -> dict[str, int]:
    """Read ``vocab_id2name.csv`` (columns id, name): symbol -> token; of rows with the same symbol the last one counts.

    A symbol whose last row names an id outside the vocabulary is unknown, also where an earlier row would be inside
    (official).
    """
    import pandas as pd

    try:
        rows = pd.read_csv(require_file(path), dtype=str, keep_default_na=False)
        last = dict(zip(rows["name"], rows["id"], strict=True))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, KeyError) as error:
        raise ScfmError(
            f"{path}: expected a CSV table with the columns id and name ({type(error).__name__}: {error})."
        ) from error
    return {symbol: table[gene] for symbol, gene in last.items() if symbol and gene in table}


MODEL = ScCello
