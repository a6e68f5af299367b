"""The network of UCE: reading it from a checkpoint, and the way of a sentence through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.models.core.base import EmbeddingModel
from scfm.models.core.batch import Batch
from scfm.models.core.checkpoint import ANY
from scfm.text import listing

if TYPE_CHECKING:
    import torch

    from scfm.models.core.checkpoint import Checkpoint
    from scfm.models.core.linear import Linear, Norm

EPS = 1e-5


class UCENetwork(EmbeddingModel):
    """The layers of UCE and what they compute; the genes and sentences are in :mod:`scfm.models.uce.model`."""

    def _read_network(self, checkpoint: "Checkpoint") -> None:
        """Read everything but the token table; sizes are those of the tensors, the number of layers is counted."""
        import torch

        from scfm.models.core.blocks import TORCH_NAMES, read_layer
        from scfm.models.core.linear import Linear, Norm

        self.width, self.vector_size = checkpoint.shape("encoder.0.weight")
        if self.width % self.settings.heads:
            raise ScfmError(
                f"{checkpoint.path}: the width {self.width} is not a multiple of heads={self.settings.heads}. Official"
                " files have 20 heads."
            )
        numbers = [
            int(n.split(".")[2])
            for n in checkpoint.names
            if n.startswith("transformer_encoder.layers.") and n.split(".")[2].isdigit()
        ]
        if not numbers:
            raise ScfmError(
                f"{checkpoint.path}: has no transformer_encoder.layers; it is not a UCE checkpoint (it holds"
                f" {listing(checkpoint.names)})."
            )
        self.n_layers = max(numbers) + 1
        inner = checkpoint.shape("transformer_encoder.layers.0.linear1.weight")[0]
        self.layers = [
            read_layer(
                checkpoint,
                f"transformer_encoder.layers.{i}.",
                TORCH_NAMES,
                width=self.width,
                inner=inner,
                eps=EPS,
                place=self.place,
            )
            for i in range(self.n_layers)
        ]
        positions = checkpoint.take("pos_encoder.pe", ANY, 1, self.width, init="file")
        self.position_table = positions[:, 0].to(self.device, torch.float32).contiguous()

        def linear(name: str, n_out: int, n_in: int) -> Linear:
            return Linear(checkpoint.take(f"{name}.weight", n_out, n_in), checkpoint.take(f"{name}.bias", n_out))

        def norm(name: str, size: int) -> Norm:
            weight, bias = checkpoint.take(f"{name}.weight", size), checkpoint.take(f"{name}.bias", size)
            return Norm(self.place(weight, is_norm=True), self.place(bias, is_norm=True), EPS)

        def placed(layer: Linear) -> Linear:
            return Linear(self.place(layer.weight), self.place(layer.bias))

        first = linear("encoder.0", self.width, self.vector_size)
        self.encoder = Linear(first.weight.to(self.device), first.bias.to(self.device)), norm("encoder.2", self.width)
        self.decoder: list[tuple[Linear, Norm]] = []
        size = self.width
        for i in range(3):
            n_out = checkpoint.shape(f"decoder.{i}.0.weight")[0]
            self.decoder.append((placed(linear(f"decoder.{i}.0", n_out, size)), norm(f"decoder.{i}.1", n_out)))
            size = n_out
        self.n_dims = checkpoint.shape("decoder.3.weight")[0]
        self.last = placed(linear("decoder.3", self.n_dims, size))

    def forward(self, batch: Batch) -> "torch.Tensor":
        """Return the decoded last state of ``<cls>``, of unit length."""
        import torch.nn.functional as F

        return F.normalize(self.decode(self.cls_states(self.embed_tokens(batch), batch)), dim=1)

    def embed_tokens(self, batch: Batch) -> "torch.Tensor":
        """Return the input of the first layer, shape (n_tokens, width), float32: projected token vector + position."""
        return self.input_table[self.row_of[batch.fields["ids"]]].add_(self.position_table[batch.segments.positions])

    def cls_states(self, x: "torch.Tensor", batch: Batch) -> "torch.Tensor":
        """Return the last state of ``<cls>`` of each cell, shape (n_cells, width); the last layer is computed for it
        only.
        """
        from scfm.models.core.blocks import post_norm_layer
        from scfm.models.core.segments import first_rows

        x, bias, heads = x.to(self.dtype), batch.fields.get("bias"), self.settings.heads
        for i, layer in enumerate(self.layers[:-1]):
            x = post_norm_layer(
                x,
                layer,
                batch.segments,
                heads=heads,
                key_bias=bias,
                qkv=self.first_projections(batch) if i == 0 else None,
            )
        return post_norm_layer(
            x, self.layers[-1], batch.segments, heads=heads, key_bias=bias, read=first_rows(batch.segments), fold=True
        )

    def first_projections(self, batch: Batch) -> "torch.Tensor":
        """Return query, key and value of the first layer, looked up: a token's projection + a position's."""
        return self.input_qkv[self.row_of[batch.fields["ids"]]].add_(self.position_qkv[batch.segments.positions])

    def decode(self, x: "torch.Tensor") -> "torch.Tensor":
        """Return the decoder's output, shape (n_cells, n_dims), float32, not yet of unit length."""
        import torch.nn.functional as F

        for linear, norm in self.decoder:
            x = F.gelu(norm(linear(x)))
        return self.last(x).float()
