"""Single-cell foundation models: official checkpoints, own inference code, one environment.

>>> from scfm.models import load_model                                       # doctest: +SKIP
>>> model = load_model("scgpt", "weights/scGPT_human", gene_column="feature_name")  # doctest: +SKIP
>>> embedding = model.embed(adata)                                           # doctest: +SKIP

Importing this package is cheap: PyTorch and the models' files are imported when a model is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scfm.models.core.base import EmbeddingModel

# With several threads MKL sums in an order that depends on the shape of a batch, so that a row would move by up to 1e-6
# with its neighbours. This mode forbids it; it must be set before PyTorch is imported.
os.environ.setdefault("MKL_CBWR", "AUTO")


def available_models() -> list[str]:
    """Return the names of the models, sorted: a folder here with a ``model.py`` is a model."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/model.py"))


def model_class(name: str) -> "type[EmbeddingModel]":
    """Return a model's class by name; an unknown name is an error with the nearest one."""
    from importlib import import_module

    from scfm.errors import ScfmError
    from scfm.text import did_you_mean

    if name not in available_models():
        raise ScfmError(
            f"Unknown model '{name}'.{did_you_mean(name, available_models())} Known: {', '.join(available_models())}."
        )
    return import_module(f"scfm.models.{name}.model").MODEL


def load_model(
    name: str,
    weights: Path | str,
    *,
    device: str = "auto",
    precision: str = "fp32",
    seed: int = 0,
    random_init: bool = False,
    **settings: Any,
) -> "EmbeddingModel":
    """Load a model.

    Parameters
    ----------
    name
        See :func:`available_models`.
    weights
        The model's top folder.
    device, precision, seed, random_init
        See :class:`scfm.models.core.base.EmbeddingModel`.
    settings
        The model's settings by key, e.g. ``gene_column="feature_name"``.
    """
    return model_class(name)(weights, settings, device=device, precision=precision, seed=seed, random_init=random_init)
