"""Which cells a metric evaluates: all of a data set, above a size a stratified sample.

Neighbours, distances, graphs and groups are always those of all cells; only the cells whose own value is computed are
fewer. Each sampled value has a standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scfm.keyed import cell_keys

if TYPE_CHECKING:
    import numpy as np

#: data sets of more cells are sampled
SAMPLE_ABOVE = 50_000
#: in data sets of more cells silhouettes are of single precision, kBET's eigenvectors too, and Leiden gets an edge once
LIGHT_ABOVE = 20_000
#: cells evaluated in all, and at least of every label
N_EVALUATED, PER_LABEL = 20_000, 500

How = Literal["mean", "median"]


@dataclass(frozen=True)
class Sample:
    """Cells drawn from every label.

    Attributes
    ----------
    rows
        Positions of the drawn cells, ascending, shape (n_drawn,).
    labels
        Label of every cell, shape (n_cells,).
    sizes
        Cells of every label, shape (n_labels,).
    drawn
        Drawn cells of every label, shape (n_labels,).
    """

    rows: "np.ndarray"
    labels: "np.ndarray"
    sizes: "np.ndarray"
    drawn: "np.ndarray"

    @classmethod
    def draw(
        cls,
        cell_ids: "np.ndarray",
        labels: "np.ndarray",
        *,
        n: int = N_EVALUATED,
        per_label: "int | np.ndarray" = PER_LABEL,
        seed: int,
    ) -> Sample:
        """Draw n cells in proportion to the labels, but ``per_label`` (or all) of every label.

        A cell's place in the draw is a hash of seed and id, so the order of the rows does not matter.

        Parameters
        ----------
        cell_ids, labels
            Id and label (0 to n_labels - 1, none empty) of every cell, shape (n_cells,).
        n, per_label
            Cells to draw; ``per_label`` may be a number for each label.
        seed
            Seed of the draw.
        """
        import numpy as np

        sizes = np.bincount(labels)
        drawn = np.ceil(sizes * np.clip(n / len(labels), np.minimum(1, per_label / sizes), 1)).astype(int)
        order = np.lexsort((cell_keys(seed, cell_ids, stream="evaluated"), labels))
        place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(np.sort(order[place < np.repeat(drawn, sizes)]), labels, sizes, drawn)

    def spread_out(self, values: "np.ndarray") -> "np.ndarray":
        """Return one value per cell of the data set, NaN for cells that were not drawn."""
        import numpy as np

        whole = np.full(len(self.labels), np.nan)
        whole[self.rows] = values
        return whole

    def mean(self, per_cell: "np.ndarray", label: int | None = None) -> tuple[float, float]:
        """Return the mean and its standard error over all cells, or over one label.

        Parameters
        ----------
        per_cell
            Shape (n_cells,); NaN for cells that were not drawn and for those without a value.
        label
            Label to summarise.
        """
        mean = variance = 0.0
        parts = self._parts(per_cell, label)
        total = sum(size for _, size, _ in parts)
        for values, size, n in parts:
            mean += size / total * float(values.mean())
            variance += (size / total) ** 2 * self._variance(values, size, n)
        return mean, variance**0.5

    def median(self, per_cell: "np.ndarray", label: int | None = None) -> tuple[float, float]:
        """Return the median and its standard error, from the interval of the share of cells below it (Woodruff 1952,
        10.1080/01621459.1952.10483443).

        Parameters
        ----------
        per_cell, label
            As for :meth:`mean`.
        """
        import numpy as np

        parts = self._parts(per_cell, label)
        values = np.concatenate([v for v, _, _ in parts])
        weights = np.concatenate([np.full(len(v), size / len(v)) for v, size, _ in parts])
        order = np.argsort(values, kind="stable")
        values, share = values[order], np.cumsum(weights[order]) / weights.sum()

        def quantile(p: float) -> float:
            return float(values[min(int(np.searchsorted(share, p)), len(values) - 1)])

        middle = quantile(0.5)
        below = np.where(np.isnan(per_cell), np.nan, per_cell <= middle)
        error = 1.96 * self.mean(below, label)[1]
        return middle, (quantile(0.5 + error) - quantile(0.5 - error)) / (2 * 1.96)

    def _parts(self, per_cell: "np.ndarray", label: int | None) -> "list[tuple[np.ndarray, int, int]]":
        """Return the known values, the size and the drawn cells of every label that has any."""
        import numpy as np

        labels = self.labels[self.rows]
        found = []
        for code in range(len(self.sizes)) if label is None else (label,):
            values = per_cell[self.rows[labels == code]]
            values = values[np.isfinite(values)]
            if len(values):
                found.append((values, int(self.sizes[code]), int(self.drawn[code])))
        return found

    @staticmethod
    def _variance(values: "np.ndarray", size: int, drawn: int) -> float:
        """Return the variance of the mean of one label: zero where all of its cells were drawn."""
        if len(values) < 2:
            return 0.0
        return float(values.var(ddof=1)) / len(values) * (1 - drawn / size)


def combined_error(errors: "Mapping[str, float | None]") -> float | None:
    """Return the standard error of the plain mean of labels; None where nothing was sampled."""
    known = [e for e in errors.values() if e is not None]
    return sum(e**2 for e in known) ** 0.5 / len(errors) if known else None
