"""CellPLM's encoder: flow attention across cells in blocks, and the memory for their states; written from
``docs/models/cellplm.md``.

Every term by which a cell attends to the others is a sum over cells. A layer therefore runs block by block in four
passes over the cells (sums of q and k; their normalised sums; the weighted sum of outer products; the output), with the
same result as in one piece, and a chunk may be larger than memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from scfm.models.core.linear import Activation, Linear, Norm, linear

if TYPE_CHECKING:
    from collections.abc import Callable

    from scfm.models.core.checkpoint import Checkpoint

NORM_EPS = 1e-5
FLOW_EPS = 1e-6
#: cells per block
BLOCK = 1024
#: floats that a chunk's states may take in memory (1 GiB); beyond, they lie in a temporary file
MEMORY_VALUES = 2**28
#: floats that the projections of a layer may take (512 MiB); beyond, each pass computes them again
CACHE_VALUES = 2**27


class States:
    """Hidden states of the cells of a chunk, float32, read and written block by block.

    Parameters
    ----------
    n_cells, width
        Shape.
    device
        Where blocks are computed.
    """

    def __init__(self, n_cells: int, width: int, device: torch.device) -> None:
        self.n_cells, self.width, self.device = n_cells, width, device
        is_large = n_cells * width > MEMORY_VALUES
        self._file = tempfile.TemporaryFile(prefix="cellplm_states_") if is_large else None  # noqa: SIM115 (gone with this object)
        self._tensor = None if self._file else torch.empty(n_cells, width, device=device)

    def blocks(self) -> list[tuple[int, int]]:
        """Return the limits of the blocks."""
        return [(a, min(a + BLOCK, self.n_cells)) for a in range(0, self.n_cells, BLOCK)]

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Return the states of some cells, (stop - start, width)."""
        if self._tensor is not None:
            return self._tensor[start:stop]
        self._file.seek(start * self.width * 4)
        values = np.fromfile(self._file, dtype=np.float32, count=(stop - start) * self.width)
        return torch.from_numpy(values).view(-1, self.width).to(self.device)

    def write(self, start: int, values: torch.Tensor) -> None:
        """Store the states of the cells from ``start`` on."""
        if self._tensor is not None:
            self._tensor[start : start + len(values)] = values
            return
        self._file.seek(start * self.width * 4)
        self._file.write(values.float().cpu().contiguous().numpy().data)
        self._file.flush()


@dataclass(frozen=True)
class FlowLayer:
    """A pre-norm encoder layer; ``qkv`` holds query, key and value one below the other."""

    norm1: Norm
    qkv: Linear
    out: Linear
    norm2: Norm
    up: Linear
    down: Linear


def read_norm(checkpoint: "Checkpoint", name: str, width: int, place: "Callable") -> Norm:
    """Read a norm's parameters; they stay float32."""
    weight, bias = checkpoint.take(f"{name}.weight", width), checkpoint.take(f"{name}.bias", width)
    return Norm(place(weight, is_norm=True), place(bias, is_norm=True), NORM_EPS)


def read_linear(checkpoint: "Checkpoint", names: list[str], n_out: int, n_in: int, place: "Callable") -> Linear:
    """Read a linear layer, or several as one."""
    weights = [checkpoint.take(f"{name}.weight", n_out, n_in) for name in names]
    biases = [checkpoint.take(f"{name}.bias", n_out) for name in names]
    return Linear(place(torch.cat(weights)), place(torch.cat(biases))).pack()


def read_flow_layer(checkpoint: "Checkpoint", number: int, width: int, place: "Callable") -> FlowLayer:
    """Read one encoder layer."""
    at = f"encoder.layers.{number}."
    projections = [f"{at}self_attn.{what}_projection" for what in ("query", "key", "value")]
    return FlowLayer(
        read_norm(checkpoint, f"{at}norm1", width, place),
        read_linear(checkpoint, projections, width, width, place),
        read_linear(checkpoint, [f"{at}self_attn.out_projection"], width, width, place),
        read_norm(checkpoint, f"{at}norm2", width, place),
        read_linear(checkpoint, [f"{at}_ff_block.0"], 2 * width, width, place),
        read_linear(checkpoint, [f"{at}_ff_block.3"], width, 2 * width, place),
    )


