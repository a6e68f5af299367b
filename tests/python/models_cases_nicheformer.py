"""What the contract tests need of Nicheformer: the Lightning file and the hub's folder, every array of the fixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models_contract import Golden, ModelCases


def _tokens(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    ids = tokens.fields["ids"].reshape(len(tokens), -1)
    yield "ids", ids, expected["input_ids"]
    yield "padding", ids == 1, expected["padding_mask"]
    genes = np.where(ids[:, 3:] == 1, 0, ids[:, 3:])
    yield "gene tokens", genes, expected["gene_tokens"][:, : genes.shape[1]]
    for j, key in enumerate(("specie", "assay", "modality")):
        yield key, ids[:, j], expected[key]


def _golden(checkpoint: str, key: str, **settings: Any) -> Golden:
    return Golden(f"{checkpoint}: {key}", {"checkpoint": checkpoint, **settings}, key, _tokens, no_row=("cell4",))


def drop_a_gene(folder: Path) -> None:
    """Write ``model.h5ad`` without its last gene."""
    import anndata

    path = folder / "model.h5ad"
    anndata.read_h5ad(path)[:, :-1].copy().write_h5ad(path)


CASES = ModelCases(
    model="nicheformer",
    fixture="nicheformer",
    settings={"checkpoint": "nicheformer.ckpt"},
    golden=tuple(
        _golden(checkpoint, key, **settings)
        for checkpoint in ("nicheformer.ckpt", "hf")
        for key, settings in (
            ("embedding", {}),
            ("embedding_with_context", {"with_context": True}),
            ("embedding_layer_minus2", {"layer": -2}),
        )
    ),
    tensors="nicheformer.ckpt",
    needed="encoder.layers.1.linear2.weight",
    state=("state_dict",),
    break_vocabulary=drop_a_gene,
)
