"""scfmbench: how much batch effect is left in a single-cell embedding, where, and at what cost to biology.

``scfm.embed``, ``scfm.correct`` and ``scfm.score`` work on an AnnData in memory (``docs/reference/api.md``). The
executables in ``bin/`` import the same package. Heavy libraries are imported inside the functions that need them, so
importing ``scfm`` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scfm.api import correct, embed, score

__version__ = "0.1.0"
__all__ = ["__version__", "correct", "embed", "score"]


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first asked for."""
    if name in {"correct", "embed", "score"}:
        from importlib import import_module

        return getattr(import_module("scfm.api"), name)
    raise AttributeError(f"module 'scfm' has no attribute '{name}'")
