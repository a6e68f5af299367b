"""The loss of a multinomial logistic regression by PyTorch on a device, for the solver of :mod:`scfm.probing.softmax`.

Features, logits and probabilities stay on the device; weights, gradients and what L-BFGS remembers are NumPy's. The
precision is that of :class:`scfm.probing.softmax_loss.Loss`: products are float32 and added up block by block in
float64. Arrays lie cell by cell, here the faster way; cells that fill the last block have no share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.probing.softmax_loss import BLOCK, Loss
from scfm.task.device import on_device

if TYPE_CHECKING:
    import numpy as np
    import torch


def features_on(values: "np.ndarray", mean: "np.ndarray", scale: "np.ndarray", device: str) -> "torch.Tensor":
    """Return ``(values - mean) / scale`` of cells on a device.

    Parameters
    ----------
    values
        Features, shape (n_cells, n_dims).
    mean, scale
        Shape (n_dims,).
    device
        PyTorch's name of a device.

    Returns
    -------
    Blocks of cells, float32, shape (n_blocks, 4096, n_dims), zeros behind the last cell.
    """
    import torch

    n, d = values.shape
    found = torch.zeros(-(-n // BLOCK) * BLOCK, d, dtype=torch.float32, device=device)
    found[:n] = on_device(values, device)
    found[:n] -= on_device(mean, device).float()
    found[:n] /= on_device(scale, device).float()
    return found.view(-1, BLOCK, d)


def probabilities_on(features: "torch.Tensor", weights: "np.ndarray", n_cells: int) -> "np.ndarray":
    """Return the probabilities of the first cells of :func:`features_on`, float64, shape (n_cells, n_classes)."""
    import torch

    found: np.ndarray = torch.softmax(_logits(features, weights)[:n_cells], dim=1).cpu().numpy()
    return found


def _logits(features: "torch.Tensor", weights: "np.ndarray") -> "torch.Tensor":
    """Return the logits of all cells, products in float32, as float64, shape (n_blocks * 4096, n_classes)."""
    numbers = on_device(weights.astype("float32"), str(features.device))
    return (features.flatten(0, 1) @ numbers[:, :-1].T + numbers[:, -1]).double()


class DeviceLoss(Loss):
    """The penalised loss of one fit; logits and probabilities have the shape (n_blocks * 4096, n_classes).

    Parameters
    ----------
    blocks
        From :func:`features_on`.
    settings
        As of :class:`scfm.probing.softmax_loss.Loss`; threads have nothing to do.
    """

    def __init__(self, blocks: Any, classes: "np.ndarray", **settings: Any) -> None:
        super().__init__(blocks, classes, **settings)
        device, n = str(blocks.device), len(classes)
        self.n_dims, self._n_cells = blocks.shape[2], n
        self.classes, self.shares = (self._filled(on_device(a, device)) for a in (self.classes, self.shares))

    def _filled(self, numbers: "torch.Tensor") -> "torch.Tensor":
        """Return a number per cell with zeros behind the last one."""
        import torch

        return torch.nn.functional.pad(numbers, (0, len(self.blocks) * BLOCK - len(numbers)))

    def _logits(self, weights: "np.ndarray") -> Any:
        return _logits(self.blocks, weights)

    def _buffer(self, logits: Any) -> Any:
        import torch

        return torch.empty_like(logits, dtype=torch.float32)

    def _value(self, logits: Any, probabilities: Any) -> float:
        return float(self._entropy_of(logits, probabilities))

    def _value_after(self, logits: Any, along: Any, step: float, probabilities: Any) -> tuple[float, float]:
        import torch

        entropy = self._entropy_of(logits + step * along, probabilities)
        derivative = self.shares @ ((probabilities * along).sum(dim=1) - self._own(along))
        both = torch.stack([entropy, derivative]).tolist()
        return both[0], both[1]

    def _entropy_of(self, logits: Any, probabilities: Any) -> "torch.Tensor":
        """Write the probabilities and return the mean cross-entropy."""
        import torch

        shifted = (logits - logits.amax(dim=1, keepdim=True)).float()
        own = self._own(shifted).double()
        sums = shifted.exp_().sum(dim=1)
        torch.div(shifted, sums[:, None], out=probabilities)
        return self.shares @ (sums.log().double() - own)

    def _own(self, numbers: "torch.Tensor") -> "torch.Tensor":
        """Return the number of every cell's own class."""
        return numbers.gather(1, self.classes[:, None])[:, 0]

    def _gradient(self, weights: "np.ndarray", probabilities: Any) -> "np.ndarray":
        import torch

        residual = probabilities.clone()
        residual.scatter_(1, self.classes[:, None], self._own(probabilities)[:, None] - 1)
        residual *= self.shares[:, None].float()
        by_block = residual.view(len(self.blocks), BLOCK, -1)
        coefficients = (by_block.transpose(1, 2) @ self.blocks).double().sum(dim=0)
        intercepts = residual.sum(dim=0, dtype=torch.float64)
        gradient: np.ndarray = torch.cat([coefficients, intercepts[:, None]], dim=1).cpu().numpy()
        gradient[:, :-1] += self.penalty * weights[:, :-1]
        return gradient

    def certainty(self, probabilities: Any) -> Any:
        return self.shares * (1 - probabilities.square().sum(dim=1)).clamp(min=0)

    def factors(self, probabilities: Any) -> "tuple[np.ndarray, np.ndarray]":
        import numpy as np
        import torch

        weight = self.certainty(probabilities)
        by_class = probabilities * self.shares[:, None]
        between = torch.diag(by_class.sum(dim=0)) - by_class.T @ probabilities.double()
        between /= max(float(weight.sum()), np.finfo(float).tiny)
        stride = self._stride(self._n_cells)
        some = torch.nn.functional.pad(self.blocks[:, ::stride], (0, 1), value=1.0)
        some *= (weight * stride).sqrt().float().view(-1, BLOCK)[:, ::stride, None]
        flat = some.flatten(0, 1)
        return between.cpu().numpy(), (flat.T @ flat).double().cpu().numpy()
