"""Transformer pieces that the models share, on packed tokens: no padding enters a linear layer.

Hidden states of a batch are one matrix (n_tokens, width), cell after cell. Only attention knows where a cell begins and ends
(:mod:`scfm.models.segments`): on the CPU it runs per group of equally long cells, on CUDA in bf16 through PyTorch's
variable-length kernel, else padded with a key mask. In bf16, weights and activations of linear layers are bf16, layer norms are computed in float32, and
the attention kernels keep their softmax in float32.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F

from scfm.models.segments import Segments, Some, first_rows

if TYPE_CHECKING:
    from scfm.models.checkpoint import Checkpoint

__all__ = [
    "BERT_NAMES", "TORCH_NAMES", "Layer", "LayerNames", "Linear", "Norm", "Segments", "Some", "attention", "attention_padded", "first_rows",
    "post_norm_layer", "read_layer",
]


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, q_segments: Segments, k_segments: Segments, *, heads: int,
    key_bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multi-head scaled-dot-product attention inside each cell, scale 1/sqrt(head width).

    Parameters
    ----------
    q, k, v
        Packed projections, (n_queries, width) and (n_keys, width), heads contiguous.
    q_segments, k_segments
        Limits of the cells among the queries and among the keys.
    heads
        Number of heads.
    key_bias
        Added to the logits of each key, shape (n_keys,); None for none.

    Returns
    -------
    Heads side by side, (n_queries, width).
    """
    if q.dtype == torch.bfloat16 and key_bias is None and q.shape[1] // heads % 8 == 0 and _has_varlen(q.device):
        return _attention_varlen((q, k, v), q_segments, k_segments, heads)
    if q.device.type == "cpu":
        return _attention_by_length((q, k, v), q_segments, k_segments, heads, key_bias)
    return attention_padded(q, k, v, q_segments, k_segments, heads=heads, key_bias=key_bias)


@cache
def _has_varlen(device: torch.device) -> bool:
    """Whether this PyTorch and this device have the kernel for packed sequences (CUDA, compute capability 8 and above)."""
    return (
        device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        and importlib.util.find_spec("torch.nn.attention.varlen") is not None
    )


def _attention_by_length(
    qkv: tuple[torch.Tensor, ...], q_segments: Segments, k_segments: Segments, heads: int, key_bias: torch.Tensor | None
) -> torch.Tensor:
    """One call per run of equally long cells: no padding and no mask."""
    q, k, v = qkv
    out = torch.empty_like(q)
    cell = 0
    for (nq, nk), run in groupby(zip(q_segments.lengths, k_segments.lengths, strict=True)):
        n = sum(1 for _ in run)
        at, kat = q_segments.starts[cell], k_segments.starts[cell]
        rows, krows = slice(at, at + n * nq), slice(kat, kat + n * nk)
        bias = None if key_bias is None else key_bias[krows].view(n, 1, 1, nk).to(q.dtype)
        mixed = F.scaled_dot_product_attention(
            _heads(q[rows], n, heads), _heads(k[krows], n, heads), _heads(v[krows], n, heads), attn_mask=bias
        )
        out[rows] = mixed.transpose(1, 2).reshape(n * nq, -1)
        cell += n
    return out


def _heads(x: torch.Tensor, n_cells: int, heads: int) -> torch.Tensor:
    """(n_cells * length, width) -> (n_cells, heads, length, head width), a view."""
    return x.unflatten(0, (n_cells, -1)).unflatten(-1, (heads, -1)).transpose(1, 2)


def _attention_varlen(qkv: tuple[torch.Tensor, ...], q_segments: Segments, k_segments: Segments, heads: int) -> torch.Tensor:
    """CUDA kernel for packed sequences."""
    from torch.nn.attention.varlen import varlen_attn

    split = [x.unflatten(-1, (heads, -1)) for x in qkv]
    return varlen_attn(*split, q_segments.offsets, k_segments.offsets, q_segments.longest, k_segments.longest).flatten(1)


