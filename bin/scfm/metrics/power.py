"""Whether a measure of mixing can tell separated batches from mixed ones in a label of given size.

A neighbourhood that is nearly as large as the label, or one batch that is nearly the whole label, gives a good value
even where the batches are completely apart. Such a label has no value (``too_few_cells``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: a label needs this many neighbourhoods of cells
MIN_NEIGHBORHOODS = 3
#: with the batches apart a measure must stay below this share of its value with the batches mixed
MAX_SEPARATED = 0.5


def separated_shares(sizes: "np.ndarray", k: int, *, counts_itself: bool) -> "np.ndarray":
    """Batches of the neighbourhoods of a label whose batches lie completely apart.

    A cell's neighbours are all of its own batch; only where that batch has fewer cells than the neighbourhood do the
    other batches fill it, in proportion to their sizes.

    Parameters
    ----------
    sizes
        Cells of every batch of the label, all positive, shape (n_batches,), at least two batches.
    k
        Neighbours.
    counts_itself
        Whether a cell is one of its own neighbours.

    Returns
    -------
    Row i: shares of the batches among the neighbours of a cell of batch i; shape (n_batches, n_batches), rows sum to 1.
    """
    import numpy as np

    sizes = np.asarray(sizes, dtype=float)
    own = np.minimum(sizes - (not counts_itself), k)
    others = sizes * (1 - np.eye(len(sizes)))
    shares = (k - own)[:, None] * others / others.sum(axis=1, keepdims=True)
    return (shares + np.diag(own)) / k


def can_tell(sizes: "np.ndarray", separated: "np.ndarray", mixed: float) -> bool:
    """Return whether a measure tells separated batches from mixed ones.

    Parameters
    ----------
    sizes
        Cells of every batch, shape (n_batches,).
    separated
        Value of the measure in a cell of every batch if the batches are apart, shape (n_batches,).
    mixed
        Its value if they are mixed; higher is better mixing.
    """
    import numpy as np

    return bool(np.average(separated, weights=sizes) <= MAX_SEPARATED * mixed)
