"""What a metric gets to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable
from scfm.metrics.evaluated import LIGHT_ABOVE, SAMPLE_ABOVE, How, Sample
from scfm.metrics.results import Score
from scfm.task.device import CPU

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

    from scfm.neighbors.table import Neighbors

#: seed of the Leiden clusterings, as in scib-metrics
LEIDEN_SEED = 42
#: clusterings with this many seeds one after the other; the study, and scib-metrics, have one
CLUSTERING_SEEDS = {"paper": 1, "standard": 5, "full": 5}


@dataclass(frozen=True)
class Groups:
    """A categorical column: integer codes of sorted names.

    Attributes
    ----------
    codes
        Shape (n_cells,), values 0 to ``len(names) - 1``; every name occurs.
    names
        Sorted names.
    """

    codes: "np.ndarray"
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: "np.ndarray") -> "Groups":
        """Encode values (without missing ones) as text."""
        import numpy as np

        names, codes = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
        return cls(codes.ravel(), tuple(str(n) for n in names))

    @property
    def sizes(self) -> "np.ndarray":
        """Cells per name, shape (n_names,)."""
        import numpy as np

        return np.bincount(self.codes, minlength=len(self.names))


@dataclass
class MetricInputs:
    """Everything a metric may read; what several metrics share is computed once and kept.

    Attributes
    ----------
    cell_ids
        Sorted ids of the scored cells, shape (n_cells,).
    labels, batches
        The label and the batch of every cell.
    coordinates
        The embedding, shape (n_cells, n_dims); None for a graph.
    graph
        Weights of the edges among the cells, shape (n_cells, n_cells), of a graph; None for coordinates.
    neighbors
        The shared neighbours of the same cells, None where there are none.
    pca
        The uncorrected PCA of the same cells, shape (n_cells, n_components); None where it is not at hand.
    seed, n_seeds
        Seeds of every clustering: so many from ``seed`` on (k-means: from its own first one).
    sample_above
        Above this many cells metrics that need each cell's distances evaluate a sample (:attr:`sample`).
    light_above
        Above this many cells silhouettes, Leiden and kBET compute with less (:attr:`is_light`).
    labels_seen
        Whether the embedding was made with the labels of these cells: bio metrics that read labels would be circular.
    device
        Where searches and silhouettes are computed (:mod:`scfm.task.device`).
    """

    cell_ids: "np.ndarray"
    labels: Groups
    batches: Groups
    coordinates: "np.ndarray | None" = None
    neighbors: "Neighbors | None" = None
    pca: "np.ndarray | None" = None
    seed: int = LEIDEN_SEED
    n_seeds: int = 1
    sample_above: int = SAMPLE_ABOVE
    light_above: int = LIGHT_ABOVE
    labels_seen: bool = False
    graph: "sp.csr_array | None" = None
    device: str = CPU
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def n_cells(self) -> int:
        """Number of scored cells."""
        return len(self.cell_ids)

    @property
    def is_large(self) -> bool:
        """Whether metrics take their bounded ways."""
        return self.n_cells > self.sample_above

    @property
    def is_light(self) -> bool:
        """Whether metrics save precision that their values do not show; always so in large data."""
        return self.n_cells > min(self.light_above, self.sample_above)

    @property
    def sample(self) -> Sample | None:
        """The cells to evaluate, drawn from every label; None for all cells."""
        if not self.is_large:
            return None
        found: Sample = self.keep(
            "sample", lambda: Sample.draw(self.cell_ids, self.labels.codes, seed=self.seed), of=("labels",)
        )
        return found

    def keep(self, key: str, compute: Callable[[], Any], *, of: Sequence[str] = ("labels", "batches")) -> Any:
        """Return what ``compute`` gives, computed at the first call only; its error is kept as well.

        Parameters
        ----------
        key
            Name of the result.
        compute
            Computes it.
        of
            What it depends on besides the embedding: ``labels``, ``batches``, both, or nothing. The inputs of other
            keys (:meth:`with_groups`) share results that do not depend on what differs.
        """
        mark = (key, *(id(getattr(self, part)) for part in of))
        if mark not in self._kept:
            try:
                self._kept[mark] = (compute(), None)
            except NotApplicable as error:
                self._kept[mark] = (None, error)
        value, why_not = self._kept[mark]
        if why_not is not None:
            raise why_not
        return value

    def with_groups(self, labels: Groups, batches: Groups) -> "MetricInputs":
        """Return the inputs with other labels or batches of the same cells; kept results are shared.

        Groups are compared by identity: give the same object where they are the same.
        """
        return replace(self, labels=labels, batches=batches)

    def values(self) -> "np.ndarray":
        """Return the coordinates; a graph has none."""
        if self.coordinates is None:
            raise NotApplicable("A graph has no coordinates.", "graph_output")
        return self.coordinates

    def uncorrected(self) -> "np.ndarray":
        """Return the uncorrected PCA."""
        if self.pca is None:
            raise NotApplicable("The uncorrected PCA of these cells was not given.", "no_pca")
        return self.pca

    def nearest(self, k: int, *, at_least: int = 2) -> "Neighbors":
        """Return the first k neighbours, self counted; fewer only where there are fewer cells. A graph ranks none."""
        if self.graph is not None:
            raise NotApplicable("A graph does not rank neighbours by distance.", "graph_output")
        if self.neighbors is None:
            raise NotApplicable("No neighbours were given.", "no_neighbors")
        if self.neighbors.k < min(k, self.n_cells):
            raise NotApplicable(f"{k} neighbours are needed, {self.neighbors.k} were searched.", "too_few_neighbors")
        if min(k, self.neighbors.k) < at_least:
            raise NotApplicable(f"{self.n_cells} cells are too few; {at_least} are needed.", "too_few_cells")
        return self.neighbors.first(k)

    def need_labels(self) -> None:
        """Raise :class:`NotApplicable` unless there are two labels."""
        if len(self.labels.names) < 2:
            raise NotApplicable("All scored cells have the same label.", "one_label")

    def need_batches(self) -> None:
        """Raise :class:`NotApplicable` unless there are two batches."""
        if len(self.batches.names) < 2:
            raise NotApplicable("All scored cells are of the same batch.", "one_batch")

    @cached_property
    def batches_per_label(self) -> "np.ndarray":
        """Cells of every batch in every label, shape (n_labels, n_batches)."""
        import numpy as np

        shape = (len(self.labels.names), len(self.batches.names))
        pairs = self.labels.codes * shape[1] + self.batches.codes
        return np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)

    def summarize(self, per_cell: "np.ndarray", how: How = "mean", sample: Sample | None = None) -> Score:
        """Summarise a value per cell over all cells; cells that are NaN do not count.

        Parameters
        ----------
        per_cell
            Shape (n_cells,), at least one value finite.
        how
            Mean or median.
        sample
            The cells that have been evaluated; None for all.
        """
        import numpy as np

        known = per_cell[np.isfinite(per_cell)]
        if sample is None:
            return Score(float(getattr(np, how)(known)), len(known))
        value, error = getattr(sample, how)(per_cell)
        return Score(value, len(known), stderr=error)

    def per_label(
        self, per_cell: "np.ndarray", how: How = "mean", reason: str = "", sample: Sample | None = None
    ) -> dict[str, Score]:
        """Summarise a value per cell inside every label, see :meth:`summarize`.

        A label without any value has the reason given, by default ``label_in_one_batch`` if it is, else
        ``too_few_cells``.
        """
        import numpy as np

        found = {}
        for code, name in enumerate(self.labels.names):
            part = per_cell[self.labels.codes == code]
            part = part[np.isfinite(part)]
            if not len(part):
                found[name] = Score(None, 0, reason or self.why_without(code))
            elif sample is None:
                found[name] = Score(float(getattr(np, how)(part)), len(part))
            else:
                value, error = getattr(sample, how)(per_cell, code)
                found[name] = Score(value, len(part), stderr=error)
        return found

    def why_without(self, label: int) -> str:
        """Return the reason code why a label has no batch metric."""
        return "label_in_one_batch" if (self.batches_per_label[label] > 0).sum() < 2 else "too_few_cells"