def attention_padded(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, q_segments: Segments, k_segments: Segments, *, heads: int,
    key_bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """The same as :func:`attention`, through matrices padded to the longest cell, with a key mask where lengths differ."""
    n = len(q_segments)
    q4, k4, v4 = (_heads(_pad(x, s), n, heads) for x, s in ((q, q_segments), (k, k_segments), (v, k_segments)))
    mask = None
    if key_bias is not None:
        mask = torch.full((n * k_segments.longest,), float("-inf"), dtype=q.dtype, device=q.device)
        mask[k_segments.slots] = key_bias.to(q.dtype)
        mask = mask.view(n, 1, 1, -1)
    elif not k_segments.is_even:
        mask = k_segments.mask[:, None, None, :]
    mixed = F.scaled_dot_product_attention(q4, k4, v4, attn_mask=mask).transpose(1, 2).reshape(-1, q.shape[1])
    return mixed if q_segments.is_even else mixed[q_segments.slots]


def _pad(x: torch.Tensor, segments: Segments) -> torch.Tensor:
    """(n_tokens, width) -> (n_cells * longest, width), zeros at padding."""
    if segments.is_even:
        return x
    return x.new_zeros(len(segments) * segments.longest, x.shape[1]).index_copy_(0, segments.slots, x)


@dataclass(frozen=True)
class Norm:
    """Layer norm; parameters stay float32 and so does the arithmetic."""

    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis; the result has the dtype of ``x``."""
        return F.layer_norm(x.float(), (x.shape[-1],), self.weight, self.bias, self.eps).to(x.dtype)


#: below a few rows BLAS takes kernels that sum in another order (seen for fewer than 4), and a row would depend on its batch
_MIN_ROWS = 16
#: values between the two products of a feed-forward that are computed at a time on a CPU
_INNER_VALUES = 5 * 2**20
#: rows for which oneDNN lays out a weight; other numbers of rows read the same layout
_PACKED_FOR = 4096


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return ``x @ weight.T + bias`` for a matrix ``x``; on the CPU a row has the same bits however few rows come with it."""
    n = x.shape[0]
    if n >= _MIN_ROWS or x.dim() != 2 or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    return F.linear(F.pad(x, (0, 0, 0, _MIN_ROWS - n)), weight, bias)[:n]


@cache
def _can_pack() -> bool:
    """Whether this PyTorch has oneDNN's matrix product with weights laid out once (the one that torch.compile uses on CPUs)."""
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))


Activation = Literal["none", "relu", "gelu"]
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"none": lambda x: x, "relu": F.relu_, "gelu": F.gelu}


