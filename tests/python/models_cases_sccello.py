"""What the contract tests need of scCello."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from models_cases_geneformer import add_token
from models_contract import Golden, ModelCases


def _tokens(model: Any, tokens: Any, expected: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    yield "ids", tokens.padded("ids", expected["input_ids"].shape[1], 0), expected["input_ids"]
    yield "lengths", tokens.lengths, expected["length"]
    yield (
        "attention mask",
        np.arange(expected["attention_mask"].shape[1]) < tokens.lengths[:, None],
        expected["attention_mask"],
    )
    yield "full lengths", tokens.n_genes + 1, expected["full_length"]


def _golden(key: str, **settings: Any) -> Golden:
    return Golden(key, settings, key, _tokens)


CASES = ModelCases(
    model="sccello",
    fixture="sccello",
    settings={"gene_column": "ensembl_id"},
    golden=(
        _golden("embedding"),
        _golden("embedding_normalized", normalize=True),
        _golden("embedding_cell_cls", pooling="cell_cls"),
        _golden("embedding_cell_cls_normalized", pooling="cell_cls", normalize=True),
    ),
    tensors="pytorch_model.bin",
    needed="bert.encoder.layer.1.intermediate.dense.weight",
    pickles=("token_vocabulary/token_dictionary.pkl", "token_vocabulary/gene_median_dictionary.pkl"),
    break_vocabulary=lambda folder: add_token(folder / "token_vocabulary" / "token_dictionary.pkl"),
    needs_both_ids=True,
)
