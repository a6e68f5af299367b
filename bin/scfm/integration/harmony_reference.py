"""What Harmony leaves of a data set, so that new cells can be corrected towards it without another run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.io.arrays import read_arrays

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class HarmonyReference:
    """What Harmony leaves of a reference (Kang et al. 2021, 10.1038/s41467-021-25957-x).

    Attributes
    ----------
    centroids
        Corrected centres of the soft clusters, scaled to length 1, shape (n_clusters, n_dims).
    sizes
        Sum of the memberships of each cluster, shape (n_clusters,).
    sums
        Sum of the corrected coordinates of each cluster, weighted by membership, shape (n_clusters, n_dims).
    sigma
        Width of the soft clusters.
    """

    centroids: "np.ndarray"
    sizes: "np.ndarray"
    sums: "np.ndarray"
    sigma: float

    @classmethod
    def of(cls, memberships: "np.ndarray", corrected: "np.ndarray", sigma: float) -> "HarmonyReference":
        """Compress a result of Harmony.

        Parameters
        ----------
        memberships
            Soft cluster of every cell, shape (n_cells, n_clusters), rows sum to 1.
        corrected
            Shape (n_cells, n_dims).
        sigma
            Width of the soft clusters.
        """
        sums = memberships.T @ corrected
        return cls(unit_rows(sums), memberships.sum(axis=0), sums, float(sigma))

    def write(self, path: Path | str) -> None:
        """Write ``harmony.npz``."""
        import numpy as np

        np.savez(path, centroids=self.centroids, sizes=self.sizes, sums=self.sums, sigma=self.sigma)

    @classmethod
    def read(cls, path: Path | str) -> "HarmonyReference":
        """Read what :meth:`write` has written."""
        content = read_arrays(
            path,
            ("centroids", "sizes", "sums", "sigma"),
            expected="Harmony's process writes them.",
            damaged="{path} can't be read ({error}): it is damaged or no file of Harmony's process.",
        )
        return cls(content["centroids"], content["sizes"], content["sums"], float(content["sigma"]))


def unit_rows(values: "np.ndarray") -> "np.ndarray":
    """Return rows scaled to length 1; a row of zeros stays."""
    import numpy as np

    length = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: np.ndarray = values / np.where(length > 0, length, 1.0)
    return scaled
