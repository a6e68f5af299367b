"""Files of weights as PyTorch writes them, and layers that several models share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.testing.tiny_common import Draw, Sizes, torch_layer

if TYPE_CHECKING:
    import torch


def save(path: Path, content: Any) -> None:
    """Write with ``torch.save``."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def torch_layers(draw: Draw, prefix: str, sizes: Sizes, **how: str) -> "dict[str, torch.Tensor]":
    """Return all layers ``<prefix><number>.``."""
    found: dict[str, torch.Tensor] = {}
    for i in range(sizes.layers):
        found |= torch_layer(draw, f"{prefix}{i}.", sizes.width, sizes.inner, **how)
    return found
