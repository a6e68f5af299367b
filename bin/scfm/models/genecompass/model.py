"""GeneCompass (Yang et al., Cell Research 2024, doi:10.1038/s41422-024-01034-y): inference, written from
``docs/models/genecompass.md``.

A cell is its genes, ranked by log2(1 + count / median), each with that value and four kinds of prior knowledge; a
learned vector of the species comes first. A BERT encoder reads all places, as published also the padding behind the
genes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.models.core import genes, ranks, tokens
from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.bert import read_bert_config, read_embeddings, read_encoder, weights_file
from scfm.models.core.checkpoint import ANY
from scfm.models.core.config import whole_numbers
from scfm.models.genecompass.files import (
    HOMOLOGUES,
    KNOWLEDGE,
    find,
    find_model,
    read_dictionaries,
    read_homologues,
    read_knowledge,
)
from scfm.models.genecompass.settings import GeneCompassSettings
from scfm.text import plural

if TYPE_CHECKING:
    import torch

    from scfm.models.core.bert import BertConfig
    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.reader import Chunk, Counts
    from scfm.models.core.segments import Segments, Some

SPECIES = ("human", "mouse")
#: epsilon of the norm inside the embedding; the other norms take that of the configuration
CAT_EPS = 1e-5
PREFIX = "bert.embeddings."


class GeneCompass(EmbeddingModel):
    """GeneCompass as cell embedder."""

    name = "genecompass"
    Settings = GeneCompassSettings
    gene_ids = "ensembl"
    reads_symbols = True
    ignored_tensors = ("cls.predictions.", "cls4value.", "emb_warmup.", "bert.pooler.", f"{PREFIX}position_ids")

    def load(self) -> None:
        """Read configuration, dictionaries and encoder; fold the embedding of the usable genes into one table."""
        self.folder = find_model(self.weights, self.settings.release)
        #: dictionaries lie beside the model's folder, also where --weights is that folder itself
        self.tops = (self.weights, self.weights.resolve().parent) if self.folder == self.weights else (self.weights,)
        config = read_bert_config(self.folder / "config.json")
        content = read_json(config.path)
        for key in ("use_values", "use_cls_token"):
            if content.get(key, True) is not True:
                raise ScfmError(
                    f"{config.path}: {key} is {content[key]!r}; only true can be computed here, which the released"
                    " models have."
                )
        if content.get("pad_token_id", 0) != 0:
            raise ScfmError(f"{config.path}: pad_token_id is {content['pad_token_id']!r}, expected 0.")
        self.knowledge = [kind for kind in KNOWLEDGE if content.get(f"use_{kind}", True)]
        self._settle(config.n_positions)
        self.dictionaries = read_dictionaries(self.tops, config, self.settings.species)
        if self.settings.species == "human":
            self.ignored_tensors = (*type(self).ignored_tensors, f"{PREFIX}homologous_index")
        checkpoint = self.open(weights_file(self.folder, "pytorch_model.bin"))
        self.rebuilt = [kind for kind in self.knowledge if f"{PREFIX}{kind}_knowledge" not in checkpoint]
        kinds = whole_numbers(content, {"type_vocab_size": 1}, config.path, usual={"type_vocab_size": 2})
        constants = [("token_type_embeddings", kinds[0])]
        embeddings = read_embeddings(checkpoint, config, self.place, constants=constants)
        self.finish = embeddings.finish
        self._read_gene_embedding(checkpoint, config, embeddings.words.cpu())
        self.encoder = read_encoder(checkpoint, config, self.place, self.dtype)
        self._read_first_states(checkpoint, config)
        self.n_dims = config.width

    def _settle(self, n_positions: int) -> None:
        """Work out the longest sequence."""
        asked = n_positions if self.settings.max_length is None else self.settings.max_length
        if asked < 1:
            raise ScfmError(f"genecompass: setting max_length={asked} leaves no room for a gene; expected at least 1.")
        self.max_length = min(asked, n_positions)
        if asked > n_positions:
            self.warn("W-MOD-15", n_positions=n_positions, values={"max_length": asked})

    def _read_gene_embedding(self, checkpoint: "Checkpoint", config: "BertConfig", words: "torch.Tensor") -> None:
        """Fold everything that enters the embedding's first linear layer, but the value, into one row per usable token.

        The layer reads word | value | knowledge 1 | ... side by side, each knowledge after a linear map of its own: all
        of it is linear.
        """
        import torch

        from scfm.models.core.linear import Linear, Norm

        d = config.width
        take = checkpoint.take
        rows = np.unique(np.fromiter((0, *self.dictionaries.table.values()), np.int64))
        used = self._knowledge_rows(checkpoint, config)[rows]
        joint = take(f"{PREFIX}concat_embeddings.cat_fc.weight", d, (1 + len(self.knowledge)) * d + 1)
        table = words[torch.from_numpy(rows)] @ joint[:, :d].T + take(f"{PREFIX}concat_embeddings.cat_fc.bias", d)
        for kind, part in zip(self.knowledge, joint[:, d + 1 :].split(d, dim=1), strict=False):
            known = self._knowledge(checkpoint, kind, used, config.vocab_size)
            weight = take(f"{PREFIX}{kind}_embeddings.linear1.weight", d, known.shape[1]).double()
            bias = take(f"{PREFIX}{kind}_embeddings.linear1.bias", d).double()
            table += known @ (part.double() @ weight).float().T + (part.double() @ bias).float()
        self.gene_table = self.place(table, is_norm=True)
        row_of = torch.zeros(config.vocab_size, dtype=torch.int64)
        row_of[torch.from_numpy(rows)] = torch.arange(len(rows))
        self.row_of = row_of.to(self.device)
        self.value_weight = self.place(joint[:, d], is_norm=True)
        cat = f"{PREFIX}concat_embeddings"
        self.cat_norm = Norm(
            *(self.place(take(f"{cat}.cat_ln.{part}", d), is_norm=True) for part in ("weight", "bias")), CAT_EPS
        )
        self.project = Linear(
            self.place(take(f"{cat}.cat_proj.weight", d, d)), self.place(take(f"{cat}.cat_proj.bias", d))
        )

    def _knowledge_rows(self, checkpoint: "Checkpoint", config: "BertConfig") -> np.ndarray:
        """Return the token whose knowledge each token takes: its own, for mouse that of the homologue."""
        size = config.vocab_size
        if self.settings.species == "human":
            return np.arange(size)
        name = f"{PREFIX}homologous_index"
        if name not in checkpoint:
            return read_homologues(find(self.tops, HOMOLOGUES), size)
        index = checkpoint.take(name, size, init="file").long().numpy()
        if index.min() < 0 or index.max() >= size:
            raise ScfmError(
                f"{checkpoint.path}: the tensor '{name}' refers to tokens outside the vocabulary of {size:,}. The file"
                " is damaged."
            )
        return index

    def _knowledge(self, checkpoint: "Checkpoint", kind: str, rows: np.ndarray, size: int) -> "torch.Tensor":
        """Return rows of a knowledge table, from the checkpoint, else from the pickles; not trained, so random weights
        keep it.
        """
        import torch

        if kind not in self.rebuilt:
            return checkpoint.take_rows(f"{PREFIX}{kind}_knowledge", rows, size, ANY)
        needed, inverse = np.unique(rows, return_inverse=True)
        return torch.from_numpy(read_knowledge(self.tops, kind, self.dictionaries.tokens, needed)[inverse])

    def _read_first_states(self, checkpoint: "Checkpoint", config: "BertConfig") -> None:
        """Compute what does not depend on the cell: row 0 = the species vector (no position, no norm), row i + 1 =
        padding at place i.
        """
        import torch

        vectors = checkpoint.take("bert.cls_embedding.weight", len(SPECIES), config.width, init=config.init)
        species = self.place(vectors[SPECIES.index(self.settings.species)], is_norm=True)
        places = torch.arange(self.max_length, device=self.device)
        self.first_states = torch.cat(
            [
                species[None],
                self.embed_tokens(torch.zeros_like(places), torch.zeros(len(places), device=self.device), places),
            ]
        )

    def facts(self) -> dict[str, Any]:
        """Return which model and dictionaries were found, and where the knowledge tables come from."""
        return (
            super().facts()
            | self.dictionaries.files
            | {
                "model_release": self.folder.resolve().name,
                "knowledge_from_pickles": self.rebuilt,
                "max_length": self.max_length,
            }
        )

    # ---- genes -------------------------------------------------------------------------------------------------------

    def map_genes(self, names: np.ndarray, cells_per_gene: np.ndarray) -> genes.GeneMap:
        """Match symbols by the official dictionary, or Ensembl ids; columns of one gene all stay and the token occurs
        again, as officially.
        """
        return genes.look_up(names, self.dictionaries.table, strip_version=self.settings.strip_version)

    def prepare(self, counts: "Counts") -> None:
        """Say which dictionaries are absent, and whether the genes are those of the species."""
        for what in self.dictionaries.absent:
            self.warn("W-MOD-22", values={"file": what})
        if self.settings.species != "mouse":
            return
        ids = self.genes.ids[self.genes.known & (counts.scan().detected)]
        n_mouse = int(self.dictionaries.mouse_tokens[ids].sum())
        if n_mouse and not self.dictionaries.mouse_medians.exists():
            raise ScfmError(
                f"{self.dictionaries.mouse_medians}: the file is missing, and {plural(n_mouse, 'gene')} of the data"
                f" {'is a mouse gene' if n_mouse == 1 else 'are mouse genes'}: their counts are divided by these"
                " medians."
            )
        if 2 * n_mouse < len(ids):
            self.warn("W-MOD-23", n_genes=len(ids), values={"n_human": len(ids) - n_mouse})

    # ---- tokens ------------------------------------------------------------------------------------------------------

    def tokenize(self, chunk: "Chunk") -> tokens.Tokens:
        """Rank the genes of each cell by log2(1 + count / median) and cut; place 0 is the species vector (id 0),
        padding has id 0 and value 0.
        """
        rows = tokens.detected(chunk.counts, self.genes.known)
        ids = self.genes.ids[rows.columns]
        values = np.log2(1.0 + rows.values.astype(np.float64) / self.dictionaries.medians[ids])
        order, offsets = ranks.ranked(values, rows.offsets, self.max_length)
        lengths = np.diff(offsets)
        n_cells = len(lengths)
        width = np.full(n_cells, self.max_length) if self.settings.attend_padding else lengths
        new = tokens.offsets_of(1 + width)
        place = np.repeat(new[:-1] + 1, lengths) + tokens.within(offsets)
        all_ids, all_values = np.zeros(new[-1], np.int32), np.zeros(new[-1], np.float32)
        all_ids[place], all_values[place] = ids[order], values[order]
        return tokens.Tokens(new, {"ids": all_ids, "values": all_values}, rows.lengths)

    # ---- rows --------------------------------------------------------------------------------------------------------

    def embed_tokens(self, ids: "torch.Tensor", values: "torch.Tensor", places: "torch.Tensor") -> "torch.Tensor":
        """Return the input states of genes or padding at their places (0 = highest rank), (n_tokens,) thrice ->
        (n_tokens, width), float32.
        """
        hidden = self.cat_norm(self.gene_table[self.row_of[ids]].addcmul_(values[:, None], self.value_weight))
        hidden = hidden.mul_((1.702 * hidden).sigmoid_())
        return self.finish(self.project(hidden.to(self.dtype)).float(), places)

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the last state of the species vector, or the mean over the places behind it."""
        from scfm.models.core.segments import first_rows

        segments = batch.segments
        ids, positions = batch.fields["ids"], segments.positions
        x = self.first_states[positions]
        at = ids.nonzero()[:, 0]
        x[at] = self.embed_tokens(ids[at], batch.fields["values"][at], positions[at] - 1)
        if self.settings.pooling == "cls":
            return self.encoder(x, segments, read=first_rows(segments))
        behind = without_first(segments)
        return behind.segments.mean(self.encoder(x, segments, read=behind))


def without_first(segments: "Segments") -> "Some":
    """Return all tokens but the first of every cell."""
    import torch

    from scfm.models.core.segments import Segments, Some

    inner = Segments([length - 1 for length in segments.lengths], segments.device)
    return Some(torch.arange(inner.total, device=segments.device) + inner.cell + 1, inner)


MODEL = GeneCompass
