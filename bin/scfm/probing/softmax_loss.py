"""The loss of a multinomial logistic regression: values, gradients and line searches over blocks of cells.

The loss is scikit-learn's: the weighted mean cross-entropy plus ``|coef|^2 / (2 C sum of weights)``, intercepts free.
Two classes share one vector of coefficients there; here they have two with twice the penalty, which is the same.

Products are float32, block by block; losses, sums over blocks, logits and directions are float64. Arrays lie along the
cells, as products with few classes are twice as fast that way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: of the line search: share of the expected decrease that is enough, share of the slope that is flat, steps tried
DECREASE, FLATTER, MAX_TRIALS = 1e-4, 0.5, 30
#: share of the largest standard deviation of a feature below which one is rounding
DEAD = 1e-6
#: cells in one block
BLOCK = 4096
#: cells of the Gram matrix: at least so many, and so many times the features
GRAM_CELLS, GRAM_RATIO = 8192, 8

Each = Callable[..., "Iterable"]


def centre_and_scale(values: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return mean and standard deviation of every feature, float64, shape (n_dims,); 1 for a constant one.

    A feature whose standard deviation is below :data:`DEAD` of the largest is what rounding left in a dimension that a
    projection has emptied. It gets the largest one, so that it stays next to nothing: scaled up to 1 a probe would
    read the batch from rounding.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims), float32.
    """
    import numpy as np

    parts = [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / len(values)
    scale = np.sqrt(sum(((part - mean) ** 2).sum(axis=0) for part in parts) / len(values))
    largest = scale.max(initial=0.0)
    living = np.where(scale >= DEAD * largest, scale, largest)
    return mean, np.where(scale > np.finfo(np.float32).eps * np.abs(mean), living, 1.0)


def in_blocks(values: "np.ndarray", mean: "np.ndarray", scale: "np.ndarray") -> "list[np.ndarray]":
    """Return ``(values - mean) / scale`` of cells, as the fit wants it.

    Parameters
    ----------
    values
        Features, shape (n_cells, n_dims).
    mean, scale
        Shape (n_dims,).

    Returns
    -------
    Blocks of cells, float32, shapes (n_dims, <= 4096).
    """
    import numpy as np

    blocks = []
    for start in range(0, len(values), BLOCK):
        block = np.array(values[start : start + BLOCK].T, dtype=np.float32, order="C")
        block -= mean[:, None].astype(np.float32)
        block /= scale[:, None].astype(np.float32)
        blocks.append(block)
    return blocks


def logits_of(block: "np.ndarray", weights: "np.ndarray") -> "np.ndarray":
    """Return the logits, float32, shape (n_classes, n_cells), of a block of :func:`in_blocks`."""
    import numpy as np

    return weights[:, :-1].astype(np.float32) @ block + weights[:, -1:].astype(np.float32)


@dataclass(frozen=True)
class Point:
    """A point of the optimisation; logits (float64) and probabilities (float32) have the shape (n_classes, n_cells)."""

    weights: "np.ndarray"
    logits: "np.ndarray"
    probabilities: "np.ndarray"
    loss: float
    gradient: "np.ndarray"


class Loss:
    """The penalised loss of one fit, block of cells by block; sums over blocks are taken in their order.

    What reads features, logits or probabilities is a method of its own, which
    :class:`scfm.probing.softmax_device.DeviceLoss` replaces.
    """

    def __init__(
        self,
        blocks: "Sequence[np.ndarray]",
        classes: "np.ndarray",
        *,
        c: float,
        cell_weights: "np.ndarray",
        n_classes: int,
        each: Each,
    ) -> None:
        import numpy as np

        total = float(np.sum(cell_weights, dtype=np.float64))
        self.blocks, self.classes, self.n_dims = blocks, classes, len(blocks[0])
        self.shares = np.asarray(cell_weights, dtype=np.float64) / total
        self.penalty = (2.0 if n_classes == 2 else 1.0) / (c * total)
        ends = np.cumsum([0, *(block.shape[1] for block in blocks)]).tolist()
        self.spans = [slice(*span) for span in pairwise(ends)]
        self._each = each

    def at(self, weights: "np.ndarray") -> Point:
        """Return the point of some weights."""
        logits = self._logits(weights)
        probabilities = self._buffer(logits)
        entropy = self._value(logits, probabilities)
        loss = entropy + self.penalty / 2 * float((weights[:, :-1] ** 2).sum())
        return Point(weights, logits, probabilities, loss, self._gradient(weights, probabilities))

    def search(self, point: Point, direction: "np.ndarray", slope: float) -> Point | None:
        """Return a point along a direction that satisfies the strong Wolfe conditions, None if none decreases the loss.

        The loss is convex along the line: the next step is where the derivative's secant is zero, kept inside the
        bracket.
        """
        import numpy as np

        along = self._logits(direction)
        probabilities = self._buffer(along)
        own, move = point.weights[:, :-1], direction[:, :-1]
        ww, wd, dd = float((own * own).sum()), float((own * move).sum()), float((move * move).sum())
        step, low, high, low_slope = 1.0, 0.0, None, slope
        for _ in range(MAX_TRIALS):
            entropy, derivative = self._value_after(point.logits, along, step, probabilities)
            loss = entropy + self.penalty / 2 * (ww + 2 * step * wd + step**2 * dd)
            derivative += self.penalty * (wd + step * dd)
            decreases = loss <= point.loss + DECREASE * step * slope
            if decreases and abs(derivative) <= FLATTER * abs(slope):
                weights = point.weights + step * direction
                gradient = self._gradient(weights, probabilities)
                return Point(weights, point.logits + step * along, probabilities, loss, gradient)
            secant = step - derivative * (step - low) / (derivative - low_slope) if derivative > low_slope else np.inf
            if derivative > 0 or not decreases:
                high = step
            else:
                low, low_slope = step, derivative
            step = _inside(secant, low, high)
        return None

    def _logits(self, weights: "np.ndarray") -> "np.ndarray":
        """Return the logits of all cells, float64."""
        import numpy as np

        parts = self._each(lambda block: logits_of(block, weights).astype(np.float64), self.blocks)
        return np.concatenate(list(parts), axis=1)

    def _buffer(self, logits: "np.ndarray") -> "np.ndarray":
        """Return an array for the probabilities of some logits."""
        import numpy as np

        return np.empty(logits.shape, dtype=np.float32)

    def _value(self, logits: "np.ndarray", probabilities: "np.ndarray") -> float:
        """Write the probabilities and return the mean cross-entropy."""
        return sum(self._each(lambda span: self._entropy(span, logits[:, span], probabilities), self.spans))

    def _value_after(
        self, logits: "np.ndarray", along: "np.ndarray", step: float, probabilities: "np.ndarray"
    ) -> tuple[float, float]:
        """Write the probabilities after a step; return the mean cross-entropy and its derivative along the way."""
        trial = partial(self._trial, logits=logits, along=along, step=step, probabilities=probabilities)
        entropy, derivative = (sum(part) for part in zip(*self._each(trial, self.spans), strict=True))
        return entropy, derivative

    def _entropy(self, span: slice, logits: "np.ndarray", probabilities: "np.ndarray") -> float:
        """Write the probabilities of a block and return its part of the mean cross-entropy."""
        import numpy as np

        shifted = (logits - logits.max(axis=0)).astype(np.float32)
        own = shifted[self.classes[span], np.arange(shifted.shape[1])]
        np.exp(shifted, out=shifted)
        sums = shifted.sum(axis=0)
        np.divide(shifted, sums, out=probabilities[:, span])
        return float(self.shares[span] @ (np.log(sums).astype(np.float64) - own))

    def _trial(
        self, span: slice, *, logits: "np.ndarray", along: "np.ndarray", step: float, probabilities: "np.ndarray"
    ) -> tuple[float, float]:
        """Return the parts of a block of the cross-entropy after a step, and of its derivative."""
        import numpy as np

        move = along[:, span]
        entropy = self._entropy(span, logits[:, span] + step * move, probabilities)
        own = move[self.classes[span], np.arange(move.shape[1])]
        return entropy, float(self.shares[span] @ (np.einsum("kn,kn->n", probabilities[:, span], move) - own))

    def _gradient(self, weights: "np.ndarray", probabilities: "np.ndarray") -> "np.ndarray":
        """Return the gradient, shape of the weights."""
        import numpy as np

        def part(block: "np.ndarray", span: slice) -> "tuple[np.ndarray, np.ndarray]":
            residual = probabilities[:, span].copy()
            residual[self.classes[span], np.arange(residual.shape[1])] -= 1
            residual *= self.shares[span].astype(np.float32)
            # in this order of the factors the product takes three quarters of the time
            return (block @ residual.T).T, residual.sum(axis=1, dtype=np.float64)

        gradient = np.zeros_like(weights)
        gradient[:, :-1] = self.penalty * weights[:, :-1]
        for coefficients, intercepts in self._each(part, self.blocks, self.spans):
            gradient[:, :-1] += coefficients
            gradient[:, -1] += intercepts
        return gradient

    def certainty(self, probabilities: "np.ndarray") -> "np.ndarray":
        """Return the weight of every cell in the Hessian, ``share x (1 - sum of p^2)``, shape (n_cells,)."""
        import numpy as np

        return self.shares * (1 - np.einsum("kn,kn->n", probabilities, probabilities)).clip(0)

    def factors(self, probabilities: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
        """Return the Kronecker factors of the approximate Hessian: of the classes, and the Gram matrix of the features
        and a constant, weighted by :meth:`certainty`, from a part of the cells.
        """
        import numpy as np

        weight = self.certainty(probabilities)
        by_class = probabilities * self.shares
        between = np.diag(by_class.sum(axis=1)) - by_class @ probabilities.T
        between /= max(float(weight.sum()), np.finfo(float).tiny)
        stride = self._stride(len(weight))
        roots = np.sqrt(weight * stride).astype(np.float32)
        gram = np.zeros((self.n_dims + 1,) * 2)
        for block, span in zip(self.blocks, self.spans, strict=True):
            some = np.vstack([block[:, ::stride], np.ones(len(roots[span][::stride]), dtype=np.float32)])
            some *= roots[span][::stride]
            gram += some @ some.T
        return between, gram

    def _stride(self, n_cells: int) -> int:
        """Return how many cells stand for one in the Gram matrix."""
        return max(1, n_cells // max(GRAM_CELLS, GRAM_RATIO * self.n_dims))


def _inside(step: float, low: float, high: float | None) -> float:
    """Return a step that lies well inside the bracket; without an upper end, at most ten times the lower one."""
    if high is None:
        return min(max(step, 2 * low), 10 * low)
    width = high - low
    return min(max(step, low + 0.1 * width), high - 0.1 * width)
