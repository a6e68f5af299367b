"""The network of CellPLM: reading it from a checkpoint, and the way of cells through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.checkpoint import ANY

if TYPE_CHECKING:
    import torch

    from scfm.models.core.checkpoint import Checkpoint

#: columns of the gene table that are summed at a time on a CPU: all genes of so narrow a table stay in the processor's
#: cache
TABLE_COLUMNS = 32


class CellPLMNetwork(EmbeddingModel):
    """The layers of CellPLM and what they compute; files, genes and chunks are in :mod:`scfm.models.cellplm.model`."""

    def _read_network(self, checkpoint: "Checkpoint") -> None:
        import torch

        from scfm.models.cellplm.parts import read_flow_layer, read_linear, read_norm

        h, z, place = self.width, self.n_dims, self.place
        # the table stays float32: it is read once per value, and bf16 would cost precision without saving time
        table = checkpoint.take("embedder.feat_enc.emb", len(self.vocabulary), h, init=(1 / h) ** 0.5).to(
            self.device, torch.float32
        )
        self.gene_tables = [
            part.contiguous() for part in table.split(h if self.device.type == "cuda" else TABLE_COLUMNS, dim=1)
        ]
        self.embedder = read_linear(checkpoint, ["embedder.extra_linear.0"], h, h, place)
        self.embedder_norm = read_norm(checkpoint, "embedder.extra_linear.3", h, place)
        self.layers = [read_flow_layer(checkpoint, i, h, place) for i in range(self.n_layers)]
        self.final_norm = read_norm(checkpoint, "pre_latent_norm.norm", h, place)
        at = "latent.layers.1."
        if self.latent == "vae":
            self.mean = read_linear(checkpoint, [f"{at}hid_2mu"], z, h, place)
            return
        at += "inference."
        k = self.n_clusters
        # the highest of these logits chooses a cluster, and rounded ones would choose another
        self.logits = read_linear(
            checkpoint, [f"{at}inference_qyx.0.logits"], k, h, lambda tensor: place(tensor, is_norm=True)
        )
        inner = checkpoint.take(f"{at}inference_qzyx.0.bias", ANY).shape[0]
        self.joint = read_linear(checkpoint, [f"{at}inference_qzyx.0"], inner, h + k, place)
        self.mean = read_linear(checkpoint, [f"{at}inference_qzyx.2.mu"], z, inner, place)

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the rows of some cells that attend to each other and no others."""
        from scfm.models.cellplm.parts import States, run_layer

        x = self.embed_cells(self.features(batch))
        states = States(len(x), self.width, self.device)
        states.write(0, x)
        for layer in self.layers:
            run_layer(states, layer, self.heads)
        uniform = self.noise.uniform(len(x), self.n_clusters, self.n_dims) if self.noise else None
        return self.read_latent(states.read(0, len(x)), uniform)

    def features(self, batch: Batch) -> "torch.Tensor":
        """Return the weighted sum of gene embeddings of each cell, shape (n_cells, width)."""
        import torch
        import torch.nn.functional as F

        ids, values, offsets = batch.fields["ids"].int(), batch.fields["values"], batch.segments.offsets
        sums = [
            F.embedding_bag(ids, table, offsets, mode="sum", per_sample_weights=values, include_last_offset=True)
            for table in self.gene_tables
        ]
        return torch.cat(sums, dim=1)

    def embed_cells(self, features: "torch.Tensor") -> "torch.Tensor":
        """Return the encoder's input: Norm(ReLU(Linear(features)))."""
        import torch.nn.functional as F

        from scfm.models.cellplm.parts import apply

        x, norm = apply(self.embedder, features, "relu"), self.embedder_norm
        return F.group_norm(x, 4, norm.weight, norm.bias, norm.eps) if self.norm_kind == "groupnorm" else norm(x)

    def read_latent(self, x: "torch.Tensor", uniform: "torch.Tensor | None") -> "torch.Tensor":
        """Return the mean of the latent space, shape (n_cells, n_dims); ``uniform`` are draws for the mixture's
        cluster.
        """
        import torch.nn.functional as F

        from scfm.models.cellplm.parts import apply

        x = self.final_norm(x)
        if self.latent == "vae":
            return apply(self.mean, x)
        logits = self.cluster_logits(x)
        if uniform is not None:
            logits = logits - (-(uniform.to(x.device) + 1e-20).log() + 1e-20).log()  # Gumbel noise
        y = F.one_hot(logits.argmax(1), self.n_clusters).to(x.dtype)
        return apply(self.mean, apply(self.joint, _beside(x, y), "relu"))

    def cluster_logits(self, x: "torch.Tensor") -> "torch.Tensor":
        """Return the logits of the mixture's clusters from normed states, shape (n_cells, n_clusters)."""
        from scfm.models.cellplm.parts import apply

        return apply(self.logits, x)


def _beside(x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.cat([x, y], dim=1)
