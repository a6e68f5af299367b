"""Attention inside each cell of a packed batch.

Only attention depends on where a cell begins and ends (:mod:`scfm.models.core.segments`): on the CPU it runs per group
of equally long cells, on CUDA in bf16 through PyTorch's variable-length kernel where lengths differ, else padded (with
a key mask where lengths differ). The kernels keep their softmax in float32.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from itertools import groupby

import torch
import torch.nn.functional as F

from scfm.models.core.linear import Linear, linear
from scfm.models.core.segments import Segments, Some

#: tokens from which a batch of equally long cells (all cut to the same length, say) goes through PyTorch's general
#: attention, which can choose faster kernels on CUDA. cuDNN's takes 65 ms for the first batch of a shape (H200)
_PLAIN_TOKENS = 32768


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    q_segments: Segments,
    k_segments: Segments,
    *,
    heads: int,
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
    if q.device.type == "cpu":
        return _attention_by_length((q, k, v), q_segments, k_segments, heads, key_bias)
    is_plain = q_segments.total >= _PLAIN_TOKENS and q_segments.is_even and q_segments.lengths == k_segments.lengths
    is_short_type = q.dtype == torch.bfloat16 and key_bias is None and q.shape[1] // heads % 8 == 0
    if is_short_type and not is_plain and _has_varlen(q.device):
        return _attention_varlen((q, k, v), q_segments, k_segments, heads)
    return attention_padded(q, k, v, q_segments, k_segments, heads=heads, key_bias=key_bias)


@cache
def _has_varlen(device: torch.device) -> bool:
    """Whether this PyTorch and this device have the kernel for packed sequences (CUDA, compute capability 8 and
    above).
    """
    return (
        device.type == "cuda"
        and torch.cuda.get_device_capability(device) >= (8, 0)
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


def _attention_varlen(
    qkv: tuple[torch.Tensor, ...], q_segments: Segments, k_segments: Segments, heads: int
) -> torch.Tensor:
    """CUDA kernel for packed sequences."""
    from torch.nn.attention.varlen import varlen_attn

    split = [x.unflatten(-1, (heads, -1)) for x in qkv]
    return varlen_attn(*split, q_segments.offsets, k_segments.offsets, q_segments.longest, k_segments.longest).flatten(
        1
    )


def attention_padded(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    q_segments: Segments,
    k_segments: Segments,
    *,
    heads: int,
    key_bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """The same as :func:`attention`, through matrices padded to the longest cell, with a key mask where lengths
    differ.
    """
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


def attention_of_one(
    x: torch.Tensor, qkv: Linear, read: Some, segments: Segments, *, heads: int, key_bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention of one query per cell, without computing keys and values.

    A logit is q.(Wk x + bk): W_k'q is a vector per head that meets the states themselves, and bk adds the same to all
    logits. The result is Wv (sum of p x) + bv, as the weights p sum to 1. For a last layer of which only ``<cls>`` is
    read this replaces two matrix products over all tokens.

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