@dataclass(frozen=True)
class Linear:
    """Linear layer; weight and bias have the dtype of the activations.

    Attributes
    ----------
    weight, bias
        (n_out, n_in) and (n_out,).
    packed
        The weight in the layout of oneDNN (see :meth:`pack`): a tenth faster than the plain product, which packs it at every call.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    packed: torch.Tensor | None = None

    def pack(self) -> "Linear":
        """Return the layer with its weight also packed, where that helps: float32 on a CPU."""
        if self.weight.device.type != "cpu" or self.weight.dtype != torch.float32 or not _can_pack():
            return self
        return replace(self, packed=torch.ops.mkldnn._reorder_linear_weight(self.weight, _PACKED_FOR))

    def __call__(self, x: torch.Tensor, activation: Activation = "none") -> torch.Tensor:
        """Return ``activation(x @ weight.T + bias)``; ``gelu`` is the exact one."""
        if self.packed is None or len(x) < _MIN_ROWS:
            return _ACTIVATIONS[activation](linear(x, self.weight, self.bias))
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, activation, [], "none")


@dataclass(frozen=True)
class Layer:
    """A transformer encoder layer with fused query, key and value (rows of ``qkv``: all q, all k, all v, head-contiguous)."""

    qkv: Linear
    out: Linear
    norm1: Norm
    up: Linear
    down: Linear
    norm2: Norm


def attention_of_one(
    x: torch.Tensor, qkv: Linear, read: Some, segments: Segments, *, heads: int, key_bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention of one query per cell, without computing keys and values.

    A logit is q.(Wk x + bk): W_k'q is a vector per head that meets the states themselves, and bk adds the same to all logits. The
    result is Wv (sum of p x) + bv, as the weights p sum to 1. For a last layer of which only ``<cls>`` is read this replaces two
    matrix products over all tokens.

    Returns
    -------
    Heads side by side, (n_cells, width).
    """
    width, n = x.shape[1], len(segments)
    (w_q, w_k, w_v), (b_q, _, b_v) = qkv.weight.split(width), qkv.bias.split(width)
    q = (linear(x[read.index], w_q, b_q) * (width // heads) ** -0.5).view(n, heads, -1)
    w_k, w_v, b_v = w_k.view(heads, -1, width), w_v.view(heads, -1, width), b_v.view(heads, -1)
    probes = torch.stack([linear(q[:, h], w_k[h].T, None) for h in range(heads)], dim=2)  # (n, width, heads)
    context = torch.empty(n, heads, width, dtype=x.dtype)
    cell = 0
    for length, run in groupby(segments.lengths):
        m = sum(1 for _ in run)
        at = segments.starts[cell]
        states = x[at : at + m * length].view(m, length, width)
        logits = torch.bmm(states, probes[cell : cell + m]).float()
        if key_bias is not None:
            logits += key_bias[at : at + m * length].view(m, length, 1)
        context[cell : cell + m] = torch.bmm(logits.softmax(1).to(x.dtype).transpose(1, 2), states)
        cell += m
    return torch.cat([linear(context[:, h], w_v[h], b_v[h]) for h in range(heads)], dim=1)


def post_norm_layer(
    x: torch.Tensor, layer: Layer, segments: Segments, *, heads: int, activation: Activation = "relu", read: Some | None = None,
    keys: Some | None = None, key_bias: torch.Tensor | None = None, qkv: torch.Tensor | None = None, fold: bool = False,
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
        With ``read`` of one row per cell, on the CPU: do not compute keys and values at all; see :func:`attention_of_one`.

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
    """Return ``norm2(h + down(act(up(h))))`` of ``h = norm1(x + out(mixed))``; on a CPU in parts that stay in its cache."""
    n_parts = -(-len(x) * len(layer.up.weight) // _INNER_VALUES) if x.device.type == "cpu" else 1
    done = torch.empty_like(mixed)
    for part, add, into in zip(*(t.tensor_split(n_parts) for t in (mixed, x, done)), strict=True):
        h = layer.norm1(layer.out(part).add_(add))
        into.copy_(layer.norm2(layer.down(layer.up(h, activation)).add_(h)))
    return done


@dataclass(frozen=True)
class LayerNames:
    """Names of a layer's tensors in a checkpoint, without ``.weight`` / ``.bias``; ``{}`` stands for the layer's number.

    ``qkv`` holds one name (stacked projections) or three (query, key, value). ``qkv_packed`` names a projection whose parameters
    are called ``<name>_weight`` and ``<name>_bias`` (PyTorch's ``in_proj``).
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
    ("attention.self.query", "attention.self.key", "attention.self.value"), "attention.output.dense", "attention.output.LayerNorm",
    "intermediate.dense", "output.dense", "output.LayerNorm",
)
#: torch.nn.TransformerEncoderLayer (scGPT, scFoundation, UCE, Nicheformer)
TORCH_NAMES = LayerNames(("self_attn.in_proj",), "self_attn.out_proj", "norm1", "linear1", "linear2", "norm2", qkv_packed=True)


def read_layer(
    checkpoint: "Checkpoint", prefix: str, names: LayerNames, *, width: int, inner: int, eps: float, place: Callable,
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
        weight = checkpoint.take(f"{prefix}{name}{joint}weight", *((n_out,) if n_in is None else (n_out, n_in)), init=init if n_in else None)
        return weight, checkpoint.take(f"{prefix}{name}{joint}bias", n_out)

    def linear(name: str, n_out: int, n_in: int) -> Linear:
        return Linear(*(place(t) for t in pair(name, n_out, n_in))).pack()

    def norm(name: str) -> Norm:
        weight, bias = pair(name, width, None)
        return Norm(place(weight, is_norm=True), place(bias, is_norm=True), eps)

    rows = 3 * width // len(names.qkv)
    parts = [pair(name, rows, width, "_" if names.qkv_packed else ".") for name in names.qkv]
    qkv = Linear(*(place(torch.cat(tensors) if len(tensors) > 1 else tensors[0]) for tensors in zip(*parts, strict=True))).pack()
    return Layer(
        qkv, linear(names.out, width, width), norm(names.norm1), linear(names.up, inner, width), linear(names.down, width, inner),
        norm(names.norm2),
    )
