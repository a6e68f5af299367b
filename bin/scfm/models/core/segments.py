"""Where the cells of a packed batch begin and end, and pooling over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch


def on_device(values: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Move values from memory to a device; a GPU gets them without waiting for what it computes."""
    if torch.device(device).type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)


class Segments:
    """Where the cells of a packed batch begin and end.

    Parameters
    ----------
    lengths
        Tokens per cell, each at least 1.
    device
        Where index tensors live.
    """

    def __init__(self, lengths: list[int], device: torch.device | str) -> None:
        self.lengths = lengths
        self.device = torch.device(device)
        self.longest = max(lengths)
        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        self.starts = starts

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def total(self) -> int:
        """Tokens in the batch."""
        return self.starts[-1]

    @property
    def is_even(self) -> bool:
        """Whether all cells have the same length."""
        return self.total == self.longest * len(self)

    @cached_property
    def offsets(self) -> torch.Tensor:
        """Starts and end, shape (n_cells + 1,), int32."""
        return on_device(torch.tensor(self.starts, dtype=torch.int32), self.device)

    @cached_property
    def positions(self) -> torch.Tensor:
        """Position of each token inside its cell, shape (n_tokens,), int64."""
        return torch.arange(self.total, device=self.device) - self.first.repeat_interleave(
            self._lengths, output_size=self.total
        )

    @cached_property
    def cell(self) -> torch.Tensor:
        """Cell of each token, shape (n_tokens,), int64."""
        return torch.arange(len(self), device=self.device).repeat_interleave(self._lengths, output_size=self.total)

    @cached_property
    def first(self) -> torch.Tensor:
        """Row of each cell's first token, shape (n_cells,), int64."""
        return self.offsets[:-1].long()

    @cached_property
    def _lengths(self) -> torch.Tensor:
        return on_device(torch.tensor(self.lengths), self.device)

    @cached_property
    def slots(self) -> torch.Tensor:
        """Place of each token in the padded matrix flattened to (n_cells * longest), shape (n_tokens,), int64."""
        return self.cell * self.longest + self.positions

    @cached_property
    def mask(self) -> torch.Tensor:
        """True at tokens, False at padding, shape (n_cells, longest)."""
        return torch.arange(self.longest, device=self.device) < self._lengths[:, None]

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean over each cell's tokens, (n_tokens, width) -> (n_cells, width), summed in float32.

        A cell's tokens are added in their order, on a GPU too: ``index_add_`` would take them as they come there, and
        no two runs would give the same bits.
        """
        return self._reduced(x, "mean")

    def max(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maximum over each cell's tokens, (n_tokens, width) -> (n_cells, width)."""
        return self._reduced(x, "max")

    def _reduced(self, x: torch.Tensor, how: str) -> torch.Tensor:
        if len(x) != self.total:
            raise ValueError(f"{len(x)} rows for cells of {self.total} tokens")
        # unsafe = PyTorch does not check the lengths, for which a GPU would have to be waited for
        return torch.segment_reduce(x.float(), how, lengths=self._lengths, unsafe=True)


@dataclass(frozen=True)
class Some:
    """Some tokens of a packed batch: their rows, and the segments that these form per cell."""

    index: torch.Tensor
    segments: Segments


def first_rows(segments: Segments) -> Some:
    """Return the first token of every cell: all that a last layer needs where only ``<cls>`` is read."""
    return Some(segments.first, Segments([1] * len(segments), segments.device))
