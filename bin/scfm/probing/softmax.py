"""Multinomial logistic regression with an L2 penalty by preconditioned L-BFGS.

What makes it fast (Nocedal & Wright, Numerical Optimization, 2006, chapters 3 and 7):

* L-BFGS starts every direction from an approximate inverse Hessian: the Gram matrix of the features, weighted by
  ``1 - sum of p^2``, is one Kronecker factor, the classes are the other, and the penalty is added in their eigenbases.
  For weak signal this is the Hessian. Where cells become certain (separable classes) the weights move to the border
  between classes, so the factors are computed again whenever their mean has halved or doubled.
* Logits are linear along a direction, so the line search needs no product: two products per iteration in all.
* A fit may start from the weights of another one, of a fold that shares most of its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.probing.softmax_loss import Each, Loss, Point

if TYPE_CHECKING:
    import numpy as np

#: expected decrease of the loss at which a fit has converged: nats per cell, and as a share of the loss
CLOSE, CLOSE_SHARE = 3e-8, 3e-8
#: a fit that can't decrease its loss any more has converged up to rounding where less than this share is expected
ROUNDING_SHARE = 1e-4
#: directions that L-BFGS remembers
MEMORY = 10
#: change of the mean weight of the cells at which the preconditioner is computed again, and iterations before that
STALE, LEAST_AGE = 0.5, 3

Solve = Callable[["np.ndarray"], "np.ndarray"]


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes
    ----------
    weights
        Shape (n_classes, n_dims + 1): coefficients, and the intercepts in the last column.
    loss
        Penalised mean loss per cell, nats; lower is better.
    n_iter
        Iterations of L-BFGS.
    is_converged
        Whether the expected decrease of the loss is below ``CLOSE`` and ``CLOSE_SHARE``.
    """

    weights: "np.ndarray"
    loss: float
    n_iter: int
    is_converged: bool


def fit_softmax(
    blocks: "Sequence[np.ndarray]",
    classes: "np.ndarray",
    n_classes: int,
    *,
    c: float,
    cell_weights: "np.ndarray",
    max_iter: int,
    start: "np.ndarray | None" = None,
    each: Each = map,
    kind: type[Loss] = Loss,
) -> Fit:
    """Fit a multinomial logistic regression.

    Parameters
    ----------
    blocks
        Standardised features, from :func:`in_blocks`, or what ``kind`` takes.
    classes
        Class numbers, shape (n_cells,); every one of 0 to n_classes - 1 occurs.
    n_classes
        Number of classes, at least 2.
    c
        Inverse strength of the L2 penalty.
    cell_weights
        Weights of the cells, above 0, shape (n_cells,).
    max_iter
        Limit of iterations.
    start
        Weights to start from, shape (n_classes, n_dims + 1); zeros by default.
    each
        Applies a function to every block: ``map``, or that of a pool of threads. It changes no bit of the result.
    kind
        What computes the loss: on the processor, or :class:`scfm.probing.softmax_device.DeviceLoss`.
    """
    import numpy as np

    loss = kind(blocks, classes, c=c, cell_weights=cell_weights, n_classes=n_classes, each=each)
    shape = (n_classes, loss.n_dims + 1)
    point = loss.at(np.zeros(shape) if start is None else np.asarray(start, dtype=np.float64))
    memory = _Memory(loss, point)
    n_iter = 0
    while True:
        direction = memory.direction(point.gradient)
        slope = float((point.gradient * direction).sum())
        expected = -slope / 2
        if expected <= min(CLOSE, CLOSE_SHARE * point.loss):
            return Fit(point.weights, point.loss, n_iter, is_converged=True)
        if n_iter == max_iter:
            return Fit(point.weights, point.loss, n_iter, is_converged=False)
        following = loss.search(point, direction, slope)
        if following is None:
            at_rounding = expected <= ROUNDING_SHARE * point.loss
            return Fit(point.weights, point.loss, n_iter, is_converged=at_rounding)
        memory.add(point, following)
        point, n_iter = following, n_iter + 1


def preconditioner(loss: Loss, probabilities: "np.ndarray") -> Solve:
    """Return the approximate inverse Hessian at some probabilities, as a function of a gradient."""
    import numpy as np

    between, gram = loss.factors(probabilities)
    spread, features = np.linalg.eigh(gram)
    strength, mixing = np.linalg.eigh(between)
    curvature = strength.clip(0)[:, None] * spread.clip(0) + loss.penalty
    return lambda gradient: mixing @ ((mixing.T @ gradient @ features) / curvature) @ features.T


class _Memory:
    """The approximation of the Hessian: recent steps, and the preconditioner behind them."""

    def __init__(self, loss: Loss, point: Point) -> None:
        self._loss = loss
        self._renew(point)

    def _renew(self, point: Point) -> None:
        self._solve = preconditioner(self._loss, point.probabilities)
        self._mean = float(self._loss.certainty(point.probabilities).sum())
        self._age = 0
        self._steps: list[tuple[np.ndarray, np.ndarray, float]] = []

    def add(self, before: Point, after: Point) -> None:
        """Learn from a step; the preconditioner is renewed where it no longer fits."""
        step, change = after.weights - before.weights, after.gradient - before.gradient
        curvature = float((step * change).sum())
        if curvature > 0:
            self._steps = [*self._steps[1 - MEMORY :], (step, change, curvature)]
        self._age += 1
        mean = float(self._loss.certainty(after.probabilities).sum())
        if self._age >= LEAST_AGE and not STALE < mean / max(self._mean, 1e-300) < 1 / STALE:
            self._renew(after)

    def direction(self, gradient: "np.ndarray") -> "np.ndarray":
        """Return the direction of descent (two-loop recursion)."""
        result, parts = gradient.copy(), []
        for step, change, curvature in reversed(self._steps):
            part = float((step * result).sum()) / curvature
            parts.append(part)
            result -= part * change
        result = self._solve(result)
        for (step, change, curvature), part in zip(self._steps, reversed(parts), strict=True):
            result += step * (part - float((change * result).sum()) / curvature)
        return -result
