"""Transformer layers that the models share, on packed tokens: no padding enters a linear layer.

Hidden states of a batch are one matrix (n_tokens, width), cell after cell. In bf16, weights and activations of linear
layers are bf16, layer norms and the softmax of attention are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from scfm.models.core.attention import attention, attention_of_one
from scfm.models.core.linear import Activation, Linear, Norm, linear
from scfm.models.core.segments import Segments, Some

if TYPE_CHECKING:
    from scfm.models.core.checkpoint import Checkpoint

#: values between the two products of a feed-forward that are computed at a time on a CPU
_INNER_VALUES = 5 * 2**20


@dataclass(frozen=True)
class Layer:
    """A transformer encoder layer with fused query, key and value (rows of ``qkv``: all q, all k, all v,
    head-contiguous).
    """

    qkv: Linear
    out: Linear
    norm1: Norm
    up: Linear
    down: Linear
    norm2: Norm


def post_norm_layer(
    x: torch.Tensor,
    layer: Layer,
    segments: Segments,
    *,
    heads: int,
    activation: Activation = "relu",
    read: Some | None = None,
    keys: Some | None = None,
    key_bias: torch.Tensor | None = None,
    qkv: torch.Tensor | None = None,
    fold: bool = False,
) -> torch.Tensor:
    """Run ``x = norm1(x + out(attention(x))); x = norm2(x + down(act(up(x))))`` on a packed batch.

    Parameters
    ----------
    x
        Hidden states, (n_tokens, width).
    layer, heads, activation
        Weights; number of heads; ``relu`` or ``gelu`` (exact).
    segments
        Limits of the cells in ``x``.
    read
        Compute only these rows (keys and values still come from all): for a last layer of which few rows are read.
    keys
        Only these rows serve as keys and values (others are masked but are computed): padding that is read later.
    key_bias
        Added to the logits of each key; see :func:`attention`.
    qkv
        Projections of ``x``, (n_tokens, 3 * width), where they were looked up and not computed.
    fold
        With ``read`` of one row per cell, on the CPU: do not compute keys and values at all; see
        :func:`attention_of_one`.

    Returns
    -------
    (n_tokens, width), or (len(read.index), width).
    """
    width = x.shape[1]
    if fold and read is not None and keys is None and x.device.type == "cpu" and read.segments.longest == 1:
        mixed = attention_of_one(x, layer.qkv, read, segments, heads=heads, key_bias=key_bias)
        return _after_attention(mixed, x[read.index], layer, activation)
    if read is None and keys is None:
        q, k, v = (layer.qkv(x) if qkv is None else qkv).split(width, dim=1)
        q_segments = k_segments = segments
    else:
        q_segments = segments if read is None else read.segments
        k_segments = segments if keys is None else keys.segments
        source = x if keys is None else x[keys.index]
        x = x if read is None else x[read.index]
        q = linear(x, layer.qkv.weight[:width], layer.qkv.bias[:width])
        k, v = linear(source, layer.qkv.weight[width:], layer.qkv.bias[width:]).split(width, dim=1)
    mixed = attention(q, k, v, q_segments, k_segments, heads=heads, key_bias=key_bias)
    return _after_attention(mixed, x, layer, activation)


def _after_attention(mixed: torch.Tensor, x: torch.Tensor, layer: Layer, activation: Activation) -> torch.Tensor:
    """Return ``norm2(h + down(act(up(h))))`` of ``h = norm1(x + out(mixed))``; on a CPU in parts that stay in its
    cache.
    """
    n_parts = -(-len(x) * len(layer.up.weight) // _INNER_VALUES) if x.device.type == "cpu" else 1
    done = []
    for part, add in zip(mixed.tensor_split(n_parts), x.tensor_split(n_parts), strict=True):
        h = layer.norm1(layer.out(part).add_(add))
        done.append(layer.norm2(layer.down(layer.up(h, activation)).add_(h)))
    return torch.cat(done) if n_parts > 1 else done[0]


@dataclass(frozen=True)
class LayerNames:
    """Names of a layer's tensors in a checkpoint, without ``.weight`` / ``.bias``; ``{}`` stands for the layer's
    number.

    ``qkv`` holds one name (stacked projections) or three (query, key, value). ``qkv_packed`` names a projection whose
    parameters are called ``<name>_weight`` and ``<name>_bias`` (PyTorch's ``in_proj``).
    """

    qkv: tuple[str, ...]
    out: str
    norm1: str
    up: str
    down: str
    norm2: str
    qkv_packed: bool = False


#: BERT as transformers names it (Geneformer, GeneCompass, scCello), below a prefix such as ``bert.encoder.layer.{}.``
BERT_NAMES = LayerNames(
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
#: torch.nn.TransformerEncoderLayer (scGPT, scFoundation, UCE, Nicheformer)
TORCH_NAMES = LayerNames(
    ("self_attn.in_proj",), "self_attn.out_proj", "norm1", "linear1", "linear2", "norm2", qkv_packed=True
)


def read_layer(
    checkpoint: "Checkpoint",
    prefix: str,
    names: LayerNames,
    *,
    width: int,
    inner: int,
    eps: float,
    place: Callable,
    init: float | None = None,
) -> Layer:
    """Read a layer's tensors from a checkpoint.

    Parameters
    ----------
    checkpoint
        Open checkpoint.
    prefix
        Text in front of the names, with its final dot.
    width, inner, eps
        Width of the model, of the feed-forward, epsilon of the norms.
    place
        ``place(tensor, is_norm)`` moves a tensor to its device and dtype: :meth:`EmbeddingModel.place`.
    init
        Standard deviation of random matrices (``--random_init``); None for PyTorch's rule of linear layers.
    """

    def pair(name: str, n_out: int, n_in: int | None, joint: str = ".") -> tuple[torch.Tensor, torch.Tensor]:
        weight = checkpoint.take(
            f"{prefix}{name}{joint}weight", *((n_out,) if n_in is None else (n_out, n_in)), init=init if n_in else None
        )
        return weight, checkpoint.take(f"{prefix}{name}{joint}bias", n_out)

    def linear(name: str, n_out: int, n_in: int) -> Linear:
        return Linear(*(place(t) for t in pair(name, n_out, n_in))).pack()

    def norm(name: str) -> Norm:
        weight, bias = pair(name, width, None)
        return Norm(place(weight, is_norm=True), place(bias, is_norm=True), eps)

    rows = 3 * width // len(names.qkv)
    parts = [pair(name, rows, width, "_" if names.qkv_packed else ".") for name in names.qkv]
    qkv = Linear(
        *(place(torch.cat(tensors) if len(tensors) > 1 else tensors[0]) for tensors in zip(*parts, strict=True))
    ).pack()
    return Layer(
        qkv,
        linear(names.out, width, width),
        norm(names.norm1),
        linear(names.up, inner, width),
        linear(names.down, width, inner),
        norm(names.norm2),
    )
