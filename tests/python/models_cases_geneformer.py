"""What the contract tests need of Geneformer: both generations, every array of both fixtures."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models_contract import Golden, ModelCases

V1, V2 = "geneformer-v1", "geneformer-v2"
TOKENS_V2 = "geneformer/token_dictionary_gc104M.pkl"


def _tokens(prefix: str) -> Any:
    def check(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
        yield "ids", tokens.padded("ids", expected[f"{prefix}input_ids"].shape[1], 0), expected[f"{prefix}input_ids"]
        yield "lengths", tokens.lengths, expected[f"{prefix}lengths"]

    return check


def _golden(fixture: str, pooling: str, layer: int, **more: Any) -> Golden:
    return Golden(
        f"{pooling}, layer {layer}",
        {"pooling": pooling, "layer": layer, **more},
        f"emb_{pooling}_layer{layer}",
        _tokens(""),
        fixture=fixture,
    )


def add_token(path: Path) -> None:
    """Add a gene to a token dictionary."""
    content = pickle.loads(path.read_bytes())
    content["ENSG99999999999"] = len(content)
    path.write_bytes(pickle.dumps(content))


CASES = ModelCases(
    model="geneformer",
    fixture=V2,
    settings={"gene_column": "ensembl_id"},
    golden=(
        _golden(V1, "cell", -1),
        _golden(V1, "cell", 0),
        Golden("cls asked of V1, layer -1", {"pooling": "cls"}, "emb_cell_layer-1", _tokens(""), fixture=V1),
        *(_golden(V2, pooling, layer) for pooling in ("cls", "cell") for layer in (-1, 0)),
    ),
    tensors="Geneformer-V2-104M/model.safetensors",
    needed="bert.encoder.layer.1.intermediate.dense.weight",
    pickles=tuple(
        f"geneformer/{name}_gc104M.pkl"
        for name in ("token_dictionary", "gene_median_dictionary", "ensembl_mapping_dict")
    ),
    break_vocabulary=lambda folder: add_token(folder / TOKENS_V2),
)
