"""Linear layers and layer norms: on a CPU with weights that oneDNN has laid out once, and rows that do not depend on
their batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Literal

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Norm:
    """Layer norm; parameters stay float32 and so does the arithmetic.

    On a GPU in bf16 the parameters are rounded to bf16 as well: its kernel reads one type, and states that are turned
    into float32 and back for it cost three passes over memory where one is enough.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis; the result has the dtype of ``x``."""
        if x.dtype == torch.bfloat16 and x.device.type == "cuda":
            return F.layer_norm(x, (x.shape[-1],), *self._rounded, self.eps)
        return F.layer_norm(x.float(), (x.shape[-1],), self.weight, self.bias, self.eps).to(x.dtype)

    @cached_property
    def _rounded(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weight.bfloat16(), self.bias.bfloat16()


#: below a few rows BLAS takes kernels that sum in another order (seen for fewer than 4), and a row would depend on its
#: batch
_MIN_ROWS = 16
#: rows for which oneDNN lays out a weight; other numbers of rows read the same layout
_PACKED_FOR = 4096


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return ``x @ weight.T + bias`` for a matrix ``x``; on the CPU a row has the same bits however few rows come with
    it.
    """
    n = x.shape[0]
    if n >= _MIN_ROWS or x.dim() != 2 or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    return F.linear(F.pad(x, (0, 0, 0, _MIN_ROWS - n)), weight, bias)[:n]


@cache
def _can_pack() -> bool:
    """Whether this PyTorch has oneDNN's matrix product with weights laid out once (the one that torch.compile uses on
    CPUs).
    """
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


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
        The weight in the layout of oneDNN (see :meth:`pack`): a tenth faster than the plain product, which packs it at
        every call.
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
        if activation == "relu" and x.device.type == "cuda":  # in the product's own pass over the result
            return torch._addmm_activation(self.bias, x, self.weight.T)
        if self.packed is None or len(x) < _MIN_ROWS:
            return _ACTIVATIONS[activation](linear(x, self.weight, self.bias))
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, activation, [], "none")