def apply(layer: Linear, x: torch.Tensor, activation: Activation = "none") -> torch.Tensor:
    """Apply a linear layer in its own precision to float32 states."""
    return layer(x.to(layer.weight.dtype), activation).float()


class _Projections:
    """Query, key and value per block, (n, heads, head width) each; kept where they fit into memory."""

    def __init__(self, states: States, layer: FlowLayer, heads: int) -> None:
        self._states, self._layer, self._heads = states, layer, heads
        self._kept: dict[int, list[torch.Tensor]] | None = (
            {} if 3 * states.n_cells * states.width <= CACHE_VALUES else None
        )

    def __iter__(self) -> Iterator[tuple[int, int, list[torch.Tensor]]]:
        for start, stop in self._states.blocks():
            found = self._kept.get(start) if self._kept is not None else None
            if found is None:
                x = apply(self._layer.qkv, self._layer.norm1(self._states.read(start, stop)))
                q, k, v = (part.unflatten(1, (self._heads, -1)) for part in x.chunk(3, dim=1))
                found = [q.sigmoid(), k.sigmoid(), v]
                if self._kept is not None:
                    self._kept[start] = found
            yield start, stop, found


def _against(x: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Return sum_d (x + eps)(total + eps) per cell and head, shape (n, heads, 1)."""
    total = total + FLOW_EPS
    apart = torch.block_diag(*total.float()[:, None])  # (heads, width): one product for all heads
    return linear(x.flatten(1), apart, (FLOW_EPS * total.sum(1)).float())[:, :, None]


def run_layer(states: States, layer: FlowLayer, heads: int) -> None:
    """Run ``x += out(flow(norm1(x))); x += down(gelu(up(norm2(x))))`` over all cells of a chunk, in place.

    Sums over cells are made in float64: neither blocks nor the order of the cells change the result beyond its last
    bits.
    """
    n = states.n_cells
    projected = _Projections(states, layer, heads)
    sums = {
        name: torch.zeros(heads, states.width // heads, dtype=torch.float64, device=states.device)
        for name in ("q", "k", "qa", "kb")
    }
    for _, _, (q, k, _) in projected:
        sums["q"] += q.sum(0, dtype=torch.float64)
        sums["k"] += k.sum(0, dtype=torch.float64)
    for _, _, (q, k, _) in projected:
        sums["qa"] += (q / _against(q, sums["k"])).sum(0, dtype=torch.float64)
        sums["kb"] += (k / _against(k, sums["q"])).sum(0, dtype=torch.float64)
    outer = torch.zeros(heads, states.width // heads, states.width // heads, dtype=torch.float64, device=states.device)
    weight = torch.zeros(heads, dtype=torch.float64, device=states.device)
    for _, _, (_, k, v) in projected:
        share = _against(k, sums["qa"]).clamp(-1, 1).exp()
        outer += torch.bmm(k.permute(1, 2, 0).double(), (v * share).transpose(0, 1).double())
        weight += share.sum((0, 2), dtype=torch.float64)
    mixed = (outer * (n / weight)[:, None, None]).float()
    for start, stop, (q, _, _) in projected:
        allowed = _against(q, sums["kb"]).sigmoid() / _against(q, sums["k"])
        attended = torch.bmm((q * allowed).transpose(0, 1), mixed).transpose(0, 1).flatten(1)
        x = states.read(start, stop) + apply(layer.out, attended)
        states.write(start, x + apply(layer.down, apply(layer.up, layer.norm2(x), "gelu")))
